"""Reads trees whose links try to lead out of them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.imagetree import read_inside


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a tree beside a file that is not its own."""
    (tmp_path / "outside").write_text("outside")
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/own").write_text("own")
    return root


@pytest.mark.parametrize("target", ["/etc/own", "own", "../etc/own", "../../../../etc/own"])
def test_a_link_means_a_path_of_the_tree(tree: Path, target: str) -> None:
    (tree / "etc/link").symlink_to(target)
    assert read_inside(tree, PurePosixPath("/etc/link")) == b"own"


def test_a_linked_folder_on_the_way_is_one_of_the_tree(tree: Path) -> None:
    (tree / "usr").symlink_to("/etc")
    assert read_inside(tree, PurePosixPath("/usr/own")) == b"own"


@pytest.mark.parametrize("target", ["../../outside", "{outside}", "/proc/self/root{outside}"])
def test_no_link_leads_out(tree: Path, target: str) -> None:
    (tree / "etc/link").symlink_to(target.format(outside=tree.parent / "outside"))
    assert read_inside(tree, PurePosixPath("/etc/link")) is None


def test_what_is_no_plain_file_is_as_if_it_were_not_there(tree: Path) -> None:
    os.mkfifo(tree / "etc/pipe")
    (tree / "etc/loop").symlink_to("loop")
    for name in ("pipe", "loop", "missing", "own/below", "."):
        assert read_inside(tree, PurePosixPath("/etc") / name) is None
