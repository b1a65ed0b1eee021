"""Reads recipes: what is in an image, as a project or Hermit itself says it."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_proxy.closedyaml.file import Node, Scalar, excerpt, load, read_bytes
from hermit_proxy.closedyaml.reader import Reader, did_you_mean
from hermit_proxy.errors import InputError, UsageError

STOCK = Path(__file__).parent / "stock"
MAX_FILE = 16 << 20
# Part of every recipe's digest: what Hermit itself puts into an image or takes out of it. Count up with each change.
_GENERATION = 1
_KEYS = ("base", "packages", "files", "commands")
# Debian Policy 5.6.7; a name that begins with a dash would be an option.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
_MAX_PACKAGES = 5000
_MAX_FILES = 1000
_MAX_COMMANDS = 200
# These are empty in an image: a cell mounts something there, or a build's own files lie there.
_TAKEN = tuple(f"/{name}" for name in ("build", "dev", "proc", "run", "sys", "tmp"))


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """Is one file that a recipe puts into the image, owned by root: mode 0755 where it is executable, else 0644."""

    target: PurePosixPath
    content: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Recipe:
    """Is what an image is made of; `release` is Debian's code name, `packages` are sorted, `files` by target.

    `commands` are lines for /bin/sh, run as root in a cell of the new tree, without network.
    """

    name: str
    release: str
    packages: tuple[str, ...]
    files: tuple[RecipeFile, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Give the digest (`sha256:<hex>`) of all that the recipe says, the content of its files included."""
        files = [[str(file.target), file.executable, hashlib.sha256(file.content).hexdigest()] for file in self.files]
        said = [_GENERATION, self.release, self.packages, files, self.commands]
        return "sha256:" + hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def load_recipe(ref: str, project_root: Path) -> Recipe:
    """Read the recipe that a spec names: a stock one (`debian-12`), or a file's path below the project (`….yaml`).

    Raise UsageError where there is none, InputError with every mistake in it.
    """
    if not ref.endswith((".yaml", ".yml")):
        return _load_stock(ref)
    path = PurePosixPath(ref)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"image: {excerpt(ref)} leads out of the project", hint="a recipe is a file below the project")
    return _load_own(ref, project_root / path)


def stock_names() -> list[str]:
    """Name the stock recipes."""
    return sorted(path.stem for path in STOCK.glob("*.yaml"))


def _load_stock(name: str) -> Recipe:
    if name not in stock_names():
        hint = "or a recipe of the project's own: a path that ends in .yaml (docs/images.md)"
        raise UsageError(f"there is no image {excerpt(name)}{did_you_mean(name, stock_names())}", hint=hint)
    return read_stock(STOCK / f"{name}.yaml", name)


def read_stock(path: Path, name: str) -> Recipe:
    """Read a recipe of Hermit's own, which names a release and packages alone; raise InputError."""
    reader = Reader(path)
    fields = reader.expect_mapping(load(path), ("release", "packages"), "a stock recipe", required=("release",))
    release = reader.expect_str(fields.get("release"), "release")
    packages = _read_packages(reader, fields.get("packages"))
    reader.finish()
    return Recipe(name, str(release), packages)


def _load_own(ref: str, path: Path) -> Recipe:
    reader = Reader(path)
    fields = reader.expect_mapping(load(path), _KEYS, "a recipe", required=("base",))
    base = reader.expect_enum(fields.get("base"), "base", stock_names())
    packages = _read_packages(reader, fields.get("packages"))
    files = _read_files(reader, fields.get("files"))
    commands = _read_commands(reader, fields.get("commands"))
    reader.finish()
    stock = _load_stock(str(base))
    together = tuple(sorted({*stock.packages, *packages}))
    return Recipe(ref, stock.release, together, files, commands)


