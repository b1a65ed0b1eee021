"""The log of a run, one JSON object a line: what reports, snapshots, HAR files and provenance are made from."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from pathlib import Path
from typing import IO, Any, Self

from hermit_proxy.errors import HermitError
from hermit_proxy.snapshot.entry import Entry


class Outcome(Enum):
    """Is how a request ended; every request ends as exactly one of these."""

    REPLAYED = "replayed"
    RECORDED = "recorded"
    PASSED = "passed"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """Is one request as the log has it.

    `time` is the start in seconds since the epoch, `duration` seconds until the last byte of the answer; `status`
    is what the client was told; `size` counts body bytes sent to the client; `sha256` is the digest of the whole
    answer where it is known. `reason` and `hint` are there for refusals and failures: the
    hint is the rule or command that would help. `entry` is the recorded answer, `entry_id` the identity of the
    replayed or recorded one.
    `broken` marks a refusal that breaks hermeticity (not an explicit REJECT), and a failure of the store to replay.
    `note` is what a reader should know of an answer that was given all the same (an unasked-for difference, a
    stripped signature).
    """

    time: float
    method: str
    url: str
    outcome: Outcome
    status: int
    duration: float = 0.0
    size: int = 0
    sha256: str | None = None
    step: str | None = None
    rule: str | None = None
    action: str | None = None
    reason: str | None = None
    hint: str | None = None
    broken: bool = False
    note: str | None = None
    body: str | None = None
    entry_id: str | None = None
    entry: Entry | None = None

    def to_json(self) -> str:
        """Give the line, without the fields that say nothing."""
        return _ENCODE(self.fields())

    def fields(self) -> dict[str, Any]:
        """Give the line's fields, without those that say nothing."""
        # By identity: a status or time of 0 equals False and must stay. Not asdict: it copies deeply, each time.
        fields = {n: v for n in _EVENT_FIELDS if (v := getattr(self, n)) is not None and v is not False}
        fields["outcome"] = self.outcome.value
        if self.entry is not None:
            fields["entry"] = {n: v for n in _ENTRY_FIELDS if (v := getattr(self.entry, n)) not in (None, ())}
        return fields

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line that to_json wrote; raise ValueError for anything else."""
        try:
            fields: dict[str, Any] = _JSON.decode(line)
            fields["outcome"] = Outcome(fields["outcome"])
            if "entry" in fields:
                entry = fields["entry"]
                for name in ("vary", "headers"):
                    entry[name] = tuple((str(key), str(value)) for key, value in entry.get(name, ()))
                _check_types(entry, _ENTRY_TYPES)
                fields["entry"] = Entry(**entry)
            _check_types(fields, _EVENT_TYPES)
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a line of a request log: {line[:80]!r}") from error


class RepeatedEvent:
    """Is what is logged each time that one request is answered as before: only the times of its lines differ."""

    def __init__(self, event: RequestEvent) -> None:
        """Take the first of them; its own times do not count."""
        self.event = event
        fields = event.fields()
        del fields["time"], fields["duration"]
        self._rest = _ENCODE(fields)[1:]

    def to_json(self, time: float, duration: float) -> str:
        """Give the line of one of them, as RequestEvent.to_json gives it but for the order."""
        return f'{{"time":{time!r},"duration":{duration!r},{self._rest}'


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


_ENCODE = json.JSONEncoder(separators=(",", ":")).encode  # dumps would make an encoder for each line
_JSON = json.JSONDecoder(parse_constant=_refuse)  # Python's own takes NaN and Infinity
_EVENT_FIELDS = tuple(field.name for field in dataclass_fields(RequestEvent))
_ENTRY_FIELDS = tuple(field.name for field in dataclass_fields(Entry))
# The end of the year 9999, seconds: later times have no date.
_LATEST = 253_402_300_799
_NUMBERS = {"time": (int, float), "duration": (int, float), "status": (int,), "size": (int,)}
_EVENT_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_EVENT_FIELDS, (str,)),
    **_NUMBERS,
    "outcome": (Outcome,),
    "broken": (bool,),
    "entry": (Entry,),
}
_ENTRY_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_ENTRY_FIELDS, (str,)),
    "status": (int,),
    "size": (int,),
    "vary": (tuple,),
    "headers": (tuple,),
}


def _check_types(fields: dict[str, Any], types: dict[str, tuple[type, ...]]) -> None:
    for name, value in fields.items():
        if not isinstance(value, types[name]) or (isinstance(value, bool) and types[name] != (bool,)):
            raise TypeError(f"{name} is {value!r}")
        if name in {"time", "duration"} and not (isinstance(value, int | float) and 0 <= value <= _LATEST):
            raise ValueError(f"{name} is {value!r}")  # 1e999 is a number, and infinite


class RequestLog:
    """Appends events to a file that only the proxy writes; each line is whole or absent."""

    def __init__(self, path: Path) -> None:
        """Open the file; what is there stays."""
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def write(self, event: RequestEvent) -> None:
        """Append an event's line; raise OSError as `append`."""
        self.append(event.to_json())

    def append(self, text: str) -> None:
        """Append one line in a single system call, so that a killed proxy leaves no half of one behind a whole one.

        Raise OSError where the disk is full; the part that was written is taken back: a later line stands alone.
        """
        line = text.encode() + b"\n"
        written = self._file.write(line)
        if written != len(line):
            self._file.truncate(self._file.tell() - written)
            raise OSError(errno.ENOSPC, "no space for the whole line", str(self._file.name))

    def sync(self) -> None:
        """Bring everything to the disk (fsync)."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; closing twice is safe."""
        self._file.close()


def read_log(path: Path) -> Iterator[RequestEvent]:
    """Read a log; an unfinished last line (disk full, killed) ends it, anything else that is wrong is an error."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                event = RequestEvent.from_json(line.decode())
            except ValueError as error:
                raise HermitError(f"{path}:{number}: {error}") from error
            yield event
