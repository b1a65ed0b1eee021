"""Fuzzes a project's spec: PyYAML sees the same steps, and its plan asks for nothing that the spec does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from hermit_proxy.errors import InputError
from hermit_proxy.toolvariables import is_reserved
from hermit_steps.plan import Facts, PlannedStep, plan
from hermit_steps.reader import read_spec
from tests.fuzz.case import Case, attempt
from tests.fuzz.files import YAML_WORDS

PATH = Path("build.yaml")
_FACTS = Facts("project", 1_700_000_000)
# The kernel's bound for one argument (MAX_ARG_STRLEN).
_ARGUMENT = 128 << 10


def spec_file(data: bytes) -> bool:
    spec = attempt(lambda: read_spec(data, PATH), InputError)
    if spec is None:
        return False
    written = yaml.load(data, Loader=yaml.CBaseLoader)  # noqa: S506  it makes nothing but texts
    made = plan(spec, _FACTS)
    assert len(made.steps) == len(written["steps"]) > 0
    assert list(made.artifacts) == (written.get("artifacts") or [])
    for step, fields in zip(made.steps, written["steps"], strict=True):
        _check_step(step, fields)
    assert len({step.name for step in made.steps}) == len(made.steps)
    assert made.to_json() == plan(spec, _FACTS).to_json()
    json.loads(made.to_json())
    return True


def _check_step(step: PlannedStep, fields: dict[str, Any]) -> None:
    assert (step.network == "proxy") == ("apt" in fields or fields.get("network") == "proxy")
    assert (step.user == "root") == ("apt" in fields or fields.get("user") == "root")
    assert "container" not in fields
    assert step.folder.is_relative_to("/build/project")
    assert ".." not in step.folder.parts
    assert step.seconds is None or step.seconds > 0
    assert not any(is_reserved(name) for name in step.environment)
    for text in (*step.argv, *(f"{name}={value}" for name, value in step.environment.items())):
        assert "\0" not in text
        assert len(text.encode()) < _ARGUMENT
    if "apt" in fields:
        assert list(step.argv[-len(fields["apt"]) :]) == fields["apt"]
        assert not any(package.startswith(("-", "/", "~", "?")) or package.endswith("-") for package in fields["apt"])
    elif "run" in fields:
        assert step.argv[-2:] == ("--", fields["run"])
    else:
        assert not step.environment


_HEAD = b"image: debian-12\nsteps:\n"
CASES = (
    Case(
        "spec",
        spec_file,
        [
            _HEAD + b"- run: make\n",
            _HEAD + b"- apt: [vim, g++, 'libc6:amd64=1:2.36-9+deb12u10', vim/stable]\n  timeout: 5m\n",
            _HEAD
            + b"- name: tests\n  run: |\n    # all\n    make test\n  shell: bash\n  user: root\n  network: proxy\n",
            _HEAD + b"- {run: a, directory: sub/dir, timeout: 90s, environment: {CC: clang, A: ''}}\n- run: b\n",
            _HEAD + b"- {run: a, environment: {https_proxy: b}}\n",
            _HEAD + b"- pack: {from: dist, to: out/a.tar.gz}\n- unpack: {file: out/a.tar.gz, to: again}\n",
            (
                b"image: .hermit/image.yaml\nsteps: [{run: x}]\nartifacts: ['dist/*', '**/[!a-z]?']\n"
                b"limits: {memory: 4 GiB, disk: 1 TB, processes: 9, output: 1, time: 1h, artifacts: 1kB}\n"
                b"environment: {LANG: C}\n"
            ),
        ],
        (
            *YAML_WORDS,
            b"- run: x\n",
            b"- apt: [x1]\n",
            b"- pack: {from: a, to: b.tar}\n",
            b"- container: {file: Dockerfile}\n",
            b"  network: none\n",
            b"  network: proxy\n",
            b"  user: root\n",
            b"  user: build\n",
            b"  directory: ..\n",
            b"  name: step-2\n",
            b"  environment: {https_proxy: x}\n",
            b"  timeout: 0s\n",
            b"artifacts: []\n",
            b"../",
            b"//",
            b"**",
            b"[a-z]",
            b"-y",
            b"vim-",
            b"=1",
            b".tar.xz",
            b"\\0",
            b'"\\0"',
            b"99999999999T",
        ),
    ),
)
