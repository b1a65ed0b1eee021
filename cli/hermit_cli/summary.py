"""Tells what a run did: for people a few lines that end with the next step, for programs one object."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermit_cli.output import bytes_as_text, say, say_styled, time_as_text
from hermit_cli.table import counted
from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode, Reason
from hermit_proxy.run.events import Outcome
from hermit_proxy.run.troubles import Trouble
from hermit_proxy.snapshot.report import SAME
from hermit_proxy.snapshot.written import Recorded
from hermit_proxy.upstream import openings

_SHOWN = 10
_UNREACHED = (
    "no request reached the proxy: only HTTP and HTTPS through the proxy variables works here;"
    " the loopback is the command's own (docs/environment.md)"
)
_OUTCOMES = ("replayed", "recorded", "passed", "refused", "failed")


@dataclass(frozen=True, slots=True)
class RunReport:
    """Is one run as it ended.

    `status` is the command's own (128 + n for signals), `seconds` how long it took, `counts` the proxy's counts
    by name (`bytes` among them), `signal` the name of what interrupted it, `note` what a reader of a recording should
    know. `options` are those that name other files than the project's, and `own` says that the snapshot is its own.
    `failure` is what went wrong after the command, which is told with all the rest. `unasked` are items of
    upstream.allow that the rules' other hosts will need.
    """

    mode: Mode
    command: tuple[str, ...]
    status: int
    seconds: float
    counts: dict[str, int]
    troubles: tuple[Trouble, ...]
    log: Path | None
    signal: str | None = None
    recorded: Recorded | None = None
    note: str | None = None
    options: tuple[str, ...] = ()
    own: bool = True
    failure: HermitError | None = None
    unasked: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """Choose the exit code: what was not answered as it must be counts even where the command got over it."""
        if any(trouble.broken and trouble.outcome is Outcome.REFUSED for trouble in self.troubles):
            return ExitCode.NOT_HERMETIC  # whatever else went wrong: trying again is no answer to it
        if self.failure is not None and self.failure.exit_code is not ExitCode.FAILED:
            return self.failure.exit_code
        if self.counts.get("broken"):
            outcomes = {trouble.outcome for trouble in self.troubles if trouble.broken}
            return ExitCode.MACHINE if outcomes == {Outcome.FAILED} else ExitCode.NOT_HERMETIC
        return ExitCode.FAILED if self.status or self.signal or self.failure else ExitCode.DONE

    def result(self) -> dict[str, Any]:
        """Give what is remembered of a run beside its log."""
        return {"exit_code": int(self.exit_code), "mode": self.mode.value, "command": list(self.command), **self.counts}

    def to_json(self) -> dict[str, Any]:
        """Give the object of `--json`."""
        recorded = self.recorded
        snapshot = recorded and {
            "path": str(recorded.network),
            "changed": recorded.changed,
            "pruned": recorded.pruned,
            "conflicts": list(recorded.conflicts),
            "difference": recorded.difference,
        }
        return {
            "exit_code": int(self.exit_code),
            "mode": self.mode.value,
            "command": list(self.command),
            "command_status": self.status,
            "signal": self.signal,
            "seconds": round(self.seconds, 3),
            **self.counts,
            "unanswered": [_as_json(trouble) for trouble in self.troubles],
            "snapshot": snapshot,
            "note": self.note,
            "to_open": list(self._to_open()[1]),
            "log": str(self.log) if self.log else None,
            "next": self.next_step(),
            **({"error": str(self.failure), "hint": self.failure.hint} if self.failure else {}),
        }

    def next_step(self) -> str | None:
        """Say what the reader most likely wants to do now."""
        broken = [trouble for trouble in self.troubles if trouble.broken]
        reasons = {trouble.reason for trouble in broken}
        if any(reason.startswith(Reason.UNOBSERVED.value) for reason in reasons):
            return f"hermit store fill    (or record again: {self.again(Mode.RECORD)})"
        if any(reason.startswith((Reason.NO_RULE.value, Reason.AMBIGUOUS.value)) for reason in reasons):
            return "hermit rules suggest    (shows the fewest rules that admit what was refused; --write adds them)"
        failed = [trouble for trouble in broken if trouble.outcome is Outcome.FAILED]
        if self._to_open()[1] or (reasons and self.mode is Mode.HERMETIC and not any(t.hint for t in failed)):
            return self.again(Mode.RECORD)
        # What the store could not give is no matter for a recording: it says itself what mends it.
        if hint := next((trouble.hint for trouble in (*failed, *broken) if trouble.hint), None):
            return hint
        if self.recorded and self.recorded.changed and self.exit_code is ExitCode.DONE:
            return ("commit .hermit, then: " if self.own else "") + self.again(Mode.HERMETIC)
        return None

    def again(self, mode: Mode) -> str:
        """Give the command line that does it again."""
        return shlex.join(["hermit", "run", "--mode", mode.value, *self.options, "--", *self.command])

    def _to_open(self) -> tuple[Path, list[str]]:
        """Give the user's settings file and what in it would have opened the addresses that were refused."""
        found = openings.gathered(trouble.hint for trouble in self.troubles)
        return found or (Path(), [])

    def say(self) -> None:
        """Tell it to people."""
        code = self.exit_code
        told = ", ".join(told_of_counts(self.counts))
        size = bytes_as_text(self.counts.get("bytes", 0))
        ending = {ExitCode.DONE: "done", ExitCode.NOT_HERMETIC: "NOT HERMETIC"}.get(code, "failed")
        line = f"hermit {self.mode.value}: {ending} in {time_as_text(self.seconds)}; {told or 'no requests'}, {size}"
        say_styled(line, "good" if code is ExitCode.DONE else "bad")
        self.say_ending()
        if self.failure:
            say_styled(f"  {self.failure}", "bad")
            _say_hint(self.failure.hint)
        for trouble in self.troubles[:_SHOWN]:
            _say_trouble(trouble)
        if len(self.troubles) > _SHOWN:
            say(f"  … and {counted(len(self.troubles) - _SHOWN, 'more kind')} of request, see the log")
        if self.recorded:
            _say_recorded(self.recorded)
        elif self.mode is Mode.RECORD and code is not ExitCode.DONE:
            say("  the snapshot is as it was: only a run without failures and refusals writes one")
        if self.note:
            say(f"  {self.note}")
        if self.log:
            say_styled(f"  log: {self.log}", "dim")
        self._say_to_open()
        if step := self.next_step():
            say(f"  next: {step}")

    def _say_to_open(self) -> None:
        """Say once, for all refused addresses, which lines of the user's own open them."""
        file, items = self._to_open()
        if not items:
            return
        first, *lines = openings.told(file, items, self.unasked).split("\n")
        say("  addresses outside of the public internet are opened by your own settings alone;")
        say(f"  {first}")
        for line in lines:  # as they stand in the file, so that they can be pasted
            say(line)

    def say_ending(self) -> None:
        """Say how the command ended."""
        if self.signal:
            say(f"  interrupted by {self.signal}")
        elif self.status:
            say(f"  the command ended with {status_as_text(self.status)}")
            if not self.counts.get("requests"):
                say(f"  {_UNREACHED}")


