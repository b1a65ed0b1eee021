"""Is one turn of the build benchmark: how long a build took, and what the proxy had to do with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import measure
import samples
import straight
from distance import Way

from hermit_proxy.run.events import read_log

_MODULES = ("hermit_proxy.recorder", "hermit_proxy.replayer")
_LOOK = 0.05  # seconds between looks for the proxy, which is not there yet
_READ = 5  # milliseconds between readings of its clock
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER
_PATIENCE = 2.0  # seconds for orphans to end


@dataclass(frozen=True)
class Wire:
    """Is what went through the proxy in one build.

    `size` counts the answers' body bytes. `processor` are the proxy's own processor seconds from its start to its end,
    `open` the seconds in which at least one request had been asked and its answer was not yet whole.
    """

    requests: int
    size: int
    processor: float
    open: float


@dataclass(frozen=True)
class Turn:
    """Is one build: wall seconds, and what went through the proxy where there was one.

    `others` is the share of the machine's processor time that went to what has nothing to do with the build, `carried`
    the processor seconds that went into holding its packets where the registries were further away.
    """

    seconds: float
    others: float
    wire: Wire | None = None
    carried: float = 0.0


def parsed(told: dict[str, Any]) -> Turn:
    """Give a turn as JSON has it, from `dataclasses.asdict`."""
    return Turn(**told | {"wire": told["wire"] and Wire(**told["wire"])})


def direct(tree: straight.Tree, way: Way) -> Turn:
    """Build straight to the registries."""
    _adopt_orphans()
    clock = _Clock(way)
    with way.entered():
        seconds = tree.run().seconds
    _wait_for_orphans()
    others, carried = clock.read()
    return Turn(seconds, others, carried=carried)


def hermit(place: samples.Place, project: Path, mode: str, way: Way) -> Turn:
    """Build with Hermit; anything but success is an error with the end of what it said."""
    log, said = place.folder / "requests.jsonl", place.folder / "said"
    log.unlink(missing_ok=True)
    command = [str(samples.HERMIT), "build", "--quiet", "--mode", mode, "--log", str(log), str(project)]
    clock = _Clock(way)
    with said.open("wb") as output, way.entered():
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, env=place.environment(), stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        with _ended(process), Meter(process.pid, _MODULES) as meter:
            process.wait()
            seconds = time.perf_counter() - begin
    others, carried = clock.read()
    if process.returncode:
        told = said.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{project.name}, {mode}, ended with {process.returncode}:\n{told}")
    events = list(read_log(log))
    open_seconds = union((event.time, event.time + event.duration) for event in events)
    wire = Wire(len(events), sum(event.size for event in events), meter.seconds, open_seconds)
    return Turn(seconds, others, wire, carried)


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Give the length of what spans (begin, end) cover together; what several cover counts once."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


class Meter:
    """Reads the processor time of a process below another one, which is not yet there, until it has ended.

    `seconds` is what it has used from its start, its threads included; at its end no more than the last few
    milliseconds are missing.
    """

    def __init__(self, root: int, modules: tuple[str, ...]) -> None:
        """Take the process that will start it, and the Python modules of which one names it."""
        self.seconds = 0.0
        self._root = root
        self._modules = modules
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        """Begin to look for it."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = None
        while process is None:
            if self._done.wait(_LOOK):
                return
            process = next(filter(self._is_meant, measure.descendants(self._root)), None)
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            return
        try:
            self._read(process, descriptor)
        finally:
            os.close(descriptor)

    def _read(self, process: int, descriptor: int) -> None:
        """Read the clock of clock_getcpuclockid(3), which Python has for threads alone, while the process is there."""
        clock = ~process << 3 | 2
        ending = select.poll()
        ending.register(descriptor, select.POLLIN)
        while True:
            ended = ending.poll(_READ)
            try:
                self.seconds = time.clock_gettime(clock)
            except OSError:  # whoever started it was told of its end before us
                return
            if ended:
                return

    def _is_meant(self, process: int) -> bool:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # gone
            return False
        return not set(words).isdisjoint(self._modules)


def _adopt_orphans() -> None:
    """Become the parent of what loses its own: bubblewrap does not wait for its child, which has the steps' time."""
    ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)


def _wait_for_orphans() -> None:
    deadline = time.monotonic() + _PATIENCE
    with contextlib.suppress(ChildProcessError):  # there are none any more
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(_READ / 1000)


def _used_by_others() -> float:
    """Give the processor seconds of this machine without those of this process and of what it has waited for."""
    own = os.times()
    return measure.processor_seconds() - own.user - own.system - own.children_user - own.children_system


class _Clock:
    """Tells who used the machine since it was made."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._begin, self._quiet, self._carried = time.perf_counter(), _used_by_others(), way.processor()

    def read(self) -> tuple[float, float]:
        """Give the share that went to others, and the processor seconds of what carried the packets."""
        carried = self._way.processor() - self._carried
        seconds = time.perf_counter() - self._begin
        return (_used_by_others() - self._quiet - carried) / seconds / (os.cpu_count() or 1), carried


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a build end with whoever waits for it: it removes what it has made."""
    try:
        yield
    except BaseException:
        process.terminate()
        process.wait()
        raise
