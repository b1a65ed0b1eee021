"""Makes the `.git` that a build sees: the history and tags of what is built, and nothing else of its owner's."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from hermit_workers.source.repository import Repository, Tracked

_HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_SKIP_WORKTREE = 1 << 14
_EXTENDED = 1 << 14
_OWNER = 1000
_BRANCHES = "refs/heads/"
_LONGEST_NAME = 0xFFF
# `[user@]host:path`, ssh's short form; a path of this machine has a slash before its first colon.
_SHORT = re.compile(r"(?:[^@/:\s]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s@]+")
_REMOTE = frozenset({"http", "https", "git", "ssh", "git+ssh", "ssh+git"})
_WEB = frozenset({"http", "https"})
_RAW = ("utf-8", "surrogateescape")  # names of files and refs are octets


@dataclass(frozen=True, slots=True)
class Head:
    """Is what is built: a commit, the branch that it is on (empty: none), and where its repository is at home."""

    commit: str
    branch: str
    epoch: int
    url: str


def read_head(repository: Repository) -> Head | None:
    """Read it; None where there is no commit yet."""
    # Not by `git show`: it runs gpg.program, whatever that is, where the settings want signatures shown.
    epoch, _, commit = repository.line("rev-list", "--max-count=1", "--timestamp", "HEAD", "--").partition(" ")
    if not commit:
        return None
    ref = repository.line("symbolic-ref", "--quiet", "HEAD")
    branch = ref.removeprefix(_BRANCHES) if ref.startswith(_BRANCHES) else ""
    return Head(commit, branch, max(0, int(epoch)), clean_url(repository.settings.get("remote.origin.url", "")))


def clean_url(url: str) -> str:
    """Give a remote without secrets: no user or password, no query; empty for a path of this machine."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _REMOTE and parts.hostname and url.isprintable():
            host = parts.netloc.rpartition("@")[2]
            # ssh's user is no secret and part of the address: git@host.
            user = "" if parts.scheme in _WEB or not parts.username else f"{parts.username}@"
            return urlunsplit((parts.scheme, user + host, parts.path, "", ""))
    except ValueError:  # no URL, whatever it is
        return ""
    return url if _SHORT.fullmatch(url) and url.isprintable() else ""


def write_git_folder(
    folder: Path, repository: Repository, head: Head, index: Iterable[Tracked], sizes: Mapping[str, int]
) -> None:
    """Write it into an empty folder.

    `sizes` has the size in bytes of each file that is as its index says; their times are to be `head.epoch`, and then
    git need not read them. Objects are copied, never linked: a build may write into its own.
    """
    kind = repository.line("rev-parse", "--show-object-format") or "sha1"
    tags = _tags(repository, head)
    for name in ("refs/heads", "refs/tags", "info"):
        (folder / name).mkdir(parents=True)
    repository.pack([head.commit, *(oid for oid, _ in tags)], folder / "objects")
    (folder / "config").write_bytes(_config(head, kind).encode(*_RAW))
    refs = [*tags, *([(head.commit, f"refs/heads/{head.branch}")] if head.branch else [])]
    (folder / "packed-refs").write_bytes(b"".join(f"{oid} {ref}\n".encode(*_RAW) for oid, ref in refs))
    target = f"ref: refs/heads/{head.branch}" if head.branch else head.commit
    (folder / "HEAD").write_bytes(f"{target}\n".encode(*_RAW))
    if repository.line("rev-parse", "--is-shallow-repository") == "true":
        shallow = repository.top / repository.line("rev-parse", "--git-path", "shallow")
        (folder / "shallow").write_bytes(shallow.read_bytes())
    (folder / "index").write_bytes(index_file(index, sizes, head.epoch, kind))


def index_file(index: Iterable[Tracked], sizes: Mapping[str, int], epoch: int, kind: str = "sha1") -> bytes:
    """Give git's index (gitformat-index(5)) as a checkout would have left it, without what differs by machine."""
    entries = list(index)
    version = 3 if any(entry.absent for entry in entries) else 2
    data = bytearray(b"DIRC" + struct.pack(">II", version, len(entries)))
    for entry in entries:
        path = entry.path.encode(*_RAW)
        size = sizes.get(entry.path)
        when = 0 if size is None else epoch & 0xFFFFFFFF
        start = len(data)
        stat = (when, 0, when, 0, 0, 0, entry.mode, _OWNER, _OWNER, (size or 0) & 0xFFFFFFFF)
        flags = entry.stage << 12 | min(len(path), _LONGEST_NAME) | (_EXTENDED if entry.absent else 0)
        data += struct.pack(">10I", *stat) + bytes.fromhex(entry.oid) + struct.pack(">H", flags)
        data += (struct.pack(">H", _SKIP_WORKTREE) if entry.absent else b"") + path
        data += b"\0" * (8 - (len(data) - start) % 8)
    return bytes(data + _HASHES[kind](data, usedforsecurity=False).digest())


def _tags(repository: Repository, head: Head) -> list[tuple[str, str]]:
    """Give the tags of the history: those of other branches would bring their commits along."""
    listed = repository.ask("for-each-ref", f"--merged={head.commit}", "--format=%(objectname) %(refname)", "refs/tags")
    lines = listed.decode(*_RAW).splitlines()
    return [(oid, ref) for oid, _, ref in (line.partition(" ") for line in lines)]


def _config(head: Head, kind: str) -> str:
    lines = ["[core]", f"repositoryformatversion = {0 if kind == 'sha1' else 1}", "filemode = true", "bare = false"]
    # The index was written on another machine: size and time say whether a file has changed, inode and device cannot.
    lines += ["logallrefupdates = true", "checkStat = minimal", "trustctime = false"]
    if kind != "sha1":
        lines += ["[extensions]", f"objectformat = {kind}"]
    if head.url:
        lines += ['[remote "origin"]', f"url = {_quoted(head.url)}", "fetch = +refs/heads/*:refs/remotes/origin/*"]
    if head.url and head.branch:
        lines += [
            f"[branch {_quoted(head.branch)}]",
            "remote = origin",
            f"merge = {_quoted(f'refs/heads/{head.branch}')}",
        ]
    return "".join(line + "\n" if line.startswith("[") else f"\t{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Give a value of git's settings; neither refs nor cleaned URLs contain a line break."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
