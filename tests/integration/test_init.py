"""Runs the real `hermit init` on small projects, then the very steps that it wrote: those without network unplugged."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_cli.init import command
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Rules, load_rules
from hermit_steps.reader import read_spec
from hermit_steps.spec import Run, Spec
from tests.support.hermit import UNPLUGGED, need_namespaces
from tests.support.registries import Registry, cargo_registry, go_registry, npm_registry, pip_registry

_TIMEOUT = 240

PROJECTS: dict[str, tuple[Callable[[], Registry], dict[str, str], list[str]]] = {
    "pip": (
        pip_registry,
        {
            "pyproject.toml": '[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n'
            '[project]\nname = "small"\nversion = "1.0"\ndependencies = ["six"]\n'
            '[project.optional-dependencies]\ntest = ["pytest"]\n',
            "small.py": "import six\n",
            "tests/test_small.py": "import small\n\n\ndef test_it():\n    assert small.six.PY3\n",
        },
        ["dist/small-1.0-py3-none-any.whl"],
    ),
    "npm": (
        npm_registry,
        {
            "package.json": json.dumps(
                {
                    "name": "small",
                    "version": "1.0.0",
                    "dependencies": {"is-number": "7.0.0"},
                    "scripts": {"build": "node -e \"require('is-number')\"", "test": "node -e 0"},
                }
            )
        },
        ["small-1.0.0.tgz"],
    ),
    "cargo": (
        cargo_registry,
        {
            "Cargo.toml": '[package]\nname = "small"\nversion = "1.0.0"\nedition = "2021"\n'
            '[dependencies]\nitoa = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", itoa::Buffer::new().format(1)); }\n',
        },
        ["target/release/small"],
    ),
    "go": (
        go_registry,
        {
            "go.mod": "module example.org/small\n\ngo 1.19\n\nrequire rsc.io/quote v1.5.2\n\nrequire (\n"
            "\tgolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect\n"
            "\trsc.io/sampler v1.3.0 // indirect\n)\n",
            "main.go": 'package main\n\nimport "rsc.io/quote"\n\nfunc main() { println(quote.Hello()) }\n',
        },
        ["bin/small"],
    ),
}


def init(folder: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.main(parser.parse_args(["init", str(folder), *arguments]))


def written(folder: Path) -> tuple[Spec, Rules]:
    path = folder / ".hermit/build.yaml"
    return read_spec(path.read_bytes(), path), load_rules(folder / ".hermit/rules.yaml")


def perform(spec: Spec, folder: Path, home: Path) -> None:
    """Run the steps on this machine: packages are those that it has, the user is whoever runs the tests."""
    own = {"HOME": str(home), "GOFLAGS": "-buildvcs=false", **spec.environment}
    for name in ("CARGO_HOME", "RUSTUP_HOME"):
        # Where the toolchain itself lies in a home, it stays there.
        own[name] = os.environ.get(name) or str(Path.home() / f".{name.partition('_')[0].lower()}")
    own["CARGO_HOME"] = str(home / "cargo")
    for step in spec.steps:
        if isinstance(step.action, Run):
            prefix = [] if step.network == "proxy" else UNPLUGGED
            done = subprocess.run(
                [*prefix, "sh", "-ec", step.action.script],
                cwd=folder / step.folder,
                env={**os.environ, **own, **step.environment},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            assert done.returncode == 0, f"{step.name}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.registry
@pytest.mark.parametrize("tool", PROJECTS)
def test_the_steps_of_a_first_spec_work_and_those_without_network_need_none(tool: str, tmp_path: Path) -> None:
    need_namespaces()
    registry, files, artifacts = PROJECTS[tool]
    known = registry()
    folder, home = tmp_path / "project", tmp_path / "home"
    home.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert init(folder) == 0
    spec, rules = written(folder)
    assert {step.network for step in spec.steps} == {"proxy", "none"}
    for host in known.hosts:
        assert rules.match("GET", parse_url(f"https://{host}/some/path")), f"no rule admits {host}"
    perform(spec, folder, home)
    made = {str(path.relative_to(folder)) for pattern in spec.artifacts for path in folder.glob(pattern)}
    assert made == set(artifacts)


@pytest.mark.registry
def test_a_tool_that_this_machine_does_not_have_leaves_a_rule_to_fill_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "dpkg"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tools))
    assert init(folder) == 0
    text = (folder / ".hermit/rules.yaml").read_text()
    assert "# FILL IN: npm is not installed here" in text
    assert "npm" not in " ".join(rule.pattern.text for rule in written(folder)[1].rules)
