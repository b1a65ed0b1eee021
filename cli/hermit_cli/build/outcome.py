"""Makes of a build that has ended what stays of it: the snapshot where it was recorded, and the report."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hermit_cli import runs
from hermit_cli.build.order import Built, Order
from hermit_cli.build.report import BuildReport, Identity, compare
from hermit_cli.interrupts import InterruptedRunError
from hermit_cli.recording import write_snapshot
from hermit_cli.summary import Recorded, note_on_recording, troubles_of
from hermit_proxy.errors import HermitError
from hermit_proxy.run.events import read_log
from hermit_proxy.snapshot.model import Snapshot

_A_PART = "the snapshot is as it was: only a whole build writes one"
_NOTHING = "the build asked for nothing, and its snapshot says so: a hermetic build refuses every request"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Is a build that has ended; `seconds` is how long it took, `log` the log of its requests, None where it has none.

    `note` and `failure` are of the writing of the snapshot.
    """

    order: Order
    built: Built
    seconds: float
    log: Path | None
    recorded: Recorded | None = None
    note: str | None = None
    failure: HermitError | None = None

    def recorded_over(self, old: Snapshot, network: Path, *, refresh: bool) -> Outcome:
        """Write the snapshot of a good recording; a part of a build says nothing about the whole.

        A build starts from the same tree every time: what asked for nothing needs nothing, and that is its snapshot.
        """
        counts = self.built.counts
        if self.order.out is None:
            return replace(self, note=_A_PART)
        note = note_on_recording(counts, had=len(old) > 0, refresh=refresh, what="the build")
        if not counts["requests"]:
            note = _NOTHING
        elif not (counts["recorded"] or len(old)):  # it needs something, and nothing says what
            return replace(self, note=note)
        try:
            return replace(self, recorded=self._written(old, network), note=note)
        except InterruptedRunError:
            raise
        except HermitError as error:  # how the build went is worth telling all the same
            return replace(self, failure=error)

    def _written(self, old: Snapshot, network: Path) -> Recorded:
        return write_snapshot(
            network,
            old,
            self.order.rundir / runs.LOG_NAME,
            store_url=self.order.proxy.store,
            pool=self.order.proxy.pool,
            keep_unused=False,
            environ=os.environ,
            asked=self.built.counts["requests"] > 0,
        )

    def report(self, command: tuple[str, ...]) -> BuildReport:
        """Give the report; `command` are the arguments that name the project."""
        order, built, log = self.order, self.built, self.log
        unanswered = built.counts["refused"] or built.counts["failed"]
        identity = Identity(built.source, f"sha256:{hashlib.sha256(order.plan.to_json()).hexdigest()}", built.image)
        steps_log = order.rundir / runs.STEPS_NAME
        return BuildReport(
            mode=order.mode,
            command=command,
            status=built.status,
            seconds=self.seconds,
            counts=built.counts,
            troubles=troubles_of(read_log(log)) if unanswered and log else (),
            log=log,
            signal=built.signal,
            recorded=self.recorded,
            note=self.note,
            failure=built.failure or self.failure,
            steps=built.steps,
            planned=built.planned,
            artifacts=built.artifacts,
            out=order.out if built.artifacts else None,
            comparison=compare(built.artifacts, identity, _earlier()) if built.artifacts else None,
            identity=identity,
            commit=order.plan.facts.commit,
            changes=order.source.changes,
            steps_log=steps_log if steps_log.exists() else None,
            kept=built.kept,
            project=order.project,
        )


def _earlier() -> Iterator[dict[str, Any]]:
    """Give the results of runs, the last one first, each with when it began."""
    for log, fields in runs.results(os.environ):
        yield {**fields, "time": runs.began(log.parent)}
