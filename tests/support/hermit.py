"""Runs the real `hermit run` as a user would: records with names that lead to loopback, replays without any route."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermit_proxy.run.events import Outcome, RequestEvent, read_log
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.tree import read_tree
from tests.support.registries import rules_for

# A run that hangs must not hold up the suite.
_TIMEOUT = 240
# The user and mount namespaces that a test needs; root needs no user namespace.
PRIVATE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
UNPLUGGED = [*PRIVATE, "-n"]
_BIND = 'while [ "$1" != -- ]; do mount --bind "$2" "$1"; shift 2; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Run:
    """Is what one `hermit run` did: its exit code, what the command printed, and every request of the log.

    `work` is the folder that it ran in, empty before.
    """

    work: Path
    code: int
    out: str
    err: str
    events: tuple[RequestEvent, ...]

    def of(self, outcome: Outcome) -> tuple[RequestEvent, ...]:
        """Give the requests that ended so."""
        return tuple(event for event in self.events if event.outcome is outcome)

    def urls(self, method: str | None = None) -> list[str]:
        """Give the URLs asked for, in order."""
        return [event.url for event in self.events if method in {None, event.method}]


class Hermit:
    """Is one user with one project: own store, settings and state, own rules and snapshot.

    `names` are host names that the recorder's resolver finds on loopback; they are allowed upstream with what
    `allow` names besides. `rules` is the text of the rules file; None admits everything under those names.
    `binds` puts files or folders of the test's own in the place of the machine's, in a mount namespace.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trust: Path | None = None,
        names: Iterable[str] = (),
        allow: Iterable[str] = (),
        rules: str | None = None,
        binds: Mapping[str, Path] | None = None,
    ) -> None:
        """Write the user's settings and the project's rules."""
        self.folder = folder
        self._binds = dict(binds or {})
        self._runs = 0
        self.names = tuple(names)
        self.project = folder / "project"
        self.rules = self.project / ".hermit/rules.yaml"
        self.snapshot = self.project / ".hermit/network"
        self.store = folder / "store"
        self.settings = folder / "config/hermit/config.yaml"
        self.rules.parent.mkdir(parents=True)
        self.settings.parent.mkdir(parents=True)
        (folder / "runtime").mkdir(mode=0o700)
        upstream: dict[str, Any] = {"allow": [*self.names, *allow]}
        if trust is not None:
            upstream["trust"] = str(self._bundle(trust))
        settings = {"store": str(self.store), "pool": "tests", "upstream": upstream}
        self.settings.write_text(yaml.safe_dump(settings))
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in self.names))
        self.allow_only(rules if rules is not None else self._open_rules())

    def allow_only(self, rules: str) -> None:
        """Replace the rules file."""
        self.rules.write_text(rules)

    def record(
        self,
        *command: str | Path,
        expect: int = 0,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Run:
        """Run a command in record mode; one string is a shell script (`sh -e`)."""
        names = {"/etc/hosts": self.folder / "hosts"} if self.names else {}
        prefix = [*PRIVATE, *_bind({**names, **self._binds})]
        return self._run("record", prefix, command, expect=expect, env=env, more=options)

    def hermetic(self, *command: str | Path, expect: int = 0, env: Mapping[str, str] | None = None) -> Run:
        """Run a command hermetically where there is no network at all: not even loopback is up outside of the cell."""
        return self._run("hermetic", [*UNPLUGGED, *_bind(self._binds)], command, expect=expect, env=env)

    def command_line(self, *arguments: str | Path) -> list[str]:
        """Give the command line of `hermit` with these arguments."""
        return [sys.executable, "-m", "hermit_cli.main", *map(str, arguments)]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the user's environment: everything that hermit keeps lies in the test's folder."""
        own = {
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
        }
        return {**os.environ, **own, **(extra or {})}

    def entries(self) -> list[Entry]:
        """Read the snapshot as it is in the tree."""
        return list(read_tree(self.snapshot))

    def files(self) -> dict[str, bytes]:
        """Give the snapshot's files byte for byte, with the time of the recording."""
        return {str(path): path.read_bytes() for path in sorted(self.rules.parent.rglob("*")) if path.is_file()}

    def files_in_place_of(self, path: str) -> dict[str, bytes]:
        """Read the files of a folder of `binds`."""
        folder = self._binds[path]
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    def holds(self, secret: str) -> list[Path]:
        """Name every file of snapshot, store, state and logs that contains a text."""
        octets = secret.encode()
        return [path for path in self.folder.rglob("*") if path.is_file() and octets in path.read_bytes()]

    def _run(
        self,
        mode: str,
        prefix: list[str],
        command: tuple[str | Path, ...],
        *,
        expect: int,
        env: Mapping[str, str] | None,
        more: Sequence[str] = (),
    ) -> Run:
        wanted = ["sh", "-ec", str(command[0])] if len(command) == 1 else list(map(str, command))
        before = set(self._logs())
        self._runs += 1
        work = self.folder / f"work-{self._runs}-{mode}"
        work.mkdir()
        options = ["--mode", mode, "--rules", self.rules, "--snapshot", self.snapshot, *more]
        done = subprocess.run(
            [*prefix, *self.command_line("run", *options, "--", *wanted)],
            cwd=work,
            env=self.environment(env),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
        logs = [log for log in self._logs() if log not in before]
        events = tuple(event for log in logs for event in read_log(log))
        run = Run(work, done.returncode, done.stdout, done.stderr, events)
        assert run.code == expect, explain(run)
        if mode == "hermetic":
            # A replay that asked upstream would have failed here: there is no route. Its log must not claim one either.
            assert not run.of(Outcome.RECORDED), explain(run)
            assert not run.of(Outcome.PASSED), explain(run)
        return run

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("state/**/requests.jsonl"), key=lambda path: path.stat().st_mtime_ns)

    def _open_rules(self) -> str:
        return rules_for(authority for name in self.names for authority in (name, f"{name}:[0-9]+"))

    def _bundle(self, trust: Path) -> Path:
        """Put the tests' authority beside the system's, for a run may need servers of both."""
        path = self.folder / "trust.pem"
        system = ssl.get_default_verify_paths().cafile
        path.write_bytes((Path(system).read_bytes() if system else b"") + b"\n" + trust.read_bytes())
        return path


def _bind(binds: Mapping[str, Path]) -> list[str]:
    pairs = [str(part) for target, source in binds.items() for part in (target, source)]
    return ["sh", "-ec", _BIND, "sh", *pairs, "--"] if binds else []


def explain(run: Run) -> str:
    """Tell what a run did, for the message of a failed assertion."""
    lines = [
        f"{event.outcome.value:9}{event.status} {event.method} {event.url} {event.reason or ''}" for event in run.events
    ]
    return "\n".join([f"exit {run.code}", *lines[-40:], run.out[-2000:], run.err[-4000:]])


def need_namespaces() -> None:
    """Skip the test where this user may not make namespaces."""
    for prefix in (PRIVATE, UNPLUGGED):
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip(f"{' '.join(prefix)} is not permitted here")


def as_json(run: Run) -> dict[str, Any]:
    """Read the last line that a run with `--json` printed."""
    found: dict[str, Any] = json.loads(run.out.strip().splitlines()[-1])
    return found
