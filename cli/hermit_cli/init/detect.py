"""Finds all that builds a project: in its folder, or else in the folders of a repository that holds several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from hermit_cli.init.detectors import debian, golang, java, native, node, python, rust, submodules
from hermit_cli.init.finding import Found, Part
from hermit_cli.init.tree import Tree

_DETECTORS: tuple[Callable[[Tree], Part | None], ...] = (
    debian.detect,
    python.detect,
    node.detect,
    rust.detect,
    golang.detect,
    java.detect_maven,
    java.detect_gradle,
    native.detect_cmake,
    native.detect_meson,
    native.detect_autotools,
)
_CONTAINERS = ("Dockerfile", "Containerfile")
# What is built for people to read or learn from, or for tests, is hardly what a repository is for.
_BESIDE = frozenset(
    {"docs", "doc", "examples", "example", "samples", "test", "tests", "testdata", "fixtures", "benches"}
)
_DEPTH = 2
_MAX_PARTS = 12
_LONGEST = 50

# What is looked for, in the words of an error.
EXPECTED = ", ".join(module.DESCRIBED for module in (python, node, rust, golang, java, native, debian))


def look(root: Path, origin: str = "") -> Found:
    """Look at a project; `origin` is the URL that relative submodules are relative to."""
    tree = Tree(root.resolve())
    parts, unused = _of_folder(tree)
    below = list(_below(tree))
    if not parts:
        parts, below = below[:_MAX_PARTS], below[_MAX_PARTS:]
    unused += [f"{part.folder}: {part.title}" for part in below]
    fetched = submodules.detect(tree, origin)
    if fetched:
        parts.insert(0, fetched)
    return Found(tuple(parts), tuple(unused), tuple(tree.troubles))


def has_container(root: Path) -> bool:
    """Tell whether a container is built from this folder."""
    return any(map(Tree(root.resolve()).has, _CONTAINERS))


def _of_folder(tree: Tree) -> tuple[list[Part], list[str]]:
    """Give what builds one folder, and what was seen but is driven by another, or is no more than a helper."""
    found = [part for detector in _DETECTORS if (part := detector(tree))]
    covered = frozenset(kind for part in found for kind in part.covers)
    parts = [replace(part, folder=tree.folder) for part in found if part.kind not in covered]
    unused = [f"{part.title}: {_driver(part, parts)} takes care of it" for part in found if part.kind in covered]
    helper = native.detect_make(tree)
    if helper and not parts:
        parts = [replace(helper, folder=tree.folder)]
    elif helper and "autotools" not in {part.kind for part in parts}:
        unused.append(f"{helper.title}: taken for a helper of the others")
    return parts, unused


def _driver(covered: Part, parts: list[Part]) -> str:
    return next((part.title for part in parts if covered.kind in part.covers), "another")


def _nameable(folder: PurePosixPath) -> bool:
    """Tell whether a step can bear the folder's name."""
    return len(str(folder)) <= _LONGEST and str(folder).isprintable()


def _below(tree: Tree) -> list[Part]:
    """Give what builds the folders below; those of a folder with a build of its own belong to that one."""
    found: list[Part] = []
    owned: list[PurePosixPath] = []
    for folder in tree.folders(_DEPTH):
        if _BESIDE & set(folder.parts) or not _nameable(folder) or any(folder.is_relative_to(owner) for owner in owned):
            continue
        parts, _ = _of_folder(tree.below(folder))
        if parts:
            owned.append(folder)
            found += parts
    return found
