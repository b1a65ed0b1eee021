"""Puts together what a run's proxy is told, from the user's settings and the project's files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from hermit_cli.project import Project
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import Settings, config_dir
from hermit_proxy.snapshot.recorded import read as read_recorded


def proxy_settings(
    project: Project, settings: Settings, *, rules: Path, network: Path, refresh: bool = False
) -> ProxySettings:
    """Give the settings of a proxy for these rules and this snapshot."""
    recorded = read_recorded(network.parent)
    clock = (float(recorded),) if recorded is not None else ()
    told = settings.proxy(rules, network, settings.pool or project.pool(), clock, refresh=refresh)
    return replace(told, settings_file=told.settings_file or str(config_dir(os.environ) / "config.yaml"))
