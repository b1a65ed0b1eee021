"""Checks the arguments of bubblewrap as values."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import Command
from hermit_workers.sandbox import bwrap

_VIEW = bwrap.View("/mnt/root", "/mnt/shm", (Path("/proc/sys"),), (Path("/proc/keys"),), (Path("/sys/devices"),))
_COMMAND = Command(("make", "-j"), {"B": "2", "A": "-x --"}, PurePosixPath("/build/p"))


def pairs(options: list[str], name: str) -> list[tuple[str, str]]:
    return [(options[at + 1], options[at + 2]) for at, word in enumerate(options) if word == name]


@pytest.mark.parametrize("options", [bwrap.init_options(_VIEW), bwrap.step_options(_VIEW, _COMMAND)])
def test_the_tree_comes_first_and_covers_everything(options: list[str]) -> None:
    order = ["--bind", "--dev", "--bind", "--remount-ro", "--proc", "--ro-bind", "--ro-bind", "--tmpfs", "--ro-bind"]
    mounts = [word for word in options if word in {*order, "--remount-ro"}]
    assert mounts == [*order, "--remount-ro"]
    assert pairs(options, "--bind") == [("/mnt/root", "/"), ("/mnt/shm", "/dev/shm")]  # noqa: S108  its place
    assert ("/dev/null", "/proc/keys") in pairs(options, "--ro-bind")
    assert options[:5] == ["--seccomp", "3", "--cap-drop", "ALL", "--cap-add"]
    assert options.count("--cap-add") == len(bwrap.CAPABILITIES) + 1


def test_only_the_init_makes_a_pid_namespace_and_steps_enter_it() -> None:
    init, step = bwrap.init_options(_VIEW), bwrap.step_options(_VIEW, _COMMAND)
    assert "--unshare-pid" in init
    assert "--pidns" not in init
    assert "--unshare-pid" not in step
    assert step[step.index("--pidns") + 1] == str(bwrap.PID_NAMESPACE)
    assert "--die-with-parent" in init
    assert "--die-with-parent" not in step


def test_a_step_has_its_variables_sorted_and_nothing_else() -> None:
    options = bwrap.step_options(_VIEW, _COMMAND)
    assert options[options.index("--clearenv") + 1 :] == ["--setenv", "A", "-x --", "--setenv", "B", "2"]
    assert options[options.index("--chdir") + 1] == "/build/p"


def test_only_a_step_at_a_terminal_stays_in_its_session() -> None:
    assert "--new-session" in bwrap.step_options(_VIEW, _COMMAND)
    assert "--new-session" not in bwrap.step_options(_VIEW, _COMMAND, terminal=True)
    assert "/usr/bin/env" not in bwrap.step_argv(("x",), "build")
    assert "/usr/bin/env" in bwrap.step_argv(("x",), "build", terminal=True)


def test_the_build_is_uid_1000_without_capabilities_and_root_has_nine() -> None:
    build, root = bwrap.step_argv(("make", "-j"), "build"), bwrap.step_argv(("make", "-j"), "root")
    assert build[-2:] == root[-2:] == ["make", "-j"]
    assert build[build.index("--reuid") : build.index("--init-groups") + 1] == [
        *("--reuid", "1000", "--regid", "1000", "--init-groups"),
    ]
    assert "--bounding-set=-all" in build
    assert "--reuid" not in root
    assert root[1].removeprefix("--bounding-set=").split(",") == [
        "-all",
        *(f"+{n.lower()}" for n in bwrap.CAPABILITIES),
    ]


def test_options_are_packed_with_zero_bytes_and_cannot_have_one() -> None:
    assert bwrap.packed(["--a", "ü", "\udcff"]) == b"--a\0\xc3\xbc\0\xff\0"
    with pytest.raises(ValueError, match="zero byte"):
        bwrap.packed(["--setenv", "A", "x\0--bind"])


def test_the_machines_view_has_the_kernels_switches_read_only_and_few_parts_of_sys() -> None:
    seen = bwrap.view("/r", "/s")
    assert Path("/proc/sys") in seen.guarded
    assert Path("/sys/devices/system/cpu") in seen.system
    assert not {Path("/sys"), Path("/sys/kernel"), Path("/sys/fs")} & set(seen.system)
