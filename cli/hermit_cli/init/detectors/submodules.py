"""Finds git submodules, which a checkout does not have until they are fetched."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Tree
from hermit_cli.init.urls import site

_URL = re.compile(r"^\s*url\s*=\s*(\S+)", re.MULTILINE)
_PATH = re.compile(r"^\s*path\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_RELATIVE = ("./", "../")
_UPDATE = "git submodule update --init --recursive"


def detect(tree: Tree, origin: str = "") -> Part | None:
    """Look for .gitmodules; URLs that are relative are those of the repository's origin."""
    if not tree.has(".gitmodules"):
        return None
    urls = _URL.findall(tree.text(".gitmodules"))
    resolved = [_resolved(url, origin) for url in urls]
    outside = [url for url in resolved if site(url) is None]
    notes = [f"the submodule {_plain(url)} is not reached over https, and nothing else gets out" for url in outside]
    empty = [path for path in _PATH.findall(tree.text(".gitmodules")) if tree.is_empty(path)]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        notes.append(f"the submodule {empty[0]}{more} is empty here, so what is in it was not looked at: {_UPDATE}")
    update = Do("submodules", (_UPDATE,), network=True)
    return Part(
        kind="submodules",
        title=f"git submodules (.gitmodules, {len(urls)})",
        steps=(update,),
        asked=tuple(Asked(url, ".gitmodules", narrow=True) for url in resolved if site(url)),
        notes=tuple(notes),
    )


def _resolved(url: str, origin: str) -> str:
    if url.startswith(_RELATIVE) and site(origin):
        return urljoin(f"{origin.rstrip('/')}/", url)
    return url


def _plain(url: str) -> str:
    """Leave out what may be a login."""
    return re.sub(r"//[^/@]*@", "//", url)
