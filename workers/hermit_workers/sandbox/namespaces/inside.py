"""Is the process that holds a cell's namespaces; hermit talks to it through a socket and runs nothing else there."""

# Three processes, forked from one small Python:
#   keeper   hermit's child, in hermit's own namespaces; waits for the holder and removes the cell's emptied folder
#   (first)  makes the user namespace, has its ids mapped, makes the other namespaces, starts the holder and ends
#   holder   first process of a pid namespace of its own, around the cell's: whatever runs for this cell dies with it,
#            and no process that sets up a step has the host's /proc in its hands
# The holder ends when hermit or the keeper has gone. It has every capability of its user namespace and never runs what
# a build wrote: programs of the host (bubblewrap), and the cell's own behind bubblewrap.
#
# Messages are JSON on a SOCK_SEQPACKET socket, descriptors beside them (SCM_RIGHTS); `id` names a request and its
# answer, `ended` tells of a process. holder.py is the other end.

from __future__ import annotations

import _socket
import contextlib
import json
import os
import sys
from collections.abc import Callable
from select import POLLIN, poll
from typing import Any

from hermit_workers.command.entry import ADDRESS
from hermit_workers.sandbox.namespaces import kernel, launch, mounts

SIZE = 65536
MOST_DESCRIPTORS = 64
_BACKLOG = 4096
_SIGKILL = 9
_COUNTING, _GIVING = "hermit_workers.sandbox.limits.disk", "hermit_workers.sandbox.artifacts.giving"
_SEGMENTS, _ALL_SEGMENTS = "/proc/sysvipc/shm", "/proc/sys/kernel/shmall"
_FIRST_TO_DIE = 1000  # what the kernel kills when memory is short: a build, before anything of the user's

Fields = dict[str, Any]
Answer = tuple[Fields, list[int]]


def main(arguments: list[str]) -> int:
    """Take the number of the inherited socket; be the keeper."""
    control = _socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(control.fileno(), False)
    settings, _ = receive(control)
    if settings is None:
        return 1
    watched, alive = os.pipe()
    kernel.adopt_orphans()
    if os.fork() == 0:
        os.close(alive)
        folders = _make_namespaces(control, settings)
        sys.exit(HolderProcess(control, watched, folders).serve(settings))
    control.close()
    os.close(watched)
    status = _wait_for_all()
    for path in settings["emptied"]:  # emptied by the holder, or still full: then hermit knows
        try:
            os.rmdir(path)
        except OSError:
            break
    return status


def _wait_for_all() -> int:
    """Give the holder's status, 128 + n for signals: hermit tells people (ending.py); the first process's is 0."""
    status = 0
    while True:
        try:
            _, raw = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        code = os.waitstatus_to_exitcode(raw)
        status = status or (code if code >= 0 else 128 - code)


