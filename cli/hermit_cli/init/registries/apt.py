"""Finds the archives that an image's apt asks: those that this machine's apt gets Debian 12 from."""

from __future__ import annotations

from collections.abc import Mapping

from hermit_cli.init.finding import Asked, Registry
from hermit_proxy.errors import HermitError
from hermit_workers.image.sources import find_sources

RELEASE = "bookworm"


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the archives."""
    try:
        suites = find_sources(RELEASE, environ).suites
    except HermitError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Registry("apt", unknown=(f"{error}{hint}: the host of the Debian archive",))
    uris = dict.fromkeys(suite.uri for suite in suites)
    return Registry("apt", tuple(Asked(uri, "apt, as this machine is set up", narrow=True) for uri in uris))
