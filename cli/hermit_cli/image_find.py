"""Finds the images that a person, the project and the user's VMs mean."""

from __future__ import annotations

import re
from pathlib import Path

from hermit_cli.project import find_project
from hermit_proxy.errors import UsageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import read_lock
from hermit_workers.image.making import lock_path

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")


def find_image(library: Library, text: str) -> Image:
    """Find the image that a person means by the beginning of its digest; raise UsageError for none or several."""
    found = _PREFIX.fullmatch(text)
    if found is None:
        raise UsageError(f"expected a digest or its first 6 digits or more; found {text!r}", hint="hermit image list")
    images = [image for image in library.images() if image.digest.startswith(f"sha256:{found[1]}")]
    if len(images) != 1:
        raise UsageError(f"{len(images) or 'no'} images begin with {text}", hint="hermit image list")
    return images[0]


def pinned_digest() -> str | None:
    """Give the digest that the project of this folder pins, None where it pins none; raise InputError."""
    lock = read_lock(lock_path(find_project(Path.cwd()).root))
    return None if lock is None else lock.digest
