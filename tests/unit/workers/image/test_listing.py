"""Listings: what differs between two trees is said file by file, and one that cannot be read says nothing."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_workers.image import listing
from hermit_workers.image.listing import Entry

SHADOW = Entry("file", "0600", "0:0", "1700000000", "aa", (("user.x", "1"),))
LINK = Entry("link", "0777", "0:0", "1700000000", "/etc/content")


def packed(*members: tarfile.TarInfo, content: bytes = b"") -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            out.addfile(member, io.BytesIO(content))
    return io.BytesIO(buffer.getvalue())


def member(name: str, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def test_a_tar_is_read_file_by_file() -> None:
    attributes = {"SCHILY.xattr.user.x": "1"}
    tar = packed(
        member("./etc", type=tarfile.DIRTYPE, mode=0o755),
        member("./etc/x", mode=0o4755, uid=3, gid=4, mtime=5, pax_headers=attributes),
        member("./etc/y", type=tarfile.LNKTYPE, linkname="./etc/x"),
        member("./etc/z", type=tarfile.SYMTYPE, linkname="x"),
        content=b"hello",
    )
    hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert listing.read_tar(tar) == {
        "./etc": Entry("folder", "0755", "0:0", "0", ""),
        "./etc/x": Entry("file", "4755", "3:4", "5", hello, (("user.x", "1"),)),
        "./etc/y": Entry("second name", "0644", "0:0", "0", "./etc/x"),
        "./etc/z": Entry("link", "0644", "0:0", "0", "x"),
    }


def test_what_is_written_is_read_again_and_depends_on_nothing_else(tmp_path: Path) -> None:
    files = {"./b\udcff\n": SHADOW, "./a": LINK}
    listing.write(tmp_path / "one", files)
    listing.write(tmp_path / "two", dict(reversed(files.items())))
    assert listing.read(tmp_path / "one") == files
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"x",
        gzip.compress(b"{"),
        gzip.compress(b"1\n"),
        gzip.compress(b'["a"]\n'),
        gzip.compress(b"x" * 99)[:-9],
    ],
)
def test_what_is_no_listing_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    assert not listing.read(tmp_path / "x")


CHANGES = {
    "nothing": (SHADOW, SHADOW, []),
    "missing": (SHADOW, None, ["./x: missing"]),
    "extra": (None, SHADOW, ["./x: extra"]),
    "content": (SHADOW, replace(SHADOW, content="bb"), ["./x: content"]),
    "mode and owner": (
        SHADOW,
        replace(SHADOW, mode="0644", owner="1:0"),
        ["./x: mode 0644, was 0600; owner 1:0, was 0:0"],
    ),
    "time": (SHADOW, replace(SHADOW, time="1"), ["./x: time 1, was 1700000000"]),
    "attribute": (SHADOW, replace(SHADOW, attributes=(("user.x", "2"),)), ["./x: attribute user.x"]),
    "link": (LINK, replace(LINK, content="/y"), ["./x: leads to /y, was /etc/content"]),
    "kind": (SHADOW, LINK, ["./x: a link, was a file"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_said_in_words(what: str) -> None:
    was, now, told = CHANGES[what]
    old = {} if was is None else {"./x": was}
    new = {} if now is None else {"./x": now}
    assert listing.differences(old, new) == told


def test_a_name_that_is_no_text_can_be_printed() -> None:
    assert listing.differences({"./\udcff": LINK}, {}) == ["./\\udcff: missing"]


def test_the_digest_of_the_content_is_that_of_all_but_what_is_left_out() -> None:
    left_out = frozenset({"./mirror"})
    one = listing.digest({"./a": LINK, "./mirror": SHADOW}, without=left_out)
    assert one.startswith("sha256:")
    assert one == listing.digest({"./mirror": replace(SHADOW, content="bb"), "./a": LINK}, without=left_out)
    assert one != listing.digest({"./a": SHADOW, "./mirror": SHADOW}, without=left_out)
    assert one != listing.digest({"./b": LINK}, without=left_out)
