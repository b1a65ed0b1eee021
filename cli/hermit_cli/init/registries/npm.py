"""Asks npm for its registry, as it is set up here and as it would be without that."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hermit_cli.init.finding import Registry
from hermit_cli.init.registries.asking import not_installed, said, set_up, without
from hermit_cli.init.urls import site

_COMMAND = ["npm", "config", "get", "registry"]
_LISTED = re.compile(r'^registry = "(.*)"', re.MULTILINE)
# npm takes one file for both kinds of configuration for a mistake, and a file that is not there for an empty one.
_UNSET = {"npm_config_userconfig": "/nonexistent/user", "npm_config_globalconfig": "/nonexistent/global"}


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the registry; npm asks the same host for tarballs."""
    mine = said(_COMMAND, environ) or _listed(environ)
    standard = said(_COMMAND, {**without(environ, "npm_config_"), **_UNSET})
    if not mine or not standard:
        return not_installed("npm", "the host of its registry")
    asked, environment, notes = set_up("npm", "npm_config_registry", mine, standard)
    # npm takes URLs of its own registry in a lock file for those of the one that it is set up for.
    where = site(standard)
    replaced = where.authority if where and asked.url != standard else ""
    return Registry("npm", (asked,), environment, notes=notes, replaced=replaced)


def _listed(environ: Mapping[str, str]) -> str:
    """Give a registry with a login in its URL: npm gives that only in its list, the login blotted out."""
    found = _LISTED.search(said(["npm", "config", "ls"], environ) or "")
    return found.group(1) if found else ""
