"""Makes and commands the process that holds a cell's namespaces; inside.py is that process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import hermit_proxy
from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces import ending, idmap, inside, mapped, mounts
from hermit_workers.sandbox.namespaces.memfile import memory

ROOT, SHARED = mounts.ROOT, mounts.SHARED
_SHARED = 64 << 20  # bytes of shared memory where nothing is said of it
_SETTLED = 1.0  # seconds for the keeper of a holder that has gone to say how
_PATH = [str(Path(hermit_proxy.__file__ or "").parent.parent)]  # what takes artifacts imports from there as well


@dataclass(frozen=True, slots=True)
class Layered:
    """Is an image's folder under a throw-away layer; `folder` is an empty folder of the user's, or of a kept cell.

    The holder removes the folder at its end unless told to keep it. `shared` is the most that shared memory takes.
    """

    image: Path
    folder: Path
    shared: int

    @property
    def layers(self) -> Path:
        """Give the folder in which the mapped root may write; nobody else gets as far."""
        return self.folder / "layers"

    @property
    def upper(self) -> Path:
        """Give where everything is that the cell wrote; gone when a holder has ended that was not told to keep it."""
        return self.layers / mounts.UPPER


class Child:
    """Is one process that the holder started; `process` is its number as the holder's pid namespace counts."""

    def __init__(self, process: int, ended: asyncio.Future[int]) -> None:
        """Take what the holder told and what its end is told to."""
        self.process = process
        self._ended = ended

    @property
    def over(self) -> bool:
        """Tell whether it has ended."""
        return self._ended.done()

    @property
    def status(self) -> int | None:
        """Give its status, 128 + n for signals; None where it has not ended, or the holder has gone."""
        return self._ended.result() if self.over and self._ended.exception() is None else None

    async def wait(self) -> int:
        """Wait for its end and give its status, 128 + n for signals; raise CellError where the holder has gone."""
        return await asyncio.shield(self._ended)


