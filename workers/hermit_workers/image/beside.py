"""Writes what lies beside an image's tree: what it is, its packages and its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hermit_workers.image import listing, tree
from hermit_workers.image.bill import bill, installed_packages
from hermit_workers.image.library import BILL, DESCRIPTION, FILES, Image, describe
from hermit_workers.image.listing import Listing

# What says where the packages came from: all that differs between the images of two mirrors of one archive.
_ADDRESSES = frozenset({"./etc/apt/sources.list.d/debian.sources"})
_TOLD = 5


async def describe_tree(image: Image, sources: Mapping[str, Any]) -> Image:
    """Read the tree of an image's folder, and write the files beside it; give the image with its digests and figures.

    `sources` is what a rebuild needs (see Sources.to_json). Raise ImageError where the tree cannot be read.
    """
    folder = image.folder
    packages = installed_packages(folder / "root")
    packed, files = await tree.listed(folder)
    found = dataclasses.replace(
        image,
        digest=packed.digest,
        packages=len(packages),
        size=packed.size,
        content=listing.digest(files, without=_ADDRESSES),
    )
    listing.write(folder / FILES, files)
    (folder / BILL).write_bytes(bill(found.name, found.digest, packages))
    (folder / DESCRIPTION).write_bytes(describe(found, sources))
    return found


async def changes(image: Image) -> list[str]:
    """Say which files of a tree are no longer as they were: the first few, or why none is named."""
    _, now = await tree.listed(image.folder)
    return compared(image, now)


def compared(image: Image, now: Listing) -> list[str]:
    """Say in which files a tree differs from what an image was once: the first few, or why none is named."""
    was = listing.read(image.files)
    if was is None:
        return [f"which files cannot be told: {_missing(image.files)}"]
    found = listing.differences(was, now)
    if not found:
        return ["yet each file is as it was: tar on this machine packs trees in another way than it did"]
    return [*found[:_TOLD], *([f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else [])]


def _missing(path: Path) -> str:
    return f"{path} is damaged as well" if path.exists() else "the image is older than the lists that say it"
