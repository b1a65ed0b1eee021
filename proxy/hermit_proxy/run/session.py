"""Is one run as the proxy process sees it: rules, snapshot, store and log, and the place that decides."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hermit_proxy import policy
from hermit_proxy.credentials.bindings import Bindings
from hermit_proxy.errors import HermitError, InputError, NotHermeticError
from hermit_proxy.policy import Decision, Mode
from hermit_proxy.request.key import Request
from hermit_proxy.rules.file import Rules, load_rules
from hermit_proxy.run.events import Outcome, RepeatedEvent, RequestEvent, RequestLog
from hermit_proxy.run.refusal import hint as hint_of
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree
from hermit_proxy.store.body import Store
from hermit_proxy.store.evidence import PoolEvidence
from hermit_proxy.store.open import open_store

__all__ = ["Counts", "ProxySettings", "Session"]

LOG_NAME = "requests.jsonl"
# The first names tell what kind of thing is missing; a list of thousands would hide it.
_TOLD = 20


@dataclass(slots=True)
class Counts:
    """Is what a run has done so far; `bytes` counts body bytes sent to the client."""

    requests: int = 0
    replayed: int = 0
    recorded: int = 0
    passed: int = 0
    refused: int = 0
    failed: int = 0
    broken: int = 0
    bytes: int = 0
    last_refusal: str | None = None

    def add(self, event: RequestEvent) -> None:
        """Count one request."""
        self.requests += 1
        self.bytes += event.size
        outcome = event.outcome
        if outcome is Outcome.REPLAYED:
            self.replayed += 1
        elif outcome is Outcome.RECORDED:
            self.recorded += 1
        elif outcome is Outcome.PASSED:
            self.passed += 1
        elif outcome is Outcome.FAILED:
            self.failed += 1
        else:
            self.refused += 1
            self.last_refusal = f"{event.method} {event.url}"
        if event.broken:
            self.broken += 1

    def to_dict(self) -> dict[str, int | str | None]:
        """Give the fields as the control channel carries them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Self:
        """Read what `to_dict` gave; other keys are passed over."""
        counts = cls()
        for name in cls.__slots__:
            value = fields.get(name)
            if isinstance(value, int | str) and not isinstance(value, bool):
                setattr(counts, name, value)
        return counts


