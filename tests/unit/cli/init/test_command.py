"""Tests `hermit init` as a person starts it, with tools that answer at once."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from hermit_cli.init import registries
from hermit_cli.init.finding import Asked, Registry
from hermit_cli.main import main
from hermit_proxy.rules.file import load_rules
from hermit_proxy.upstream import openings
from hermit_steps.reader import read_spec
from tests.unit.cli.init.projects import make

GO = {"go.mod": "module example.org/x\n\ngo 1.19\n"}
SPEC, RULES = ".hermit/build.yaml", ".hermit/rules.yaml"


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put tools that need no installing in the place of the real ones, which have tests of their own."""
    for name in registries.TOOLS:
        answer = Registry(name, (Asked(f"https://{name}.example.org/", f"{name}'s own"),))
        monkeypatch.setitem(registries.TOOLS, name, partial(_answer, answer))
    monkeypatch.setattr(openings, "_resolve", lambda _: [ipaddress.ip_address("8.8.8.8")])


def _answer(registry: Registry, _environ: Mapping[str, str]) -> Registry:
    return registry


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob(".hermit/*"))}


def test_both_files_are_written_and_read_without_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "project", GO).root
    assert main(["init", str(root)]) == 0
    assert sorted(content(root)) == [SPEC, RULES]
    assert len(read_spec((root / SPEC).read_bytes(), root / SPEC).steps) == 3
    assert [rule.pattern.text for rule in load_rules(root / RULES).rules] == ["apt.example.org/.*"]
    out = capsys.readouterr().out
    assert "found  Go (go.mod)" in out
    assert "3 steps, 1 with network" in out
    assert f"next: read {SPEC} and {RULES}, then: hermit build {root}" in out


def test_rules_check_finds_nothing_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make(tmp_path, {"package.json": "{}", "Cargo.toml": "", "pom.xml": "<a/>"}).root
    monkeypatch.chdir(root)
    assert main(["init", "."]) == 0
    assert main(["rules", "check"]) == 0
    assert "4 rules, no mistake\n" in capsys.readouterr().out


@pytest.mark.parametrize("there", [[SPEC], [RULES], [SPEC, RULES]])
def test_what_is_there_is_kept_and_named(there: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path, GO | dict.fromkeys(there, "mine\n")).root
    assert main(["init", str(root)]) == 0
    found = content(root)
    assert sorted(found) == [SPEC, RULES]
    assert [name for name, text in found.items() if text == "mine\n"] == there
    out = capsys.readouterr().out
    assert all(f"{name}  was there; --force writes it anew" in out for name in there)
    assert main(["init", "--force", str(root)]) == 0
    assert "mine\n" not in content(root).values()


def test_twice_the_same_is_the_same(tmp_path: Path) -> None:
    root = make(tmp_path, GO).root
    main(["init", str(root)])
    first = content(root)
    main(["init", "--force", str(root)])
    assert content(root) == first


def test_a_dry_run_prints_what_would_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path, GO).root
    assert main(["init", "--dry-run", str(root)]) == 0
    assert content(root) == {}
    out = capsys.readouterr().out
    main(["init", str(root)])
    assert out == "\n".join(f"# {name}\n{text}" for name, text in content(root).items())


def test_programs_get_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path, {**GO, "Cargo.toml": "[broken", RULES: "rules: []\n"}).root
    assert main(["init", "--json", str(root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [part["kind"] for part in found["found"]] == ["cargo", "go"]
    assert found["written"] == [str(root / SPEC)]
    assert found["kept"] == [str(root / RULES)]
    assert found["files"][str(root / SPEC)] == (root / SPEC).read_text()
    assert found["look"][0].startswith("Cargo.toml: not TOML")


@pytest.mark.parametrize(
    ("files", "path", "told"),
    [
        ({}, "", "nothing in"),
        ({"README.md": ""}, "", "expected one of: pyproject.toml"),
        ({"package.json5": "", "pyproject.toml": "[broken"}, "", "pyproject.toml: not TOML"),
        ({"Dockerfile": ""}, "", "container steps come later"),
        ({}, "missing", "does not exist"),
        ({"a": ""}, "a", "is no folder"),
    ],
)
def test_what_is_no_project_is_told_with_what_was_expected(
    files: dict[str, str], path: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make(tmp_path, files).root
    assert main(["init", str(root / path)]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "next: " in err
    assert content(root) == {}


@pytest.mark.parametrize("name", [".hermit", SPEC, RULES])
def test_links_are_not_written_through(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "project", GO).root
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(tmp_path / "elsewhere")
    assert main(["init", "--force", str(root)]) == 2
    assert "is a link" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_the_home_folder_is_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["init", str(make(tmp_path, GO).root)]) == 2
    assert "is no project" in capsys.readouterr().err


def test_without_a_path_it_is_the_top_of_the_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, {**GO, "a/b": "", ".git/HEAD": ""}).root
    monkeypatch.chdir(root / "a")
    assert main(["init"]) == 0
    assert sorted(content(root)) == [SPEC, RULES]


def test_hosts_that_no_recording_reaches_are_told_with_the_lines_that_open_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openings, "_resolve", lambda _: [ipaddress.ip_address("10.0.0.1")])
    root = make(tmp_path / "project", {"package.json": "{}"}).root
    settings = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit/config.yaml"
    assert main(["init", str(root)]) == 0
    told = capsys.readouterr().out
    assert f"add to {settings}:\nupstream:\n  allow:\n    - apt.example.org\n    - npm.example.org\n  next: " in told
    settings.parent.mkdir()
    settings.write_text("upstream:\n  allow: [apt.example.org, 10.0.0.0/8]\n")
    assert main(["init", "--force", "--json", str(root)]) == 0
    assert json.loads(capsys.readouterr().out)["to_open"] == []
    settings.write_text("upstrem: 1\n")  # the build tells it, with its line
    assert main(["init", "--force", "--json", str(root)]) == 0
