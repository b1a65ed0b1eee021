"""Tests what the real npm says of its registry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hermit_cli.init.registries.asking import without
from hermit_cli.init.registries.npm import ask

BARE = without(os.environ, "npm_config_")


def test_where_npm_is_not_installed_a_person_fills_it_in(tmp_path: Path) -> None:
    found = ask({"PATH": str(tmp_path)})
    assert found.asked == ()
    assert found.unknown == ("npm is not installed here, so it could not be asked: the host of its registry",)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_mirror_is_told_to_the_cell_and_stands_for_npms_own_in_lock_files(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("registry=https://user:hunter2@npm.example.org/x/\n")
    found = ask({**BARE, "HOME": str(tmp_path)})
    assert "hunter2" not in repr(found)
    assert [one.url for one in found.asked] == ["https://npm.example.org/x/"]
    assert found.environment == {"npm_config_registry": "https://npm.example.org/x/"}
    assert found.replaced


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_that_is_not_set_up_needs_no_variable(tmp_path: Path) -> None:
    found = ask({**BARE, "HOME": str(tmp_path)})
    assert len(found.asked) == 1
    assert (found.environment, found.replaced) == ({}, "")
