"""Prints into the pipe of a step: much, more than may be kept, and to somebody who does not take it."""

from __future__ import annotations

import asyncio
import os

import pytest

from hermit_workers.buildbot.output import Output


def printed(*pieces: bytes, limit: int = 1 << 20) -> tuple[bytes, int]:
    """Print pieces, and give what came and how many bytes did not."""
    given: list[bytes] = []

    async def give(octets: bytes) -> None:
        given.append(octets)
        await asyncio.sleep(0)

    async def run() -> int:
        output = Output(limit, give)
        try:
            for piece in pieces:
                await asyncio.to_thread(_write, output.descriptor, piece)
            await output.end()
            return output.dropped
        finally:
            await output.close()

    dropped = asyncio.run(run())
    return b"".join(given), dropped


def _write(descriptor: int, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def test_what_is_printed_comes_in_its_order() -> None:
    assert printed(b"one\n", b"two", b"") == (b"one\ntwo", 0)
    large = bytes(range(256)) * (3 << 12)
    assert printed(large, b"end", limit=1 << 30) == (large + b"end", 0)


def test_what_is_more_than_the_limit_is_dropped_from_there_on() -> None:
    assert printed(b"12345", b"67890", b"x", limit=7) == (b"1234567", 4)
    assert printed(b"12345", limit=5) == (b"12345", 0)


def test_no_more_lines_are_kept_than_a_database_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermit_workers.buildbot.output._MOST_LINES", 2)
    assert printed(b"a\nb\nc\nd\n") == (b"a\nb\n", 4)
    assert printed(b"a\nb\n") == (b"a\nb\n", 0)


def test_once_lines_were_dropped_nothing_more_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermit_workers.buildbot.output._MOST_LINES", 1)
    given: list[bytes] = []

    async def run() -> int:
        came = asyncio.Event()

        async def give(octets: bytes) -> None:
            given.append(octets)
            came.set()
            await asyncio.sleep(0)

        output = Output(1 << 20, give)
        try:
            _write(output.descriptor, b"a\nb\n")
            await asyncio.wait_for(came.wait(), 30)
            _write(output.descriptor, b"c")
            await output.end()
            return output.dropped
        finally:
            await output.close()

    assert asyncio.run(run()) == 3
    assert given == [b"a\n"]


def test_a_step_that_nobody_listens_to_is_not_held_up_and_the_reason_is_told() -> None:
    async def give(octets: bytes) -> None:
        raise ValueError(f"no room for {len(octets)}")

    async def run() -> None:
        output = Output(1 << 30, give)
        try:
            for _ in range(8):
                await asyncio.wait_for(asyncio.to_thread(_write, output.descriptor, b"x" * (1 << 20)), 30)
            with pytest.raises(ValueError, match="no room"):
                await output.end()
        finally:
            await output.close()
            await output.close()

    asyncio.run(run())


def test_what_a_step_leaves_running_does_not_hold_up_its_end() -> None:
    async def give(_octets: bytes) -> None:
        await asyncio.sleep(0)

    async def run() -> None:
        output = Output(1 << 20, give)
        kept = os.dup(output.descriptor)
        try:
            await asyncio.wait_for(output.end(), 30)
        finally:
            os.close(kept)
            await output.close()

    asyncio.run(run())
