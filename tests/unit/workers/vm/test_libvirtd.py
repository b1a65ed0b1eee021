"""Starts real libvirtds of Hermit's own, as root and as another user, and looks for what they leave."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermit_workers.cell import CellError, Limits
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.vm import layout, libvirtd
from hermit_workers.vm.bounds import Bounds
from hermit_workers.vm.libvirtd import Libvirtd
from tests.unit.workers.vm.conftest import OtherUser

NEEDED = ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64")
_SEARCH = os.defpath + ":/usr/sbin:/sbin"
needs_libvirt = pytest.mark.skipif(
    any(shutil.which(name, path=_SEARCH) is None for name in NEEDED), reason="libvirt and QEMU are not installed"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root's libvirtd")
# A process of somebody's who starts one, says where, and waits to be killed.
HOLDS_ONE = """
import asyncio, sys
from pathlib import Path
from hermit_workers.vm.libvirtd import Libvirtd
async def main():
    ports = [int(word) for word in sys.argv[3:]]
    made = await Libvirtd.start(Path(sys.argv[1]), cache=Path(sys.argv[2]), ports=ports)
    print(made.uri, *(listener.getsockname()[1] for listener in made.listeners), flush=True)
    for listener in made.listeners:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        print("accepted", flush=True)
    if sys.stdin.read():
        await made.stop()
