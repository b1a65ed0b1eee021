"""Takes real cells through their states: what goes in, what runs, what stays and what comes back."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import ExitCode
from hermit_workers.cell import Cell, CellError, Command, LimitError, Limits
from hermit_workers.sandbox import cell as cell_module
from hermit_workers.sandbox.cell import SandboxCell
from tests.support.alongside import alongside
from tests.support.keeper import holder_of
from tests.support.sandbox import PATH, Done, image, run_in_sandbox, sh, started

_FORKS = (
    "perl -e 'while (1) { my $p = fork; if (defined $p and not $p) { sleep 100 } select undef, undef, undef, .01 }'"
)


def within(folder: Path, work: Callable[[SandboxCell], Awaitable[None]], limits: Limits | None = None) -> None:
    async def run() -> None:
        async with started(folder, limits) as cell:
            await work(cell)

    asyncio.run(run())


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data


def member(
    name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, owner: int = 0, link: str = ""
) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.uid, found.gid, found.linkname = kind, mode, owner, owner, link
    return found


async def put(cell: SandboxCell, data: io.BytesIO) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data.getvalue())
        file.seek(0)
        await cell.put(file.fileno())


def test_it_is_a_cell(tmp_path: Path) -> None:
    cell: Cell = SandboxCell(tmp_path, tmp_path, Limits())
    assert cell


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("exec no-such", 127),
        ("exec /etc/passwd", 126),
    ],
)
@pytest.mark.parametrize("user", ["build", "root"])
def test_the_status_is_the_commands_own(tmp_path: Path, script: str, status: int, user: str) -> None:
    assert run_in_sandbox(tmp_path / "cell", script, user=user)[0].status == status  # type: ignore[arg-type]  # a table


def test_a_program_that_is_not_there_ends_as_in_a_shell(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        with tempfile.TemporaryFile() as output:
            command = Command(("no-such", "program"), {"PATH": PATH}, PurePosixPath("/"))
            assert (await cell.run(command, output=output.fileno())).status == 127
            output.seek(0)
            assert b"no-such: not found" in output.read()

    within(tmp_path / "cell", work)


def test_a_command_gets_its_environment_its_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_SECRET", "x")

    async def work(cell: SandboxCell) -> None:
        done = await sh(cell, "env; umask", folder="/build", environment={"A": "1 2\n3=ü", "B": ""})
        assert sorted(done.output.splitlines()) == sorted(["3=ü", "A=1 2", "B=", f"PATH={PATH}", "PWD=/build", "0022"])

    within(tmp_path / "cell", work)


def test_the_environment_is_on_no_command_line_of_the_host(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        async with alongside(sh(cell, "exec sleep 1004", environment={"TOKEN": "not-for-ps"})) as task:
            for _ in range(1000):
                await asyncio.sleep(0.01)
                lines = command_lines()
                if b"sleep\x001004\x00" in lines:  # not before: the shell may be slow to become it
                    break
            assert b"sleep\x001004\x00" in lines
            assert not [line for line in lines if b"not-for-ps" in line]
            await cell.stop()
            assert (await task).status == 137

    within(tmp_path / "cell", work)


def command_lines() -> list[bytes]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes())
        except OSError:
            continue
    return found


def test_what_a_step_wrote_and_left_running_is_there_for_the_next_and_ends_with_stop(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        script = "echo here > /build/file; echo there > /dev/shm/file; "
        script += "(while :; do sleep 0.05; date +%N > /build/beat; done) & echo $! > /build/number"
        assert (await sh(cell, script)).status == 0
        for _ in range(100):
            if (await sh(cell, "test -s /build/beat")).status == 0:
                break
        done = await sh(cell, "cat /build/file /dev/shm/file; kill -0 $(cat /build/number) && echo lives")
        assert done == Done(0, "here\nthere\nlives\n")
        await cell.stop()
        assert not [line for line in command_lines() if b"/build/beat" in line]
        with pytest.raises(CellError, match="is not running"):
            await sh(cell, "true")

    within(tmp_path / "cell", work)


def test_stdin_is_what_was_given_and_else_empty(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(b"words\n")
            source.seek(0)
            command = Command(("cat",), {"PATH": PATH}, PurePosixPath("/"))
            assert (await cell.run(command, stdin=source.fileno(), output=output.fileno())).status == 0
            assert (await cell.run(command, output=output.fileno())).status == 0
            output.seek(0)
            assert output.read() == b"words\n"

    within(tmp_path / "cell", work)


@pytest.mark.parametrize(("script", "status"), [("trap 'exit 9' INT; ", 9), ("", 130)])
def test_an_interrupt_reaches_the_command(tmp_path: Path, script: str, status: int) -> None:
    async def work(cell: SandboxCell) -> None:
        read, write = os.pipe()
        await cell.interrupt(signal.SIGINT)  # nothing runs: nothing happens
        text = script + "echo ready; while :; do sleep 0.02; done"
        command = Command(("/bin/sh", "-c", text), {"PATH": PATH}, PurePosixPath("/"))
        async with alongside(cell.run(command, output=write)) as task:
            assert await asyncio.to_thread(os.read, read, 6) == b"ready\n"
            await cell.interrupt(signal.SIGINT)
            assert (await task).status == status
        os.close(read)
        os.close(write)

    within(tmp_path / "cell", work)


def test_the_next_step_runs_after_one_that_killed_everything(tmp_path: Path) -> None:
    done = run_in_sandbox(tmp_path / "cell", "echo a > /tmp/a; kill -9 -1; sleep 10", "cat /tmp/a", user="root")
    assert done[1] == Done(0, "a\n")


_LATE = """
#include <unistd.h>
void exit(int status) { usleep(300000); _exit(status); }
"""


def test_a_step_lives_though_bubblewraps_process_in_between_ends_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to the cell's ids
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "late.c").write_text(_LATE)
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", "late.so", "late.c"], cwd=folder, check=True)
        (folder / "bwrap").write_text(f'#!/bin/sh\nLD_PRELOAD={folder}/late.so exec {shutil.which("bwrap")} "$@"\n')
        (folder / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        # As root: a change of the user would take the signal of a late death away.
        assert run_in_sandbox(tmp_path / "cell", "sleep 1; echo lived", user="root") == [Done(0, "lived\n")]


def test_the_builds_user_cannot_end_what_keeps_the_cell(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        await sh(cell, "sleep 1000 >/dev/null 2>&1 &", "root")
        await sh(cell, "kill -9 -1")
        assert (await sh(cell, "cat /proc/[0-9]*/comm")).output.count("sleep") == 2

    within(tmp_path / "cell", work)


def test_an_archive_is_unpacked_with_its_owners_and_modes_into_what_is_there(tmp_path: Path) -> None:
    data = packed(
        (member("build/p", kind=tarfile.DIRTYPE, mode=0o755, owner=1000), b""),
        (member("build/p/x", mode=0o755, owner=1000), b"#!/bin/sh\n"),
        (member("build/p/-rf", owner=1000), b""),
        (member("run/hermit/deep/file", mode=0o600), b"k"),
        (member("lib/added"), b"below what may be a link"),
    )

    async def work(cell: SandboxCell) -> None:
        await put(cell, data)
        script = "stat -c '%n %u:%g %a' /build/p /build/p/x /build/p/-rf /run/hermit/deep/file; ls -d /lib/added"
        assert (await sh(cell, script, "root")).output.splitlines() == [
            *("/build/p 1000:1000 755", "/build/p/x 1000:1000 755", "/build/p/-rf 1000:1000 644"),
            *("/run/hermit/deep/file 0:0 600", "/lib/added"),
        ]

    within(tmp_path / "cell", work)


def test_an_archive_follows_no_link_out_of_the_cell(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)

    async def work(cell: SandboxCell) -> None:
        await sh(
            cell,
            f"mkdir -p /x{outside.parent}; rm -rf /build/p; ln -s {outside} /build/p; ln -s /../../.. /build/up",
            "root",
        )
        await sh(cell, f"mkdir -p {outside}", "root")
        await put(cell, packed((member("build/p/f"), b"1"), (member(f"build/up{outside}/g"), b"1")))
        assert (await sh(cell, f"ls {outside}")).output == "f\ng\n"

    within(tmp_path / "cell", work)
    assert os.listdir(outside) == []


def test_what_is_no_archive_is_refused_with_tars_words(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        with pytest.raises(CellError, match="does not look like a tar archive"):
            await put(cell, io.BytesIO(b"nothing" * 1000))

    within(tmp_path / "cell", work)


def test_a_kept_cell_is_gone_on_with_and_then_removed(tmp_path: Path) -> None:
    async def keep(cell: SandboxCell) -> None:
        await sh(cell, "echo kept > /build/file; rm /etc/hosts", "root")
        await cell.stop()
        await cell.keep()

    async def look(cell: SandboxCell) -> None:
        assert (await sh(cell, "cat /build/file; ls /etc/hosts")).output.startswith("kept\nls: ")

    within(tmp_path / "cell", keep)
    (tmp_path / "cell").rename(tmp_path / "moved")
    within(tmp_path / "moved", look)
    assert os.listdir(tmp_path) == []


def test_a_cell_whose_holder_was_killed_can_still_be_kept(tmp_path: Path) -> None:
    async def keep(cell: SandboxCell) -> None:
        await sh(cell, "echo kept > /build/file", "root")
        assert cell._holder is not None
        keeper = cell._holder._process
        os.kill(holder_of(keeper.pid), signal.SIGKILL)
        await keeper.wait()
        await cell.stop()
        await cell.keep()

    async def look(cell: SandboxCell) -> None:
        assert (await sh(cell, "cat /build/file")).output == "kept\n"

    within(tmp_path / "cell", keep)
    within(tmp_path / "cell", look)
    assert os.listdir(tmp_path) == []


def test_a_cell_whose_holder_has_emptied_it_cannot_be_kept(tmp_path: Path) -> None:
    async def keep(cell: SandboxCell) -> None:
        assert cell._holder is not None
        cell._holder._process.kill()
        await cell._holder._process.wait()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if not cell._tree.upper.exists():
                break
        with pytest.raises(CellError, match="has gone"):
            await cell.keep()

    within(tmp_path / "cell", keep)
    assert os.listdir(tmp_path) == []


def test_stopping_and_destroying_twice_is_safe_and_so_is_destroying_what_never_started(tmp_path: Path) -> None:
    async def run() -> None:
        cell = SandboxCell(image(), tmp_path / "cell", Limits())
        await cell.destroy()
        await cell.stop()
        (await cell.start()).close()
        for _ in range(2):
            await cell.stop()
        for _ in range(2):
            await cell.destroy()

    image()
    asyncio.run(run())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["guard.stop", "guard.remove", "init.close", "holder.close"])
def test_whatever_fails_when_it_is_destroyed_the_rest_is_done_and_the_first_error_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    async def run() -> None:
        cell = SandboxCell(image(), tmp_path / "cell", Limits())
        before = state()
        (await cell.start()).close()
        await sh(cell, "sleep 1002 >/dev/null 2>&1 &")
        part, method = failing.split(".")
        found = getattr(cell, f"_{part}")
        real = getattr(found, method)

        def fails() -> Awaitable[None] | None:
            waiting = real()
            if waiting is None:
                raise RuntimeError(failing)

            async def then() -> None:
                await waiting
                raise RuntimeError(failing)

            return then()

        monkeypatch.setattr(found, method, fails)
        monkeypatch.setattr(cell_module.mapped, "remove_tree", no_removal)
        with pytest.raises(RuntimeError, match=failing):  # and not that the folder cannot be removed
            await cell.destroy()
        assert removals == [tmp_path / "cell"]
        assert not [line for line in command_lines() if b"sleep\x001002\x00" in line]
        monkeypatch.undo()
        await cell.destroy()
        assert state() == before

    async def no_removal(folder: Path) -> None:
        removals.append(folder)
        raise CellError("a later one")

    removals: list[Path] = []
    image()
    asyncio.run(run())
    assert os.listdir(tmp_path) == []


def test_a_watchdog_that_fails_ends_no_less_when_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cell: SandboxCell) -> None:
        async def fails() -> None:
            raise RuntimeError("watchdog")

        await sh(cell, "sleep 1003 >/dev/null 2>&1 &")
        monkeypatch.setattr(cell._guard, "stop", fails)
        with pytest.raises(RuntimeError, match="watchdog"):
            await cell.stop()
        assert not [line for line in command_lines() if b"sleep\x001003\x00" in line]
        monkeypatch.undo()

    within(tmp_path / "cell", work)


def test_one_file_that_is_too_large_is_told_as_the_disks_limit(tmp_path: Path) -> None:
    limits = Limits(disk=8 << 20)

    async def work(cell: SandboxCell) -> None:
        done = await sh(cell, "exec head -c 20000000 /dev/zero > /build/x")
        assert (done.status, done.exceeded) == (
            128 + signal.SIGXFSZ,
            "disk: SIGXFSZ, which one file of more than 8 MiB brings (limits: disk)",
        )
        again = await sh(cell, "true")
        assert (again.status, again.exceeded) == (137, done.exceeded)

    within(tmp_path / "cell", work, limits)


def test_an_image_that_is_not_there_makes_no_cell_and_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell", tree=tmp_path / "no-image"):
            pytest.fail("it started")

    with pytest.raises(CellError, match="no-image: No such file"):
        asyncio.run(run())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("limits", "script", "said"),
    [
        (Limits(seconds=0.5), "sleep 1000", "time: "),
        (Limits(processes=40), _FORKS, "processes: "),
        (Limits(disk=4 << 20), "while :; do head -c 3000000 /dev/zero > /build/$((n = n + 1)); done", "disk: "),
        (Limits(memory=64 << 20), "perl -e '$a = q(x) x (1 << 29); sleep 1000'", "memory: "),
    ],
)
def test_a_limit_ends_the_whole_cell_and_says_which(tmp_path: Path, limits: Limits, script: str, said: str) -> None:
    async def work(cell: SandboxCell) -> None:
        done = await sh(cell, script)
        assert done.status != 0
        assert done.exceeded is not None
        assert done.exceeded.startswith(said)
        again = await sh(cell, "true")
        assert (again.status, again.exceeded) == (137, done.exceeded)

    within(tmp_path / "cell", work, limits)
    assert os.listdir(tmp_path) == []


def test_a_limit_that_is_reached_while_files_are_put_is_the_builds_failure_and_told(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        read, write = os.pipe()  # an archive that does not come
        for _ in range(2):  # what is put after it finds the same
            with pytest.raises(LimitError, match="time: ") as raised:
                await cell.put(read)
            assert raised.value.exit_code is ExitCode.FAILED
        os.close(read)
        os.close(write)

    within(tmp_path / "cell", work, Limits(seconds=0.5))


def test_a_cell_whose_holder_ended_with_its_group_says_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does where it kills a group as a whole (memory.oom.group)."""

    async def work(cell: SandboxCell) -> None:
        guard, holder = cell._guard, cell._holder
        assert guard is not None
        assert holder is not None
        assert guard._watch is not None
        async with alongside(sh(cell, "sleep 1000")) as task:
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if cell._command is not None:
                    break
            monkeypatch.setattr(guard._watch, "_gauges", replace(guard._watch._gauges, held=lambda: "memory: too much"))
            holder._process.kill()
            done = await task
        assert (done.status, done.exceeded) == (137, "memory: too much")

    within(tmp_path / "cell", work)


def test_twenty_cells_leave_the_machine_as_it_was(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        for number in range(21):
            async with started(tmp_path / "cell") as cell:
                assert (await sh(cell, "echo $$ > /build/x; sleep 100 &")).status == 0
            if number == 0:
                before = state()
        assert state() == before
        return before

    image()
    asyncio.run(run())
    assert os.listdir(tmp_path) == []


def state() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), len(Path("/proc/self/mountinfo").read_text().splitlines())
