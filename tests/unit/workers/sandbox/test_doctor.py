"""Examines this machine for cells, and machines that lack something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.sandbox import doctor
from hermit_workers.sandbox.doctor import examine_sandbox


def test_a_machine_that_runs_cells_passes_and_nothing_stays(tmp_path: Path) -> None:
    found = {one.name: one.level for one in examine_sandbox(tmp_path / "not" / "yet")}
    assert found.pop("cell limits") in {"ok", "warn"}
    assert found == dict.fromkeys(("cell users", "cell programs", "cell namespaces", "cell layers"), "ok")
    assert os.listdir(tmp_path) == []


def test_a_user_without_ids_is_told_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise CellError("no ids", hint="sudo usermod")

    monkeypatch.setattr(doctor.idmap, "find", none)
    first, *others = examine_sandbox(tmp_path)
    assert (first.level, first.text, first.hint) == ("fail", "no ids", "sudo usermod")
    assert [one.name for one in others] == ["cell programs", "cell limits"]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (None, "bubblewrap is not installed"),
        ("echo '--json-status-fd --args --perms'", "this bubblewrap has no --pidns"),
    ],
)
def test_a_missing_or_old_bubblewrap_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, text: str
) -> None:
    if script is not None:
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor._bubblewrap()
    assert (found.level, found.text) == ("fail", text)


def test_a_file_system_that_cannot_be_below_is_named() -> None:
    *_, layers, _ = examine_sandbox(Path("/proc/none"))
    assert layers.name == "cell layers"
    assert layers.level == "fail"
    assert layers.text.startswith("no overlay on /proc: ")
    assert layers.hint is not None


def test_a_control_group_that_takes_nobody_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        holds: frozenset[str] = frozenset({"memory", "processes"})

        def add(self, process: int) -> None:
            assert Path(f"/proc/{process}").is_dir()
            self.holds = frozenset({"memory"})

        def remove(self) -> None:
            self.holds = frozenset()

    monkeypatch.setattr(doctor.Cgroup, "make", lambda _: Refusing())
    found = doctor._limits()
    assert found.level == "warn"
    assert found.text.startswith("control groups keep no processes here")
