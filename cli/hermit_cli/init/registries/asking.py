"""Asks this machine's tools what they are set up for, away from the project: nothing of it can have a say or run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from hermit_cli.init.finding import Asked, Registry
from hermit_cli.init.urls import site

_TIMEOUT = 20
_FETCH_TIMEOUT = 5
_LIMIT_BYTES = 4 << 20


def said(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Give what a tool prints, run in an empty folder; None where it is not installed, fails or does not end."""
    path = shutil.which(command[0], path=environ.get("PATH", os.defpath))
    if path is None:
        return None
    with TemporaryDirectory(prefix="hermit-init-") as folder:
        try:
            done = subprocess.run(
                [path, *command[1:]],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    return done.stdout.strip() if done.returncode == 0 else None


def fetched(url: str) -> str | None:
    """Give a small answer of a registry; None where it is out of reach, which is no mistake here."""
    where = site(url)
    if where is None or where.login:
        return None
    request = urllib.request.Request(url, headers={"user-agent": "hermit-init"})  # noqa: S310  HTTP or HTTPS, see site
    try:
        with urllib.request.urlopen(request, timeout=_FETCH_TIMEOUT) as answer:  # noqa: S310  see above
            data: bytes = answer.read(_LIMIT_BYTES)
    except (OSError, ValueError):
        return None
    return data.decode("utf-8", "replace")


def fetched_json(url: str) -> dict[str, object]:
    """Give a registry's answer as a JSON object; an empty one where there is none."""
    try:
        found = json.loads(fetched(url) or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def without(environ: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """Give an environment without the variables that set a tool up, whatever their case."""
    return {name: value for name, value in environ.items() if not name.lower().startswith(prefixes)}


def not_installed(tool: str, needed: str) -> Registry:
    """Say what a person has to fill in where a tool cannot be asked."""
    return Registry(tool, unknown=(f"{tool} is not installed here, so it could not be asked: {needed}",))


def set_up(tool: str, variable: str, mine: str, standard: str) -> tuple[Asked, dict[str, str], tuple[str, ...]]:
    """Give whom a tool in a cell will ask, and the variable that makes it the one of this machine.

    A URL with a login is never handed on: the proxy adds credentials, the cell does not have them.
    """
    where = site(mine)
    if where is None or mine.rstrip("/") == standard.rstrip("/"):
        return Asked(standard, f"{tool}'s own registry"), {}, ()
    asked = Asked(where.url, f"{tool}'s registry, as this machine is set up")
    if not where.login:
        return asked, {variable: where.url}, (f"{tool} is set up for {where.url} here; {variable} tells the cell",)
    told = f"{tool} logs in at {where.url} here; bind a credential to it, and name it in the rule (docs/rules.md)"
    return asked, {variable: where.url}, (told,)
