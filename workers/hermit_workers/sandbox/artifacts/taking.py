"""Takes files out of a stopped cell without ever leaving the folder that they are in."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hermit_proxy.errors import ExitCode, HermitError
from hermit_workers.sandbox.artifacts.matching import Matcher, Places
from hermit_workers.sandbox.artifacts.patterns import Pattern, PatternError, parse
from hermit_workers.sandbox.artifacts.walk import MovedError, Walk
from hermit_workers.sandbox.limits.rlimits import size as readable

FILES = 100_000
ENTRIES = 1_000_000
SECONDS = 120.0
_MAX_PATH = 4096  # PATH_MAX: more than that no program could name
_SHOWN = 100
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}

Give = Callable[[str, int, bool, int], None]  # path below the folder, size in bytes, executable, descriptor


class ArtifactError(HermitError):
    """Is raised for an artifact that is missing, is no plain file, or is too much."""

    exit_code = ExitCode.FAILED


def take(folder: int, patterns: Sequence[str], give: Give, *, most_bytes: int, most_files: int = FILES) -> None:
    """Give each matching file below an open folder once; raise ArtifactError, possibly after some were given.

    The descriptor is open while `give` runs and closed after it: send it on, or duplicate it. Runs in the holder, when
    nothing of the cell runs any more. What a name's case tells apart is two files; what only Unicode's composed and
    decomposed forms tell apart is refused, for nobody can see it.
    """
    parsed = [_parsed(pattern) for pattern in patterns]
    taking = _Taking(parsed, give, most_bytes, most_files)
    walk = Walk(folder)
    try:
        taking.run(walk)
    except MovedError as error:
        raise ArtifactError("a folder was moved while artifacts were taken") from error
    finally:
        walk.close()
    for number, pattern in enumerate(parsed):
        if number not in taking.matched:
            raise ArtifactError(
                f"artifact `{pattern.text}`: the build made no such file",
                hint="the pattern is relative to the project's folder; `*` matches no hidden names",
            )


def _parsed(pattern: str) -> Pattern:
    try:
        return parse(pattern)
    except PatternError as error:
        raise ArtifactError(f"artifacts: {_shown(pattern)} is no pattern: {error}") from error


@dataclass(slots=True)
class _Level:
    """Is one folder on the way down: its name, what may match in it, and the same for the folders to be entered."""

    name: str
    places: Places
    below: dict[str, Places] = field(default_factory=dict)


class _Taking:
    def __init__(self, patterns: Sequence[Pattern], give: Give, most_bytes: int, most_files: int) -> None:
        self._matcher = Matcher(patterns)
        self._give = give
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._bytes = 0
        self._entries = 0
        self._until = time.monotonic() + SECONDS
        self._names: set[str] = set()
        self.matched: set[int] = set()

    def run(self, walk: Walk) -> None:
        levels = [_Level("", self._matcher.start())]
        while True:
            self._look(walk, levels)
            name = self._next(walk, levels)
            if name is None:
                return
            del levels[walk.depth :]
            levels.append(_Level(name, levels[-1].below.pop(name)))

    def _next(self, walk: Walk, levels: list[_Level]) -> str | None:
        try:
            return walk.advance()
        except OSError as error:
            raise _refusal(
                _path(levels[: walk.depth + 1]), f"a folder in it cannot be read: {error.strerror}"
            ) from error

    def _look(self, walk: Walk, levels: list[_Level]) -> None:
        here = levels[-1]
        plain = self._matcher.plain(here.places)
        if plain is None:
            with contextlib.closing(walk.names()) as listed:
                names = sorted(self._counted(listed, levels))
        else:
            names = sorted(plain)
        # In reverse, so that the first one is entered first.
        for name in reversed(names):
            step = self._matcher.step(here.places, name)
            status = walk.look(name) if step else None
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                here.below[name] = step.folder()
                if here.below[name]:
                    walk.enter(name)
                continue
            matched = step.file(link=stat.S_ISLNK(status.st_mode))
            if matched:
                self._take(walk, [*(level.name for level in levels[1:]), name], status)
                self.matched |= matched
            elif stat.S_ISLNK(status.st_mode) and step.named:
                raise _refusal(_path([*levels, _Level(name, here.places)]), "it is a symbolic link")

    def _counted(self, names: Iterator[str], levels: list[_Level]) -> Iterator[str]:
        for name in names:
            self._entries += 1
            if self._entries > ENTRIES or (self._entries % 1024 == 0 and time.monotonic() > self._until):
                raise ArtifactError(
                    f"artifacts: too much to look through ({self._entries:,} names, now in {_shown(_path(levels))})",
                    hint="write patterns that name folders, `target/*.jar` in the place of `**/*.jar`",
                )
            yield name

    def _take(self, walk: Walk, names: list[str], found: os.stat_result) -> None:
        path = "/".join(names)
        self._check_name(path)
        kind = stat.S_IFMT(found.st_mode)
        if kind != stat.S_IFREG:
            raise _refusal(path, f"it is {_KINDS.get(kind, 'no file')}; only plain files leave a build")
        try:
            descriptor = os.open(names[-1], _FILE, dir_fd=walk.here)
        except OSError as error:
            raise _refusal(path, f"it cannot be read: {error.strerror}") from error
        try:
            opened = os.fstat(descriptor)
            if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino):
                raise _refusal(path, "it was exchanged while artifacts were taken")
            self._count(path, opened.st_size)
            self._give(path, opened.st_size, bool(opened.st_mode & stat.S_IXUSR), descriptor)
        finally:
            os.close(descriptor)

    def _check_name(self, path: str) -> None:
        # isprintable() is false for control characters, line separators, directions of writing and broken UTF-8.
        if not path.isprintable() or "\\" in path:
            raise _refusal(path, "its name has characters that a list of files cannot carry")
        if len(path.encode()) > _MAX_PATH:
            raise _refusal(path, f"its path is longer than {_MAX_PATH} bytes")
        same = unicodedata.normalize("NFC", path)
        if same in self._names:
            raise _refusal(path, "another artifact has a name that looks the same (Unicode's composed form)")
        self._names.add(same)

    def _count(self, path: str, count: int) -> None:
        self._bytes += count
        if len(self._names) > self._most_files:
            raise _refusal(path, f"these are more than {self._most_files:,} files", hint="pack them into an archive")
        if self._bytes > self._most_bytes:
            told = f"with it artifacts have {readable(self._bytes)} of {readable(self._most_bytes)} (limits: artifacts)"
            raise _refusal(path, told, hint="holes in a file count as well")


def _path(levels: Sequence[_Level]) -> str:
    return "/".join(level.name for level in levels[1:])


def _shown(path: str) -> str:
    """Quote a path that a build has chosen, so that no terminal obeys it."""
    return repr(path if len(path) <= 2 * _SHOWN else f"{path[:_SHOWN]}…{path[-_SHOWN:]}")


def _refusal(path: str, why: str, *, hint: str | None = None) -> ArtifactError:
    return ArtifactError(f"artifact {_shown(path)}: {why}", hint=hint)


def sha256sums(digests: Iterable[tuple[str, str]]) -> str:
    """Give (path, hexadecimal digest) as the text of a SHA256SUMS file, sorted by the paths' bytes (sha256sum(1))."""
    lines = []
    for path, digest in sorted(digests, key=lambda pair: os.fsencode(pair[0])):
        escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n")
    return "".join(lines)
