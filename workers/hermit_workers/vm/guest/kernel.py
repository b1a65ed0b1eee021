"""Finds a guest image's kernel, and the few of its modules that a machine needs before it has a root."""

from __future__ import annotations

import lzma
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.image.errors import ImageError
from hermit_workers.imagetree import read_inside

# What is the only disk, link, source of chance and root of a guest, under their modules' names.
NEEDED = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "overlay")

HINT = "hermit image build --guest    (makes a whole one)"
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~_-]{0,99}")
_XZ = ".xz"
LIMIT = 16 << 20  # what read_inside gives at most


@dataclass(frozen=True, slots=True)
class Module:
    """Is one module, unpacked: its file's name and content."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """Is a guest image's kernel: its version, what a machine boots, and the modules in the order in which they load."""

    version: str
    image: bytes
    modules: tuple[Module, ...]


def find_kernel(root: Path) -> Kernel:
    """Read the one kernel of a guest image's tree; raise ImageError for none, two, or one that lacks a part."""
    versions = [name.removeprefix("vmlinuz-") for name in _names(root / "boot") if name.startswith("vmlinuz-")]
    if len(versions) != 1 or not _VERSION.fullmatch(versions[0]):
        found = ", ".join(map(ascii, versions)) or "none"
        raise ImageError(f"a guest image has one kernel; this one has {found}", hint=HINT)
    version = versions[0]
    modules = PurePosixPath("/lib/modules", version)
    depends = dict(_dependencies(_read(root, modules / "modules.dep").decode(errors="replace")))
    builtin = {_plain(line) for line in _read(root, modules / "modules.builtin").decode(errors="replace").split()}
    loaded = [_module(root, modules / path) for path in _order(depends, builtin)]
    return Kernel(version, _read(root, PurePosixPath(f"/boot/vmlinuz-{version}")), tuple(loaded))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(root: Path, path: PurePosixPath) -> bytes:
    try:
        content = read_inside(root, path)
    except OSError as error:
        raise ImageError(f"{path} of the guest image cannot be read: {error.strerror}", hint=HINT) from error
    if content is None:
        raise ImageError(f"the guest image has no {path}, and a VM needs it", hint=HINT)
    if len(content) >= LIMIT:
        raise ImageError(f"{path} of the guest image is too large: {LIMIT >> 20} MiB and more", hint=HINT)
    return content


def _plain(path: str) -> str:
    """Give the name that a module is known by: files have either sign for the same one."""
    return PurePosixPath(path).name.removesuffix(_XZ).removesuffix(".ko").replace("-", "_")


def _dependencies(text: str) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Read modules.dep: `path: path...`, where what is needed first stands last."""
    for line in text.splitlines():
        path, _, rest = line.partition(":")
        if path and ".." not in PurePosixPath(path).parts:
            yield _plain(path), (path, [_plain(other) for other in reversed(rest.split())])


def _order(depends: Mapping[str, tuple[str, list[str]]], builtin: set[str]) -> list[str]:
    """Give the paths of what is needed, each after all that it needs itself; raise ImageError for what is nowhere."""
    found: dict[str, None] = {}
    for name in NEEDED:
        if name in builtin:
            continue
        if name not in depends:
            raise ImageError(f"the guest image's kernel has no module {name}, and a VM needs it", hint=HINT)
        path, others = depends[name]
        # depmod lists everything, also what is needed only by what is needed.
        found |= dict.fromkeys(depends[other][0] for other in others if other in depends)
        found[path] = None
    return list(found)


def _module(root: Path, path: PurePosixPath) -> Module:
    content = _read(root, path)
    if path.suffix == _XZ:  # the small programs that load them do not know how
        try:
            content = lzma.decompress(content)
        except lzma.LZMAError as error:
            raise ImageError(f"{path} of the guest image is damaged: {error}", hint=HINT) from error
        path = path.with_suffix("")
    return Module(path.name, content)
