"""Installs what was asked for and no more, and nothing twice: what script/setup promises."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PYTHON = """\
#!/bin/sh
case "$*" in *"pip --quiet"*) echo "$*" >>"${0%/*}/../../asked" ;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a clone whose environment has a Python that only notes what pip is asked for."""
    folder = tmp_path / "clone"
    for name in ("script/setup", "script/constraints.txt", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(_PYTHON)
    (programs / "python").chmod(0o755)
    (programs / "pip").write_text(f"#!{programs}/python\n")
    return folder


def asked(clone: Path, option: str = "--run") -> list[str]:
    """Run it as a user does, and give what pip was asked to install."""
    (clone / "asked").write_text("")
    done = subprocess.run([clone / "script/setup", option], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.partition(" install ")[2] for line in (clone / "asked").read_text().splitlines()]


def test_a_users_environment_has_no_packages_of_the_tests_and_is_made_once(clone: Path) -> None:
    assert asked(clone) == [f"-e {clone}"]
    assert asked(clone) == []


@pytest.mark.skipif(shutil.which("libvirtd", path="/usr/sbin") is None, reason="it would be installed")
def test_vms_need_no_other_environment_than_every_build(clone: Path) -> None:
    assert asked(clone, "--vm") == [f"-e {clone}"]
    assert asked(clone) == []


def test_an_environment_for_the_tests_serves_users_as_well_until_what_it_is_made_from_changes(clone: Path) -> None:
    asked(clone)
    made = clone / ".venv/.made-from"
    made.write_text(made.read_text().rstrip("\n") + "test\n")
    assert asked(clone) == []
    (clone / "pyproject.toml").write_text("")
    assert asked(clone) == [f"-e {clone}"]
