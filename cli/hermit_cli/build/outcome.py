"""Makes of a build that has ended what stays of it: the snapshot where it was recorded, and the report."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hermit_cli import runs
from hermit_cli.build.comparison import Identity, compare
from hermit_cli.build.order import Built, Order
from hermit_cli.build.report import BuildReport
from hermit_cli.interrupts import InterruptedRunError
from hermit_cli.summary import note_on_recording
from hermit_proxy.errors import HermitError
from hermit_proxy.recording import write_snapshot
from hermit_proxy.rules.file import Action, load_rules
from hermit_proxy.run.events import read_log
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.run.troubles import Trouble, troubles_of
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.written import Recorded
from hermit_proxy.store.open import open_store
from hermit_proxy.upstream import guard, openings

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
        troubles = troubles_of(read_log(log)) if unanswered and log else ()
        project, commit = str(order.project), order.plan.facts.commit
        compared = (
            compare(built.artifacts, identity, _earlier(), project=project, commit=commit) if built.artifacts else None
        )
        return BuildReport(
            mode=order.mode,
            command=command,
            status=built.status,
            seconds=self.seconds,
            counts=built.counts,
            troubles=troubles,
            log=log,
            signal=built.signal,
            recorded=self.recorded,
            note=self.note,
            failure=built.failure or self.failure,
            steps=built.steps,
            planned=built.planned,
            artifacts=built.artifacts,
            out=order.out if built.artifacts else None,
            comparison=compared,
            identity=identity,
            commit=commit,
            changes=order.source.changes,
            steps_log=steps_log if steps_log.exists() else None,
            kept=built.kept,
            project=order.project,
            unasked=_unasked(troubles, order.proxy),
            cell=order.cell,
            was=_in_store(compared.before[0], order.proxy) if compared and compared.before else None,
        )


def _unasked(troubles: Iterable[Trouble], proxy: ProxySettings) -> tuple[str, ...]:
    """Give what upstream.allow will have to open besides, where an address was refused: one round is enough then."""
    if openings.gathered(trouble.hint for trouble in troubles) is None:
        return ()
    try:
        rules = load_rules(proxy.rules).rules
        own = guard.own_addresses()
    except HermitError:  # what was refused is worth telling all the same
        return ()
    hosts = [rule.pattern.literal_host for rule in rules if rule.action is not Action.REJECT]
    allow = guard.parse_allow(proxy.upstream_allow)
    return tuple(openings.needed(filter(None, hosts), allow, own))


def _in_store(sha256: str, proxy: ProxySettings) -> Path | None:
    """Give where the store has an earlier artifact; None where it has it no more."""
    try:
        store = open_store(proxy.store, environ=os.environ)
    except HermitError:  # the build has gone well without
        return None
    try:
        return store.path(sha256)
    except (HermitError, ValueError):
        return None
    finally:
        store.close()


def _earlier() -> Iterator[dict[str, Any]]:
    """Give the results of runs, the last one first, each with when it began."""
    for log, fields in runs.results(os.environ):
        yield {**fields, "time": runs.began(log.parent)}
