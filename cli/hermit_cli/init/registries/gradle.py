"""Says what a person has to fill in for Gradle, which names none of its hosts without running a build."""

from __future__ import annotations

from collections.abc import Mapping

from hermit_cli.init.finding import Registry


def ask(_environ: Mapping[str, str]) -> Registry:
    """Give what Gradle asks besides Maven's central repository."""
    return Registry("gradle", unknown=("Gradle's plugin portal, if the build uses plugins of it",))
