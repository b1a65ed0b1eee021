"""Tests what a person and a program are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.finding import Found, Part, Registry
from hermit_cli.init.report import Report
from hermit_proxy.rules.file import Rules
from hermit_steps.spec import Spec

ROOT = Path("/project")


def report(*, kept: tuple[Path, ...] = (), dry: bool = False) -> Report:
    part = Part("go", "Go (go.mod)", (), notes=("a note\x1b[1m", "twice"))
    spec, rules = ROOT / ".hermit/build.yaml", ROOT / ".hermit/rules.yaml"
    return Report(
        root=ROOT,
        found=Found((part, part), unused=("make",), troubles=("a: broken",)),
        registries=(Registry("go", unknown=("a host",), notes=("twice", "set up")),),
        texts={spec: "", rules: ""},
        written=tuple(path for path in (spec, rules) if path not in kept),
        kept=kept,
        spec=Spec("debian-12", ()),
        rules=Rules(),
        dry=dry,
    )


def test_what_a_person_sees(capsys: pytest.CaptureFixture[str]) -> None:
    report().say()
    assert capsys.readouterr().out == (
        "hermit init: /project\n"
        "  found     Go (go.mod)\n"
        "            Go (go.mod)\n"
        "  not used  make\n"
        "  wrote     .hermit/build.yaml  0 steps, 0 with network\n"
        "            .hermit/rules.yaml  0 rules: no host\n"
        "  look at   a: broken\n"
        "            a note\\x1b[1m\n"
        "            twice\n"
        "            fill in a rule: a host\n"
        "            set up\n"
        "  next: read .hermit/build.yaml and .hermit/rules.yaml, then: hermit build /project\n"
    )


def test_where_nothing_was_written_the_build_is_next() -> None:
    both = (ROOT / ".hermit/build.yaml", ROOT / ".hermit/rules.yaml")
    assert report(kept=both).next() == "hermit build /project"


def test_a_dry_run_has_written_nothing() -> None:
    assert report(dry=True).to_json()["written"] == []
