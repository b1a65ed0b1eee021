"""The recorder's own note that a request got an answer: what makes a snapshot's claim count (DESIGN.md, Snapshot)."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

_ID = re.compile(r"[0-9a-f]{64}")
_OBSERVER = re.compile(r"[0-9a-f]{32}")
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Observation:
    """Says that `observer` saw the answer that the entry with this id describes.

    `entry_id` is Entry.id and covers the whole entry; `sha256` is the body's digest, None where none is kept.
    `observer` is the random id of one installation (see observer_id), `run` names the run and `time` is in seconds
    since the epoch.
    """

    entry_id: str
    sha256: str | None
    observer: str
    run: str
    time: float

    def __post_init__(self) -> None:
        """Refuse with ValueError what could not be written and read back."""
        if not _ID.fullmatch(self.entry_id) or (self.sha256 is not None and not _ID.fullmatch(self.sha256)):
            raise ValueError(f"not digests: entry {self.entry_id[:80]!r}, body {self.sha256!r}")
        if not 0 < len(self.observer) <= _MAX_NAME or len(self.run) > _MAX_NAME:
            raise ValueError(f"observer and run have at most {_MAX_NAME} characters: {self.observer[:80]!r}")

    def to_json(self) -> str:
        """Give one line."""
        fields = {"entry": self.entry_id, "sha256": self.sha256, "observer": self.observer, "run": self.run}
        return json.dumps({**fields, "time": self.time}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Read a line that to_json wrote; raise ValueError for anything else."""
        try:
            fields: Any = json.loads(line)
            sha256 = fields["sha256"]
            return cls(
                entry_id=str(fields["entry"]),
                sha256=None if sha256 is None else str(sha256),
                observer=str(fields["observer"]),
                run=str(fields["run"]),
                time=float(fields["time"]),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not an observation: {line[:80]!r}") from error


def read_observations(lines: Iterable[bytes], entry_id: str) -> tuple[Observation, ...]:
    """Read the observations of one entry, the latest by each observer, oldest first.

    A line that is damaged, or that speaks of another entry, vouches for nothing and is passed over.
    """
    latest: dict[str, Observation] = {}
    for line in lines:
        try:
            observation = Observation.from_json(line)
        except ValueError:
            continue
        known = latest.get(observation.observer)
        if observation.entry_id == entry_id and (known is None or known.time <= observation.time):
            latest[observation.observer] = observation
    return tuple(sorted(latest.values(), key=lambda o: (o.time, o.observer)))


def escape_pool(pool: str) -> str:
    """Give the name of a pool as a file or key is named after it; raise ValueError for one that is empty or too long.

    Only letters, digits and `_-.~` stay as they are and no name starts with a dot; urllib's unquote reads it back.
    """
    name = quote(pool, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if not 0 < len(name) <= _MAX_NAME:
        raise ValueError(f"a pool's name has 1 to {_MAX_NAME} characters when it is escaped: {pool[:80]!r}")
    return name


def observer_id(environ: Mapping[str, str]) -> str:
    """Give the random id of this installation, made at the first call and kept in the user's state folder.

    It tells recordings of different machines apart where a setting wants two; it is no secret and proves nothing.
    """
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "~"), ".local", "state")
    path = Path(base).expanduser() / "hermit" / "observer"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f"observer.{secrets.token_hex(8)}")
    for _ in range(2):
        try:
            known = path.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            known = ""
        if _OBSERVER.fullmatch(known):
            return known
        made.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        try:
            if known:
                made.replace(path)
            else:
                os.link(made, path)  # Two first calls at once agree on one id: only one of them links.
        except FileExistsError:
            pass
        finally:
            made.unlink(missing_ok=True)
    return path.read_text(encoding="ascii").strip()
