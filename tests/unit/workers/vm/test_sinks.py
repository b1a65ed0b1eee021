"""Writes to readers that are slow, gone, or plain files."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from hermit_workers.vm.sinks import Descriptor, Text
from tests.unit.workers.vm.guests import open_descriptors

MUCH = os.urandom(1 << 20)


def test_a_slow_reader_gets_everything() -> None:
    reading, writing = os.pipe()
    got = bytearray()

    def read() -> None:
        while data := os.read(reading, 50_000):
            got.extend(data)

    async def scenario() -> None:
        sink = Descriptor(writing)
        thread = threading.Thread(target=read, daemon=True)
        asyncio.get_running_loop().call_later(0.05, thread.start)
        await sink.write(MUCH, ended=False)
        sink.close()
        os.close(writing)
        await asyncio.to_thread(thread.join)

    asyncio.run(scenario())
    os.close(reading)
    assert got == MUCH


def test_after_the_command_has_ended_nobody_is_waited_for() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        sink = Descriptor(writing)
        await asyncio.wait_for(sink.write(MUCH, ended=True), 10)
        os.set_blocking(reading, False)
        kept = os.read(reading, len(MUCH))
        assert kept
        assert MUCH.startswith(kept)
        await sink.write(b"more", ended=True)
        assert os.read(reading, 10) == b"more"
        sink.close()
        os.close(writing)
        os.close(reading)

    asyncio.run(scenario())


def test_a_write_that_waits_ends_in_a_hurry_and_the_next_one_does_not_wait() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        sink = Descriptor(writing)
        waiting = asyncio.create_task(sink.write(MUCH, ended=False))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        sink.hurry()
        await asyncio.wait_for(waiting, 10)
        await asyncio.wait_for(sink.write(MUCH, ended=False), 10)
        sink.close()
        os.close(writing)
        os.close(reading)

    asyncio.run(scenario())


def test_closing_ends_a_write_that_waits_and_the_number_is_free_for_others() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        sink = Descriptor(writing)
        waiting = asyncio.create_task(sink.write(MUCH, ended=False))
        await asyncio.sleep(0.05)
        sink.close()
        await asyncio.wait_for(waiting, 10)
        number = os.dup(reading)  # the lowest that is free: the sink's own
        asyncio.get_running_loop().add_reader(number, int)
        asyncio.get_running_loop().remove_reader(number)
        for descriptor in (number, reading, writing):
            os.close(descriptor)

    asyncio.run(scenario())


def test_a_reader_that_has_gone_ends_the_writing_and_not_the_build() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        before = open_descriptors()
        sink = Descriptor(writing)
        os.close(reading)
        await sink.write(MUCH, ended=False)
        await sink.write(MUCH, ended=False)
        sink.close()
        sink.close()
        assert open_descriptors() == before - 1
        os.close(writing)

    asyncio.run(scenario())


def test_a_plain_file_takes_everything(tmp_path: Path) -> None:
    async def scenario() -> None:
        with (tmp_path / "log").open("wb") as file:
            sink = Descriptor(file.fileno())
            await sink.write(MUCH, ended=False)
            sink.close()

    asyncio.run(scenario())
    assert (tmp_path / "log").read_bytes() == MUCH


def test_text_keeps_the_beginning_and_counts_all() -> None:
    async def scenario() -> None:
        sink = Text(5)
        for piece in (b"abc", b"defg"):
            assert not sink.too_much
            await sink.write(piece, ended=False)
        await sink.write(b"h", ended=True)
        assert (sink.text, sink.count, sink.too_much) == ("abcde", 8, True)

    asyncio.run(scenario())
