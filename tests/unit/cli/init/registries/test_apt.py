"""Tests which archives the image's apt asks."""

from __future__ import annotations

import os
from pathlib import Path

from hermit_cli.init.registries.apt import RELEASE, ask


def test_the_archives_are_those_of_the_users_own_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "hermit").mkdir()
    (tmp_path / f"hermit/{RELEASE}.sources").write_text(
        f"Types: deb\nURIs: http://apt.example.org/debian\nSuites: {RELEASE}\nComponents: main\n"
    )
    found = ask({**os.environ, "XDG_CONFIG_HOME": str(tmp_path)})
    assert [one.url.rstrip("/") for one in found.asked] == ["http://apt.example.org/debian"]
    assert all(one.narrow for one in found.asked)


def test_a_machine_that_knows_no_archive_has_a_person_fill_it_in(tmp_path: Path) -> None:
    (tmp_path / "hermit").mkdir()
    (tmp_path / f"hermit/{RELEASE}.sources").write_text("")
    found = ask({**os.environ, "XDG_CONFIG_HOME": str(tmp_path)})
    assert found.asked == ()
    assert found.unknown[0].endswith("the host of the Debian archive")
