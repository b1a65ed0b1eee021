"""What was written goes out in one piece, in its order, and before the end."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from hermit_proxy.recorder.corked import CorkedWriter


class Writer:
    def __init__(self, *, closing: bool = False) -> None:
        self.told: list[object] = []
        self._closing = closing

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return self._closing

    async def drain(self) -> None:
        self.told.append("drain")


BIG = b"x" * (1 << 16)


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [([], []), ([b"a"], [b"a"]), ([b"a", b"b"], [b"ab"]), ([b"a", BIG, b"b"], [b"a", BIG, b"b"])],
    ids=["nothing", "one", "small ones", "a large one is not copied"],
)
def test_pieces_go_out_at_a_flush_and_only_once(pieces: list[bytes], sent: list[bytes]) -> None:
    writer = Writer()
    corked = CorkedWriter(cast("asyncio.StreamWriter", writer))
    for piece in pieces:
        corked.write(piece)
    assert writer.told == []
    corked.flush()
    corked.flush()
    assert writer.told == sent


@pytest.mark.parametrize("end", ["close", "write_eof", "drain"])
def test_nothing_is_behind_the_end(end: str) -> None:
    async def scenario() -> list[object]:
        writer = Writer()
        corked = CorkedWriter(cast("asyncio.StreamWriter", writer))
        corked.write(b"last")
        ended = getattr(corked, end)()
        if ended is not None:
            await ended
        return writer.told

    assert asyncio.run(scenario()) == [b"last", end.removeprefix("write_")]


def test_what_is_closing_already_gets_nothing_more() -> None:
    writer = Writer(closing=True)
    corked = CorkedWriter(cast("asyncio.StreamWriter", writer))
    corked.write(b"late")
    corked.close()
    assert writer.told == ["close"]