def _read_packages(reader: Reader, node: Node | None) -> tuple[str, ...]:
    found: dict[str, int] = {}
    items = reader.expect_list(node, "packages")
    for item in items[:_MAX_PACKAGES]:
        name = reader.expect_str(item, "a package's name")
        if name is None:
            continue
        if not _PACKAGE.fullmatch(name):
            reader.mistake(item, f"expected a package's name (a-z, 0-9, `+`, `-`, `.`); found {excerpt(name)}")
        elif name in found:
            reader.mistake(item, f"the package {name} stands here a second time (first: line {found[name]})")
        else:
            found[name] = item.line
    if len(items) > _MAX_PACKAGES:
        reader.mistake(items[_MAX_PACKAGES], f"more than {_MAX_PACKAGES} packages")
    return tuple(sorted(found))


def _read_commands(reader: Reader, node: Node | None) -> tuple[str, ...]:
    items = reader.expect_list(node, "commands")
    if len(items) > _MAX_COMMANDS:
        reader.mistake(items[_MAX_COMMANDS], f"more than {_MAX_COMMANDS} commands")
    texts = [reader.expect_str(item, "a command") for item in items[:_MAX_COMMANDS]]
    for item, text in zip(items, texts, strict=False):
        if text is not None and "\0" in text:
            reader.mistake(item, "a command cannot hold a NUL")
    return tuple(text for text in texts if text is not None)


def _read_files(reader: Reader, node: Node | None) -> tuple[RecipeFile, ...]:
    found: dict[PurePosixPath, RecipeFile] = {}
    items = reader.expect_free_mapping(node, "files")
    if len(items) > _MAX_FILES:
        reader.mistake(items[_MAX_FILES][0], f"more than {_MAX_FILES} files")
    for key, value in items[:_MAX_FILES]:
        target = _read_target(reader, key)
        source = reader.expect_str(value, f"the file for {excerpt(key.text)}")
        content = None if source is None else _read_content(reader, value, source)
        if target is not None and content is not None:
            if target in found:
                reader.mistake(key, f"{target} stands here a second time")
            found[target] = RecipeFile(target, *content)
    _check_nesting(reader, found, {PurePosixPath(key.text): key for key, _ in items})
    return tuple(found[target] for target in sorted(found))


def _read_target(reader: Reader, key: Scalar) -> PurePosixPath | None:
    path = PurePosixPath(key.text)
    plain = path.is_absolute() and ".." not in path.parts and str(path) == key.text and key.text.isprintable()
    if not plain or key.text.startswith("//") or path == PurePosixPath("/"):
        reader.mistake(key, f"expected the full path of a file in the image, such as /etc/x; found {excerpt(key.text)}")
        return None
    if taken := next((folder for folder in _TAKEN if path.is_relative_to(folder)), None):
        reader.mistake(key, f"{key.text} cannot be in an image: a cell mounts its own {taken}")
        return None
    return path


def _check_nesting(reader: Reader, files: dict[PurePosixPath, RecipeFile], keys: dict[PurePosixPath, Scalar]) -> None:
    for target in files:
        if above := next((parent for parent in target.parents if parent in files), None):
            reader.mistake(keys[target], f"{target} lies below {above}, which is a file here")


def _read_content(reader: Reader, node: Node, source: str) -> tuple[bytes, bool] | None:
    """Read a file below the recipe's folder; no part of its path may be a link, for that could lead anywhere."""
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts or "\0" in source:
        reader.mistake(node, f"expected a path below {reader.path.parent}; found {excerpt(source)}")
        return None
    place = reader.path.parent
    for part in path.parts:
        place /= part
        try:
            status = place.lstat()
        except OSError as error:
            reader.mistake(node, f"{place} cannot be read: {error.strerror}")
            return None
        if stat.S_ISLNK(status.st_mode):
            reader.mistake(node, f"{place} is a link; expected the file itself")
            return None
    if not stat.S_ISREG(status.st_mode):
        reader.mistake(node, f"{place} is no file; name each file of a folder")
        return None
    try:
        return read_bytes(place, limit_bytes=MAX_FILE), bool(status.st_mode & 0o100)
    except InputError as error:
        for mistake in error.mistakes:
            reader.mistake(node, f"{place}: {mistake.message}")
        return None
