"""Takes artifacts out of a stopped VM: it tells names and bytes, which are judged as a sandbox's are."""

# The host reads no file system and no archive that a guest wrote. It asks for a list (what find(1) prints), and
# rebuilds in a folder of its own as much of the tree as the patterns look at, with holes for the content (shape.py).
# The code that takes files out of a sandbox goes over that, and refuses what it refuses there. What it took is asked
# for by name and cut by the sizes that were listed: a guest that lies about them gets its build failed.

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hermit_workers.cell import CellError, Command, Taken
from hermit_workers.sandbox.artifacts import taking
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.sandbox.limits.rlimits import more_descriptors
from hermit_workers.vm import shape
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.sinks import Text

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_LIST = 'exec find -P "$@" -printf "%y %m %s %p\\0" 2>/dev/null'
_READ = "exec xargs -0 -r cat -- 2>/dev/null"
_MOST_LIST = 128 << 20
_SILENCE = 120
_SLOWEST = 1 << 20  # bytes in a second: a guest that drips gets no more time than that
_Found = tuple[str, int, bool]  # path below the folder, size, whether it is executable


async def take(agent: Agent, folder: PurePosixPath, patterns: Sequence[str], *, most: int, room: Path) -> list[Taken]:
    """Give what matches below a folder of the guest, at most `most` bytes together; raise ArtifactError, CellError.

    `room` is a folder on the host with space for it. Nothing of the build may run any more.
    """
    more_descriptors()
    listed = Text(_MOST_LIST)
    await _ask(agent, folder, [_LIST, "sh", *shape.begin(patterns), "-xdev", *shape.within(patterns)], listed)
    found = await asyncio.to_thread(_thd_judge, listed.data, patterns, most, room)
    files = _Files(found, room)
    try:
        names = _names(found)
        try:
            await _ask(agent, folder, [_READ], files, names)
        finally:
            os.close(names)
        return files.taken()
    except BaseException:
        files.drop()
        raise


def _thd_judge(listed: bytes, patterns: Sequence[str], most: int, room: Path) -> list[_Found]:
    """Give what may leave, as the code judges that takes files out of a sandbox."""
    found: list[_Found] = []

    def give(path: str, size: int, executable: bool, _: int) -> None:  # noqa: FBT001  taking's own words
        found.append((path, size, executable))

    made = Path(tempfile.mkdtemp(prefix="shape-", dir=room))
    try:
        shape.rebuild(listed, patterns, made, most=most)
        descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            taking.take(descriptor, patterns, give, most_bytes=most)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CellError(f"artifacts cannot be taken: {error.strerror}", hint="make room") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return found


def _names(found: Sequence[_Found]) -> int:
    """Give a file without a name to read the files' own from, as xargs(1) takes them."""
    descriptor = os.memfd_create("names", os.MFD_CLOEXEC)
    with open(os.dup(descriptor), "wb") as file:
        file.writelines(b"./" + os.fsencode(path) + b"\0" for path, _, _ in found)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _ask(agent: Agent, folder: PurePosixPath, script: list[str], sink: Text, stdin: int | None = None) -> None:
    """Have a script run in the guest; raise for one that says too much, nothing for too long, or takes for ever."""
    command = Command((), _ENVIRONMENT, folder, "root")
    running = asyncio.ensure_future(agent.run(command, ["/bin/sh", "-c", *script], sink, stdin=stdin))
    late = time.monotonic() + _SILENCE + sink.most / _SLOWEST
    try:
        heard, silent = 0, 0
        while not (await asyncio.wait({running}, timeout=1.0))[0]:
            silent = silent + 1 if sink.count == heard else 0
            heard = sink.count
            if sink.too_much or silent >= _SILENCE or time.monotonic() > late:
                break
        if sink.too_much:
            raise ArtifactError("artifacts: the VM says more than it was asked for")
        if not running.done():
            how = f"is silent for {_SILENCE} s" if silent >= _SILENCE else "takes too long"
            raise CellError(f"the VM {how} while artifacts are taken")
        running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Files(Text):
    """Cuts a stream into files without names, by the sizes that are expected."""

    def __init__(self, found: Sequence[_Found], room: Path) -> None:
        self.expected = sum(size for _, size, _ in found)
        super().__init__(self.expected)
        self._found = found
        self._room = room
        self._taken: list[Taken] = []
        self._left = 0  # of the file that came last
        self._failed: OSError | None = None

    async def write(self, data: bytes, *, ended: bool) -> None:  # noqa: ARG002  a Sink is told
        self.count += len(data)
        try:
            self._cut(memoryview(data))
        except OSError as error:
            self._failed = error

    def taken(self) -> list[Taken]:
        """Give the files, each at its beginning; raise where they are not what was listed."""
        try:
            self._cut(memoryview(b""))  # the last ones may be empty
        except OSError as error:
            self._failed = error
        if self._failed is not None:
            raise CellError(f"artifacts cannot be written: {self._failed.strerror}", hint="make room")
        if self.count != self.expected:
            told = f"the VM gives {self.count:,} bytes of the {self.expected:,} that it has listed"
            raise ArtifactError(f"artifacts: {told}", hint="is every file readable, and of the size that it says?")
        for one in self._taken:
            os.lseek(one.descriptor, 0, os.SEEK_SET)
        return self._taken

    def drop(self) -> None:
        for one in self._taken:
            os.close(one.descriptor)
        self._taken.clear()

    def _cut(self, rest: memoryview) -> None:
        while self._failed is None:
            if self._left and rest:
                done = os.write(self._taken[-1].descriptor, rest[: self._left])
                rest, self._left = rest[done:], self._left - done
            elif self._left or len(self._taken) == len(self._found):
                return
            else:
                self._begin()

    def _begin(self) -> None:
        path, size, executable = self._found[len(self._taken)]
        descriptor = os.open(self._room, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._taken.append(Taken(PurePosixPath(path), descriptor, size, executable))
        self._left = size
