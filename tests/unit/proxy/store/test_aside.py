"""What is put aside can be looked at for a while, and goes without taking anything else along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.store.aside import Aside


@pytest.fixture
def aside(tmp_path: Path) -> Aside:
    (tmp_path / "aside").mkdir()
    return Aside(tmp_path / "aside")


def test_the_same_body_may_be_put_aside_more_than_once(aside: Aside, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        (tmp_path / "body").write_bytes(content)
        aside.take(tmp_path / "body")
    assert len(aside) == 2
    assert {path.read_bytes() for path in (tmp_path / "aside").iterdir()} == {b"one", b"two"}


def test_its_age_counts_from_the_moment_it_was_put_aside(aside: Aside, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x")
    os.utime(tmp_path / "body", (1, 1))
    aside.take(tmp_path / "body")
    assert aside.sweep(3600, dry_run=False) == 0
    assert aside.sweep(0, dry_run=True) == 1
    assert len(aside) == 1
    assert aside.sweep(0, dry_run=False) == 1
    assert len(aside) == 0


def test_links_are_removed_and_not_what_they_lead_to(aside: Aside, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"precious")
    (tmp_path / "body").symlink_to(tmp_path / "folder")
    aside.take(tmp_path / "body")
    (tmp_path / "body").mkdir()
    (tmp_path / "body" / "link").symlink_to(tmp_path / "folder")
    aside.take(tmp_path / "body")
    assert aside.sweep(0, dry_run=False) == 2
    assert (tmp_path / "folder" / "file").read_bytes() == b"precious"
