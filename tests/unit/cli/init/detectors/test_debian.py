"""Tests what is found in Debian source packages."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.init.detectors.debian import detect
from tests.unit.cli.init.projects import make, steps

PACKAGE = {"debian/control": "", "debian/changelog": "", "!debian/rules": ""}


def test_a_source_package_is_built_by_its_own_rules(tmp_path: Path) -> None:
    part = detect(make(tmp_path, PACKAGE))
    assert steps(part) == [
        "#+build-dep: apt-get update",
        "#+build-dep: DEBIAN_FRONTEND=noninteractive apt-get --yes build-dep ./",
        "build: dpkg-buildpackage --build=binary --no-sign",
        "build: mkdir -p dist",
        "build: mv ../*.deb dist/",
    ]
    assert part is not None
    assert "cmake" in part.covers


def test_a_debian_folder_without_a_changelog_is_none(tmp_path: Path) -> None:
    assert detect(make(tmp_path, {"debian/control": "", "debian/rules": ""})) is None
