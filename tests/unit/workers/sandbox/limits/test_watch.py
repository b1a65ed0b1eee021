"""Watches with gauges that say what a test wants, and real processes where it matters."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits.openfiles import MOST, Nameless
from hermit_workers.sandbox.limits.watch import RESERVED_DISK, RESERVED_MEMORY, Gauges, Watch

_GIB = 1 << 30
_MIB = 1 << 20
_LIMITS = Limits(memory=_GIB, processes=100, disk=10 * _GIB, seconds=3600.0)
_CALM = Gauges(processes=lambda: [os.getpid()], free=lambda: 100 * _GIB, available=lambda: 100 * _GIB)


def said(
    gauges: Gauges = _CALM,
    limits: Limits = _LIMITS,
    meanwhile: Callable[[Watch], Awaitable[object]] | None = None,
) -> list[str]:
    """Give what is said until the first sentence, or until `meanwhile` is over."""

    async def watch() -> list[str]:
        sentences: list[str] = []
        first = asyncio.Event()

        def exceeded(sentence: str) -> None:
            sentences.append(sentence)
            first.set()

        watching = Watch(limits, gauges, exceeded)
        watching.start()
        try:
            if meanwhile is None:
                await asyncio.wait_for(first.wait(), 30)
                await asyncio.sleep(0.5)  # a second one would come by now
            else:
                await meanwhile(watching)
        finally:
            await watching.stop()
            await watching.stop()
        return sentences

    return asyncio.run(watch())


@pytest.mark.parametrize(
    ("gauges", "sentence"),
    [
        ({"disk": lambda: 11 * _GIB}, "disk: 11 GiB of 10 GiB (limits: disk)"),
        (
            {"free": lambda: RESERVED_DISK - _MIB},
            "disk: this machine has 1023 MiB left, and a build leaves it 1 GiB (make room, or move Hermit's folders)",
        ),
        (
            {"available": lambda: RESERVED_MEMORY - _MIB},
            "memory: this machine has 255 MiB left, and a build leaves it 256 MiB (limits: memory)",
        ),
        ({"held": lambda: "memory: the kernel says so"}, "memory: the kernel says so"),
    ],
)
def test_what_is_too_much_is_said_once(gauges: dict[str, Callable[[], int]], sentence: str) -> None:
    assert said(dataclasses.replace(_CALM, **gauges)) == [sentence]  # type: ignore[arg-type]  # made of keywords


def test_what_is_just_enough_is_not_said() -> None:
    at_the_edge = dataclasses.replace(
        _CALM,
        disk=lambda: 10 * _GIB,
        free=lambda: RESERVED_DISK,
        available=lambda: RESERVED_MEMORY,
        shared=lambda: _GIB // 2,
    )
    assert said(at_the_edge, meanwhile=lambda _: asyncio.sleep(1)) == []


def test_a_build_ends_with_its_time() -> None:
    assert said(limits=dataclasses.replace(_LIMITS, seconds=0.1)) == ["time: not done after 0.1 s (limits: time)"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
        (ValueError("no number"), "ValueError('no number')"),
    ],
)
def test_a_build_that_cannot_be_watched_any_more_ends(error: Exception, why: str) -> None:
    def blind() -> int:
        raise error

    (sentence,) = said(dataclasses.replace(_CALM, free=blind))
    assert sentence == f"limits: the build can no longer be watched: {why}"


def test_nothing_is_said_after_the_end() -> None:
    written = [0]
    gauges = dataclasses.replace(_CALM, disk=lambda: written[0])

    async def stop(watch: Watch) -> None:
        await watch.stop()
        written[0] = 11 * _GIB
        await asyncio.sleep(0.6)

    assert said(gauges, meanwhile=stop) == []


def test_processes_at_the_limit_are_a_fork_bomb() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as one_thread:
        # Not this process: a library that it loaded before may have started threads, and each of them counts.
        gauges = dataclasses.replace(_CALM, processes=lambda: [one_thread.pid] * 100)
        sentences = said(gauges, dataclasses.replace(_LIMITS, memory=1 << 50))
        assert one_thread.stdin is not None
        one_thread.stdin.close()
    assert sentences == ["processes: 100 of 100 (limits: processes)"]


def test_where_a_group_holds_processes_none_is_measured() -> None:
    gauges = dataclasses.replace(_CALM, processes=None, shared=lambda: 5 * _GIB)
    assert said(gauges, meanwhile=lambda _: asyncio.sleep(0.5)) == []


def test_files_in_memory_are_memory() -> None:
    (sentence,) = said(dataclasses.replace(_CALM, shared=lambda: 5 * _GIB))
    assert sentence.startswith("memory: 5")
    assert sentence.endswith("of 1 GiB (limits: memory)")


_HOLDER = """
import os, sys
x = b'x' * (100 << 20)
r, w = os.pipe()
found = [os.getpid()]
for _ in range(4):
    process = os.fork()
    if process == 0:
        os.close(w); os.read(r, 1); os._exit(0)
    found.append(process)