class Holder:
    """Is one holder: a user namespace with mapped ids, and mount, network, ipc, uts, cgroup and pid namespaces in it.

    `listener` is the socket at 127.0.0.1:3128 of that network, which has nothing but its loopback.
    States: opening -> open -> closed; its death leads to closed from everywhere, and every call then raises CellError.
    """

    listener: socket.socket

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        """Take over a process that waits for its settings."""
        self._process = process
        self._control = control
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._children: dict[int, asyncio.Future[int]] = {}
        self._ended_early: dict[int, int] = {}
        self._dead = self._closed = False
        self._telling: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        *,
        limits: Mapping[int, tuple[int, int]] | None = None,
        admit: Callable[[int], None] = lambda _: None,
        tree: Layered | Path | None = None,
        hostname: str = "hermit",
        ids: idmap.IdMap | None = None,
    ) -> Self:
        """Start a holder; raise CellError where this machine makes none.

        `limits` are rlimits by number; `admit` is called with the number of its first process before anything else
        runs (to put it into a control group). `tree` is mounted at ROOT: an image under a layer, or a folder as it is.
        """
        chosen = idmap.find() if ids is None else ids
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with contextlib.ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                *mapped.python("inside", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,  # the keys of hermit's terminal are hermit's
            )
            unless_started.pop_all()
        self = cls(process, ours)
        try:
            admit(process.pid)
            numbers = {str(kind): list(pair) for kind, pair in (limits or {}).items()}
            inside.send(ours, {"limits": numbers, "hostname": hostname, "path": _PATH, **_told(tree)})
            await mapped.admit(ours, chosen)
            self.listener = await self._first_message()
        except BaseException:
            await self.close()
            raise
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_message)
        return self

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        descriptors: Mapping[int, int],
        terminal: bool = False,
    ) -> Child:
        """Start a program of the host in the holder's namespaces as their root.

        `descriptors` are all that it gets: its number for each of ours. With `terminal` descriptor 0 is a terminal that
        nobody has as theirs, and becomes the program's; it ignores the keys' signals.
        """
        own = {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
        data = json.dumps({"argv": list(argv), "environment": dict(own if environment is None else environment)})
        with memory(data.encode("utf-8", "surrogateescape")) as what:
            given = [what, *descriptors.values()]
            fields, _ = await self._ask("spawn", given, targets=list(descriptors), terminal=terminal)
        return await self._child(fields["process"])

    async def take(self, output: int, folder: str, patterns: Sequence[str], *, most: int) -> Child:
        """Have artifacts told to a socket, as giving.report does."""
        with memory(json.dumps(list(patterns)).encode()) as what:
            fields, _ = await self._ask("take", [what, output], folder=folder, most=most)
        return await self._child(fields["process"])

    async def count(self, output: int, *, nameless: bool = False) -> Child:
        """Have the upper layer's size told to a pipe again and again, as disk.report does.

        With `nameless` files without a name as well, where Hermit cannot see them (openfiles.nameless).
        """
        fields, _ = await self._ask("count", [output], nameless=nameless)
        return await self._child(fields["process"])

    async def namespace(self, process: int) -> int:
        """Give the pid namespace of a process of the holder's, as a descriptor."""
        return (await self._ask("namespace", process=process))[1][0]

    async def signal(self, process: int, number: int) -> None:
        """Send a signal; a process that is no more is none to complain of."""
        with contextlib.suppress(CellError):
            await self._ask("signal", process=process, number=number)

    async def files(self) -> tuple[int, int, int]:
        """Give open folders: the cell's root, and its shared memory; and the table of its System V segments.

        What the folders hold is the mapped users' to read.
        """
        root, shared, segments = (await self._ask("files"))[1]
        return root, shared, segments

    async def keep(self) -> None:
        """Leave the upper layer where it is when this holder ends."""
        await self._ask("keep")

    async def end(self) -> None:
        """Kill everything that runs here and wait until it is gone; the holder itself stays."""
        await self._ask("end")

    async def close(self) -> None:
        """End everything, have the layers emptied, and wait for it; doing it twice is safe."""
        if not self._dead:
            self._closed = True
            self._leave()
            self._fail(lambda: CellError(ending.CLOSED))
        if self._telling is not None:
            await asyncio.wait([self._telling])
        with contextlib.suppress(AttributeError):  # died before it had one
            self.listener.close()
        await self._process.wait()

    async def _child(self, process: int) -> Child:
        future = asyncio.get_running_loop().create_future()
        if process in self._ended_early:
            future.set_result(self._ended_early.pop(process))
        elif self._dead:
            raise await self._why()
        else:
            self._children[process] = future
        return Child(process, future)

    async def _ask(self, do: str, given: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], list[int]]:
        if self._dead:
            raise await self._why()
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        try:
            inside.send(self._control, {"do": do, "id": number, **fields}, list(given))
        except (BrokenPipeError, ConnectionResetError) as error:
            del self._answers[number]
            raise await self._why() from error
        except OSError as error:  # too many descriptors on their way, or messages that it has not read: it lives
            del self._answers[number]
            raise CellError(f"the cell cannot be asked to {do}: {error.strerror}") from error
        said, descriptors = await answer
        if "error" in said:
            raise CellError(f"the cell's {do} fails: {said['error']}", hint="hermit doctor")
        return said, descriptors

    async def _first_message(self) -> socket.socket:
        await mapped.readable(self._control)
        said, descriptors = inside.receive(self._control)
        if said is None or "error" in said:
            why = ending.how(await self._status()) if said is None else said["error"]
            raise CellError(f"this machine makes no cell: {why}", hint="hermit doctor")
        return socket.socket(fileno=descriptors[0])

    def _on_message(self) -> None:
        try:
            fields, descriptors = inside.receive(self._control)
        except BlockingIOError:
            return
        except OSError:
            fields, descriptors = None, []
        if fields is None:
            self._leave()
            self._telling = asyncio.create_task(self._tell())
        elif "ended" in fields:
            if (future := self._children.pop(fields["ended"], None)) is None:
                self._ended_early[fields["ended"]] = fields["status"]
            elif not future.done():
                future.set_result(fields["status"])
        elif (answer := self._answers.pop(fields.pop("id"), None)) is not None and not answer.done():
            answer.set_result((fields, descriptors))
        else:  # nobody waits for it any more
            for descriptor in descriptors:
                os.close(descriptor)

    def _leave(self) -> None:
        self._dead = True
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()

    async def _tell(self) -> None:
        status = await self._status()
        self._fail(lambda: ending.gone(status))

    async def _why(self) -> CellError:
        return CellError(ending.CLOSED) if self._closed else ending.gone(await self._status())

    async def _status(self) -> int | None:
        """Give the keeper's status, which is known a moment after the socket's end; None where that takes long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED):
                await self._process.wait()
        return self._process.returncode

    def _fail(self, error: Callable[[], CellError]) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._children.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error())
                future.exception()  # seen: not everyone waits
        self._answers.clear()
        self._children.clear()


def _told(tree: Layered | Path | None) -> dict[str, Any]:
    if not isinstance(tree, Layered):
        return {"folders": [] if tree is None else [str(tree)], "emptied": [], "shared": _SHARED}
    tree.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree.layers.mkdir(exist_ok=True)
    tree.layers.chmod(0o777)
    emptied = [str(tree.layers), str(tree.folder)]
    return {"folders": [str(tree.image), str(tree.layers)], "emptied": emptied, "shared": tree.shared}
