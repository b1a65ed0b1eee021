"""Unpacks the tar of Hermit's files as a cell would."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path, PurePosixPath

from hermit_workers.cellfiles import CellFile, CellFolder, CellLink, Entry, as_tar

ENTRIES: list[Entry] = [
    CellFolder(PurePosixPath("/run/hermit"), mode=0o711),
    CellFile(PurePosixPath("/run/hermit/own"), b"content", mode=0o600, uid=1000, gid=1001),
    CellLink(PurePosixPath("/etc/link"), "own"),
    CellFile(PurePosixPath("/etc") / ("long" * 60), b""),
]


def digest(epoch: int) -> str:
    with as_tar(ENTRIES, epoch) as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_every_entry_is_in_the_tar_with_its_owner_mode_and_the_one_time() -> None:
    with as_tar(ENTRIES, 1_700_000_000) as file, tarfile.open(fileobj=file) as archive:
        folder, own, link, long = archive.getmembers()
        extracted = archive.extractfile(own)
        assert extracted is not None
        assert extracted.read() == b"content"
    assert (folder.name, folder.isdir(), folder.mode) == ("run/hermit", True, 0o711)
    assert (own.name, own.isreg(), own.mode, own.uid, own.gid) == ("run/hermit/own", True, 0o600, 1000, 1001)
    assert (link.name, link.issym(), link.linkname) == ("etc/link", True, "own")
    assert long.name == "etc/" + "long" * 60
    assert {member.mtime for member in (folder, own, link, long)} == {1_700_000_000}
    assert {member.uname for member in (folder, own, link, long)} == {""}


def test_the_same_entries_make_the_same_bytes_and_another_time_makes_others() -> None:
    assert digest(5) == digest(5) != digest(6)


def test_the_descriptor_is_at_its_beginning_and_has_no_name() -> None:
    with as_tar(ENTRIES, 0) as file:
        assert file.tell() == 0
        assert not Path(f"/proc/self/fd/{file.fileno()}").exists() or "memfd:" in str(
            Path(f"/proc/self/fd/{file.fileno()}").readlink()
        )
