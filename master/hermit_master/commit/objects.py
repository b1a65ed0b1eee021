"""Makes a commit out of git's objects alone: no checkout, no index, no hook and no filter has a part in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_master.names import Sha, parse_sha
from hermit_master.settings.master import Author
from hermit_proxy import git
from hermit_proxy.closedyaml.file import excerpt
from hermit_proxy.errors import HermitError

_FOLDER = ".hermit"
_NETWORK = "network"
# What a recording writes anew as a whole; what it no longer has is pruned.
_REPLACED = frozenset({_NETWORK, "recorded"})
_FILE = re.compile(r"(?:network/(?!\.)[^/]{1,250}\.yaml)|recorded|image\.lock")
_MODE, _TREE = "100644", "040000"
_TIME = re.compile(rb"^committer .* ([0-9]+) [+-][0-9]{4}$", re.MULTILINE)


class CommitError(HermitError):
    """Is raised where a snapshot cannot be put on a commit."""


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    kind: str
    oid: str


_Entries = dict[bytes, _Entry]


def make_commit(mirror: Path, parent: Sha, files: Mapping[str, bytes], author: Author, message: str) -> Sha | None:
    """Write a commit on top of `parent` into a bare repository that has it; None where it would change nothing.

    `files` have names below `.hermit`: `network/HOST.yaml`, `recorded`, `image.lock`. The network's folder is replaced
    as a whole. The same arguments give the same commit at any time: its date is its parent's.
    """
    _check_names(files)
    raw = git.ask(mirror, "cat-file", "commit", parent)
    before = parse_sha(
        git.ask(mirror, "rev-parse", "--verify", "--end-of-options", f"{parent}^{{tree}}").decode().strip()
    )
    tree = _with_snapshot(mirror, before, files)
    if tree == before:
        return None
    found = _TIME.search(raw.partition(b"\n\n")[0])
    when = int(found.group(1)) if found else 0
    by = f"{author.name} <{author.email}> {when} +0000"
    text = f"tree {tree}\nparent {parent}\nauthor {by}\ncommitter {by}\n\n{message.strip()}\n"
    return parse_sha(_write(mirror, "commit", text.encode()))


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        if not _FILE.fullmatch(name) or not name.isprintable():
            raise CommitError(f"a recording writes no file {excerpt(name)}")


def _with_snapshot(mirror: Path, tree: Sha, files: Mapping[str, bytes]) -> str:
    top = _read_tree(mirror, tree)
    folder = top.get(_FOLDER.encode())
    if folder is not None and folder.kind != "tree":
        raise CommitError(f"{_FOLDER} is no folder in {tree}", hint=f"git rm {_FOLDER}, and commit a folder instead")
    inner = _read_tree(mirror, folder.oid) if folder is not None else {}
    inner = {name: entry for name, entry in inner.items() if os.fsdecode(name) not in _REPLACED}
    network: _Entries = {}
    for path, content in sorted(files.items()):
        parent, _, name = path.rpartition("/")
        blob = _Entry(_MODE, "blob", _write(mirror, "blob", content))
        (network if parent else inner)[name.encode()] = blob
    if network:
        inner[_NETWORK.encode()] = _Entry(_TREE, "tree", _write_tree(mirror, network))
    top.pop(_FOLDER.encode(), None)
    if inner:
        top[_FOLDER.encode()] = _Entry(_TREE, "tree", _write_tree(mirror, inner))
    return _write_tree(mirror, top)


def _read_tree(mirror: Path, oid: str) -> _Entries:
    found: _Entries = {}
    for line in git.ask(mirror, "ls-tree", "-z", oid).split(b"\0"):
        about, _, name = line.partition(b"\t")
        if name:
            found[name] = _Entry(*about.decode().split(" "))
    return found


def _write_tree(mirror: Path, entries: _Entries) -> str:
    lines = (f"{entry.mode} {entry.kind} {entry.oid}\t".encode() + name for name, entry in entries.items())
    return git.ask(mirror, "mktree", "-z", given=b"".join(line + b"\0" for line in lines)).decode().strip()


def _write(mirror: Path, kind: str, content: bytes) -> str:
    command = ("hash-object", "-t", kind, "-w", "--no-filters", "--stdin")
    return git.ask(mirror, *command, given=content).decode().strip()
