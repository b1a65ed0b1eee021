"""Tests which parts are found in a project, and which are left to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.detect import EXPECTED, has_container, look
from tests.unit.cli.init.projects import make

PACKAGE = {"debian/control": "", "debian/changelog": "", "!debian/rules": ""}


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({}, []),
        ({"README.md": ""}, []),
        ({"package.json": "{}", "go.mod": "module x\n"}, ["node", "go"]),
        ({"Makefile": ""}, ["make"]),
        ({"Makefile": "", "go.mod": "module x\n"}, ["go"]),
        ({"CMakeLists.txt": "", **PACKAGE}, ["debian"]),
        ({".gitmodules": "", "Cargo.toml": ""}, ["submodules", "cargo"]),
        (
            {"pyproject.toml": '[build-system]\nrequires = ["maturin"]\nbuild-backend = "maturin"\n', "Cargo.toml": ""},
            ["python"],
        ),
        ({"web/package.json": "{}", "api/go.mod": "module x\n"}, ["go", "node"]),
        ({"package.json": "{}", "api/go.mod": "module x\n"}, ["node"]),
        ({"docs/requirements.txt": "", "examples/a/go.mod": "module x\n"}, []),
        ({"a/package.json": "{}", "a/b/package.json": "{}"}, ["node"]),
    ],
)
def test_what_builds_a_project_is_found(files: dict[str, str], kinds: list[str], tmp_path: Path) -> None:
    assert [part.kind for part in look(make(tmp_path, files).root).parts] == kinds


def test_parts_of_a_repository_with_several_know_their_folder(tmp_path: Path) -> None:
    found = look(make(tmp_path, {"services/web/package.json": "{}"}).root)
    assert [str(part.folder) for part in found.parts] == ["services/web"]


def test_what_is_seen_and_not_used_is_told(tmp_path: Path) -> None:
    files = {"Cargo.toml": "", "Makefile": "", "web/package.json": "{}"}
    assert look(make(tmp_path, files).root).unused == (
        "make (Makefile): taken for a helper of the others",
        "web: JavaScript (package.json)",
    )


def test_what_another_drives_is_told(tmp_path: Path) -> None:
    found = look(make(tmp_path, {"go.mod": "module x\n", **PACKAGE}).root)
    assert found.unused == ("Go (go.mod): Debian source package (debian/control) takes care of it",)


def test_a_broken_file_is_told_with_its_folder(tmp_path: Path) -> None:
    found = look(make(tmp_path, {"web/package.json": "{"}).root)
    assert found.troubles[0].startswith("web/package.json: not JSON")


def test_a_folder_that_no_step_can_name_is_passed_over(tmp_path: Path) -> None:
    assert look(make(tmp_path, {"a\nb/package.json": "{}", f"{'x' * 60}/package.json": "{}"}).root).parts == ()


@pytest.mark.parametrize("name", ["Dockerfile", "Containerfile"])
def test_a_container_is_seen(name: str, tmp_path: Path) -> None:
    assert not has_container(tmp_path)
    assert has_container(make(tmp_path, {name: ""}).root)


def test_every_detector_is_named_where_nothing_was_found() -> None:
    for name in (
        "pyproject.toml",
        "package.json",
        "Cargo.toml",
        "go.mod",
        "pom.xml",
        "CMakeLists.txt",
        "debian/control",
    ):
        assert name in EXPECTED
