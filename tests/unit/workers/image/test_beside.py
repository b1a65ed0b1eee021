"""What lies beside a tree: the files that differ are named, and two mirrors of one archive give one content."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from hermit_workers.image.beside import changes, describe_tree
from hermit_workers.image.library import DESCRIPTION, Image, Library
from tests.support.smallimages import EPOCH, SOURCES, add_image, make_tree, mapped


@pytest.fixture
def image() -> Image:
    return add_image(Library.of(os.environ))


def test_the_files_that_differ_are_named_with_what_differs(image: Image) -> None:
    mapped("chmod 0644 root/etc/shadow; rm root/etc/link; printf y >root/etc/content", image.folder)
    mapped("touch root/new; touch -d @1700000000 root root/etc root/etc/content", image.folder)
    assert asyncio.run(changes(image)) == [
        "./etc/content: content",
        "./etc/link: missing",
        "./etc/shadow: mode 0644, was 0600",
        "./new: extra",
    ]


def test_only_the_first_few_are_named(image: Image) -> None:
    mapped("for name in 1 2 3 4 5 6 7; do touch root/tmp/$name; done; touch -d @1700000000 root/tmp", image.folder)
    told = asyncio.run(changes(image))
    assert told[-2:] == ["./tmp/5: extra", "and 2 more"]


@pytest.mark.parametrize(("content", "told"), [(None, "is older than the lists"), (b"x", "is damaged as well")])
def test_an_image_without_a_list_says_why_no_file_is_named(image: Image, content: bytes | None, told: str) -> None:
    image.files.unlink()
    if content is not None:
        image.files.write_bytes(content)
    assert told in " ".join(asyncio.run(changes(image)))


def test_a_tree_whose_files_are_all_as_they_were_was_packed_in_another_way(image: Image) -> None:
    assert "tar on this machine" in " ".join(asyncio.run(changes(image)))


def described(folder: Path, sources: str, *, other: str = "") -> Image:
    folder.mkdir(mode=0o755)
    make_tree(folder)
    script = 'mkdir -p root/etc/apt/sources.list.d; printf %s "$1" >root/etc/apt/sources.list.d/debian.sources'
    mapped(f"{script}; printf %s '{other}' >root/etc/other; find root | xargs touch -h -d @{EPOCH}", folder, sources)
    blank = Image("debian-12", "", "sha256:" + "a" * 64, "amd64", EPOCH, packages=0, size=0, folder=folder)
    return asyncio.run(describe_tree(blank, SOURCES))


def test_the_content_of_an_image_is_the_same_whichever_mirror_it_came_from(tmp_path: Path) -> None:
    one = described(tmp_path / "one", "URIs: http://one.example.org/debian")
    two = described(tmp_path / "two", "URIs: http://a.longer.name.example.org/debian")
    other = described(tmp_path / "other", "URIs: http://one.example.org/debian", other="x")
    assert one.content == two.content != other.content
    assert len({one.digest, two.digest, other.digest}) == 3
    assert json.loads((tmp_path / "one" / DESCRIPTION).read_text())["content"] == one.content