def told_of_counts(counts: Mapping[str, int]) -> list[str]:
    """Give the counts that are not 0 as people read them: `1 request`, `1 recorded`."""
    requests = [counted(counts["requests"], "request")] if counts.get("requests") else []
    return [*requests, *(f"{counts[name]} {name}" for name in _OUTCOMES if counts.get(name))]


def note_on_recording(counts: Mapping[str, int], *, had: bool, refresh: bool, what: str = "the command") -> str | None:
    """Say why a good recording of `what` recorded nothing, where it did; `had` tells whether there was a snapshot."""
    if counts.get("recorded"):
        return None
    if not counts.get("requests") and had:
        return f"{what} asked for nothing, so the snapshot stays as it is"
    if not had:
        asked = "nothing was recorded" if counts.get("requests") else f"{what} asked for nothing"
        return f"{asked}, so no snapshot was written"
    reached = any(counts.get(name) for name in ("passed", "failed"))
    if counts.get("replayed") and not reached and not refresh:
        return "nothing was asked upstream: the snapshot had it all (--refresh asks again)"
    return None


def _as_json(trouble: Trouble) -> dict[str, Any]:
    return {
        "outcome": trouble.outcome.value,
        "method": trouble.method,
        "url": trouble.url,
        "reason": trouble.reason,
        "hint": trouble.hint,
        "broken": trouble.broken,
        "times": trouble.times,
    }


def _say_trouble(trouble: Trouble) -> None:
    times = f" ({trouble.times} times)" if trouble.times > 1 else ""
    say_styled(f"  {trouble.outcome.value}: {trouble.method} {trouble.url}{times}", "bad" if trouble.broken else "dim")
    say(f"      {trouble.reason}")
    if openings.read(trouble.hint) is None:  # what opens addresses is told once for all of them
        _say_hint(trouble.hint)


def _say_hint(hint: str | None) -> None:
    for line in (hint or "").splitlines():
        say(f"      {line}")


def _say_recorded(recorded: Recorded) -> None:
    if not recorded.changed:
        say(f"  the snapshot is unchanged: {recorded.network}")
    elif recorded.text == SAME:
        say("  the snapshot is new, and has nothing in it")
    else:
        say(f"  the snapshot has changed: {recorded.network}")
        lines = recorded.text.splitlines()
        shown = lines if len(lines) <= 3 * _SHOWN else [*lines[: 3 * _SHOWN], "… (hermit snapshot diff tells all)"]
        for line in shown:
            say(f"    {line}")
    for conflict in recorded.conflicts:
        say_styled(f"  several answers to one request: {conflict}", "warn")


def status_as_text(status: int) -> str:
    """Give a status as shells tell it, with the signal that it stands for: `status 137 (SIGKILL)`."""
    from signal import Signals  # noqa: PLC0415  needed only for a command that failed

    if status > 128 and status - 128 in {int(number) for number in Signals}:  # noqa: PLR2004  as shells count
        return f"status {status} ({Signals(status - 128).name})"
    return f"status {status}"
