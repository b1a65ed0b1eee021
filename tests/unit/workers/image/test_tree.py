"""Trees: the same tree gives the same bytes, anything that differs gives others, and no foreign tar is taken."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import tarfile
import threading
from pathlib import Path

import pytest

from hermit_workers.image import tree
from hermit_workers.image.errors import ImageError
from tests.support.smallimages import EPOCH, make_tree, mapped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.mkdir(mode=0o755)
    make_tree(path)
    return path


def packed(folder: Path) -> tuple[tree.Packed, bytes]:
    parts: list[bytes] = []
    found = asyncio.run(tree.pack(folder, parts.append))
    return found, b"".join(parts)


def test_packing_twice_gives_the_same_bytes(folder: Path) -> None:
    assert packed(folder) == packed(folder)


def test_the_digest_and_size_are_those_of_the_bytes(folder: Path) -> None:
    found, data = packed(folder)
    assert found.size == len(data) > 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name: member for member in archive}
    assert list(members) == sorted(members)
    home = members["./home/build"]
    assert (home.uid, home.gid, home.mtime) == (1000, 1000, EPOCH)
    assert members["./etc/second-name"].islnk()
    assert (members["./tmp"].mode, members["./etc/shadow"].mode) == (0o1777, 0o600)


def test_what_is_unpacked_packs_into_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    found, data = packed(folder)
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    asyncio.run(tree.make_root(other))
    asyncio.run(tree.unpack(io.BytesIO(data), len(data), other))
    assert packed(other)[0] == found


CHANGES = {
    "a byte of a file": "printf y >root/etc/content && touch -d @1700000000 root/etc/content",
    "a mode": "chmod 0644 root/etc/shadow",
    "a setuid bit": "chmod u+s root/etc/content",
    "an owner": "chown 1 root/etc/shadow",
    "a group": "chgrp 1 root/etc/shadow",
    "the owner of a link": "chown -h 1 root/etc/link",
    "the time of a file": "touch -d @1600000000 root/etc/shadow",
    "a later time": "touch -d @1800000000 root/etc/shadow",
    "a name": "mv root/etc/shadow root/etc/shadow2 && touch -d @1700000000 root/etc",
    "a new file": "touch root/tmp/new && touch -d @1700000000 root/tmp",
    "a file less": "rm root/etc/shadow && touch -d @1700000000 root/etc",
    "where a link leads": "ln -sfn /etc/shadow root/etc/link && touch -hd @1700000000 root/etc/link root/etc",
    "a hard link made a copy": "cd root && cp -p etc/content c && mv c etc/content && touch -d @1700000000 . etc",
    "a folder made a file": "rmdir root/home/build && touch -d @1700000000 root/home/build root/home",
    "an attribute": 'python3 -c \'import os; os.setxattr("root/etc/content", "user.x", b"1")\'',
    "the root's own mode": "chmod 0711 root",
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_a_tree_changes_its_digest(folder: Path, what: str) -> None:
    before = packed(folder)[0].digest
    mapped(CHANGES[what], folder)
    assert packed(folder)[0].digest != before


def test_reading_a_tree_and_copying_it_changes_no_digest(folder: Path, tmp_path: Path) -> None:
    before = packed(folder)[0]
    mapped("cat root/etc/content root/etc/shadow >/dev/null", folder)
    (tmp_path / "copy").mkdir(mode=0o755)
    mapped('cp -a root "$1"', folder, str(tmp_path / "copy"))
    assert packed(folder)[0] == packed(tmp_path / "copy")[0] == before


def test_what_is_younger_than_the_clock_gets_its_time_and_what_is_older_keeps_its_own(folder: Path) -> None:
    mapped("touch -d @1600000000 root/etc/shadow; touch root/etc/content; touch -h root/etc/link", folder)
    asyncio.run(tree.clamp_times(folder, EPOCH))
    etc = folder / "root" / "etc"
    times = {name: (etc / name).lstat().st_mtime for name in ("shadow", "content", "link")}
    assert times == {"shadow": 1_600_000_000, "content": EPOCH, "link": EPOCH}


def test_what_the_tar_is_written_to_may_fail(folder: Path) -> None:
    mapped("head -c 3000000 /dev/zero >root/large", folder)

    def full(_data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        asyncio.run(tree.pack(folder, full))


def test_a_tree_that_is_not_there_is_an_error_with_tars_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="tar failed"):
        asyncio.run(tree.pack(tmp_path))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("head -c 3000 /dev/zero | tr '\\0' x", "cannot be read: "),
        ("echo no disk >&2; exit 2", "failed on the tree.*no disk"),
    ],
)
def test_a_listing_is_whole_or_an_error_and_tars_own_words_come_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.setattr(tree, "_PACK", ("sh", "-c", command))
    with pytest.raises(ImageError, match=re.compile(told, re.DOTALL)):
        asyncio.run(tree.listed(folder))


def test_a_tree_is_listed_with_the_digest_that_it_is_packed_with(folder: Path) -> None:
    found, entries = asyncio.run(tree.listed(folder))
    whole, data = packed(folder)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert (found, sorted(entries)) == (whole, sorted(archive.getnames()))


def test_a_tar_that_is_cut_short_is_an_error(folder: Path, tmp_path: Path) -> None:
    mapped("head -c 3000000 /dev/zero >root/etc/large", folder)
    _, data = packed(folder)
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    asyncio.run(tree.make_root(other))
    with pytest.raises(ImageError, match="tar failed"):
        asyncio.run(tree.unpack(io.BytesIO(data[:1_000_000]), len(data), other))


def archive(name: str, **fields: object) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        member = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        out.addfile(member)
    return io.BytesIO(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../x", {}),
        ("a/../../x", {}),
        ("/etc/x", {}),
        ("./dev/sda", {"type": tarfile.BLKTYPE}),
        ("./dev/null", {"type": tarfile.CHRTYPE}),
        ("./pipe", {"type": tarfile.FIFOTYPE}),
        ("./x", {"uid": 65536}),
        ("./x", {"gid": 70000}),
        ("./x", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("./x", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"}),
    ],
)
def test_a_tar_that_is_no_image_is_refused(name: str, fields: dict[str, object]) -> None:
    with pytest.raises(ImageError, match="no image"):
        tree.check_members(archive(name, **fields), "x.tar")


def test_the_tar_of_a_tree_is_accepted(folder: Path) -> None:
    tree.check_members(io.BytesIO(packed(folder)[1]), "x.tar")
    tree.check_members(archive("./x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "x.tar")


def test_a_write_that_a_signal_stops_half_way_is_gone_on_with() -> None:
    data = os.urandom(4 << 20)
    read, write = os.pipe()
    feeding = threading.Thread(target=tree._thd_feed, args=(io.BytesIO(data), len(data), write))
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    found = bytearray()
    try:
        feeding.start()
        with open(read, "rb", buffering=0) as pipe:
            while part := pipe.read(5000):
                found += part
                if feeding.is_alive() and feeding.ident is not None:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pthread_kill(feeding.ident, signal.SIGUSR1)
    finally:
        feeding.join()
        signal.signal(signal.SIGUSR1, before)
    assert bytes(found) == data
