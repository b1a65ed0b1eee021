"""Takes artifacts from the real agent and from a liar; what a sandbox refuses is refused here in the same words."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError
from hermit_workers.cell import CellError, Taken
from hermit_workers.sandbox.artifacts import taking as sandbox
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.vm import protocol, taking
from hermit_workers.vm.protocol import GREETING, Word
from tests.unit.workers.vm.guests import guest, liar, open_descriptors

MOST = 4 << 20


def told(taken: list[Taken]) -> dict[str, tuple[int, bool, str]]:
    """Give what was taken, with digests, and close it."""
    found = {}
    for one in taken:
        with open(one.descriptor, "rb") as file:
            data = file.read()
        assert len(data) == one.size
        found[str(one.path)] = (one.size, one.executable, hashlib.sha256(data).hexdigest())
    return found


def as_a_sandbox(project: Path, patterns: list[str], most: int) -> dict[str, tuple[int, bool, str]]:
    found = {}

    def give(path: str, size: int, executable: bool, descriptor: int) -> None:
        found[path] = (size, executable, hashlib.sha256(os.pread(descriptor, MOST, 0)).hexdigest())

    descriptor = os.open(project, os.O_RDONLY)
    try:
        sandbox.take(descriptor, patterns, give, most_bytes=most)
    finally:
        os.close(descriptor)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    for name, data in {
        "dist/a.whl": b"a", "dist/empty": b"", "dist/sub/deep/x y\u00e9": os.urandom(2 << 20), "dist/.hidden": b"h",
        "run": b"#!/bin/sh\n", "odd/-rf": b"dash", "odd/'q\"": b"quotes", "odd/$(x)": b"no shell", "odd/a\nb": b"line",
    }.items():  # fmt: skip
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(data)
    (made / "run").chmod(0o755)
    (made / "link").symlink_to("run")
    (made / "dist/out").symlink_to("/etc")
    os.mkfifo(made / "pipe")
    return made


CASES = [
    ["dist/"], ["dist/*.whl", "run"], ["**/x*"], ["dist/**"], ["*"], ["odd/[!a]*"], ["odd/*"], ["link"], ["pipe"],
    ["link/x"], ["dist/out/passwd"], ["none"], ["dist/*", "none/*"], ["dist/sub/", "dist/sub/**"], ["[run"],
    ["nowhere/"],
]  # fmt: skip


def test_whatever_patterns_ask_for_a_vm_gives_and_refuses_the_same_as_a_sandbox(project: Path, tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()

    async def scenario() -> None:
        async with guest() as made:
            for patterns in CASES:
                try:
                    expected: object = as_a_sandbox(project, patterns, MOST)
                except ArtifactError as error:
                    expected = str(error)
                try:
                    found: object = told(
                        await taking.take(made, PurePosixPath(project), patterns, most=MOST, room=room)
                    )
                except ArtifactError as error:
                    found = str(error)
                assert found == expected, patterns
                assert os.listdir(room) == []

    asyncio.run(scenario())


def test_more_than_the_limit_is_refused_before_a_byte_of_it_comes(project: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with guest() as made:
            with pytest.raises(ArtifactError, match=r"of 1 MiB \(limits: artifacts\)"):
                await taking.take(made, PurePosixPath(project), ["dist/sub/"], most=1 << 20, room=tmp_path)

    asyncio.run(scenario())


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with guest() as made:
            with pytest.raises(CellError, match="No such file or directory"):
                await taking.take(made, PurePosixPath("/no/such"), ["x"], most=1, room=tmp_path)

    asyncio.run(scenario())


async def lie(theirs: socket.socket, answers: list[bytes], status: int) -> None:
    """Answer one command after another."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(theirs, protocol.frame(Word.HELLO, 0, GREETING))
    for number, answer in enumerate(answers, 1):
        await loop.sock_recv(theirs, 1 << 16)
        for at in range(0, len(answer), protocol.MOST_PAYLOAD):
            piece = answer[at : at + protocol.MOST_PAYLOAD]
            await loop.sock_sendall(theirs, protocol.frame(Word.OUTPUT, number, piece))
        await loop.sock_sendall(theirs, protocol.frame(Word.EXITED, number, bytes([status])))


@pytest.mark.parametrize(
    ("answers", "error", "why"),
    [
        ([b"f 644 5 ./../x\0"], protocol.ProtocolError, "is no file"),
        ([b"f 644 5 ./x\0", b"four"], ArtifactError, "gives 4 bytes of the 5"),
        ([b"f 644 5 ./x\0", b"sixsix"], ArtifactError, "says more than it was asked for"),
        ([b"f 644 5 ./x\0", bytes(1 << 20)], ArtifactError, "says more than it was asked for"),
        ([b"f 644 99999999999999999 ./x\0", b""], ArtifactError, "limits: artifacts"),
        ([b"c 644 5 ./x\0", b"fives"], ArtifactError, "only plain files"),
        ([b"", b""], ArtifactError, "made no such file"),
    ],
)
def test_a_guest_that_lies_gets_its_build_failed_and_leaves_nothing(
    tmp_path: Path, answers: list[bytes], error: type[Exception], why: str
) -> None:
    async def scenario() -> None:
        async with liar() as (made, theirs):
            lying = asyncio.create_task(lie(theirs, answers, 0))
            await made.greeting(5)
            before = open_descriptors()
            with pytest.raises(error, match=why):
                await taking.take(made, PurePosixPath("/p"), ["x"], most=MOST, room=tmp_path)
            assert open_descriptors() == before
            lying.cancel()
        assert os.listdir(tmp_path) == []

    asyncio.run(scenario())


def test_a_guest_that_never_stops_talking_is_not_listened_to_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "_MOST_LIST", 100)
    run_forever(tmp_path, [b"x" * 101], "says more")


def test_a_guest_that_falls_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_SILENCE", 1)
    run_forever(tmp_path, [], "silent for 1 s")


def test_a_guest_that_drips_is_not_waited_for_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_SLOWEST", 1 << 40)
    monkeypatch.setattr(taking, "_SILENCE", 2)
    run_forever(tmp_path, [b"x"] * 60, "takes too long", pause=0.1)


def run_forever(room: Path, said: list[bytes], why: str, *, pause: float = 0) -> None:
    async def scenario() -> None:
        async with liar() as (made, theirs):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(theirs, protocol.frame(Word.HELLO, 0, GREETING))
            await made.greeting(5)
            asking = asyncio.create_task(taking.take(made, PurePosixPath("/p"), ["x"], most=MOST, room=room))
            await loop.sock_recv(theirs, 1 << 16)
            for data in said:
                await loop.sock_sendall(theirs, protocol.frame(Word.OUTPUT, 1, data))
                await asyncio.wait([asking], timeout=pause)
            with pytest.raises(HermitError, match=why):
                await asyncio.wait_for(asking, 20)

    asyncio.run(scenario())
