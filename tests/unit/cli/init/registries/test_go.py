"""Tests what the real Go says of its module proxy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hermit_cli.init.registries.asking import without
from hermit_cli.init.registries.go import ask

BARE = {**without(os.environ, "go"), "GOENV": "off"}
INSTALLED = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")


def test_where_go_is_not_installed_a_person_fills_it_in(tmp_path: Path) -> None:
    assert "go env GOPROXY" in ask({"PATH": str(tmp_path)}).unknown[0]


@INSTALLED
def test_go_that_is_not_set_up_needs_no_variable() -> None:
    found = ask(BARE)
    assert [one.why for one in found.asked] == ["Go's module proxy", "Go's checksum database"]
    assert (found.environment, found.unknown, found.notes) == ({}, (), ())


@INSTALLED
def test_what_is_set_up_is_told_to_the_cell_without_its_login() -> None:
    own = {
        "GOPROXY": "https://user:hunter2@go.example.org/x|https://b.example.org,direct",
        "GONOSUMDB": "corp.example.org",
    }
    found = ask({**BARE, **own})
    assert "hunter2" not in repr(found)
    assert [one.url for one in found.asked][:2] == ["https://go.example.org/x", "https://b.example.org"]
    assert found.environment == {
        "GOPROXY": "https://go.example.org/x|https://b.example.org,direct",
        "GONOSUMDB": "corp.example.org",
    }
    assert any("credential" in note for note in found.notes)


@INSTALLED
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("off", []),
        ("sum.example.org+0123+key", ["https://sum.example.org/"]),
        ("sum.example.org+0123+key https://mirror.example.org/db", ["https://mirror.example.org/db"]),
    ],
)
def test_the_checksum_database_is_the_one_of_the_configuration(said: str, expected: list[str]) -> None:
    found = ask({**BARE, "GOPROXY": "off", "GOSUMDB": said})
    assert [one.url for one in found.asked] == expected
    assert found.unknown
