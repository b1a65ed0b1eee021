"""Makes the cells that are attacked from within, and the host's things that nobody in them may reach."""

from __future__ import annotations

import asyncio
import atexit
import functools
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hermit_workers.cell import Command, Limits, User
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces.mapped import remove_tree, run_mapped
from tests.integration.hostile.victims import SECRET, victims
from tests.support.hermit import need_namespaces
from tests.support.sandbox import PATH, Done, image

ROOT = Path(__file__).resolve().parents[3]
# Where the attackers' Python and the attempts are in the cell.
TOOLS = "/opt/attack"
PYTHON = f"{TOOLS}/bin/python3"
TOOL_ENVIRONMENT = {"PYTHONHOME": TOOLS, "LD_LIBRARY_PATH": f"{TOOLS}/lib", "PYTHONDONTWRITEBYTECODE": "1"}
_MODULES = "tests/integration/hostile/inside"
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {0} import {1}; {1}.main(*sys.argv[1:])"
# A control fails so where this kernel, or this machine, has no such thing at all.
_NOT_HERE = {"ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ENODEV", "ENOENT", "ENXIO", "EOPNOTSUPP"}

Found = dict[str, dict[str, str]]


def program(module: str, *, tools: str = TOOLS, python: str = PYTHON) -> list[str]:
    """Give the command that runs one of the attackers' modules."""
    return [python, "-S", "-c", _START.format(_MODULES.replace("/", "."), module), tools]


@functools.cache
def tree() -> Path:
    """Give the tiny tree with a Python for the attackers; it goes when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="hermit-bastion-"))
    atexit.register(lambda: asyncio.run(remove_tree(folder)))
    folder.chmod(0o755)
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, path in sorted(_tools().items()):
                archive.add(path, name, recursive=False, filter=_of_root)
        packed.seek(0)
        (folder / "made").mkdir()
        (folder / "made").chmod(0o777)
        script = 'cp -a "$1" "$2/root" && mkdir -p "$2/root$3" && tar -C "$2/root$3" -xp --numeric-owner'
        command = ["sh", "-ec", script, "sh", str(image()), str(folder / "made"), TOOLS]
        assert asyncio.run(run_mapped(command, stdin=packed.fileno())) == 0
    return folder / "made/root"


def _tools() -> dict[str, Path]:
    """Name this Python, its library and what it is linked with: place below TOOLS and file of the host."""
    binary = Path(sys.executable).resolve()
    library = Path(sysconfig.get_paths()["stdlib"])
    found = {"bin/python3": binary}
    skipped = {"test", "site-packages", "dist-packages", "__pycache__", "idlelib", "ensurepip", "tkinter", "lib2to3"}
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in skipped and not name.startswith("config-")]
        found |= {f"lib/{library.name}/{Path(folder, name).relative_to(library)}": Path(folder, name) for name in names}
    modules = [str(path) for name, path in found.items() if "/lib-dynload/_" in name]
    linked = subprocess.run(["ldd", str(binary), *modules], capture_output=True, text=True, check=False).stdout
    for line in linked.splitlines():
        name, _, rest = line.strip().partition(" => ")
        if rest.startswith("/") and not name.startswith(("libc.", "ld-linux")):
            found[f"lib/{name}"] = Path(rest.split()[0]).resolve()
    return found | {f"{_MODULES}/{path.name}": path for path in (ROOT / _MODULES).glob("*.py")}


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    return member


@asynccontextmanager
async def fortress(folder: Path, limits: Limits | None = None) -> AsyncIterator[tuple[SandboxCell, socket.socket]]:
    """Give a started cell with the attackers' tools and the socket of its wire, and destroy it."""
    root = await asyncio.to_thread(tree)
    cell = SandboxCell(root, folder, limits or Limits())
    try:
        with await cell.start() as listener:
            yield cell, listener
    finally:
        await cell.destroy()


async def run(cell: SandboxCell, argv: list[str], user: User = "root") -> Done:
    """Run a command of the attacker's in a cell; give what it printed."""
    with tempfile.TemporaryFile() as output:
        seen = {"PATH": PATH, **TOOL_ENVIRONMENT}
        command = Command(tuple(argv), seen, PurePosixPath("/"), user)
        ended = await asyncio.wait_for(cell.run(command, output=output.fileno()), 120)
        output.seek(0)
        return Done(ended.status, output.read().decode(errors="replace"), ended.exceeded)


