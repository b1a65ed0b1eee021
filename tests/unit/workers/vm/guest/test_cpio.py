"""Reads archives back with a cpio of somebody else's."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from hermit_workers.vm.guest.cpio import archive

FILES = {
    "init": (0o755, b"#!/bin/sh\n"),
    "a/b/c": (0o644, b"x" * 5),
    "a/b.d/e": (0o600, b""),
    "a/b/longer-name-\u00fc": (0o644, bytes(range(256)) * 20),
}


def unpack(data: bytes, folder: Path) -> None:
    for words in (["cpio", "--extract", "--quiet"], ["busybox", "cpio", "-i"]):
        if shutil.which(words[0]):
            subprocess.run(words, input=data, cwd=folder, check=True, capture_output=True)
            return
    pytest.skip("there is no cpio and no busybox")


def test_what_goes_in_comes_out_with_its_modes(tmp_path: Path) -> None:
    unpack(archive(FILES), tmp_path)
    found = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) for name, path in found.items()} == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()} == {0o755}


def test_the_same_files_give_the_same_bytes_in_whatever_order() -> None:
    assert archive(FILES) == archive(dict(reversed(FILES.items())))
    assert len(archive(FILES)) % 4 == 0


@pytest.mark.parametrize("name", ["/x", "../x", "a/../b", "a//b", "a/", "a\0b", "./a", ""])
def test_a_name_that_is_no_path_below_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        archive({name: (0o644, b"")})