asyncio.run(main())
"""
DOMAIN = "<domain type='qemu'><name>kept</name><memory>65536</memory><os><type>hvm</type></os></domain>"


@asynccontextmanager
async def running(folder: Path, cache: Path) -> AsyncIterator[Libvirtd]:
    made = await Libvirtd.start(folder, cache=cache)
    try:
        yield made
    finally:
        await made.stop()


async def virsh(uri: str, *words: str) -> str:
    command = ["virsh", "--connect", uri, *words]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes_in(folder: Path) -> dict[int, str]:
    """Give the processes that have a file below a folder open, or name it, by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            files = [os.readlink(file) for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if int(process.name) != os.getpid() and any(str(folder) in text for text in (words, *files)):
            found[int(process.name)] = words
    return found


def wait_until_gone(folder: Path) -> None:
    """Wait until no process has to do with a folder; long before a minute is over, or never."""
    end = time.monotonic() + 60
    while found := processes_in(folder):
        assert time.monotonic() < end, found
        time.sleep(0.05)


def mounts() -> str:
    return Path("/proc/self/mounts").read_text()


@needs_libvirt
@needs_root
def test_it_answers_and_leaves_no_process_no_mount_and_no_file(short: Path, cache: Path) -> None:
    async def scenario() -> None:
        before = mounts()
        async with running(short / "l", cache) as made:
            assert "QEMU" in await virsh(made.uri, "version")
            assert processes_in(short / "l")
            assert mounts() == before
        await made.stop()
        assert processes_in(short / "l") == {}
        assert not (short / "l").exists()
        assert (cache / "qemu").is_dir()

    asyncio.run(scenario())


@needs_libvirt
@needs_root
def test_two_at_once_know_nothing_of_each_other(short: Path, cache: Path) -> None:
    async def scenario() -> None:
        (short / "kept.xml").write_text(DOMAIN)
        async with running(short / "a", cache) as one, running(short / "b", cache) as two:
            await virsh(one.uri, "define", str(short / "kept.xml"))
            assert "kept" in await virsh(one.uri, "list", "--all", "--name")
            assert "kept" not in await virsh(two.uri, "list", "--all", "--name")

    asyncio.run(scenario())


@needs_libvirt
@needs_root
@pytest.mark.parametrize("victim", ["/usr/sbin/libvirtd", "/usr/sbin/virtlogd", sys.executable])
def test_when_a_part_of_it_is_killed_all_of_it_ends_and_is_told(short: Path, cache: Path, victim: str) -> None:
    async def scenario() -> None:
        async with running(short / "l", cache) as made:
            # The others have the programs' names among their arguments.
            found = processes_in(short / "l").items()
            victims = [number for number, words in found if words.startswith(victim)]
            assert victims
            os.kill(victims[0], signal.SIGKILL)
            await made.died
            await asyncio.to_thread(wait_until_gone, short / "l")

    asyncio.run(scenario())


@needs_libvirt
@needs_root
def test_nothing_of_it_outlives_a_hermit_that_is_killed_or_is_mounted_where_hermit_is(short: Path, cache: Path) -> None:
    # As under systemd: what is mounted in one namespace is mounted in the others, unless somebody sees to it.
    words = [
        "unshare",
        "--mount",
        "--propagation",
        "shared",
        sys.executable,
        "-c",
        HOLDS_ONE,
        str(short / "l"),
        str(cache),
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hermit:
        assert hermit.stdout is not None
        assert hermit.stdout.readline().startswith("qemu:///system?socket=")
        assert len(processes_in(short / "l")) > 1
        assert "/libvirt" not in Path(f"/proc/{hermit.pid}/mounts").read_text()
        hermit.kill()
    wait_until_gone(short / "l")
    assert (short / "l" / "run").exists()

    async def again() -> None:
        async with running(short / "l", cache) as made:
            assert "QEMU" in await virsh(made.uri, "version")

    asyncio.run(again())


@needs_libvirt
@needs_root
def test_a_folder_has_one_libvirtd_and_a_second_is_refused(short: Path, cache: Path) -> None:
    async def scenario() -> None:
        async with running(short / "l", cache) as made:
            with pytest.raises(CellError, match="another libvirtd of Hermit's runs in"):
                await Libvirtd.start(short / "l", cache=cache)
            assert "QEMU" in await virsh(made.uri, "version")

    asyncio.run(scenario())


@needs_libvirt
def test_another_user_gets_one_that_was_born_with_two_sockets_and_no_network(other: OtherUser) -> None:
    folder = other.folder
    words = [*other.prefix, sys.executable, "-c", HOLDS_ONE, str(folder / "l"), str(folder / "c"), "3128", "9989"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hermit:
        assert hermit.stdout is not None
        uri, *ports = hermit.stdout.readline().split()
        assert uri.startswith("qemu:///session?socket=")
        assert ports == ["3128", "9989"]
        daemon = next(n for n, words in processes_in(folder / "l").items() if words.startswith("/usr/sbin/libvirtd"))
        seen = Path(f"/proc/{daemon}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in seen] == ["lo"]
        assert Path(f"/proc/{daemon}/status").read_text().partition("CapEff:\t")[2].startswith("0" * 16)
        for port in ports:
            code = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
            inside = ["nsenter", f"--net=/proc/{daemon}/ns/net", sys.executable, "-c", code]
            subprocess.run(inside, check=True)
            assert hermit.stdout.readline() == "accepted\n"
        hermit.communicate("stop")
        assert hermit.returncode == 0
    assert processes_in(folder / "l") == {}
    assert not (folder / "l").exists()


def _programs(folder: Path, **scripts: str) -> str:
    """Make programs of these names, the others empty; give the PATH."""
    folder.mkdir()
    for name in NEEDED:
        (folder / name).write_text("#!/bin/sh\n" + scripts.get(name, "exit 1"))
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize("name", NEEDED)
def test_a_program_that_is_not_installed_is_named_with_the_command_that_installs_it(
    short: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = _programs(short / "bin")
    (short / "bin" / name).unlink()
    monkeypatch.setattr(layout, "PATH", path.partition(":")[0])
    with pytest.raises(CellError, match=f"{name} is not installed") as caught:
        asyncio.run(Libvirtd.start(short / "l", cache=short / "c"))
    assert "apt-get install" in str(caught.value.hint)
    assert not (short / "l").exists()


@needs_root
@pytest.mark.parametrize(
    ("daemon", "message"),
    [
        ("echo no room for QEMU >&2; exit 3", "libvirtd ended with 3; it said:\nno room for QEMU"),
        ("exit 0", "libvirtd ended with 0 and said nothing"),
        ("exec sleep 1000", "does not answer in 1 s: there is no socket"),
    ],
)
def test_what_a_libvirtd_died_of_is_told_in_its_own_words(
    short: Path, monkeypatch: pytest.MonkeyPatch, daemon: str, message: str
) -> None:
    monkeypatch.setattr(layout, "PATH", _programs(short / "bin", libvirtd=daemon, virtlogd="exec sleep 1000"))
    monkeypatch.setattr(libvirtd, "_SECONDS", 0.5 if "sleep" in daemon else 30.0)
    with pytest.raises(CellError, match=message.replace("1 s", "0 s")):
        asyncio.run(Libvirtd.start(short / "l", cache=short / "c"))
    assert processes_in(short / "l") == {}
    assert not (short / "l").exists()


@needs_root
def test_a_libvirtd_that_has_no_qemu_that_runs_is_told_at_once(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens and answers, so there is nothing to wait for."""
    listens = "mkdir -p /run/libvirt; touch /run/libvirt/libvirt-sock; exec sleep 1000"
    says = "echo 'error: internal error: Cannot find suitable emulator for x86_64' >&2; exit 1"
    path = _programs(short / "bin", libvirtd=listens, virtlogd="exec sleep 1000", virsh=says)
    monkeypatch.setattr(layout, "PATH", path)
    with pytest.raises(CellError, match="libvirt makes no VMs here: error: internal error: Cannot find") as caught:
        asyncio.run(Libvirtd.start(short / "l", cache=short / "c"))
    assert "qemu-system-x86_64 --version" in str(caught.value.hint)
    assert processes_in(short / "l") == {}


@needs_root
def test_a_libvirtd_that_takes_a_connection_and_never_answers_is_told(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens = "mkdir -p /run/libvirt; touch /run/libvirt/libvirt-sock; exec sleep 1000"
    path = _programs(short / "bin", libvirtd=listens, virtlogd="exec sleep 1000", virsh="exec sleep 1000")
    monkeypatch.setattr(layout, "PATH", path)
    monkeypatch.setattr(libvirtd, "_SECONDS", 2.0)
    with pytest.raises(CellError, match=r"does not answer in (2 s$|2 s: there is no socket)") as caught:
        asyncio.run(Libvirtd.start(short / "l", cache=short / "c"))
    assert caught.value.hint == "hermit doctor"
    assert processes_in(short / "l") == {}


@needs_libvirt
@needs_root
def test_all_of_it_is_held_before_it_begins(short: Path, cache: Path) -> None:
    bounds = Bounds(guest=64 << 20, memory=256 << 20, processes=300, file=99 << 20)

    async def scenario() -> set[tuple[str, ...]]:
        made = await Libvirtd.start(short / "l", cache=cache, bounds=bounds)
        try:
            found = [Path(f"/proc/{number}") for number in processes_in(short / "l")]
            files = [(process / "limits").read_text() for process in found]
            assert len(files) > 2  # both daemons, and who started them
            assert all(str(99 << 20) in file for file in files)
            return {tuple((process / "cgroup").read_text().splitlines()) for process in found}
        finally:
            await made.stop()

    (groups,) = asyncio.run(scenario())
    group = Cgroup.make(Limits())
    if group is not None:
        group.remove()
        assert any(f"hermit-cell-{os.getpid()}-" in line for line in groups)


def test_the_first_process_ends_where_nobody_lets_it_begin() -> None:
    words = [sys.executable, "-I", "-S", "-c", libvirtd._START, libvirtd._ROOT, str(os.getpid()), "-", ""]
    done = subprocess.run([*words, "--", "true", "--", "true"], stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 125


def test_a_folder_too_long_for_a_socket_is_refused_with_what_to_do(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "PATH", _programs(short / "bin"))
    with pytest.raises(CellError, match="too long") as caught:
        asyncio.run(Libvirtd.start(short / ("x" * 100), cache=short / "c"))
    assert "XDG_RUNTIME_DIR" in str(caught.value.hint)


@needs_root
def test_a_disk_without_room_is_told(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PATH", _programs(short / "bin"))
    (short / "file").touch()
    with pytest.raises(CellError, match=r"cannot be started in .*: Not a directory"):
        asyncio.run(Libvirtd.start(short / "file" / "l", cache=short / "c"))


def test_folders_for_its_machines_get_a_place_and_a_path_that_would_be_two_is_refused(tmp_path: Path) -> None:
    assert libvirtd._thd_bind(tmp_path, {"files": Path("/x/y")}) == [f"/x/y={tmp_path / 'files'}"]
    assert (tmp_path / "files").is_dir()
    with pytest.raises(CellError, match="there is a `=` in its path"):
        libvirtd._thd_bind(tmp_path, {"image": Path("/x=y")})
