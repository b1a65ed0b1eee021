"""Runs the guest's real agent as the first process of a namespace, and lets a liar speak in its place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermit_workers.cell import CellError, Command
from hermit_workers.vm import protocol
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.protocol import GREETING, Word
from hermit_workers.vm.sinks import Descriptor, Text
from tests.unit.workers.vm.guests import GUEST, guest, have_namespaces, liar, open_descriptors

PATH = "/usr/bin:/bin"
MOST = 8 << 20
HELLO = protocol.frame(Word.HELLO, 0, GREETING)


def command(folder: str = "/", **variables: str) -> Command:
    return Command(("unused",), {"PATH": PATH, **variables}, PurePosixPath(folder))


class Heard(Text):
    """Tells when a word has come."""

    def __init__(self, word: bytes) -> None:
        super().__init__(MOST)
        self._word = word
        self.heard = asyncio.Event()

    async def write(self, data: bytes, *, ended: bool) -> None:
        await super().write(data, ended=ended)
        if self._word in self.data:
            self.heard.set()


async def sh(agent: Agent, script: str, *, stdin: int | None = None, **variables: str) -> tuple[int, str]:
    sink = Text(MOST)
    status = await agent.run(command(**variables), ["/bin/sh", "-c", script], sink, stdin=stdin)
    return status, sink.text


def with_guest(scenario: Callable[[Agent], Awaitable[None]]) -> None:
    async def run() -> None:
        async with guest() as agent:
            await scenario(agent)

    asyncio.run(run())


def test_a_command_has_its_words_variables_folder_and_status(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        script = 'echo "$PWD $A"; echo oops >&2; umask; tty; cat; exit 3'
        sink = Text(MOST)
        made = Command(("x",), {"PATH": PATH, "A": "1 =\n2"}, PurePosixPath(tmp_path))
        assert await agent.run(made, ["/bin/sh", "-c", script], sink) == 3
        assert sink.text == f"{tmp_path} 1 =\n2\noops\n0022\nnot a tty\n"
        sink = Text(MOST)
        assert await agent.run(command(B="\udcff"), ["/usr/bin/env"], sink) == 0
        assert sorted(sink.data.split(b"\n")) == [b"", b"B=\xff", b"PATH=" + PATH.encode()]
        sink = Text(MOST)
        assert await agent.run(command(), ["/usr/bin/printf", "<%s>", "", "a b", "-"], sink) == 0
        assert sink.text == "<><a b><->"
        assert await sh(agent, "ls /proc/self/fd; ps -o sid= -p $$ | grep -cx ' *0'") == (1, "0\n1\n2\n3\n0\n")

    with_guest(scenario)


@pytest.mark.parametrize(
    ("script", "status"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255), ("/no/such", 127)]
)
def test_a_status_is_what_a_shell_tells(script: str, status: int) -> None:
    async def scenario(agent: Agent) -> None:
        assert (await sh(agent, script))[0] == status

    with_guest(scenario)


def test_what_cannot_start_says_why_and_the_next_command_runs() -> None:
    async def scenario(agent: Agent) -> None:
        with pytest.raises(CellError, match="does not start a command: '/no/such: No such file or directory'"):
            await agent.run(command(), ["/no/such"], Text(MOST))
        with pytest.raises(CellError, match="'/no/folder: No such file"):
            await agent.run(command("/no/folder"), ["/bin/true"], Text(MOST))
        assert await sh(agent, "echo on") == (0, "on\n")

    with_guest(scenario)


def test_input_and_output_of_many_megabytes_go_both_ways_whole(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 6

    async def scenario(agent: Agent) -> None:
        (tmp_path / "data").write_bytes(data)
        reading, writing = os.pipe()
        for source in (os.open(tmp_path / "data", os.O_RDONLY), reading):
            sink = Text(2 * MOST)
            if source == reading:
                writer = asyncio.create_task(asyncio.to_thread(_write_all, writing, data))
            assert await agent.run(command(), ["/bin/cat"], sink, stdin=source) == 0
            os.close(source)
            assert sink.data == data
        await writer

    with_guest(scenario)


def _write_all(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb") as file:
        file.write(data)


def test_a_command_that_reads_nothing_of_its_input_ends_all_the_same(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        (tmp_path / "data").write_bytes(bytes(6 << 20))
        with (tmp_path / "data").open("rb") as file:
            assert await sh(agent, "exec <&-; sleep 0.2; echo done", stdin=file.fileno()) == (0, "done\n")
            file.seek(0)
            assert await sh(agent, "head -c 3 | tr '\\0' x", stdin=file.fileno()) == (0, "xxx")
        assert await sh(agent, "echo on") == (0, "on\n")

    with_guest(scenario)


def test_a_signal_reaches_the_command_and_only_while_it_runs() -> None:
    async def scenario(agent: Agent) -> None:
        sink = Heard(b"on\n")
        script = "trap 'echo caught; exit 5' INT; echo on; while :; do sleep 0.02; done"
        running = asyncio.create_task(agent.run(command(), ["/bin/sh", "-c", script], sink))
        await sink.heard.wait()
        await agent.signal(agent.newest, signal.SIGINT)
        assert await running == 5
        assert sink.text == "on\ncaught\n"
        await agent.signal(agent.newest, signal.SIGINT)
        await agent.signal(99, signal.SIGINT)
        assert await sh(agent, "echo on") == (0, "on\n")

    with_guest(scenario)


def test_what_a_command_leaves_running_stays_and_is_heard_until_all_is_cleared() -> None:
    async def scenario(agent: Agent) -> None:
        left = "(sleep 0.2; while :; do echo tick; done) & setsid sleep 60 & sleep 61 >/dev/null 2>&1 & echo end"
        sink = Heard(b"tick\n" * 20)
        assert await agent.run(command(), ["/bin/sh", "-c", left], sink) == 0
        assert "end\n" in sink.text
        await sink.heard.wait()
        assert (await sh(agent, "ps -e -o args= | grep -c '^sleep 6'"))[1] == "2\n"
        await agent.clear(10)
        assert (await sh(agent, "ps -e -o args= | grep -c '^sleep'"))[1] == "0\n"

    with_guest(scenario)


def test_clearing_ends_the_command_that_runs_and_those_that_go_on_forking() -> None:
    async def scenario(agent: Agent) -> None:
        forks = "trap '' TERM; f() { while :; do (sleep 0.01 &) ; done; }; f & f & f"
        running = asyncio.create_task(sh(agent, forks))
        await asyncio.sleep(0.3)
        await agent.clear(20)
        assert (await running)[0] == 137
        assert (await sh(agent, "ps -e -o pid= | wc -l"))[1].strip() == "4"  # agent, sh, ps, wc

    with_guest(scenario)


def test_the_build_cannot_end_the_agent() -> None:
    async def scenario(agent: Agent) -> None:
        assert await sh(agent, "kill -9 1; kill -TERM 1; kill -CHLD 1; kill -PIPE 1; echo sent") == (0, "sent\n")
        assert await sh(agent, "echo on") == (0, "on\n")

    with_guest(scenario)


def test_many_commands_leave_nothing_open_on_either_side() -> None:
    async def scenario(agent: Agent) -> None:
        await sh(agent, "true")
        before = open_descriptors()
        for _ in range(30):
            await sh(agent, "true")
        assert open_descriptors() == before
        assert not agent._runs
        assert int((await sh(agent, "ls /proc/1/fd | wc -l"))[1]) < 15

    with_guest(scenario)


def test_a_limit_that_the_kernel_has_kept_is_told_once_and_before_the_command_ends(tmp_path: Path) -> None:
    members, events = (tmp_path / name for name in ("cgroup.procs", "pids.events"))
    members.write_text("")
    events.write_text("max 0\n")
    heard: list[str] = []

    async def scenario() -> None:
        with members.open("w") as one, events.open("r") as two:
            async with guest(one.fileno(), two.fileno(), exceeded=heard.append) as agent:
                await sh(agent, "true")
                assert "processes" not in heard
                script = f"echo 'max 3' >{events}"
                assert (await sh(agent, script))[0] == 0
                assert heard.count("processes") == 1
                await sh(agent, "true")
                assert heard.count("processes") == 1
                assert (await sh(agent, "ls /proc/self/fd"))[1] == "0\n1\n2\n3\n"

    asyncio.run(scenario())
    assert set(members.read_text()) == {"0"}  # whoever writes that joins


def test_a_machine_whose_clock_cannot_be_set_says_so() -> None:
    async def scenario(agent: Agent) -> None:
        with pytest.raises(CellError, match="cannot begin the build: 'clock_settime: Operation not permitted'"):
            await agent.lease(1_600_000_000, 20)
        assert await sh(agent, "echo on") == (0, "on\n")

    with_guest(scenario)


def test_a_lease_has_the_time_and_chance_that_no_other_has() -> None:
    orders = []

    async def scenario() -> None:
        for _ in range(2):
            async with greeted_liar_who_listens() as (agent, theirs):
                leasing = asyncio.create_task(agent.lease(1_600_000_000, 20))
                orders.append(await asyncio.get_running_loop().sock_recv(theirs, 1 << 16))
                await asyncio.get_running_loop().sock_sendall(theirs, protocol.frame(Word.LEASED, 0))
                await leasing

    asyncio.run(scenario())
    assert [order[:17] for order in orders] == [protocol.lease(1_600_000_000, bytes(512))[:17]] * 2
    assert len(orders[0]) == 17 + 512
    assert orders[0] != orders[1]


def test_input_that_cannot_be_read_ends_the_command_and_says_why(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(CellError, match="was to read cannot be read: Is a directory"):
                await agent.run(command(), ["/bin/cat"], Text(MOST), stdin=folder)
        finally:
            os.close(folder)
        waits = "while ps -e -o args= | grep -qx /bin/cat; do sleep 0.02; done; echo gone"
        assert await sh(agent, waits) == (0, "gone\n")

    with_guest(scenario)


def test_who_does_not_read_what_a_command_prints_holds_up_no_end() -> None:
    async def scenario(agent: Agent) -> None:
        reading, writing = os.pipe()
        running = asyncio.create_task(agent.run(command(), ["/bin/sh", "-c", "yes"], Descriptor(writing)))
        while not select.select([reading], [], [], 0)[0]:  # noqa: ASYNC110  a process fills it
            await asyncio.sleep(0.02)
        await agent.clear(20)
        assert await running == 137
        os.close(reading)
        os.close(writing)

    with_guest(scenario)


def test_only_the_first_process_of_a_machine_or_namespace_becomes_the_agent() -> None:
    have_namespaces()
    done = subprocess.run(["perl", str(GUEST / "agent.pl"), "0"], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "only the first process" in done.stderr


@asynccontextmanager
async def greeted_liar() -> AsyncIterator[tuple[Agent, Callable[[bytes], Awaitable[None]]]]:
    async with liar() as (agent, theirs):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, HELLO)
        await agent.greeting(5)
        yield agent, lambda data: loop.sock_sendall(theirs, data)


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (HELLO, "HELLO again"),
        (b"\0" * 9, "no word"),
        (protocol.frame(Word.CLEARED, 0), "what nobody asked"),
        (protocol.frame(Word.LEASED, 0), "what nobody asked"),
        (protocol.frame(Word.EXCEEDED, 0, b"x"), "the limit b'x', and there is none"),
        (protocol.frame(Word.OUTPUT, 2, b"x"), "command 2, which nobody gave it"),
        (protocol.frame(Word.EXITED, 1, b"\0") * 2, "ends the command 1 twice"),
        (protocol.frame(Word.EXITED, 1, b"\0") + protocol.frame(Word.FAILED, 1, b"x"), "ends the command 1 twice"),
    ],
)
def test_a_lie_ends_the_agent_and_what_is_asked_then_says_which(lie: bytes, why: str) -> None:
    async def scenario() -> None:
        async with greeted_liar() as (agent, says):
            running = asyncio.create_task(sh(agent, "true"))
            await asyncio.sleep(0)
            await says(lie)
            await asyncio.wait([agent._reading], timeout=5)
            with contextlib.suppress(CellError):
                await running  # it may have ended before the lie
            with pytest.raises(CellError, match=why):
                await sh(agent, "true")

    asyncio.run(scenario())


def test_an_agent_that_goes_ends_every_command_and_that_is_told() -> None:
    async def scenario() -> None:
        async with liar() as (agent, theirs):
            await asyncio.get_running_loop().sock_sendall(theirs, HELLO + HELLO[:5])
            running = asyncio.create_task(sh(agent, "true"))
            await agent.greeting(5)
            theirs.shutdown(2)
            with pytest.raises(CellError, match="has gone"):
                await running
            with pytest.raises(CellError, match="has gone"):
                await agent.clear(5)

    asyncio.run(scenario())


def test_an_agent_that_never_answers_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with liar() as (agent, theirs):
            with pytest.raises(CellError, match=r"does not greet in 0.05 s"):
                await agent.greeting(0.05)
            await asyncio.get_running_loop().sock_sendall(theirs, HELLO)
            await agent.greeting(5)
            with pytest.raises(CellError, match="does not end the VM's processes"):
                await agent.clear(0.05)

    asyncio.run(scenario())


def test_an_exit_that_nobody_waits_for_any_more_is_no_lie() -> None:
    async def scenario() -> None:
        async with greeted_liar() as (agent, says):
            running = asyncio.create_task(sh(agent, "true"))
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
            await says(protocol.frame(Word.EXITED, 1, b"\0") + protocol.frame(Word.CLOSED, 1))
            again = asyncio.create_task(sh(agent, "true"))
            await asyncio.sleep(0)
            await says(protocol.frame(Word.OUTPUT, 2, b"on") + protocol.frame(Word.EXITED, 2, b"\0"))
            assert await again == (0, "on")

    asyncio.run(scenario())


def test_a_flood_is_held_back_and_not_gathered() -> None:
    async def scenario() -> None:
        async with greeted_liar() as (agent, says):
            sink = Text(1000)
            running = asyncio.create_task(agent.run(command(), ["x"], sink))
            await asyncio.sleep(0)
            piece = protocol.frame(Word.OUTPUT, 1, bytes(protocol.MOST_PAYLOAD))
            for _ in range(200):
                await says(piece)
            await says(protocol.frame(Word.EXITED, 1, b"\0"))
            assert await running == 0
            assert len(sink.data) == 1000

    asyncio.run(scenario())


def test_a_guest_that_never_pauses_keeps_nobody_else_from_being_served() -> None:
    ours, theirs = socket.socketpair()
    flood = protocol.frame(Word.OUTPUT, 1, b"x") * 10_000

    def talk() -> None:
        with contextlib.suppress(OSError), theirs:
            theirs.sendall(HELLO)
            theirs.recv(1)  # the order
            while True:
                theirs.sendall(flood)

    async def scenario() -> None:
        agent = Agent(ours)
        await agent.greeting(5)
        running = asyncio.create_task(sh(agent, "true"))
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not running.done()
        await agent.close()
        with pytest.raises(CellError, match="no longer there"):
            await running

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    asyncio.run(scenario())
    thread.join()


@pytest.mark.parametrize(("stdin", "large"), [(True, ""), (False, "x" * 900_000)], ids=["input", "order"])
def test_a_guest_that_takes_no_orders_is_not_waited_for(stdin: bool, large: str, tmp_path: Path) -> None:
    with (tmp_path / "data").open("w+b") as file:
        file.truncate(8 << 20)

        async def scenario() -> None:
            async with liar() as (agent, theirs):
                await asyncio.get_running_loop().sock_sendall(theirs, HELLO)
                await agent.greeting(5)
                running = asyncio.create_task(sh(agent, "cat", stdin=file.fileno() if stdin else None, LARGE=large))
                await asyncio.wait([running], timeout=0.1)
                with pytest.raises(CellError, match="does not end the VM's processes"):
                    await agent.clear(0.05)
                await agent.close()
                with pytest.raises(CellError, match="no longer there"):
                    await running

        asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize(("last", "why"), [(b"\0" * 9, "no word"), (b"", "has gone")], ids=["lies", "goes"])
def test_an_order_that_nobody_takes_ends_with_a_guest_that_lies_or_says_farewell(last: bytes, why: str) -> None:
    async def scenario() -> None:
        async with liar() as (agent, theirs):
            await asyncio.get_running_loop().sock_sendall(theirs, HELLO)
            await agent.greeting(5)
            running = asyncio.create_task(sh(agent, "true", LARGE="x" * 900_000))
            await asyncio.wait([running], timeout=0.1)  # the socket is full, and nobody reads
            await asyncio.get_running_loop().sock_sendall(theirs, last)
            if not last:
                theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(CellError, match=why):
                await running

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_who_has_given_up_hears_no_more() -> None:
    async def scenario() -> None:
        async with greeted_liar() as (agent, says):
            sink = Heard(b"never")
            running = asyncio.create_task(agent.run(command(), ["x"], sink))
            await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
            again = asyncio.create_task(sh(agent, "true"))
            await asyncio.sleep(0)
            await says(protocol.frame(Word.OUTPUT, 1, b"late") + protocol.frame(Word.EXITED, 2, b"\0"))
            assert await again == (0, "")
            assert sink.data == b""

    asyncio.run(scenario())


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_whatever_a_guest_says_every_command_ends_in_a_status_or_an_error(data: bytes) -> None:
    async def scenario() -> None:
        async with greeted_liar() as (agent, says):
            running = asyncio.create_task(sh(agent, "true"))
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                await says(data)
            await asyncio.sleep(0)
            await agent.close()
            with contextlib.suppress(CellError):
                assert 0 <= (await running)[0] <= 255

    asyncio.run(scenario())


def test_who_gives_up_in_the_middle_of_an_order_does_not_cut_it(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(4 << 20))

    async def scenario() -> list[int]:
        async with greeted_liar_who_listens() as (agent, theirs):
            with (tmp_path / "data").open("rb") as file:
                first = asyncio.create_task(sh(agent, "cat", stdin=file.fileno()))
                await asyncio.wait([first], timeout=0.1)  # the socket is full, and nobody reads
                first.cancel()
                await asyncio.wait([first])
            second = asyncio.create_task(sh(agent, "true"))
            kinds, data = list[int](), b""
            while kinds.count(protocol.Order.RUN) < 2:
                data += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
                while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[5:9])):
                    kinds.append(data[0])
                    data = data[9 + length :]
            second.cancel()
            await asyncio.wait([second])
            return kinds

    kinds = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert kinds[0] == kinds[-1] == protocol.Order.RUN
    assert set(kinds[1:-1]) == {protocol.Order.INPUT}


@asynccontextmanager
async def greeted_liar_who_listens() -> AsyncIterator[tuple[Agent, socket.socket]]:
    async with liar() as (agent, theirs):
        await asyncio.get_running_loop().sock_sendall(theirs, HELLO)
        await agent.greeting(5)
        yield agent, theirs
