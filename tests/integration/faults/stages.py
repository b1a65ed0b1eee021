"""Brings a run to a stage by a real condition, and holds it there while the test hits it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.integration.faults import cases
from tests.integration.faults.bench import LEFT, Bench, Running
from tests.integration.faults.cases import Stage
from tests.integration.faults.gate import Gate
from tests.integration.faults.processes import until

# What the run at a stage asks for; the next one, without the fault, asks for the same.
PATHS = {
    cases.STARTING: ("/old",),
    cases.STARTING_HERMETIC: ("/old",),
    cases.CONNECTING: ("/old", "/small"),
    cases.RECORDING: ("/old", "/halting"),
    cases.COMMITTING: ("/old", "/small"),
    cases.REPLAYING: ("/large",),
    cases.WRITING: ("/old", "/small"),
    cases.REPORTING: ("/old",),
}


def waits(process: int | None) -> bool:
    """Tell whether the cell's first program has handed its socket out and waits for the word: it is in recvfrom(2)."""
    if process is None or b"entry.py" not in Path(f"/proc/{process}/cmdline").read_bytes():
        return False
    try:
        return Path(f"/proc/{process}/syscall").read_text().split()[0] in {"45", "207"}  # x86_64, aarch64
    except (OSError, IndexError):
        return os.geteuid() != 0  # an ordinary user may not look


@contextlib.contextmanager
def starting(bench: Bench, stage: Stage, server: Gate) -> Iterator[Running]:
    """Hold the proxy before it is ready, by a store that does not answer."""
    server.shut()
    running = bench.start(stage.mode, *bench.fetch(*PATHS[stage]))
    assert server.reached.wait(20)
    until("the command to wait for the proxy", lambda: waits(running.victim("command")))
    running.release = server.open
    try:
        yield running
    finally:
        server.open()


@contextlib.contextmanager
def connecting(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold the recorder while it connects: the old body is replayed, the small one is asked for."""
    bench.web.gate.shut()
    running = bench.start(stage.mode, *bench.fetch(*PATHS[stage]))
    assert bench.web.gate.reached.wait(20)
    yield running


@contextlib.contextmanager
def recording(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold the recorder when a part of the body is in the store, unfinished."""
    bench.web.halt()
    running = bench.start(stage.mode, *bench.fetch(*PATHS[stage]))
    assert bench.web.stopped.wait(20)
    until("a part in the store", lambda: list((bench.hermit.store / "tmp").iterdir()))
    yield running


@contextlib.contextmanager
def committing(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold the recorder at the moment when the body gets its name; the command has it and does something else."""
    with locked(bench.hermit.store / "lock") as lock:
        fetch = shlex.join(bench.fetch(*PATHS[stage]))
        running = bench.start(stage.mode, "sh", "-c", f"{fetch}; exec sleep 1000")
        until("a commit", lock.waited_for)
        running.release = lock.release
        yield running


@contextlib.contextmanager
def replaying(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold the replayer when the client has the beginning of the body and reads no further."""
    got = bench.folder / "got"
    (url,) = (bench.web.url(path) for path in PATHS[stage])
    running = bench.start(stage.mode, "curl", "-sSf", "--limit-rate", "1000", url, "-o", str(got))
    until("the beginning of the body", lambda: got.exists() and got.stat().st_size)
    yield running


@contextlib.contextmanager
def writing(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold hermit when the proxy has finished and the snapshot is next."""
    with locked(bench.hermit.snapshot.parent):
        running = bench.start(stage.mode, *bench.fetch(*PATHS[stage]))
        until("the proxy to come", lambda: running.victim("proxy"))
        until("the proxy to go", lambda: not running.left())
        yield running


@contextlib.contextmanager
def reporting(bench: Bench, stage: Stage) -> Iterator[Running]:
    """Hold hermit when all is done but to say so."""
    reader, writer = os.pipe()
    filler = "head -c 1000000 /dev/zero >&2 & sleep 0.2; kill $!; wait"
    try:
        running = bench.start(stage.mode, "sh", "-c", filler, stderr=writer)
        until("the proxy to come", lambda: running.victim("proxy"))
        until("the proxy to go", lambda: not running.left())
        until("the folder to be clean", lambda: list(bench.runs().values()) == [LEFT])
        yield running
    finally:
        os.close(reader)
        os.close(writer)


HOLDS: dict[Stage, Callable[[Bench, Stage], contextlib.AbstractContextManager[Running]]] = {
    cases.CONNECTING: connecting,
    cases.RECORDING: recording,
    cases.COMMITTING: committing,
    cases.REPLAYING: replaying,
    cases.WRITING: writing,
    cases.REPORTING: reporting,
}


class Lock:
    """Is a lock that the product takes, held by the test."""

    def __init__(self, descriptor: int) -> None:
        """Take the open file, and the lock."""
        self._descriptor = descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def waited_for(self) -> bool:
        """Tell whether somebody waits for it (proc_locks(5))."""
        inode = os.fstat(self._descriptor).st_ino
        lines = Path("/proc/locks").read_text().splitlines()
        return any("->" in line and f":{inode} " in line for line in lines)

    def release(self) -> None:
        """Let the product have it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the lock of a file or folder."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def gate_to(server: Path, at: Path) -> Iterator[Gate]:
    """Put a gate before a server on a Unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(at))
    listener.listen()

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(server))
        return sock

    with Gate(listener, connect) as gate:
        yield gate
