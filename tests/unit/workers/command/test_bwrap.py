"""Reads bubblewrap's arguments as values; test_runtime.py has them obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_workers.command.bwrap import Sandbox, bwrap_arguments, outside
from hermit_workers.hostparts import Bind


def arguments(**fields: object) -> list[str]:
    parts = {"folder": Path("/p"), "empty_folder": Path("/e"), "empty_file": Path("/f"), **fields}
    return bwrap_arguments(Sandbox(**parts), seccomp_fd=7)  # type: ignore[arg-type]  # made of keywords


def position(words: list[str], *wanted: str) -> int:
    return next(i for i in range(len(words)) if tuple(words[i : i + len(wanted)]) == wanted)


@pytest.mark.parametrize(
    "words",
    [
        ("--unshare-user",),
        ("--unshare-net",),
        ("--unshare-pid",),
        ("--unshare-ipc",),
        ("--unshare-uts",),
        ("--cap-drop", "ALL"),
        ("--die-with-parent",),
        ("--seccomp", "7"),
        ("--ro-bind", "/sys", "/sys"),
        ("--tmpfs", "/run"),
        ("--chdir", "/p"),
    ],
)
def test_every_cell_has_its_walls(words: tuple[str, ...]) -> None:
    position(arguments(), *words)


def test_no_device_of_the_host_is_usable_outside_dev() -> None:
    assert "--dev-bind" not in arguments()


def test_what_is_brought_in_comes_after_what_is_taken_away() -> None:
    words = arguments(
        emptied=(Path("/secret"),),
        binds=(Bind(Path("/r/cell"), Path("/run/hermit"), writable=True),),
        dead=(Path("/home/a.sock"),),
        kept=(Path("/run/media/disk"),),
        runtime=Path("/run/user/1000"),
        guarded=(Path("/proc/sys"),),
    )
    run = position(words, "--tmpfs", "/run")
    assert run < position(words, "--tmpfs", "/run/user/1000") < position(words, "--bind", "/run/media/disk")
    assert run < position(words, "--bind", "/r/cell", "/run/hermit")
    assert position(words, "--proc", "/proc") < position(words, "--ro-bind", "/proc/sys", "/proc/sys")
    # A socket in a folder that was brought back is still dead.
    assert position(words, "--bind", "/run/media/disk") < position(words, "--ro-bind", "/dev/null", "/home/a.sock")
    assert position(words, "--ro-bind", "/e", "/secret") > run


def test_paths_within_hidden_folders_need_no_mount_of_their_own() -> None:
    paths = [Path("/run/a"), Path("/runner/b"), Path("/c"), Path("/c")]
    assert outside(paths, [Path("/run")]) == (Path("/c"), Path("/runner/b"))
