"""The list of packages names what dpkg has installed, as CycloneDX 1.5 wants it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hermit_workers.image.bill import Package, bill, installed_packages
from hermit_workers.image.errors import ImageError
from tests.support.smallimages import STATUS


def write_status(root: Path, text: str) -> None:
    (root / "var" / "lib" / "dpkg").mkdir(parents=True)
    (root / "var" / "lib" / "dpkg" / "status").write_text(text)


def test_only_what_is_installed_is_listed_and_sorted(tmp_path: Path) -> None:
    more = "\nPackage: abc\nStatus: hold ok installed\nArchitecture: all\nVersion: 1:2~x\nDescription: a: b\n more\n"
    write_status(tmp_path, STATUS + more)
    assert installed_packages(tmp_path) == [Package("abc", "1:2~x", "all"), Package("hello", "2.10-3+b1", "amd64")]


def test_the_list_has_what_the_specification_requires() -> None:
    found = json.loads(bill("debian-12", "sha256:1", [Package("libstdc++6", "1:2~x+b1", "amd64")]))
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.5", 1)
    (component,) = found["components"]
    assert component["purl"] == "pkg:deb/debian/libstdc%2B%2B6@1%3A2~x%2Bb1?arch=amd64"
    assert (component["type"], component["name"], component["version"]) == ("library", "libstdc++6", "1:2~x+b1")
    references = [component["bom-ref"], found["metadata"]["component"]["bom-ref"]]
    assert len(set(references)) == 2


def test_a_tree_without_dpkg_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no packages"):
        installed_packages(tmp_path)


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    write_status(tmp_path / "elsewhere", STATUS)
    root = tmp_path / "root"
    (root / "var" / "lib").mkdir(parents=True)
    (root / "var" / "lib" / "dpkg").symlink_to(tmp_path / "elsewhere" / "var" / "lib" / "dpkg")
    with pytest.raises(ImageError, match="no packages"):
        installed_packages(root)
