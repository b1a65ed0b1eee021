"""Tests what is found of git submodules."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.init.detectors.submodules import detect
from tests.unit.cli.init.projects import asked, make, steps

MODULES = """[submodule "a"]
\tpath = a
\turl = https://git.example.org/a.git
[submodule "b"]
\tpath = b
\turl = ../b.git
[submodule "c"]
\tpath = c
\turl = ssh://user@git.example.org/c.git
"""


def test_submodules_are_fetched_and_relative_urls_are_those_of_the_origin(tmp_path: Path) -> None:
    part = detect(make(tmp_path, {".gitmodules": MODULES}), "https://code.example.org/group/x.git")
    assert steps(part) == ["+submodules: git submodule update --init --recursive"]
    assert asked(part) == [
        "https://git.example.org/a.git .gitmodules",
        "https://code.example.org/group/b.git .gitmodules",
    ]
    assert part is not None
    assert part.notes == (
        "the submodule ssh://git.example.org/c.git is not reached over https, and nothing else gets out",
    )


def test_one_that_is_not_checked_out_is_told_with_the_command(tmp_path: Path) -> None:
    tree = make(tmp_path / "project", {".gitmodules": MODULES, "b/file": ""})
    (tmp_path / "project/a").mkdir()
    part = detect(tree)
    assert part is not None
    (note,) = [note for note in part.notes if "empty" in note]
    assert note.startswith("the submodule a is empty here")
    assert note.endswith("git submodule update --init --recursive")
    outside = make(tmp_path / "other", {".gitmodules": '[submodule "x"]\n\tpath = ../void\n'})
    (tmp_path / "void").mkdir()
    part = detect(outside)
    assert part is not None
    assert part.notes == ()


def test_a_project_without_submodules_is_none(tmp_path: Path) -> None:
    assert detect(make(tmp_path, {})) is None
