"""Turns the setting `store` into a store; the one place that knows which kinds there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hermit_proxy.errors import UsageError
from hermit_proxy.store.body import Store
from hermit_proxy.store.files import FileStore

_REDIS_SCHEMES = {"redis", "rediss", "unix"}


def open_store(url: str, *, environ: Mapping[str, str]) -> Store:
    """Open the store that a URL names, making it where that is a folder.

    An absolute path, `~/path` or `file:///path` is a folder; an empty URL is `$XDG_DATA_HOME/hermit/store`.
    `redis://host[:port][/db]`, `rediss://...` and `unix:///socket[?db=n]` are a Redis server behind a folder of
    verified copies, `$XDG_CACHE_HOME/hermit/bodies`; `?password_file=/path` names the file that holds its password.
    Raise UsageError for anything else, StoreGoneError if the server is not there.
    """
    parts = urlsplit(url)
    if parts.scheme in _REDIS_SCHEMES:
        # Redis' client costs a tenth of a second to import, which a store of files should not pay.
        from hermit_proxy.store.layered import LayeredStore  # noqa: PLC0415  see above
        from hermit_proxy.store.redis import RedisBodies  # noqa: PLC0415  see above

        return LayeredStore(FileStore(_home(environ, "XDG_CACHE_HOME", ".cache") / "bodies"), RedisBodies.connect(url))
    if not url:
        return FileStore(_home(environ, "XDG_DATA_HOME", ".local/share") / "store")
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and not parts.query:
        return FileStore(Path(unquote(parts.path)))
    if url == "~" or url.startswith("~/"):
        return FileStore(Path(environ.get("HOME", "~")).expanduser() / url[2:])
    if os.path.isabs(url):
        return FileStore(Path(url))
    # Someone may have misspelt redis://:password@host.
    shown = url.rpartition("@")[2] if "@" in url else url
    raise UsageError(
        f"not a store: {shown!r}",
        hint="an absolute path, file:///path, redis://host:port/db, rediss://..., unix:///socket",
    )


def _home(environ: Mapping[str, str], variable: str, default: str) -> Path:
    base = environ.get(variable)
    home = Path(base) if base and os.path.isabs(base) else Path(environ.get("HOME", "~")).expanduser() / default
    return home / "hermit"
