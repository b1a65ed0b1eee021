"""Lists what is in an image's tree, file by file: a digest says that something differs, this says what."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20
_XATTR = "SCHILY.xattr."
_KINDS = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "second name"}
_FILE = "file"


@dataclass(frozen=True, slots=True)
class Entry:
    """Is one file of a tree: its kind in words, mode in octal, `user:group`, seconds since the epoch.

    `content` is the digest of its bytes (hex) or where a link leads, `attributes` the extended ones (name, value).
    """

    kind: str
    mode: str
    owner: str
    time: str
    content: str
    attributes: tuple[tuple[str, str], ...] = ()


Listing = Mapping[str, Entry]


def read_tar(stream: IO[bytes]) -> dict[str, Entry]:
    """Read the tar of a tree, as tree.pack gives it; raise tarfile.TarError where it is none."""
    found: dict[str, Entry] = {}
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
        for member in archive:
            found[member.name] = _entry(archive, member)
            vars(archive)["members"].clear()  # it keeps every one that it has seen
    return found


def write(path: Path, listing: Listing) -> None:
    """Write a listing, one line for each file."""
    with path.open("wb") as out, gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
        packed.writelines(_lines(listing))


def read(path: Path) -> dict[str, Entry] | None:
    """Read what `write` wrote; None where there is none, or something else."""
    found: dict[str, Entry] = {}
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            for line in lines:
                name, kind, mode, owner, time, content, attributes = json.loads(line)
                values = tuple((str(key), str(value)) for key, value in attributes)
                found[name] = Entry(kind, mode, owner, time, content, values)
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return found


def digest(listing: Listing, *, without: frozenset[str]) -> str:
    """Give the digest (`sha256:<hex>`) of a tree's content, but for some names; it depends on no version of tar."""
    sha256 = hashlib.sha256()
    for line in _lines({name: entry for name, entry in listing.items() if name not in without}):
        sha256.update(line)
    return f"sha256:{sha256.hexdigest()}"


def differences(was: Listing, now: Listing) -> list[str]:
    """Say for people what differs, a line for each file: `./etc/shadow: mode 0644, was 0600`."""
    lines = [
        f"{name}: {told}"
        for name in sorted({*was, *now})
        if (told := _difference(was.get(name), now.get(name))) is not None
    ]
    return [line.encode(errors="backslashreplace").decode() for line in lines]  # names may be no text


def _difference(was: Entry | None, now: Entry | None) -> str | None:
    if was == now:
        return None
    if was is None:
        return "extra"
    if now is None:
        return "missing"
    if was.kind != now.kind:
        return f"a {now.kind}, was a {was.kind}"
    changed = []
    if was.content != now.content:
        changed.append("content" if was.kind == _FILE else f"leads to {now.content}, was {was.content}")
    changed += [
        f"{what} {getattr(now, what)}, was {getattr(was, what)}"
        for what in ("mode", "owner", "time")
        if getattr(was, what) != getattr(now, what)
    ]
    if was.attributes != now.attributes:
        names = sorted({name for name, _ in {*was.attributes} ^ {*now.attributes}})
        changed.append(f"attribute {', '.join(names)}")
    return "; ".join(changed)


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    kind = _FILE if member.isreg() else _KINDS.get(member.type, "special file")
    content = _digest(archive, member) if member.isreg() else member.linkname
    fields = member.pax_headers
    time = fields.get("mtime", str(int(member.mtime)))
    attributes = [(name.removeprefix(_XATTR), value) for name, value in fields.items() if name.startswith(_XATTR)]
    return Entry(kind, f"{member.mode:04o}", f"{member.uid}:{member.gid}", time, content, tuple(sorted(attributes)))


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    sha256 = hashlib.sha256()
    content = archive.extractfile(member)
    while content is not None and (data := content.read(_CHUNK)):
        sha256.update(data)
    return sha256.hexdigest()


def _lines(listing: Listing) -> Iterator[bytes]:
    for name in sorted(listing):
        yield json.dumps([name, *astuple(listing[name])], separators=(",", ":")).encode() + b"\n"
