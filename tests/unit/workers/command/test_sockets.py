"""Finds sockets that this very test binds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hermit_workers.command.sockets import named_sockets, parse

TABLE = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000001: 00000003 00000000 00000000 0001 03  1674
0000000000000002: 00000002 00000000 00010000 0001 01 19390 /run/some service.sock
0000000000000003: 00000002 00000000 00010000 0001 01 19391 @abstract
0000000000000004: 00000002 00000000 00000000 0002 01 19392 relative.sock
"""


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.chdir(folder)
    return folder


def test_the_table_gives_named_sockets_only_and_keeps_spaces() -> None:
    assert dict(parse(TABLE)) == {19390: "/run/some service.sock", 19392: "relative.sock"}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_bound_socket_is_found_whatever_its_kind(short: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as bound:
        bound.bind(str(short / "a.sock"))
        if kind is not socket.SOCK_DGRAM:
            bound.listen()
        assert short / "a.sock" in named_sockets()


def test_a_relative_name_is_resolved_by_who_holds_the_socket(short: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("relative.sock")
        bound.listen()
        assert short / "relative.sock" in named_sockets()
        os.chdir(tmp_path)
        # Where its holder has gone elsewhere the name leads nowhere, and nothing is invented.
        assert tmp_path / "relative.sock" not in named_sockets()


def test_a_link_on_the_way_is_resolved(short: Path) -> None:
    (short / "real").mkdir()
    (short / "link").symlink_to("real")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(short / "link" / "a.sock"))
        bound.listen()
        assert short / "real" / "a.sock" in named_sockets()


def test_a_removed_socket_is_passed_over(short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(short / "a.sock"))
        bound.listen()
        (short / "a.sock").unlink()
        assert short / "a.sock" not in named_sockets()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reaches what it has no right to")
def test_a_socket_in_a_folder_that_is_closed_to_a_command_of_roots_is_none(short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(short / "a.sock"))
        bound.listen()
        assert short / "a.sock" in named_sockets()
        os.chown(short, 23456, 23456)
        short.chmod(0o700)
        assert short / "a.sock" not in named_sockets()
        short.chmod(0o711)
        assert short / "a.sock" in named_sockets()
