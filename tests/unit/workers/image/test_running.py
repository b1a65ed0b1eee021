"""Programs in a holder: their lines come while they run, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hermit_workers.image import running
from hermit_workers.image.errors import ImageError
from hermit_workers.image.running import run_told
from hermit_workers.sandbox.namespaces.holder import Holder


def run(script: str, folder: Path, *, over: bool = False) -> tuple[int, list[str], list[str]]:
    lines: list[str] = []

    async def main() -> tuple[int, list[str]]:
        holder = await Holder.open()
        try:
            until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if over:
                until.set_result(None)
            return await run_told(holder, ["sh", "-c", script], lines.append, folder=folder, until=until)
        finally:
            await holder.close()

    return *asyncio.run(main()), lines


def test_every_line_is_told_and_the_last_ones_are_given(tmp_path: Path) -> None:
    status, last, lines = run("seq 100; echo x >&2; exit 3", tmp_path)
    assert status == 3
    assert lines == [*map(str, range(1, 101)), "x"]
    assert last == lines[-12:]


def test_a_line_without_end_is_told_in_pieces(tmp_path: Path) -> None:
    status, _, lines = run("head -c 200000 /dev/zero | tr '\\0' a; printf b", tmp_path)
    assert status == 0
    assert "".join(lines) == "a" * 200000 + "b"
    assert len(lines) > 2


def test_octets_that_are_no_text_are_told_as_such(tmp_path: Path) -> None:
    assert run(r"printf '\377\n'", tmp_path)[2] == ["\ufffd"]


def test_stdin_is_empty(tmp_path: Path) -> None:
    assert run("cat; echo end", tmp_path)[2] == ["end"]


def test_what_it_waits_for_in_vain_ends_it(tmp_path: Path) -> None:
    assert run("sleep 1000", tmp_path, over=True)[:2] == (-1, [])


@pytest.mark.parametrize(
    ("name", "value", "told"), [("_LEAST_ROOM", 1 << 60, "is full"), ("_MOST_SECONDS", 0, "was not made in")]
)
def test_a_full_disk_and_a_day_of_waiting_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int, told: str
) -> None:
    monkeypatch.setattr(running, name, value)
    with pytest.raises(ImageError, match=told):
        run("sleep 1000", tmp_path)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    run("true", tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    run("true", tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
