"""Reads what bubblewrap tells of a step through its pipe."""

from __future__ import annotations

import asyncio
import os

import pytest

from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces.holder import Child, Holder
from hermit_workers.sandbox.steps import Reader, Running, start


def told(text: bytes, status: int = 0) -> tuple[int | None, int | None]:
    """Give what is understood of a whole conversation: the command's number and its status."""

    async def run() -> tuple[int | None, int | None]:
        reader = Reader()
        ended = asyncio.get_running_loop().create_future()
        running = Running(Child(1, ended), reader)
        asking = asyncio.create_task(running.command())
        for at in range(0, len(text), 7):  # pieces end anywhere
            os.write(reader.other, text[at : at + 7])
            await asyncio.sleep(0)
        reader.handed_over()
        ended.set_result(status)
        return await asking, await running.ended()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "status", "understood"),
    [
        (b'{ "child-pid": 7 }\n{ "exit-code": 3 }\n', 3, (7, 3)),
        (b'{ "child-pid": 7, "ipc-namespace": 4026531839 }\n{ "exit-code": 0 }\n', 0, (7, 0)),
        (b'{ "child-pid": 7 }\n', 1, (7, None)),  # it came to nothing before the command began
        (b"", 1, (None, None)),
        (b"rubbish\n", 1, (None, None)),
    ],
)
def test_a_status_counts_only_where_the_command_began(
    text: bytes, status: int, understood: tuple[int | None, int | None]
) -> None:
    assert told(text, status) == understood


def test_a_missing_bubblewrap_is_named_and_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        holder = await Holder.open()
        try:
            monkeypatch.setenv("PATH", "/nowhere")
            before = os.listdir("/proc/self/fd")
            with pytest.raises(CellError, match="bubblewrap is not installed"):
                await start(holder, [], ["true"], {})
            assert len(os.listdir("/proc/self/fd")) == len(before)
        finally:
            holder.listener.close()
            await holder.close()

    asyncio.run(run())
