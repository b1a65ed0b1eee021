"""Asks Go for its module proxy and its checksum database."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hermit_cli.init.finding import Asked, Registry
from hermit_cli.init.registries.asking import not_installed, said, without
from hermit_cli.init.urls import site

_NAMES = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE")


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the module proxies and the checksum database; a module that no proxy has comes from its own host."""
    mine = _env(environ)
    standard = _env({**without(environ, "go"), "GOENV": "off"})
    if mine is None or standard is None:
        return not_installed("go", "the hosts of its module proxy and checksum database (go env GOPROXY GOSUMDB)")
    sites = [where for url in re.split("[,|]", mine["GOPROXY"]) if (where := site(url))]
    asked = [Asked(where.url, "Go's module proxy", narrow=True) for where in sites]
    unknown = () if sites else ("Go is set up without a module proxy: the hosts of the modules' own repositories",)
    if database := _database(mine["GOSUMDB"]):
        asked.append(Asked(database, "Go's checksum database"))
    changed = {name: value for name, value in mine.items() if value != standard[name]}
    notes = [f"go has {name}={_plain(value)} here; the spec tells the cell" for name, value in changed.items()]
    if any(where.login for where in sites):
        notes.append("Go's module proxy wants a login: bind a credential to it (docs/rules.md)")
    return Registry("go", tuple(asked), {name: _plain(value) for name, value in changed.items()}, unknown, tuple(notes))


def _env(environ: Mapping[str, str]) -> dict[str, str] | None:
    text = said(["go", "env", *_NAMES], environ)
    lines = [] if text is None else text.split("\n")
    # What is empty at the end was stripped.
    return dict(zip(_NAMES, [*lines, *[""] * len(_NAMES)], strict=False)) if text is not None else None


def _database(said_so: str) -> str:
    """Give the database's URL: the second word, or else the name before the key is its host."""
    name, _, url = said_so.partition(" ")
    if name in {"", "off"}:
        return ""
    return url.strip() if site(url) else f"https://{name.partition('+')[0]}/"


def _plain(value: str) -> str:
    """Leave out logins."""
    return re.sub(r"//[^/@,|]*@", "//", value)
