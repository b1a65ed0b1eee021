"""Reads a project's files without running any of it; a broken one is noted and passed over."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

from hermit_cli.init.finding import HERE
from hermit_proxy.closedyaml.file import read_bytes
from hermit_proxy.errors import InputError

# A lock file can be large; nothing else that is read here is.
LIMIT_BYTES = 64 << 20
_MAX_FILES = 5000
_MAX_DEPTH = 8
# Folders of tools, and copies of other people's projects.
_PASSED = frozenset({"node_modules", "vendor", "third_party", "target", "build", "dist", "venv", "__pycache__"})
# No document of a build tool declares entities; those that do can fill the memory.
_ENTITY = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_NAMESPACE = re.compile(r"\{[^}]*\}")

Table = dict[str, Any]


class Tree:
    """Is a project's folder, or one below it; `troubles` is shared by all folders of one project."""

    def __init__(self, root: Path, folder: PurePosixPath = HERE, troubles: list[str] | None = None) -> None:
        """Take the project's folder and the one below it that this is about."""
        self.root = root
        self.folder = folder
        self.troubles: list[str] = [] if troubles is None else troubles

    def below(self, folder: PurePosixPath) -> Tree:
        """Give a folder of this one."""
        return Tree(self.root, self.folder / folder, self.troubles)

    def trouble(self, name: str, message: str) -> None:
        """Note what is wrong with a file, once."""
        told = f"{self.folder / name}: {message}"
        if told not in self.troubles:
            self.troubles.append(told)

    def has(self, name: str) -> bool:
        """Tell whether there is such a file, which a link out of the project is not."""
        path = self.root / self.folder / name
        return path.is_file() and path.resolve().is_relative_to(self.root)

    def has_folder(self, name: str) -> bool:
        """Tell whether there is such a folder."""
        return (self.root / self.folder / name).is_dir()

    def is_empty(self, name: str) -> bool:
        """Tell whether there is such a folder with nothing in it; one out of the project is none."""
        path = self.root / self.folder / name
        return path.is_dir() and path.resolve().is_relative_to(self.root) and not os.listdir(path)

    def executable(self, name: str) -> bool:
        """Tell whether there is such a file and it may be run."""
        return self.has(name) and os.access(self.root / self.folder / name, os.X_OK)

    def text(self, name: str) -> str:
        """Give a file's text, what is no UTF-8 replaced; nothing where there is no file or it cannot be read."""
        if not self.has(name):
            return ""
        try:
            data = read_bytes(self.root / self.folder / name, limit_bytes=LIMIT_BYTES)
        except InputError as error:
            self.trouble(name, error.mistakes[0].message)
            return ""
        return data.decode("utf-8", "replace").removeprefix("\ufeff")

    def toml(self, name: str) -> Table:
        """Read a TOML file; an empty table where there is none, or none that can be read."""
        try:
            return tomllib.loads(self.text(name))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self.trouble(name, f"not TOML: {error}")
            return {}

    def json(self, name: str) -> Table:
        """Read a JSON object; an empty one where there is none, or none that can be read."""
        text = self.text(name)
        if not text:
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.trouble(name, f"not JSON: {error}")
            return {}
        if not isinstance(found, dict):
            self.trouble(name, "expected a JSON object")
            return {}
        return found

    def xml(self, name: str) -> ET.Element | None:
        """Read an XML file, its names without namespaces; None where there is none, or none that can be read."""
        text = self.text(name)
        if not text:
            return None
        if _ENTITY.search(text):
            self.trouble(name, "declares a document type, which is not read")
            return None
        try:
            found = ET.fromstring(text)  # noqa: S314  see _ENTITY
        except ET.ParseError as error:
            self.trouble(name, f"not XML: {error}")
            return None
        for element in found.iter():
            element.tag = _NAMESPACE.sub("", element.tag)
        return found

    def names(self, pattern: str) -> list[str]:
        """Give the names of files right in this folder that a pattern (`*.txt`) matches, sorted."""
        folder = self.root / self.folder
        return sorted(path.name for path in folder.glob(pattern) if self.has(path.name))

    def files(self, pattern: str, depth: int = _MAX_DEPTH) -> list[str]:
        """Give files at most so many folders below this one, sorted; a huge project is looked at in part."""
        found: list[str] = []
        for folder in (HERE, *self.folders(depth)):
            found += [str(folder / name) for name in self.below(folder).names(pattern)]
            if len(found) > _MAX_FILES:
                break
        return found

    def folders(self, depth: int) -> Iterator[PurePosixPath]:
        """Give the folders at most so deep below this one, without hidden ones, links, and those that tools make."""
        top = self.root / self.folder
        for at, folders, _ in os.walk(top):
            here = PurePosixPath(Path(at).relative_to(top))
            if here.parts:
                yield here
            folders[:] = sorted(name for name in folders if name not in _PASSED and not name.startswith((".", "_")))
            if len(here.parts) >= depth:
                folders.clear()


def table(value: object, *keys: str) -> Table:
    """Follow keys into nested tables; an empty one where there is no table."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def strings(value: object) -> tuple[str, ...]:
    """Give the texts of a list; nothing where there is no list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def string(value: object) -> str:
    """Give a text; nothing where there is none."""
    return value if isinstance(value, str) else ""
