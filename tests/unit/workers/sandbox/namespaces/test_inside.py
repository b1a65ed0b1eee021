"""Asks the holder's end of the socket in this process: what only goes wrong when other builds are at it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hermit_workers.sandbox.namespaces import inside

Ends = tuple[socket.socket, inside.HolderProcess]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, inside.HolderProcess(theirs, -1, [])


def ask(ends: Ends) -> tuple[inside.Fields | None, list[int]]:
    ours, holder = ends
    inside.send(ours, {"do": "namespace", "id": 7, "process": os.getpid()})
    assert holder._answer()
    return inside.receive(ours)


def test_what_is_asked_is_answered_with_a_descriptor_and_none_is_kept(ends: Ends) -> None:
    before = os.listdir("/proc/self/fd")
    fields, descriptors = ask(ends)
    assert fields == {"id": 7}
    assert os.fstat(descriptors[0]).st_ino == os.stat("/proc/self/ns/pid").st_ino
    os.close(descriptors[0])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_descriptor_that_cannot_be_sent_now_is_an_answer_and_not_the_holders_end(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = inside.send

    def full(control: Any, fields: inside.Fields, descriptors: list[int] | None = None) -> None:
        if descriptors:
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        send(control, fields)

    monkeypatch.setattr(inside, "send", full)
    before = os.listdir("/proc/self/fd")
    assert ask(ends) == ({"id": 7, "error": "Too many references: cannot splice"}, [])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_nobody_who_hears_the_answer_is_the_holders_end(ends: Ends) -> None:
    ours, holder = ends
    inside.send(ours, {"do": "namespace", "id": 7, "process": os.getpid()})
    ours.close()
    with pytest.raises(OSError, match="Broken pipe"):
        holder._answer()
