"""Ends a build that uses up the machine, where the kernel's own limits are missing or blind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import openfiles
from hermit_workers.sandbox.limits.gauges import Use, available, measure
from hermit_workers.sandbox.limits.openfiles import Nameless
from hermit_workers.sandbox.limits.rlimits import size, told

# What a build leaves to the machine, whatever its own limits: the user's programs and Hermit's store need it.
RESERVED_DISK = 1 << 30
RESERVED_MEMORY = 256 << 20
_SHORTEST = 0.2
_LONGEST = 5.0
_SHARE = 50  # asleep that many times as long as it looked: 2 % of a core


@dataclass(frozen=True, slots=True)
class Gauges:
    """Is what the watchdog reads; each is called often and must not block. Bytes, unless said otherwise.

    `processes`: numbers of the cell's processes, or None where a control group holds memory and processes.
    `free`: what is left in the file system of its layer. `held`: Cgroup.exceeded. `shared`: what the cell's memory
    file systems and segments hold. `disk`: what it has written, and `walks`, how often that was counted (disk.Counter).
    `nameless`: files that only its processes know (openfiles.nameless). `available`: what is left of the machine's
    memory.
    """

    processes: Callable[[], Iterable[int]] | None
    free: Callable[[], int]
    held: Callable[[], str | None] = lambda: None
    shared: Callable[[], int] = lambda: 0
    disk: Callable[[], int] = lambda: 0
    walks: Callable[[], int] = lambda: 0
    nameless: Callable[[], Iterable[Nameless]] = tuple
    available: Callable[[], int] = available


class Watch:
    """Is the watchdog of one build.

    States: made -> watching -> over (something was too much, or `stop`).
    """

    def __init__(self, limits: Limits, gauges: Gauges, exceeded: Callable[[str], None]) -> None:
        """Take whom to call, once at most and from the loop, with a sentence for people."""
        self._limits = limits
        self._gauges = gauges
        self._exceeded = exceeded
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._said: str | None = None
        self._over_since: int | None = None  # the number of a walk

    def start(self) -> None:
        """Watch from now on, which is also when the build's time begins; needs a running loop."""
        sentence = f"time: not done after {_duration(self._limits.seconds)} (limits: time)"
        self._timer = asyncio.get_running_loop().call_later(self._limits.seconds, self._say, sentence)
        self._task = asyncio.create_task(self._look_again_and_again())

    async def check(self) -> str | None:
        """Look at everything now, and give the sentence where something is too much (after a command ended, say)."""
        return self._said or self._held_or_space() or await self._use()

    async def stop(self) -> None:
        """Watch no more; doing it twice is safe."""
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _say(self, sentence: str) -> None:
        if self._said is None:
            self._said = sentence
            self._exceeded(sentence)

    async def _look_again_and_again(self) -> None:
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001  whatever it is: a build that nobody watches does not go on
            why = error.strerror if isinstance(error, OSError) else repr(error)  # no descriptor left for /proc, say
            self._say(f"limits: the build can no longer be watched: {why}")

    async def _look(self) -> None:
        next_use = 0.0
        while self._said is None:
            sentence = self._held_or_space()
            now = time.monotonic()
            if sentence is None and now >= next_use:
                spent = time.thread_time()
                sentence = await self._use()
                # Other tasks may have run in between: then it looks a little less often than it might.
                next_use = now + min(_LONGEST, max(_SHORTEST, _SHARE * (time.thread_time() - spent)))
            if sentence is not None:
                self._say(sentence)
                return
            await asyncio.sleep(_SHORTEST)

    def _held_or_space(self) -> str | None:
        """Read what costs nothing to read."""
        gauges, limits = self._gauges, self._limits
        if (held := gauges.held()) is not None:
            return held
        if (written := gauges.disk()) > limits.disk:
            return told("disk", size(written), size(limits.disk))
        if (free := gauges.free()) < RESERVED_DISK:
            left = f"this machine has {size(free)} left, and a build leaves it {size(RESERVED_DISK)}"
            return f"disk: {left} (make room, or move Hermit's folders)"
        if (left_memory := gauges.available()) < RESERVED_MEMORY:
            left = f"this machine has {size(left_memory)} left, and a build leaves it {size(RESERVED_MEMORY)}"
            return f"memory: {left} (limits: memory)"
        return None

    async def _use(self) -> str | None:
        gauges, limits = self._gauges, self._limits
        hidden, sentence = await self._nameless()
        if sentence is not None or gauges.processes is None:
            return sentence
        use = await self._measured(gauges.processes(), exact=False)
        if use.threads >= limits.processes:
            # At the limit, not above it: the kernel refuses more (RLIMIT_NPROC), and a fork bomb would go on for ever.
            return told("processes", str(use.threads), str(limits.processes))
        files = gauges.shared() + hidden.memory
        if use.sum(files) <= limits.memory:
            return None
        # That was an upper bound: what processes share was counted for each of them.
        use = await self._measured(gauges.processes(), exact=True)
        needed = use.sum(files)
        return told("memory", size(needed), size(limits.memory)) if needed > limits.memory else None

    async def _nameless(self) -> tuple[Nameless, str | None]:
        hidden = Nameless()
        for found in self._gauges.nameless():
            hidden = found
            if (sentence := self._held_or_space()) is not None:  # it may take seconds, and a disk is full sooner
                return hidden, sentence
            await asyncio.sleep(0)  # it may be thousands, and others wait for the loop
        if hidden.descriptors > openfiles.MOST:
            return hidden, f"processes: they have more than {openfiles.MOST:,} files open together (limits: processes)"
        if self._lasts(hidden.disk):
            return hidden, told("disk", size(self._gauges.disk() + hidden.disk), size(self._limits.disk))
        return hidden, None

    def _lasts(self, nameless: int) -> bool:
        """Tell whether files with a name and without are too much together, and not only because one has lost its name.

        What was counted by its name a moment ago may be without one now: so everything is counted anew first, twice,
        because a count may be under way.
        """
        written, walks = self._gauges.disk(), self._gauges.walks()
        if not nameless or written + nameless <= self._limits.disk:
            self._over_since = None
            return False
        if self._over_since is None:
            self._over_since = walks
        return nameless > self._limits.disk or walks >= self._over_since + 2

    async def _measured(self, processes: Iterable[int], *, exact: bool) -> Use:
        use = Use()
        for number, process in enumerate(processes, 1):
            use += measure(process, exact=exact)
            if exact or number % 64 == 0:
                await asyncio.sleep(0)  # it may be thousands, and others wait for the loop
        return use


def _duration(seconds: float) -> str:
    whole = round(seconds)
    for unit, length in (("h", 3600), ("min", 60)):
        if whole >= length and whole % length == 0:
            return f"{whole // length} {unit}"
    return f"{seconds:g} s"
