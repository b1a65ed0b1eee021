"""Making an image: what this machine must have is told; tests/integration/test_images.py makes real ones."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hermit_proxy.settings import config_dir
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import Library
from hermit_workers.image.maker import architecture, make_image
from hermit_workers.image.recipe import load_recipe
from hermit_workers.image.sources import SourcesError, own_file


def test_a_machine_without_dpkg_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert architecture().isalnum()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="dpkg does not run"):
        architecture()


def test_without_archives_nothing_is_begun(tmp_path: Path) -> None:
    own_file("bookworm", os.environ).parent.mkdir(parents=True)
    own_file("bookworm", os.environ).write_text("")
    with pytest.raises(SourcesError):
        asyncio.run(make_image(load_recipe("debian-12", tmp_path), environ=os.environ, progress=lambda _: None))
    assert not Library.of(os.environ).folder.exists()


def test_an_archive_that_no_rule_of_the_guard_lets_through_fails_with_what_was_refused(tmp_path: Path) -> None:
    """The archive is on this machine's loopback, which a recorder never reaches."""
    own_file("bookworm", os.environ).parent.mkdir(parents=True)
    uris = "http://127.0.0.1:9/debian http://127.0.0.2:9/debian"
    text = f"Types: deb\nURIs: {uris}\nSuites: bookworm\nComponents: main\n"
    own_file("bookworm", os.environ).write_text(text)
    with pytest.raises(ImageError) as caught:
        asyncio.run(make_image(load_recipe("debian-12", tmp_path), environ=os.environ, progress=lambda _: None))
    assert "GET http://127.0.0.1:9/debian/dists/bookworm/InRelease" in str(caught.value)
    first, *lines = str(caught.value.hint).splitlines()
    assert first == f"if you trust them, add to {config_dir(os.environ) / 'config.yaml'}:"
    assert sorted(lines) == [
        "    - 127.0.0.1:9",
        "    - 127.0.0.2    # the rules name it, too",
        "  allow:",
        "upstream:",
    ]
    assert os.listdir(Library.of(os.environ).folder) == []
