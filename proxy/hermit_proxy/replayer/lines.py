"""Writes the log's line for whatever became of a request in a hermetic run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Refuse, Replay
from hermit_proxy.recorder.signatures import redacted
from hermit_proxy.replayer.site import Complaint, Incoming, RunOverError
from hermit_proxy.rules.file import Rule
from hermit_proxy.run import refusal
from hermit_proxy.run.events import Outcome, RepeatedEvent, RequestEvent
from hermit_proxy.run.session import Session

_ERROR = 400
_BAD_GATEWAY = 502


@dataclass(frozen=True, slots=True)
class Asked:
    """Is the part of a request that every line about it has.

    `body` is the digest of its body, `entry_id` the identity of the recorded answer where there is one.
    """

    method: str
    url: str
    body: str | None
    rule: Rule | None
    entry_id: str | None = None


class Lines:
    """Writes lines into a session's log; raises RunOverError where that has ended the run."""

    def __init__(self, session: Session) -> None:
        """Take the run."""
        self._session = session

    def replayed(  # noqa: PLR0913  what was asked, what was answered, and how it went
        self, asked: Asked, incoming: Incoming, decision: Replay, status: int, *, sent: int, why: str | None
    ) -> None:
        """Log an answer; `why` says why not all of it was sent."""
        self._write(
            asked,
            time=incoming.time,
            duration=_since(incoming.clock),
            outcome=Outcome.REPLAYED,
            status=status,
            size=sent,
            sha256=decision.entry.sha256,
            note=None if why is None else f"{why} after {sent} bytes",
        )

    def repeated(self, asked: Asked, decision: Replay, status: int, size: int) -> RepeatedEvent:
        """Make the line of an answer that is given again and again in this epoch, always the whole of it."""
        fields = {"outcome": Outcome.REPLAYED, "status": status, "size": size, "sha256": decision.entry.sha256}
        return RepeatedEvent(self._event(asked, time=0.0, **fields))

    def again(self, repeated: RepeatedEvent, started: float, clock: float) -> None:
        """Log it once more."""
        self._session.log_again(repeated, started, _since(clock))
        if self._session.failed is not None:
            raise RunOverError

    def refused(self, asked: Asked, incoming: Incoming, decision: Refuse, *, hint: str, sent: int) -> None:
        """Log a refusal by the policy."""
        self._write(
            asked,
            time=incoming.time,
            duration=_since(incoming.clock),
            outcome=Outcome.REFUSED,
            status=refusal.STATUS,
            size=sent,
            reason=decision.reason.value,
            hint=hint or None,
            broken=decision.broken,
        )

    def failed(self, asked: Asked, incoming: Incoming, error: HermitError) -> None:
        """Log a request whose answer the store cannot give."""
        self._write(
            asked,
            time=incoming.time,
            duration=_since(incoming.clock),
            outcome=Outcome.FAILED,
            status=_BAD_GATEWAY,
            reason=str(error),
            hint=error.hint,
            broken=True,
        )

    def internal(self, incoming: Incoming, status: int, sent: int, reason: str | None) -> None:
        """Log what was asked of hermit.internal."""
        refused = status >= _ERROR
        self._write(
            Asked(incoming.method, shown(incoming), None, None),
            time=incoming.time,
            duration=_since(incoming.clock),
            outcome=Outcome.REFUSED if refused else Outcome.REPLAYED,
            status=status,
            size=sent,
            reason=reason if refused else None,
            note=None if refused else "answered by Hermit itself",
        )

    def complaint(self, complaint: Complaint, outcome: Outcome, sent: int) -> None:
        """Log what was no request, or never became one; a refusal of it breaks hermeticity."""
        method, url, reason, status = complaint
        self._write(
            Asked(method, redacted(url), None, None),
            time=time.time(),
            outcome=outcome,
            status=status,
            size=sent,
            reason=reason,
            broken=outcome is Outcome.REFUSED,
        )

    def _write(self, asked: Asked, **fields: Any) -> None:
        self._session.log(self._event(asked, **fields))
        if self._session.failed is not None:
            raise RunOverError

    def _event(self, asked: Asked, **fields: Any) -> RequestEvent:
        rule = asked.rule
        return RequestEvent(
            method=asked.method,
            url=asked.url,
            step=self._session.step,
            rule=None if rule is None else rule.pattern.text,
            action=None if rule is None else rule.action.name,
            body=asked.body,
            entry_id=asked.entry_id,
            **fields,
        )


def shown(incoming: Incoming) -> str:
    """Give a request's URL as a log may show it."""
    url = incoming.target.url
    return redacted(url) if incoming.target.query else url


def _since(clock: float) -> float:
    return round(time.monotonic() - clock, 6)
