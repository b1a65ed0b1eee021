"""Examines this machine for cells, and machines that lack something."""

from __future__ import annotations

import os
import subprocess
import sys
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
    assert (first.level, first.text, first.hint) == ("fail", "no ids", "usermod")  # as root
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


@pytest.mark.parametrize(
    ("user", "sudo", "hint"),
    [
        (0, True, "usermod x"),
        (0, False, "usermod x"),
        (1000, True, "sudo usermod x"),
        (1000, False, "as root: usermod x"),
    ],
)
def test_a_command_for_root_is_told_as_this_user_can_run_it(
    user: int, sudo: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise CellError("no ids", hint="sudo usermod x")

    monkeypatch.setattr(doctor.idmap, "find", none)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("PATH", str(tmp_path))
    if sudo:
        (tmp_path / "sudo").touch(mode=0o755)
    assert doctor._ids().hint == hint


def test_a_switch_that_holds_root_too_is_named_and_one_that_does_not_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "switch").write_text("0\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for everybody, hint in ((True, "sysctl -w x=1"), (False, None)):
        monkeypatch.setattr(doctor, "_SWITCHES", ((str(tmp_path / "switch"), "0", "sysctl -w x=1", everybody),))
        assert doctor.refused_namespaces() == hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a chroot")
def test_a_chroot_is_named_where_it_keeps_namespaces_from_being_made(tmp_path: Path) -> None:
    code = "from hermit_workers.sandbox import doctor; print(doctor.refused_namespaces())"
    paths = os.pathsep.join(path for path in sys.path if path)
    command = f'mount --rbind / {tmp_path} && exec chroot {tmp_path} {sys.executable} -c "{code}"'
    for arguments, told in ((["sh", "-c", command], "in every chroot"), ([sys.executable, "-c", code], "None")):
        done = subprocess.run(
            ["unshare", "--mount", *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told in done.stdout


@pytest.mark.parametrize(("systemd", "advised"), [(True, True), (False, False)])
def test_systemd_is_advised_where_it_runs(
    systemd: bool, advised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SYSTEMD", tmp_path if systemd else tmp_path / "none")
    monkeypatch.setattr(doctor.Cgroup, "make", lambda _: None)
    found = doctor._limits()
    assert found.level == "warn"
    assert ("systemd-run" in str(found.hint)) == advised
