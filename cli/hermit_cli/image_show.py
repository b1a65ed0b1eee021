"""Tells of images and of their making, on the terminal and to programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hermit_cli.output import bytes_as_text, say, say_styled, time_as_text
from hermit_cli.table import aligned, tell
from hermit_workers.image.library import Image, Library

_SHOWN = 12


class Progress:
    """Tells each step of a making with the time since its begin; `quiet` tells nothing."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count."""
        self._quiet = quiet
        self._clock = clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        """Give the time since the begin."""
        return self._clock() - self._began

    def begin(self, text: str) -> None:
        """Tell what is to come."""
        if not self._quiet:
            say(f"hermit image: {text}")

    def __call__(self, text: str) -> None:
        """Tell a step."""
        if not self._quiet:
            say_styled(f"  {time_as_text(self.seconds):>7}  {text}", "dim")


def image_data(image: Image) -> dict[str, Any]:
    """Give what programs get of an image."""
    names = ("name", "digest", "recipe", "architecture", "made", "packages", "size", "content")
    return {**{name: getattr(image, name) for name in names}, "folder": str(image.folder)}


def tell_images(library: Library, images: list[Image], pinned: str | None, guest: str | None) -> None:
    """Print a table of images; the one that this project pins and the one that boots VMs are marked."""
    marks = {guest: "boots VMs", pinned: "pinned here"}
    if not images:
        tell(f"{library.folder}: no images yet    (hermit image build makes one)")
        return
    tell(str(library.folder))
    rows = [("IMAGE", "DIGEST", "AS OF", "LAST USED", "PACKAGES", "SIZE", "")]
    rows += [
        (
            image.name,
            image.digest.removeprefix("sha256:")[:_SHOWN],
            _day(image.made),
            _day(library.last_used(image)),
            str(image.packages),
            bytes_as_text(image.size),
            marks.get(image.digest, ""),
        )
        for image in images
    ]
    tell("\n".join(aligned(rows, right=frozenset({4, 5}))))


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
