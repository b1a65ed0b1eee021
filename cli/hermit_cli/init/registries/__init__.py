"""Whom a project's tools will ask: each tool is asked itself, none of its hosts stands here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hermit_cli.init.finding import Registry
from hermit_cli.init.registries import apt, cargo, go, gradle, maven, npm, pip

# How each tool is asked; the argument is the environment of whoever runs `hermit init`.
TOOLS: dict[str, Callable[[Mapping[str, str]], Registry]] = {
    "apt": apt.ask,
    "pip": pip.ask,
    "uv": pip.ask_for_uv,
    "npm": npm.ask,
    "cargo": cargo.ask,
    "go": go.ask,
    "maven": maven.ask,
    "gradle": gradle.ask,
}
