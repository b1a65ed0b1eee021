"""Brings a build to a stage by a real condition, and holds it there while the test hits it; see stages.py."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from tests.integration.faults import buildcases, processes
from tests.integration.faults.buildbench import HELD, LEFT_OF_BUILDS, MARK, BuildBench, BuildRunning
from tests.integration.faults.cases import Stage
from tests.integration.faults.gate import Gate
from tests.integration.faults.halt import halting
from tests.integration.faults.processes import until
from tests.integration.faults.stages import locked

_SLEEP = f"echo {MARK}; exec sleep 1000"
_MANY = "mkdir d; cd d; for i in {1..8000}; do : >$i; done"
# What the build at a stage asks for; the next one, without the fault, asks for the same.
PATHS = {
    buildcases.ASKING: ("/old", "/small"),
    buildcases.RECORDING: ("/old", "/halting"),
    buildcases.REPLAYED: ("/old",),
    buildcases.OFFLINE: ("/old",),
    buildcases.BETWEEN: ("/old",),
    buildcases.WRITING: ("/old", "/small"),
    buildcases.REPORTING: ("/old",),
}


@contextlib.contextmanager
def waiting(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold hermit before it has its image."""
    (image,) = bench.library.images()
    with locked(bench.library.folder / f".turn-{image.recipe.removeprefix('sha256:')[:16]}"):
        (bench.hermit.project / ".hermit/image.lock").unlink()
        bench.before = bench.tree()
        running = bench.start(stage.mode)
        until("hermit to wait for its turn", lambda: "image" in running.said.read_text())
        yield running
    (bench.library.folder / f".turn-{image.recipe.removeprefix('sha256:')[:16]}").unlink(missing_ok=True)


@contextlib.contextmanager
def starting(bench: BuildBench, stage: Stage, server: Gate) -> Iterator[BuildRunning]:
    """Hold the proxy before it is ready, by a store that does not answer; the cell is there."""
    server.shut()
    running = bench.start(stage.mode)
    assert server.reached.wait(20)
    until("the cell", lambda: running.victim("init"))
    running.release = server.open
    try:
        yield running
    finally:
        server.open()


@contextlib.contextmanager
def opening(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the cell before its first process."""
    with halting("bwrap") as halt:
        running = bench.start(stage.mode, env={"PATH": halt.path})
        until("bubblewrap to be called", halt.reached)
        yield running


@contextlib.contextmanager
def putting(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the cell's tar when it has unpacked the source."""
    bench.spec("true", files={HELD: ""})
    running = bench.start(stage.mode)
    until("tar to wait", lambda: _sleeping(running))
    running.release = lambda: _end(running)
    yield running


@contextlib.contextmanager
def asking(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the recorder while it connects."""
    bench.spec(bench.fetching("/old", "/small"), artifacts=("out",))
    bench.web.gate.shut()
    running = bench.start(stage.mode)
    assert bench.web.gate.reached.wait(30)
    yield running


@contextlib.contextmanager
def recording(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the recorder when a part of the body is in the store, unfinished."""
    bench.spec(bench.fetching("/old", "/halting"))
    bench.web.halt()
    running = bench.start(stage.mode)
    assert bench.web.stopped.wait(30)
    until("a part in the store", lambda: list((bench.hermit.store / "tmp").iterdir()))
    yield running


@contextlib.contextmanager
def sleeping(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold a step by itself, with network or without."""
    fetched = bench.fetching("/old")
    steps: tuple[str | dict[str, str], ...] = (f"{fetched}; {_SLEEP}",)
    if stage is buildcases.OFFLINE:
        steps = (fetched, {"run": _SLEEP})
    bench.spec(*steps)
    running = bench.start(stage.mode)
    until("the step to sleep", bench.stands)
    yield running


@contextlib.contextmanager
def between(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold hermit where a step has ended and the proxy does not say so."""
    bench.spec(f"{bench.fetching('/old')}; echo {MARK}; sleep 1000 || true", {"run": "true"})
    running = bench.start(stage.mode)
    until("the step to sleep", lambda: bench.stands() and _sleeping(running))
    proxy, step = running.victim("proxy"), _sleeping(running)
    assert proxy is not None
    os.kill(proxy, signal.SIGSTOP)
    os.kill(step[0], signal.SIGKILL)
    until("the step to be over", lambda: not running.victim("bubblewrap"))
    running.release = lambda: os.kill(proxy, signal.SIGCONT)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(proxy, signal.SIGCONT)


@contextlib.contextmanager
def taking(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the process that takes artifacts among them; the one that counts has ended with the cell."""
    bench.spec({"run": _MANY, "shell": "bash"}, artifacts=("d/*",))
    running = bench.start(stage.mode)
    until("the cell", lambda: running.victim("init"))
    until("the cell to end", lambda: not running.victim("init"))
    until("the taker", lambda: running.victim("taker"))
    taker = running.victim("taker")
    assert taker is not None
    os.kill(taker, signal.SIGSTOP)
    yield running
    with contextlib.suppress(ProcessLookupError):
        os.kill(taker, signal.SIGCONT)


@contextlib.contextmanager
def keeping(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold hermit at the moment when an artifact gets its name in the store."""
    bench.spec({"run": "echo new >out"}, artifacts=("out",))
    with locked(bench.hermit.store / "lock") as lock:
        running = bench.start(stage.mode)
        until("a commit", lock.waited_for)
        running.release = lock.release
        yield running


@contextlib.contextmanager
def removing(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold the holder while it removes what the build wrote."""
    with halting("rm", where="*upper*") as halt:
        running = bench.start(stage.mode, env={"PATH": halt.path})
        until("rm to be called", halt.reached)
        running.release = halt.release
        yield running


@contextlib.contextmanager
def writing(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold hermit when all but it has ended and the snapshot is next."""
    bench.spec(bench.fetching("/old", "/small"))
    with locked(bench.hermit.snapshot.parent):
        running = bench.start(stage.mode)
        until("the cell", lambda: running.victim("init"))
        until("all to go", lambda: not running.left())
        yield running


@contextlib.contextmanager
def reporting(bench: BuildBench, stage: Stage) -> Iterator[BuildRunning]:
    """Hold hermit when all is done but to say so."""
    bench.spec(bench.fetching("/old"))
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        running = bench.start(stage.mode, options=("--json",), stdout=writer)
        until("the cell", lambda: running.victim("init"))
        until("all to go", lambda: not running.left())
        until("the folder to be clean", lambda: set(*bench.runs().values()) <= LEFT_OF_BUILDS)
        yield running
    finally:
        os.close(reader)
        os.close(writer)


def _sleeping(running: BuildRunning) -> list[int]:
    return [pid for pid in processes.below(running.popen.pid) if processes.argv(pid)[:2] == ["sleep", "1000"]]


def _end(running: BuildRunning) -> None:
    for pid in _sleeping(running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


HOLDS: dict[Stage, Callable[[BuildBench, Stage], contextlib.AbstractContextManager[BuildRunning]]] = {
    buildcases.WAITING: waiting,
    buildcases.OPENING: opening,
    buildcases.PUTTING: putting,
    buildcases.ASKING: asking,
    buildcases.RECORDING: recording,
    buildcases.REPLAYED: sleeping,
    buildcases.OFFLINE: sleeping,
    buildcases.BETWEEN: between,
    buildcases.TAKING: taking,
    buildcases.KEEPING: keeping,
    buildcases.REMOVING: removing,
    buildcases.WRITING: writing,
    buildcases.REPORTING: reporting,
}
