"""Programs on an image: their lines come while they run, the filter is on, limits hold, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode
from hermit_workers.cell import CellError, Limits
from hermit_workers.image.running import LIMITS, LimitError, runner
from hermit_workers.sandbox.bwrap import SECCOMP, STATUS
from hermit_workers.sandbox.limits import watch
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.sandbox.namespaces.holder import ROOT

# The host's programs, and the folder at /mnt/root.
OPTIONS = (
    *("--unshare-pid", "--die-with-parent", "--seccomp", str(SECCOMP), "--json-status-fd", str(STATUS)),
    *("--ro-bind", "/", "/", "--bind", ROOT, ROOT, "--proc", "/proc", "--dev", "/dev", "--cap-add", "CAP_SYS_ADMIN"),
    *("--setenv", "PATH", "/usr/bin:/bin", "--chdir", f"{ROOT}/root"),
)
FOR_EVER = "sleep 30"


def run(script: str, folder: Path, limits: Limits = LIMITS, *, over: bool = False) -> tuple[int, list[str], list[str]]:
    lines: list[str] = []
    folder.chmod(0o755)
    (folder / "root").mkdir(exist_ok=True)
    (folder / "root").chmod(0o777)

    async def main() -> tuple[int, list[str]]:
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if over:
            until.set_result(None)
        async with runner(folder, limits) as running:
            return await running.run(OPTIONS, ["sh", "-c", script], lines.append, until=until)

    return *asyncio.run(main()), lines


def test_every_line_is_told_and_the_last_ones_are_given(tmp_path: Path) -> None:
    status, last, lines = run("seq 100; echo x >&2; exit 3", tmp_path)
    assert status == 3
    assert lines == [*map(str, range(1, 101)), "x"]
    assert last == lines[-12:]


def test_a_line_without_end_is_told_in_pieces(tmp_path: Path) -> None:
    status, _, lines = run("head -c 600000 /dev/zero | tr '\\0' a; printf b", tmp_path)
    assert status == 0
    assert "".join(lines) == "a" * 600000 + "b"
    assert len(lines) > 2


def test_octets_that_are_no_text_are_told_as_such(tmp_path: Path) -> None:
    assert run(r"printf '\377\n'", tmp_path)[2] == ["\ufffd"]


def test_stdin_is_empty(tmp_path: Path) -> None:
    assert run("cat; echo end", tmp_path)[2] == ["end"]


def test_what_it_waits_for_in_vain_ends_it(tmp_path: Path) -> None:
    assert run(FOR_EVER, tmp_path, over=True)[:2] == (-1, [])


@pytest.mark.parametrize(
    ("options", "program", "said"),
    [
        (("--ro-bind", "/nowhere", "/x"), "true", r"does not start true \(it said: bwrap: .*/nowhere"),
        ((), "no-such", r"does not start no-such \(it said: bwrap: execvp no-such"),
    ],
)
def test_what_bubblewrap_cannot_start_is_no_status_of_the_programs(
    tmp_path: Path, options: tuple[str, ...], program: str, said: str
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "root").mkdir()

    async def main() -> None:
        async with runner(tmp_path) as running:
            await running.run([*OPTIONS, *options], [program], lambda _: None)

    with pytest.raises(CellError, match=said) as caught:
        asyncio.run(main())
    assert caught.value.exit_code is ExitCode.MACHINE


def test_a_program_that_ends_with_bubblewraps_own_status_has_ended_so(tmp_path: Path) -> None:
    assert run("exit 1", tmp_path)[:2] == (1, [])
    assert run("kill -9 $$", tmp_path)[0] == 137


def test_the_filter_of_a_cell_is_on_and_no_core_is_written(tmp_path: Path) -> None:
    """keyctl(2) on this machine's own number; a filter is inherited, so it holds for what packages run too."""
    number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    lines = run(f"perl -e 'syscall({number}, 0, 0); print $! + 0, qq(\\n)'; ulimit -Hc", tmp_path)[2]
    assert lines == [str(errno.EPERM), "0"]


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    assert run(f"(setsid {FOR_EVER}) & echo done", tmp_path)[2] == ["done"]


LARGE = "perl -e '$a = q(x) x (1 << 28); sleep 30'"
MANY = f"perl -e 'for (1 .. 40) {{ fork or {FOR_EVER} }} {FOR_EVER}'"
LIMITED = {
    "memory": (Limits(memory=64 << 20), LARGE, "memory: "),
    "processes": (Limits(processes=30), MANY, "processes: "),
    "a large file": (
        Limits(disk=20 << 20),
        f"head -c 19M /dev/zero >a; head -c 19M /dev/zero >b; {FOR_EVER}",
        "disk: ",
    ),
    "a file without a name": (
        Limits(disk=20 << 20),
        f"exec 5>a 6>b; rm a b; head -c 19M /dev/zero >&5; head -c 19M /dev/zero >&6; {FOR_EVER}",
        "disk: ",
    ),
    "a file of holes": (Limits(disk=20 << 20), f"truncate -s 19M a b; {FOR_EVER}", "disk: "),
    "many empty files": (Limits(disk=2 << 20), f"seq 1000 | xargs touch; {FOR_EVER}", "disk: "),
    "time": (Limits(seconds=0.5), FOR_EVER, "time: not done after 0.5 s"),
}


@pytest.mark.parametrize("what", LIMITED)
def test_a_limit_that_is_reached_ends_it(tmp_path: Path, what: str) -> None:
    limits, script, told = LIMITED[what]
    with pytest.raises(LimitError) as caught:
        run(script, tmp_path, limits)
    assert f"reached a limit. {told}" in str(caught.value)
    assert "limits:" not in str(caught.value)  # no setting that a recipe has
    assert caught.value.exit_code == ExitCode.FAILED


@pytest.mark.parametrize("what", ["memory", "processes"])
@pytest.mark.parametrize("inside", ["", "unshare --pid --fork "])
def test_limits_hold_without_control_groups_and_in_a_namespace_of_the_installers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, inside: str
) -> None:
    monkeypatch.setattr(Cgroup, "make", lambda _: None)
    limits, script, told = LIMITED[what]
    with pytest.raises(LimitError, match=told):
        run(inside + script, tmp_path, limits)


def test_a_machine_whose_disk_is_full_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There apt waits for ever."""
    monkeypatch.setattr(watch, "RESERVED_DISK", 1 << 60)
    with pytest.raises(LimitError, match="make room"):
        run(FOR_EVER, tmp_path)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    run("true", tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    run("true", tmp_path)
    with pytest.raises(LimitError):
        run(FOR_EVER, tmp_path, Limits(seconds=0.1))
    assert len(os.listdir("/proc/self/fd")) == before