async def put_text(cell: SandboxCell, path: str, text: str) -> None:
    """Put a file into a cell that everybody may read there."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.mode, member.size = 0o644, len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        file.seek(0)
        await cell.put(file.fileno())


@functools.cache
def probed() -> Found:
    """Make every attempt in a cell, as root and as the build's user, and where there is none; what came of each.

    `host` are those that must succeed straight on the host, `open` those in namespaces without a barrier.
    """
    need_namespaces()
    tree()
    folder = Path(tempfile.mkdtemp(prefix="hermit-hostile-"))
    try:
        with victims(folder, tree()) as task:
            return asyncio.run(_probe(folder, task))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _probe(folder: Path, task: dict[str, Any]) -> Found:
    found: Found = {}
    async with fortress(folder / "next") as (neighbouring, _):
        await put_text(neighbouring, "/task.json", json.dumps(task))
        reading, writing = os.pipe()
        seen = {"PATH": PATH, **TOOL_ENVIRONMENT}
        command = Command((*program("neighbour"), "/task.json"), seen, PurePosixPath("/"), "root")
        waiting = asyncio.ensure_future(neighbouring.run(command, output=writing))
        assert await asyncio.to_thread(os.read, reading, 100) == b"ready\n"
        task["neighbour"], task["bubblewrap"] = _found(b"neighbour.main"), _found(b"bwrap\0", b"infinity")
        async with fortress(folder / "cell") as (cell, listener):
            found["wire"] = {"port": str(listener.getsockname()[1])}
            own = {**task, "bubblewrap": 1, "scratch": "/build", "proxy": listener.getsockname()[1]}
            await put_text(cell, "/task.json", json.dumps(own))
            users: tuple[User, ...] = ("root", "build")
            for user in users:
                done = await run(cell, [*program("probe"), "/task.json", "cell"], user)
                assert done.status == 0, done
                found[user] = json.loads(done.output.splitlines()[-1])
            found["host"] = await asyncio.to_thread(_control, folder, task, "host", [])
        await neighbouring.stop()
        await asyncio.gather(waiting, return_exceptions=True)
        os.close(reading)
        os.close(writing)
    alone = ["unshare", "-rmpnuiC", "--fork", "--mount-proc", "--kill-child"]
    found["open"] = await asyncio.to_thread(_control, folder, task, "open", alone)
    return found


def _control(folder: Path, task: dict[str, Any], where: str, prefix: list[str]) -> dict[str, str]:
    """Make the attempts where they should succeed."""
    here = os.open("/", os.O_RDONLY)
    wire, other = socket.socketpair()
    try:
        known = {**task, "inherited": [here, wire.fileno()], "proxy": 3128}
        (folder / f"{where}.json").write_text(json.dumps(known))
        probe = program("probe", tools=str(ROOT), python=sys.executable)
        done = subprocess.run(
            [*prefix, *probe, str(folder / f"{where}.json"), where],
            env={**os.environ, "HOST_SECRET": SECRET},
            pass_fds=(here, wire.fileno()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(here)
        wire.close()
        other.close()
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _found(*words: bytes) -> int:
    """Find a process below this one by what its command line has."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    for process in sorted(parents):
        with suppress(OSError):
            line = Path(f"/proc/{process}/cmdline").read_bytes()
            if all(word in line for word in words) and os.getpid() in _ancestors(process, parents):
                return process
    raise AssertionError(words)


def _ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    while (process := parents.get(process, 0)) > 0:
        yield process


def barred(*prefixes: str, needs: Callable[[], bool] = lambda: True) -> None:
    """See that each attempt fails in the cell, for root and the build's user, and succeeds where nothing bars it.

    Where this kernel has not what the attempts need (`needs`, one of features.py), the test is skipped after the first.
    """
    from tests.integration.hostile.inside.probe import wanted  # noqa: PLC0415  its attempts are entered by importing

    found = probed()
    for prefix in prefixes:
        attempts = wanted(prefix)
        assert attempts, prefix
        for user in ("root", "build"):
            tried = {name: found[user][name] for name in attempts}
            assert {name: said for name, said in tried.items() if said.startswith(("reached", "broken"))} == {}, user
        if not needs():
            pytest.skip(f"this kernel has no {needs.__name__.replace('_', ' ')}: refused, but nothing shows by whom")
        _see_control(found, attempts)


def _see_control(found: Found, attempts: dict[str, str]) -> None:
    if os.geteuid() and "host" in attempts.values():
        pytest.skip("only root may do that outside of a cell, which is what shows that the cell prevents it")
    outside = {name: found[control][name] for name, control in attempts.items()}
    excused = _NOT_HERE | ({"EPERM", "EACCES"} if _half_a_root() else set())
    assert {name: said for name, said in outside.items() if said not in {"reached", *excused}} == {}
    assert "reached" in outside.values(), outside


def _half_a_root() -> bool:
    """Tell whether the tests' root is one of a container, which lacks capabilities itself."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return int(status["CapEff"], 16) + 1 < 1 << (int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)
