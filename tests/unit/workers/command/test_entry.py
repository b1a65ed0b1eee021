"""Talks to entry.py over its socket, as the runtime does, without a cell around it."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermit_workers.command import entry

CELL = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "-"]


@contextmanager
def started(
    *command: str, locale: str = "", environment: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = str(theirs.fileno())
    arguments = [*CELL, sys.executable, "-I", "-S", entry.__file__, number, locale, "--", *command]
    process = subprocess.Popen(
        arguments,
        pass_fds=[theirs.fileno()],
        env={"PATH": os.environ["PATH"], **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    theirs.close()
    try:
        yield process, ours
    finally:
        ours.close()
        process.kill()
        process.communicate()


def received(ours: socket.socket) -> socket.socket:
    data, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    assert data == b"L"
    return socket.socket(fileno=array.array("i", ancillary[0][2])[0])


def test_the_socket_that_comes_out_listens_inside() -> None:
    probe = "import socket,sys; sys.stdout.write(socket.create_connection(('127.0.0.1', 3128)).recv(5).decode())"
    with started(sys.executable, "-c", probe) as (process, ours), received(ours) as listener:
        assert listener.getsockname() == ("127.0.0.1", 3128)
        ours.send(b"G")
        connection, _ = listener.accept()
        connection.sendall(b"hello")
        assert process.communicate()[0] == "hello"


def test_without_a_go_ahead_the_command_never_starts() -> None:
    with started("echo", "started") as (process, ours):
        received(ours).close()
        ours.close()
        assert process.communicate() == ("", "")
        assert process.returncode == 1


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [("no-such-command", 127, "command not found"), ("./not-executable", 126, "denied"), ("/", 126, "denied")],
)
def test_a_command_that_does_not_start_ends_as_in_a_shell(command: str, status: int, words: str) -> None:
    Path("not-executable").touch(mode=0o644)
    with started(command) as (process, ours):
        received(ours).close()
        ours.send(b"G")
        assert words in process.communicate()[1]
        assert process.returncode == status


@pytest.mark.parametrize(("locale", "expected"), [("", ""), ("de_DE", "LC_CTYPE=de_DE\n")])
def test_the_command_gets_the_environment_as_it_was(locale: str, expected: str) -> None:
    environment = {"LC_CTYPE": locale} if locale else {}
    with started("sh", "-c", "env | grep LC_", locale=locale, environment=environment) as (process, ours):
        received(ours).close()
        ours.send(b"G")
        assert process.communicate()[0] == expected


def test_the_command_inherits_neither_descriptors_nor_ignored_signals() -> None:
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with started("sh", "-c", script) as (process, ours):
            received(ours).close()
            ours.send(b"G")
            lines = process.communicate()[0].split()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert lines[:4] == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert lines[4:] == ["0", "1", "2", "3"]  # 3 is ls reading that folder