def _make_namespaces(control: _socket.socket, settings: Fields) -> list[int]:
    """Return in the holder only, with the folders open.

    Python itself may be in the user's closed home, and only the user can reach in there: so everything is imported
    before this process is somebody else. The kernel mounts only what was opened in the same mount namespace: so the
    folders are opened between the one and the other.
    """
    launch.limit(settings["limits"], first_to_die=_FIRST_TO_DIE)
    kernel.new_user_namespace(control)
    sys.path += settings["path"]
    for module in (_COUNTING, _GIVING):  # while the ids are being mapped
        __import__(module)
    kernel.wait_for_ids(control)
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_NET | kernel.NEW_IPC | kernel.NEW_UTS | kernel.NEW_PIDS)
    if os.path.exists("/proc/self/ns/cgroup"):
        kernel.unshare(kernel.NEW_CGROUP)
    try:
        folders = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in settings["folders"]]
    except OSError as error:
        send(control, {"error": f"{error.filename}: {error.strerror}"})
        os._exit(1)
    kernel.become_root()
    if os.fork():
        os._exit(0)
    kernel.be_open()
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.set_hostname(settings["hostname"])
    kernel.loopback_up()
    # System V's shared memory stays when nobody has it attached. Before Linux 6.9 the host's root alone could bound it;
    # there it is only counted (limits/gauges.py).
    with contextlib.suppress(OSError), open(_ALL_SEGMENTS, "w") as file:
        file.write(str(settings["shared"] // os.sysconf("SC_PAGE_SIZE")))
    return folders


def receive(control: _socket.socket) -> tuple[Fields | None, list[int]]:
    """Give the next message and its descriptors, None at the end of the socket."""
    space = _socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
    data, ancillary, _, _ = control.recvmsg(SIZE, space, _socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for _, _, content in ancillary:
        descriptors += memoryview(content[: len(content) // 4 * 4]).cast("i")
    return (json.loads(data) if data else None), descriptors


def send(control: _socket.socket, fields: Fields, descriptors: list[int] | None = None) -> None:
    """Send one message with descriptors."""
    packed = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors or [])
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if packed else []
    control.sendmsg([json.dumps(fields).encode()], rights)


class HolderProcess:
    """Is the holder itself, at the end of the socket that holder.Holder has the other end of.

    States: open -> ended; hermit's end, or the keeper's, leads to ended from everywhere.
    """

    def __init__(self, control: _socket.socket, watched: int, folders: list[int]) -> None:
        """Take the socket to hermit, the pipe whose end is the keeper's, and the folders of the tree."""
        self._control = control
        self._watched = watched
        self._children: dict[int, int] = {}  # its pidfd -> its number
        self._tree = mounts.Tree(folders)

    def serve(self, settings: Fields) -> int:
        """Mount what is asked for, hand out the listening socket, and answer until hermit ends."""
        try:
            try:
                self._tree.mount(settings)
            except OSError as error:
                send(self._control, {"error": str(error)})
                return 1
            listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            listener.bind(ADDRESS)
            listener.listen(_BACKLOG)
            if not self._say({"ready": True}, [listener.fileno()]):
                return 1
            listener.close()
            while self._one_round():
                pass
        except OSError:  # hermit has gone in the middle of a message
            pass
        finally:
            self._control.close()  # first: that its processes end now is no news of them, but of the end of all
            self._end_all()
            self._tree.clear()
        return 0

    def _one_round(self) -> bool:
        waiting = poll()
        for descriptor in (self._control.fileno(), self._watched, *self._children):
            waiting.register(descriptor, POLLIN)
        ready = [descriptor for descriptor, _ in waiting.poll()]
        if self._watched in ready:
            return False
        if any(descriptor in self._children for descriptor in ready):
            self._reap()
        return self._control.fileno() not in ready or self._answer()

    def _answer(self) -> bool:
        request, given = receive(self._control)
        if request is None:
            return False
        do: Callable[..., Answer] = getattr(self, "do_" + request.pop("do"))
        number = request.pop("id")
        try:
            fields, descriptors = do(given, **request)
        except OSError as error:
            fields, descriptors = {"error": str(error.strerror or error)}, []
        self._say({"id": number, **fields}, descriptors)
        for descriptor in (*descriptors, *given):
            os.close(descriptor)
        return True

    def _say(self, fields: Fields, descriptors: list[int]) -> bool:
        """Send it, or why it cannot be sent: too many descriptors of this user's are on their way, other cells' too."""
        try:
            send(self._control, fields, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except OSError as error:
            fields.pop("ready", None)
            send(self._control, {"id": fields.get("id"), "error": str(error.strerror or error)})
            return False
        return True

    def do_spawn(self, given: list[int], *, targets: list[int], terminal: bool) -> Answer:
        """Run what the first descriptor holds as JSON (argv, environment); the others become `targets`."""
        with open(given[0], closefd=False) as file:
            what = json.load(file)
        process = launch.spawn(
            what["argv"], what["environment"], dict(zip(targets, given[1:], strict=True)), terminal=terminal
        )
        return self._started(process), []

    def do_take(self, given: list[int], *, folder: str, most: int) -> Answer:
        """Take what matches patterns (JSON in the first descriptor) in a process that tells the second, a socket."""
        with open(given[0], closefd=False) as file:
            patterns = json.load(file)
        return self._fork(_GIVING, (self._tree.root, folder, patterns, most, given[1]))

    def do_count(self, given: list[int], *, nameless: bool) -> Answer:
        """Count what is in the upper layer again and again, in a process of its own; totals go to the pipe given."""
        upper = os.open(self._tree.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            merged = os.stat(self._tree.root).st_dev if nameless else None
            return self._fork(_COUNTING, (upper, merged, given[0]))
        finally:
            os.close(upper)

    def do_namespace(self, _: list[int], *, process: int) -> Answer:
        """Give the pid namespace of a process that this holder sees."""
        return {}, [os.open(f"/proc/{process}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)]

    def do_signal(self, _: list[int], *, process: int, number: int) -> Answer:
        """Send a signal to a process that this holder sees."""
        os.kill(process, number)
        return {}, []

    def do_files(self, _: list[int]) -> Answer:
        """Give the cell's root folder, the one of its shared memory, and the table of its System V segments."""
        flags = os.O_RDONLY | os.O_CLOEXEC
        return {}, [os.open(path, flags) for path in (self._tree.root, self._tree.shared, _SEGMENTS)]

    def do_keep(self, _: list[int]) -> Answer:
        """Leave the upper layer at the end."""
        self._tree.keep()
        return {}, []

    def do_end(self, _: list[int]) -> Answer:
        """Kill everything but the holder and wait until it is gone."""
        self._end_all()
        return {}, []

    def _started(self, process: int) -> Fields:
        self._children[os.pidfd_open(process)] = process
        return {"process": process}

    def _fork(self, module: str, arguments: tuple[Any, ...]) -> Answer:
        process = os.fork()
        if process:
            return self._started(process), []
        try:
            sys.modules[module].report(*arguments)
            os._exit(0)
        except BaseException:  # noqa: BLE001  nothing may go on in what is a copy of the holder
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _reap(self, *, wait: bool = False) -> None:
        """Tell of every child that has ended; orphans of bubblewrap go without a word."""
        options = os.WEXITED if wait else os.WEXITED | os.WNOHANG
        while (info := self._next_ended(options)) is not None:
            watched = [descriptor for descriptor, process in self._children.items() if process == info.si_pid]
            for descriptor in watched:
                del self._children[descriptor]
                os.close(descriptor)
                status = info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status
                self._tell({"ended": info.si_pid, "status": status})

    def _next_ended(self, options: int) -> os.waitid_result | None:
        try:
            return os.waitid(os.P_ALL, 0, options)
        except ChildProcessError:
            return None

    def _tell(self, fields: Fields) -> None:
        with contextlib.suppress(OSError):  # hermit has gone; what it left is still to be ended
            send(self._control, fields)

    def _end_all(self) -> None:
        """Kill everything in this pid namespace and those in it, but its first process, until no child is left."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, _SIGKILL)
        self._reap(wait=True)
