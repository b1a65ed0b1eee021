"""Gives the tests short paths, for sockets, and the account of another user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.otheruser import becoming

OTHER = 23457


@dataclass(frozen=True, slots=True)
class OtherUser:
    """Is somebody who is not root; `prefix` runs a command as them, `folder` is theirs."""

    folder: Path
    prefix: tuple[str, ...]


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a folder whose name is short enough for every socket in it."""
    with tempfile.TemporaryDirectory(prefix="hv", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which root's libvirtd keeps what it knows of QEMU, which costs seconds to find out."""
    return tmp_path_factory.mktemp("libvirt-cache")


@pytest.fixture
def other(short: Path) -> OtherUser:
    """Have another user; skip the test where nobody can be one."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can be another user")
    folder = short / "o"
    folder.mkdir(mode=0o700)
    os.chown(folder, OTHER, OTHER)
    lines = {"passwd": f"other:x:{OTHER}:{OTHER}::/:/bin/sh\n", "group": f"other:x:{OTHER}:\n"}
    return OtherUser(folder, tuple(becoming(OTHER, short / "etc", lines)))
