"""Gives tests of `hermit image` a library, small images in it, and makings that cost nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermit_workers.image import maker
from hermit_workers.image.guest import guest_recipe
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import write_lock
from hermit_workers.image.making import lock_path, pin
from hermit_workers.image.recipe import Recipe, load_recipe
from tests.support.smallimages import add_image


@pytest.fixture
def library() -> Library:
    """Give the user's library."""
    return Library.of(os.environ)


@pytest.fixture
def image(library: Library) -> Image:
    """Put the image of the stock recipe into the library."""
    return add_image(library, recipe=load_recipe("debian-12", Path.cwd()).digest.removeprefix("sha256:"))


def lock(image: Image) -> Path:
    """Have the project that the test stands in pin an image."""
    path = lock_path(Path.cwd())
    write_lock(path, pin(load_recipe("debian-12", Path.cwd()), image))
    return path


def output(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Give the object of --json."""
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def add_guest(library: Library, content: str = "guest") -> Image:
    """Put an image into the library that is of the guest image's recipe."""
    return add_image(library, content, name="hermit-guest", recipe=guest_recipe().digest.removeprefix("sha256:"))


@pytest.fixture
def made(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Have small images made at once where real ones take half a minute."""
    made: list[Recipe] = []

    async def make(recipe: Recipe, *, environ: Mapping[str, str], progress: Any) -> Image:
        assert environ is os.environ
        progress("unpacking them")
        made.append(recipe)
        digits = recipe.digest.removeprefix("sha256:")
        return await asyncio.to_thread(add_image, library, str(len(made)), name=recipe.name, recipe=digits)

    monkeypatch.setattr(maker, "make_image", make)
    return made
