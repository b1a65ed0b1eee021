"""Runs a real Buildbot master in a process of its own, forces builds and reads what became of them, all by its REST."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 60.0
RESULTS = ("success", "warnings", "failure", "skipped", "exception", "retry", "cancelled")
_BIN = Path(sys.executable).parent
_CONFIG = """\
from buildbot.plugins import schedulers, steps, util, worker

_MODES = ("record", "hermetic")
_FACTORIES = {{mode: util.BuildFactory([steps.Checkout(), steps.RunSpec(mode=mode)]) for mode in _MODES}}
BuildmasterConfig = {{
    "buildbotNetUsageData": None,
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "protocols": {{"null": {{}}}},
    "www": {{"port": "tcp:0:interface=127.0.0.1", "plugins": {{}}}},
    "workers": [worker.HermitLatentWorker("cell", cell={cell!r})],
    "builders": [
        util.BuilderConfig(name=name, workernames=["cell"], factory=factory) for name, factory in _FACTORIES.items()
    ],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=list(_FACTORIES))],
}}
"""


def until(what: str, condition: Callable[[], T], patience: float = PATIENCE) -> T:
    """Wait for something to be true, and give it."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Build:
    """Is one build as the master tells of it: its result in a word, its steps' results by name, and their logs."""

    number: int
    result: str
    steps: dict[str, str]
    states: dict[str, str]
    logs: dict[str, str]
    properties: dict[str, Any]


class Master:
    """Is a master that runs, with one worker and the builders `record` and `hermetic`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None, patience: float) -> None:
        """Start it in a folder that `create` made; `patience` is for its builds."""
        self.folder = folder
        self._patience = patience
        self._log = folder / "twistd.log"
        self._log.unlink(missing_ok=True)
        command = [str(_BIN / "twistd"), "--nodaemon", "--pidfile=", "--reactor=asyncio", "--python=buildbot.tac"]
        with (folder / "said").open("wb") as said:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._port = 0

    def wait(self) -> None:
        """Wait until it answers."""

        def port() -> int:
            assert self.process.poll() is None, self.said
            found = re.search(r"BuildbotSite starting on (\d+)", self.said)
            return int(found[1]) if found and "BuildMaster is running" in self.said else 0

        self._port = until("the master", port)

    @property
    def said(self) -> str:
        """Give its log."""
        return (self._log.read_text() if self._log.exists() else "") + (self.folder / "said").read_text()

    def force(self, builder: str, repository: Path, branch: str, revision: str) -> int:
        """Ask for a build; give the number of the request."""
        params = {"builderNames": [builder], "repository": str(repository), "branch": branch, "revision": revision}
        builders = {found["name"]: found["builderid"] for found in self.get("builders")["builders"]}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {**params, "builderid": builders[builder]}}
        _, requests = self._post("forceschedulers/force", asked)["result"]
        return int(requests[str(builders[builder])])

    def stop_build(self, number: int) -> None:
        """Have a build stopped, as a person would."""
        self._post(f"builds/{number}", {"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {"reason": "enough"}})

    def ended(self, request: int) -> list[Build]:
        """Wait for a request to be complete, and give all builds of it."""
        asked = f"buildrequests/{request}"
        until("the build", lambda: self.get(asked)["buildrequests"][0]["complete"], self._patience)
        return [self._build(found) for found in self.builds(request)]

    def builds(self, request: int) -> list[dict[str, Any]]:
        """Give the builds of a request as they are now."""
        found: list[dict[str, Any]] = self.get(f"buildrequests/{request}/builds?property=*&order=buildid")["builds"]
        return found

    def logs(self, build: int) -> dict[str, str]:
        """Give what the logs of a build have so far, by the name of the step."""
        found = {}
        for step in self.get(f"builds/{build}/steps")["steps"]:
            logs = self.get(f"steps/{step['stepid']}/logs")["logs"]
            found[step["name"]] = "".join(self._read(f"logs/{log['logid']}/raw") for log in logs)
        return found

    def _build(self, found: dict[str, Any]) -> Build:
        steps = self.get(f"builds/{found['buildid']}/steps")["steps"]
        return Build(
            number=found["buildid"],
            result=RESULTS[found["results"]],
            steps={step["name"]: RESULTS[step["results"]] for step in steps if step["results"] is not None},
            states={step["name"]: step["state_string"] for step in steps},
            logs=self.logs(found["buildid"]),
            properties={name: value for name, (value, _) in found["properties"].items()},
        )

    def get(self, path: str) -> dict[str, Any]:
        """Read a resource."""
        found: dict[str, Any] = json.loads(self._read(path))
        return found

    def _read(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v2/{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def _post(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/api/v2/{path}",
            data=json.dumps(fields).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  our own
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def end(self) -> None:
        """End it, politely at first."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def create(folder: Path) -> None:
    """Make a master's folder with its database; copies of it are as good."""
    subprocess.run([_BIN / "buildbot", "create-master", "--relocatable", "--quiet", folder], check=True)


@contextmanager
def running(
    template: Path,
    folder: Path,
    *,
    cell: str = "sandbox",
    environment: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Iterator[Master]:
    """Give a master in a copy of a folder that `create` made, or in one where it was before."""
    if not folder.exists():
        shutil.copytree(template, folder)
    (folder / "master.cfg").write_text(_CONFIG.format(cell=cell))
    master = Master(folder, environment, patience)
    try:
        master.wait()
        yield master
    finally:
        master.end()
