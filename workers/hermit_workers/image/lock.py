"""Reads and writes `.hermit/image.lock`, which pins the image that a project's builds run in."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.closedyaml.file import Node, excerpt, load
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.errors import InputError, Mistake

FILE_NAME = "image.lock"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Debian's names of machines (dpkg --print-architecture).
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")
_IMAGE = re.compile(r"[A-Za-z0-9._+/-]{1,255}")
_KEYS = ("image", "recipe", "digest", "architecture")
_LIMIT = 16 << 10
_HEAD = """\
# Written by `hermit image build`: the image that builds of this project run in. Commit it; do not edit it.
"""


@dataclass(frozen=True, slots=True)
class ImageLock:
    """Is what a project has pinned: the image it names, the recipe's digest then, and the tree's (`sha256:<hex>`)."""

    image: str
    recipe: str
    digest: str
    architecture: str


def read_lock(path: Path, *, makes: str = "hermit image build") -> ImageLock | None:
    """Read a lock file, written by `makes`; None where there is none. Raise InputError with each mistake."""
    if path.is_symlink():
        raise InputError([Mistake(path, None, "expected a file, this is a link")])
    if not path.exists():
        return None
    reader = Reader(path)
    fields = reader.expect_mapping(load(path, limit_bytes=_LIMIT), _KEYS, "an image lock", required=_KEYS)
    image = _read(reader, fields.get("image"), "image", _IMAGE, "debian-12 or a recipe's path")
    recipe = _read(reader, fields.get("recipe"), "recipe", DIGEST, "sha256: and 64 hexadecimal digits")
    digest = _read(reader, fields.get("digest"), "digest", DIGEST, "sha256: and 64 hexadecimal digits")
    machine = _read(reader, fields.get("architecture"), "architecture", _ARCHITECTURE, "amd64, arm64, …")
    reader.finish(hint=f"{makes} writes it anew")
    return ImageLock(image, recipe, digest, machine)


def write_lock(path: Path, lock: ImageLock, *, head: str = _HEAD) -> bool:
    """Write the file, whole or not at all; tell whether it has changed. `head` is a comment for people."""
    text = head + "".join(f"{name}: {getattr(lock, name)}\n" for name in _KEYS)
    if not path.is_symlink() and path.is_file() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=f".{FILE_NAME}.", suffix="~", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise
    return True


def _read(reader: Reader, node: Node | None, what: str, form: re.Pattern[str], expected: str) -> str:
    text = reader.expect_str(node, what)
    if text is not None and not form.fullmatch(text):
        reader.mistake(node, f"expected {what} as {expected}; found {excerpt(text)}")
    return text or ""
