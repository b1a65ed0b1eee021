"""Reads and replaces the snapshot's folder: a crash leaves the old record or the new one and never a mixture."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hermit_proxy.errors import HermitError, InputError, Mistake
from hermit_proxy.snapshot import check, recorded, swap, v1
from hermit_proxy.snapshot import format as file_format
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot

MAX_FILES = 20_000

_SUFFIX = ".yaml"
_FILE_NAME = re.compile(r"(ip6\+[0-9a-f.-]+|[a-z0-9_.-]+)(\+[0-9]{1,5})?\.yaml")


def parse_file(text: bytes, path: Path, *, v1_schemes: tuple[str, ...] = v1.SCHEMES) -> list[Entry]:
    """Read one file of either version, as it stands in a folder or in a commit; raise InputError."""
    if v1.is_v1(text):
        return v1.parse(text, path, schemes=v1_schemes)
    return file_format.parse(text, path)


def read_files(
    files: Mapping[str, bytes], folder: Path, *, v1_schemes: tuple[str, ...] = v1.SCHEMES
) -> dict[str, list[Entry]]:
    """Read files by name (`<host>.yaml`), wherever they come from; raise InputError with the mistakes of all.

    `folder` only says where they are in messages.
    """
    named = ((name, wrong_name(name) or text) for name, text in sorted(files.items()))
    return _parse_all(named, folder, v1_schemes)


def read_tree(network_dir: Path, *, v1_schemes: tuple[str, ...] = v1.SCHEMES) -> Snapshot:
    """Read the whole snapshot; a folder that does not exist is an empty one.

    Raise InputError with every mistake in every file: links, foreign names and files that do not parse are
    refused, nothing is skipped. Files of the first Hermit are read as they are, for each of `v1_schemes`.
    """
    files = read_tree_files(network_dir, v1_schemes=v1_schemes)
    return Snapshot(entry for entries in files.values() for entry in entries)


def read_tree_files(network_dir: Path, *, v1_schemes: tuple[str, ...] = v1.SCHEMES) -> dict[str, list[Entry]]:
    """Read the snapshot as read_tree does, but keep its entries by file name."""
    return _parse_all(_texts(network_dir), network_dir, v1_schemes)


def write_tree(
    network_dir: Path, snapshot: Snapshot, *, time: float | None = None, base: Snapshot | None = None
) -> bool:
    """Make the folder hold this snapshot, in one step; tell whether it differs from before.

    Files whose entries stay are not rewritten. Where an entry differs and `time` (seconds since the epoch) is
    given, `recorded` beside the folder gets it, and where there is none yet; a snapshot without entries is this time
    alone. With `base`, what the caller read before, a folder that somebody changed since is left alone and HermitError
    raised. Raise InputError where the folder holds what read_tree refuses, HermitError where another writer holds it,
    OSError where the disk fails.
    """
    with swap.locked(network_dir.parent):
        swap.sweep(network_dir)
        old_bytes = _read_bytes(network_dir)
        old = read_files(old_bytes, network_dir)
        before = {entry for entries in old.values() for entry in entries}
        if base is not None and set(base.unordered()) != before:
            raise HermitError(
                f"{network_dir} has changed since this run began, so its recording is dropped",
                hint="let one recording of a project run at a time, and run this one again",
            )
        new_bytes = _new_bytes(snapshot, old, old_bytes)
        differs = set(snapshot.unordered()) != before
        if not differs and time is not None and recorded.read(network_dir.parent) is not None:
            # It tells when the entries last changed; where there are none, that somebody looked. There is none beside
            # entries where a first recording was cut off after the files.
            time = None
        if time is not None and old_bytes:
            # Before the files: a crash between the two leaves a clock that is late for the old
            # record, which the next recording mends; the other way round nothing would.
            recorded.write(network_dir.parent, time)
        if new_bytes != old_bytes:
            kept = {name for name, text in new_bytes.items() if old_bytes.get(name) == text}
            swap.replace(network_dir, new_bytes, kept)
        if time is not None and not old_bytes:
            # The first time after the files: alone it would say that nothing is needed.
            recorded.write(network_dir.parent, time)
        return differs or (time is not None and not len(snapshot))


def migrate_tree(network_dir: Path, *, scheme: str = "https") -> tuple[str, ...]:
    """Rewrite the files of the first Hermit in this version, as entries of one scheme; give their names.

    The old files did not say the scheme. The time of recording stays: nothing was recorded.
    """
    old = tuple(name for name, text in _read_bytes(network_dir).items() if v1.is_v1(text))
    if old:
        write_tree(network_dir, read_tree(network_dir, v1_schemes=(scheme,)))
    return old


def wrong_name(name: str) -> str | None:
    """Say what is wrong with the name of a snapshot file, or None. Names are hosts, and hosts come from builds."""
    found = _FILE_NAME.fullmatch(name)
    host = name.removesuffix(_SUFFIX)
    if found is not None:
        literal = found[1].startswith("ip6+")
        host = f"[{found[1][4:].replace('-', ':')}]" if literal else found[1]
        origins = [f"{scheme}://{host}{(found[2] or '').replace('+', ':')}/" for scheme in ("https", "http")]
        if any(check.is_file_name(name, origin) for origin in origins):
            return None
    return f"expected files named <host>.yaml or <host>+<port>.yaml and nothing else, but {host[:80]!r} is no host"


def _parse_all(
    texts: Iterable[tuple[str, bytes | str]], folder: Path, v1_schemes: tuple[str, ...]
) -> dict[str, list[Entry]]:
    """Read files one after the other; a text in place of bytes says what is wrong with the file."""
    mistakes: list[Mistake] = []
    entries: dict[str, list[Entry]] = {}
    for name, text in texts:
        if isinstance(text, str):
            mistakes.append(Mistake(folder / name, None, text))
            continue
        try:
            entries[name] = parse_file(text, folder / name, v1_schemes=v1_schemes)
        except InputError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise InputError(mistakes)
    return entries


def _read_bytes(network_dir: Path) -> dict[str, bytes]:
    texts = dict(_texts(network_dir))
    if mistakes := [Mistake(network_dir / name, None, text) for name, text in texts.items() if isinstance(text, str)]:
        raise InputError(mistakes)
    return {name: text for name, text in texts.items() if isinstance(text, bytes)}


def _texts(network_dir: Path) -> Iterator[tuple[str, bytes | str]]:
    """Give the files by name, each read when it is asked for, or what is wrong with one in place of its bytes."""
    try:
        folder = os.open(network_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError([Mistake(network_dir, None, "expected a folder, and no link to one")]) from error
    try:
        names = sorted(os.listdir(folder))
        if len(names) > MAX_FILES:
            expected = f"expected at most {MAX_FILES} files, there are {len(names)}"
            raise InputError([Mistake(network_dir, None, expected)])
        for name in names:
            yield name, _read_file(folder, name)
    finally:
        os.close(folder)


def _read_file(folder: int, name: str) -> bytes | str:
    """Read a regular file or say what is wrong with it."""
    if wrong := wrong_name(name):
        return wrong
    try:
        # Not blocking: a FIFO with a good name must not hang the reader.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        return f"expected a readable file, and no link: {error.strerror}"
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return "expected a regular file"
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(file_format.MAX_FILE + 1)
    return text if len(text) <= file_format.MAX_FILE else f"expected at most {file_format.MAX_FILE} bytes"


def _new_bytes(snapshot: Snapshot, old: dict[str, list[Entry]], old_bytes: dict[str, bytes]) -> dict[str, bytes]:
    by_file: dict[str, list[Entry]] = defaultdict(list)
    for entry in snapshot.unordered():
        by_file[check.file_name_of(entry.url)].append(entry)
    return {
        # A file that a person has laid out otherwise keeps its bytes while it says the same.
        name: old_bytes[name]
        if name in old and set(old[name]) == set(entries) and not v1.is_v1(old_bytes[name])
        else file_format.dump(entries)
        for name, entries in by_file.items()
    }
