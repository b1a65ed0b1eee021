"""Makes a project that has recorded something, with its store and git history, for the tests of the commands."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from hermit_cli.main import main
from hermit_cli.place import find_place
from hermit_cli.runs import LOG_NAME, RESULT_NAME, runs_dir
from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import write_tree
from hermit_proxy.store.observation import Observation
from tests.support.gitserver import git

TIME = 1_700_000_000.0


def entry(path: str, body: bytes | None = b"body", *, host: str = "one.example.org", status: int = 200) -> Entry:
    """Make the entry of a GET."""
    url = f"https://{host}{path}"
    if body is None:
        return Entry("GET", url, status)
    headers = (("content-type", "text/plain"),)
    return Entry("GET", url, status, None, (), hashlib.sha256(body).hexdigest(), len(body), headers)


class RecordedProject:
    """Is a git repository with `.hermit`, and the user's store; the caller stands in it."""

    def __init__(
        self, root: Path, *, rules: str = 'rules:\n  - pattern: "one.example.org/.*"\n    action: ALLOW\n'
    ) -> None:
        """Make the repository with a first commit, and go there."""
        self.root = root
        self.network = root / ".hermit" / "network"
        self.rules = root / ".hermit" / "rules.yaml"
        self.rules.parent.mkdir(parents=True)
        self.rules.write_text(rules)
        git("init", "-q", "-b", "main", cwd=root)
        self.commit("rules")
        os.chdir(root)

    def record(self, *entries: Entry) -> None:
        """Replace the snapshot."""
        write_tree(self.network, Snapshot(entries), time=TIME)

    def observe(self, entry: Entry, body: bytes | None = b"body", *, pool: str | None = None) -> None:
        """Put a body into the store and vouch for an entry."""
        place = find_place()
        with place.store() as store:
            if body is not None:
                with store.writer() as writer:
                    writer.write(body)
                    writer.commit()
            noted = Observation(entry.id, entry.sha256, "0" * 32, "a run", time.time())
            store.observe(pool or place.pool, noted)

    def body_file(self, entry: Entry) -> Path:
        """Give the file that holds an entry's body in the store."""
        with find_place().store() as store:
            return Path(store.where) / "bodies" / (entry.sha256 or "")[:2] / (entry.sha256 or "")

    def commit(self, message: str) -> str:
        """Commit everything."""
        git("add", "-A", cwd=self.root)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.root)
        return git("rev-parse", "HEAD", cwd=self.root)

    def log(self, *events: RequestEvent, run: str = "20240101T000000-000001aaaa", exit_code: int | None = 0) -> Path:
        """Leave the log of a run behind, as `hermit run` does; without an exit code nothing says how it ended."""
        folder = runs_dir(os.environ) / run
        folder.mkdir(parents=True)
        log = folder / LOG_NAME
        log.write_text("".join(event.to_json() + "\n" for event in events))
        if exit_code is not None:
            result = {"snapshot": str(self.network.resolve()), "mode": "hermetic", "exit_code": exit_code}
            (folder / RESULT_NAME).write_text(json.dumps(result))
        return log


def replayed(entry: Entry) -> RequestEvent:
    """Make the event of a replay."""
    return RequestEvent(TIME, entry.method, entry.url, Outcome.REPLAYED, entry.status, entry_id=entry.id)


def refused(url: str, method: str = "GET") -> RequestEvent:
    """Make the event of a refusal for want of a rule."""
    return RequestEvent(TIME, method, url, Outcome.REFUSED, 403, reason="no rule admits it", broken=True)


def hermit(*arguments: str | Path) -> int:
    """Run `hermit` in this process and give its exit code."""
    return main([str(argument) for argument in arguments])