print(*found, flush=True); sys.stdin.read()
"""


@pytest.mark.parametrize(("limit", "too_much"), [(60 * _MIB, True), (300 * _MIB, False)])
def test_real_memory_is_measured_and_what_forks_share_is_counted_once(limit: int, *, too_much: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        found = [int(word) for word in running.stdout.readline().split()]
        gauges = dataclasses.replace(_CALM, processes=lambda: found)
        sentences = said(
            gauges,
            dataclasses.replace(_LIMITS, memory=limit),
            None if too_much else lambda _: asyncio.sleep(1),
        )
        running.stdin.close()
    assert [sentence.endswith("of 60 MiB (limits: memory)") for sentence in sentences] == [True] * too_much


def test_it_can_be_asked_at_once() -> None:
    async def ask(watch: Watch) -> None:
        assert await watch.check() is None

    assert said(meanwhile=ask) == []
    gauges = dataclasses.replace(_CALM, held=lambda: "memory: the kernel says so")
    sentences: list[str] = []
    asked = asyncio.run(Watch(_LIMITS, gauges, sentences.append).check())
    assert (asked, sentences) == ("memory: the kernel says so", [])


def test_it_looks_the_less_often_the_longer_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [0]

    def processes() -> list[int]:
        reads[0] += 1
        return []

    clock = iter(range(1000))  # each look takes a second of this thread's
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    said(dataclasses.replace(_CALM, processes=processes), _LIMITS, lambda _: asyncio.sleep(1.5))
    assert reads[0] == 1


def test_time_does_not_run_out_after_the_end() -> None:
    async def stop(watch: Watch) -> None:
        await watch.stop()
        await asyncio.sleep(0.6)

    assert said(limits=dataclasses.replace(_LIMITS, seconds=0.3), meanwhile=stop) == []


_MEMFD = Nameless(memory=2 * _GIB)


@pytest.mark.parametrize(
    ("hidden", "sentence"),
    [
        (Nameless(disk=11 * _GIB), "disk: 11 GiB of 10 GiB (limits: disk)"),
        (_MEMFD, "memory: 2"),
        (
            Nameless(descriptors=MOST + 1),
            f"processes: they have more than {MOST:,} files open together (limits: processes)",
        ),
    ],
    ids=["disk", "memory", "descriptors"],
)
def test_what_has_no_name_counts(hidden: Nameless, sentence: str) -> None:
    (told,) = said(dataclasses.replace(_CALM, nameless=lambda: [Nameless(), hidden]))
    assert told.startswith(sentence)


def test_where_a_group_holds_memory_files_without_a_name_count_for_the_disk_alone() -> None:
    gauges = dataclasses.replace(_CALM, processes=None, nameless=lambda: [_MEMFD])
    assert said(gauges, meanwhile=lambda _: asyncio.sleep(0.5)) == []
    gauges = dataclasses.replace(_CALM, processes=None, nameless=lambda: [Nameless(disk=11 * _GIB)])
    assert said(gauges) == ["disk: 11 GiB of 10 GiB (limits: disk)"]


def test_a_file_that_has_just_lost_its_name_is_not_counted_twice() -> None:
    walks = [7]
    gauges = dataclasses.replace(
        _CALM, disk=lambda: 6 * _GIB, walks=lambda: walks[0], nameless=lambda: [Nameless(disk=6 * _GIB)]
    )

    async def ask(watch: Watch) -> None:
        for walks[0] in (7, 8):
            assert await watch.check() is None
        walks[0] = 9
        assert await watch.check() == "disk: 12 GiB of 10 GiB (limits: disk)"

    async def run() -> None:
        await ask(Watch(_LIMITS, gauges, lambda _: None))

    asyncio.run(run())


def test_a_count_begins_anew_when_it_was_not_too_much_for_a_moment() -> None:
    walks, hidden = [7], [6 * _GIB]
    gauges = dataclasses.replace(
        _CALM, disk=lambda: 6 * _GIB, walks=lambda: walks[0], nameless=lambda: [Nameless(disk=hidden[0])]
    )

    async def run() -> None:
        watch = Watch(_LIMITS, gauges, lambda _: None)
        for walks[0], hidden[0] in ((7, 6 * _GIB), (8, 0), (9, 6 * _GIB), (10, 6 * _GIB)):
            assert await watch.check() is None

    asyncio.run(run())
