"""Sets up one user with a recorded project for each fault, and says what has to hold when the fault is over."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hermit_proxy.snapshot.tree import read_tree
from tests.integration.faults import processes
from tests.integration.faults.gate import Gate
from tests.support.hermit import PRIVATE, Hermit
from tests.support.origin import Asked, Origin, Response, text

NAME = "origin.example.org"
# More than all buffers between a server and a client that does not read.
LARGE = 12 << 20
# Longer than what a writer of the store keeps in memory.
PART = 3 << 20
_PATIENCE = 60.0
LEFT = {"requests.jsonl", "result.json"}


class Site:
    """Is what a test needs of the internet: a server behind a gate, and a body that can stop in its middle."""

    def __init__(self, origin: Origin, gate: Gate, port: int, name: str) -> None:
        """Take the running parts; `port` is the gate's, `name` the host's."""
        self.gate = gate
        self.port = port
        self._name = name
        self.stopped = threading.Event()
        self._go = threading.Event()
        self._go.set()
        origin.route("/old", lambda _asked: text("an old body\n"))
        origin.route("/small", lambda _asked: text("a small body\n"))
        origin.route("/large", bytes(range(256)) * (LARGE // 256))
        origin.route("/halting", self._halting)

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"http://{self._name}:{self.port}{path}"

    def halt(self) -> None:
        """Have the next body stop in its middle until `go`."""
        self.stopped.clear()
        self._go.clear()

    def go(self) -> None:
        """Let everything through again."""
        self._go.set()
        self.gate.open()

    def _halting(self, _asked: Asked) -> Response:
        return Response(headers={"content-type": "text/plain"}, chunks=self._halves())

    def _halves(self) -> Iterator[bytes]:
        yield b"1" * PART
        if not self._go.is_set():
            self.stopped.set()
            self._go.wait(2 * _PATIENCE)
        yield b"2" * PART


@contextlib.contextmanager
def site(address: str = "127.0.0.1", name: str = NAME) -> Iterator[Site]:
    """Serve under a name that leads to the address."""
    with Origin() as origin:
        listener = socket.create_server((address, 0))
        with Gate(listener, lambda: socket.create_connection((origin.address, origin.port))) as gate:
            found = Site(origin, gate, listener.getsockname()[1], name)
            try:
                yield found
            finally:
                found.go()


@dataclass(frozen=True, slots=True)
class Done:
    """Is how a run ended: its exit code as a shell counts, and what it said on stderr."""

    code: int
    said: str


@dataclass(slots=True)
class Running:
    """Is a run under way, with all that it has started; `release` lets go of what holds it where that takes a call."""

    popen: subprocess.Popen[bytes]
    said: Path
    known: set[int] = field(default_factory=set)
    release: Callable[[], None] = lambda: None

    def victim(self, name: str) -> int | None:
        """Find one of: hermit, proxy, bubblewrap, init (the sandbox's first process), command."""
        if name == "hermit":
            return self.popen.pid
        tree = processes.parents()
        children = [pid for pid, parent in tree.items() if parent == self.popen.pid]
        if name == "proxy":
            return next((pid for pid in children if "--control-fd" in processes.argv(pid)), None)
        found = next((pid for pid in children if "--unshare-net" in processes.argv(pid)), None)
        for _ in range({"bubblewrap": 0, "init": 1, "command": 2}[name]):
            found = next((pid for pid, parent in tree.items() if parent == found), None) if found else None
        return found

    def hit(self, name: str, number: int) -> None:
        """Send a signal to one of them, once it is there."""
        processes.until(f"the {name} to be there", lambda: self.victim(name))
        pid = self.victim(name)
        assert pid is not None
        os.kill(pid, number)

    def end(self, patience: float = _PATIENCE) -> Done:
        """Wait for the end, and that nothing is left of it a moment later."""
        code = self.popen.wait(patience)
        self.check_nothing_runs()
        return Done(code if code >= 0 else 128 - code, self.said.read_text(errors="replace"))

    def left(self) -> set[int]:
        """Give the processes that this run has started and that are there still."""
        processes.bury(self.known)
        return processes.below(os.getpid()) - self.known - {self.popen.pid}

    def check_nothing_runs(self) -> None:
        """Fail where a process of the run outlives it."""
        deadline = time.monotonic() + 10
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, f"left behind:\n{processes.told(left)}"

    def stop(self) -> None:
        """End what a failed test has left."""
        for pid in {self.popen.pid, *self.left()} if self.popen.poll() is None else self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait(10)
        self.check_nothing_runs()


class Bench:
    """Is one user with a project that has a snapshot, copied from `seed`, and their store."""

    def __init__(self, folder: Path, web: Site, seed: Bench | None = None, *, store: str | None = None) -> None:
        """Make the user; `store` is the setting where it is not a folder of the user's own."""
        self.web = web
        self.hermit = Hermit(folder, names=(NAME,))
        self.folder = folder
        self._running: list[Running] = []
        (folder / "tmp").mkdir()
        if store is not None:
            settings = yaml.safe_load(self.hermit.settings.read_text())
            self.hermit.settings.write_text(yaml.safe_dump({**settings, "store": store}))
        if seed is not None:
            shutil.copytree(seed.hermit.snapshot.parent, self.hermit.snapshot.parent, dirs_exist_ok=True)
            if store is None:
                shutil.copytree(seed.hermit.store, self.hermit.store)
        self.before = self.tree()

    def start(
        self,
        mode: str,
        *command: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
        trace: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> Running:
        """Start `hermit run` in the project's folder; `prefix` comes before, `trace` right before the interpreter."""
        folder = self.folder
        hosts = f'mount --bind "{folder}/hosts" /etc/hosts; exec "$@"'
        line = self.hermit.command_line("run", "--mode", mode, *options, "--", *command)
        known = processes.below(os.getpid())
        said = folder / f"said-{len(self._running)}"
        user = {"TMPDIR": str(folder / "tmp"), "XDG_CACHE_HOME": str(folder / "cache"), **(env or {})}
        with said.open("wb") as file:
            popen = subprocess.Popen(
                [*PRIVATE, "sh", "-ec", hosts, "sh", *prefix, *trace, *line],
                cwd=self.hermit.project,
                env=self.hermit.environment(user),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file if stderr is None else stderr,
            )
        running = Running(popen, said, known)
        self._running.append(running)
        return running

    def run(self, mode: str, *command: str, code: int = 0, **options: object) -> Done:
        """Run to the end."""
        done = self.start(mode, *command, **options).end()  # type: ignore[arg-type]  # passed through
        assert done.code == code, done.said
        assert "Traceback" not in done.said, done.said
        return done

    def close(self) -> None:
        """End what runs still."""
        self.web.go()
        for running in self._running:
            running.stop()

    def fetch(self, *paths: str) -> tuple[str, ...]:
        """Give the command that fetches paths, one after the other."""
        return ("curl", "-sSf", *(word for path in paths for word in (self.web.url(path), "-o", "/dev/null")))

    def tree(self) -> dict[str, bytes]:
        """Give every file of the project."""
        root = self.hermit.project
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def check_tree_untouched(self) -> None:
        """Fail where a file of the project is other than before."""
        assert self.tree() == self.before
        assert not list(self.hermit.project.rglob("*~*")), "something unfinished is left"

    def check_store(self, root: Path | None = None) -> None:
        """Fail where a body is not what its name says, or the snapshot is not readable."""
        root = root or self.hermit.store
        for path in (root / "bodies").glob("*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        assert not list((root / "aside").iterdir())

    def runs(self) -> dict[str, set[str]]:
        """Give what is in the folders of runs."""
        runs = self.folder / "state/hermit/runs"
        return {path.name: {inner.name for inner in path.iterdir()} for path in runs.iterdir()} if runs.exists() else {}

    def check_swept(self) -> None:
        """Fail where more than logs and results are left of any run."""
        assert {name for names in self.runs().values() for name in names} <= LEFT
        assert not [name for name in self.runs() if name.startswith(".")]
        assert not list((self.folder / "tmp").iterdir())

    def check_next(self, mode: str, *paths: str) -> None:
        """Run again without the fault, and fail unless it works and leaves everything in order."""
        self.web.go()
        self.run(mode, *self.fetch(*paths))
        if mode == "record":
            assert {entry.url for entry in read_tree(self.hermit.snapshot)} == {self.web.url(path) for path in paths}
        assert not list(self.hermit.project.rglob("*~*"))
        self.check_swept()
