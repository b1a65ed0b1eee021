"""Carries what one run's proxy is started with from the supervisor into the proxy process: RUNDIR/settings.json."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Self

from hermit_proxy.errors import HermitError

DEFAULT_UPLOAD_LIMIT = 4 << 30
_FILE = "settings.json"


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Is everything that a proxy process has to know; nothing in it is secret.

    `snapshot` is the network folder (`.hermit/network`). `store` is what `open_store` takes and `pool` the name in
    it; `observers` counts the independent recordings that an entry needs. `clock` lists the times, in seconds since
    the epoch, that the run's certificates have to be valid at. `upstream_allow` and `upstream_trust` (a PEM bundle,
    None for the system's), `credentials` (the bindings' file) and `refresh` (ask upstream for what the snapshot has,
    too) concern recording alone. `upload_limit` is in bytes. `settings_file` is where the user's settings are or would
    be, for hints that name it.
    """

    rules: Path
    snapshot: Path
    store: str
    pool: str
    clock: tuple[float, ...] = ()
    observers: int = 1
    upstream_allow: tuple[str, ...] = ()
    upstream_trust: Path | None = None
    credentials: Path | None = None
    upload_limit: int = DEFAULT_UPLOAD_LIMIT
    refresh: bool = False
    settings_file: str | None = None

    def write(self, rundir: Path) -> None:
        """Write the file, readable by its owner alone; it must not be there yet."""
        fd = os.open(rundir / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, default=str, indent=1)

    @classmethod
    def read(cls, rundir: Path) -> Self:
        """Read the file; raise HermitError if it is not what `write` wrote."""
        path = rundir / _FILE
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            _check(fields)
            for name in ("rules", "snapshot", "upstream_trust", "credentials"):
                if fields.get(name) is not None:
                    fields[name] = Path(fields[name])
            for name in ("clock", "upstream_allow"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise HermitError(f"{path}: not the settings of a proxy: {error}") from error


_PATH_OR_NONE = (str, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    "rules": (str,),
    "snapshot": (str,),
    "store": (str,),
    "pool": (str,),
    "clock": (list,),
    "observers": (int,),
    "upstream_allow": (list,),
    "upstream_trust": _PATH_OR_NONE,
    "credentials": _PATH_OR_NONE,
    "upload_limit": (int,),
    "refresh": (bool,),
    "settings_file": _PATH_OR_NONE,
}


def _check(fields: dict[str, Any]) -> None:
    unknown = set(fields) - {field.name for field in dataclass_fields(ProxySettings)}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in fields.items():
        if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and _TYPES[name] != (bool,)):
            raise TypeError(f"{name} is {value!r}")