class Session:
    """Holds one run.

    `online` says whether the network is there: at first it is, in a step it is as the step says, and once
    a first step has begun there is none outside of steps, so that what a step leaves running gets nothing.
    `on_log` is called after each line (for a repeated answer without times), `on_fatal` when the run
    cannot go on (the log's disk is full).
    """

    def __init__(  # noqa: PLR0913  the parts of a run; `load` is how they come together
        self,
        rundir: Path,
        mode: Mode,
        settings: ProxySettings,
        *,
        rules: Rules,
        snapshot: Snapshot,
        store: Store,
        bindings: Bindings | None = None,
    ) -> None:
        """Take the parts; opens the log in `rundir`."""
        self.rundir = rundir
        self.mode = mode
        self.settings = settings
        self.rules = rules
        self.snapshot = snapshot
        self.store = store
        self.bindings = bindings or Bindings()
        self.evidence = PoolEvidence(store, settings.pool, settings.observers)
        self.counts = Counts()
        self.online = True
        self.step: str | None = None
        self.on_log: Callable[[RequestEvent], None] | None = None
        self.on_fatal: Callable[[HermitError], None] | None = None
        self.failed: HermitError | None = None
        self._fresh: set[str] = set()
        # Grows whenever an earlier decision may no longer hold.
        self.epoch = 0
        self._log = RequestLog(rundir / LOG_NAME)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, rundir: Path, mode: Mode) -> Self:
        """Read settings, rules, snapshot and store.

        Raise InputError for mistakes in files and HermitError for what this machine lacks. In hermetic mode every
        entry of the snapshot must be observed and its body there, or NotHermeticError names those that are not.
        """
        settings = ProxySettings.read(rundir)
        rules = load_rules(settings.rules)
        session = cls(
            rundir,
            mode,
            settings,
            rules=rules,
            bindings=_load_bindings(settings, rules) if mode is Mode.RECORD else None,
            snapshot=read_tree(settings.snapshot),
            store=open_store(settings.store, environ=os.environ),
        )
        if mode is Mode.HERMETIC:
            session.check_complete()
        return session

    @property
    def clock(self) -> tuple[float, ...]:
        """Give the times, in seconds since the epoch, that certificates have to be valid at."""
        return self.settings.clock

    def check_complete(self) -> None:
        """Raise NotHermeticError with the entries that nobody observed or whose bodies the store lacks."""
        unobserved: list[Entry] = []
        missing: list[Entry] = []
        for entry in self.snapshot:
            if not self.evidence.observed(entry):
                unobserved.append(entry)
            elif not self.evidence.has_body(entry):
                missing.append(entry)
        if unobserved or missing:
            pool = self.settings.pool
            told = [
                *_list(f"in pool {pool}, nobody has observed the answer that the snapshot claims for", unobserved),
                *_list("the store lacks the body of", missing),
            ]
            hint = "hermit store fill"
            if unobserved:
                file = self.settings.settings_file or "config.yaml"
                hint += f"    (observations belong to one pool, here {pool}; `pool:` in {file} names another)"
            raise NotHermeticError("\n".join(told), hint=hint)

    def decide(self, request: Request) -> Decision:
        """Decide about a request under the rules, the snapshot and the step that runs."""
        return policy.decide(
            request,
            self.rules,
            self.snapshot,
            self.evidence,
            self.mode,
            online=self.online,
            refresh=self.settings.refresh,
            fresh=self._fresh,
        )

    def hint(self, decision: Decision, request: Request) -> str:
        """Say which rule or command would have the request answered; empty where it needs no help."""
        return hint_of(decision, request, mode=self.mode, rules=self.rules, step=self.step)

    def log(self, event: RequestEvent) -> None:
        """Write the line and count it; the run ends where the line cannot be written."""
        self._append(event.to_json(), event)

    def log_again(self, repeated: RepeatedEvent, time: float, duration: float) -> None:
        """Do the same for a request that was answered as before, at `time` and within `duration` (seconds)."""
        self._append(repeated.to_json(time, duration), repeated.event)

    def _append(self, line: str, event: RequestEvent) -> None:
        with self._lock:
            try:
                self._log.append(line)
            except OSError as error:
                self.fatal(
                    HermitError(
                        f"the log of requests in {self.rundir} cannot be written: {error.strerror}",
                        hint="make room there and run again",
                    )
                )
                return
            self.counts.add(event)
        if self.on_log is not None:
            self.on_log(event)

    def fatal(self, error: HermitError) -> None:
        """End the run: what is not in the log must not happen. `failed` keeps the first error."""
        if self.failed is not None:
            return
        self.failed = error
        if self.on_fatal is None:
            raise error
        self.on_fatal(error)

    def begin_step(self, name: str, network: str) -> None:
        """Put a step's policy in force; `network` is `proxy` or `none`."""
        self.step = name
        self.online = network == "proxy"
        self.epoch += 1

    def end_step(self) -> str | None:
        """Take the network away until the next step, and give the name of the step that ended."""
        name, self.step = self.step, None
        self.online = False
        self.epoch += 1
        return name

    def remember(self, entry: Entry) -> None:
        """Have an entry that this run recorded and observed answer the next request for it."""
        self.snapshot.add(entry)
        self._fresh.add(entry.id)
        self.epoch += 1

    def flush(self) -> None:
        """Bring log and store to the disk."""
        self._log.sync()
        self.store.flush()

    def close(self) -> None:
        """Let go of log and store; closing twice is safe."""
        self._log.close()
        self.store.close()


def _load_bindings(settings: ProxySettings, rules: Rules) -> Bindings:
    from hermit_proxy.credentials.file import load_bindings  # noqa: PLC0415  a hermetic proxy has no use for secrets

    bindings = load_bindings(settings.credentials)
    if mistakes := bindings.check(rules):
        raise InputError(mistakes)
    return bindings


def _list(what: str, entries: list[Entry]) -> list[str]:
    if not entries:
        return []
    lines = [f"{what} {len(entries)} request{'s' if len(entries) > 1 else ''}:"]
    lines += [f"  {entry.method} {entry.url}" for entry in entries[:_TOLD]]
    return [*lines, f"  and {len(entries) - _TOLD} more"] if len(entries) > _TOLD else lines
