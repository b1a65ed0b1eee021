"""Puts together what proxies are told."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.project import Project
from hermit_cli.proxying import proxy_settings
from hermit_proxy.settings import Settings
from hermit_proxy.snapshot import recorded


def test_the_projects_files_and_the_users_settings_come_together(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.network.mkdir(parents=True)
    settings = Settings(store="/srv/store", observers=2, upstream_allow=("example.org",), upload_limit=7)
    found = proxy_settings(project, settings, rules=project.rules, network=project.network, refresh=True)
    assert (found.rules, found.snapshot, found.pool) == (project.rules, project.network, project.pool())
    assert (found.store, found.observers, found.upload_limit) == ("/srv/store", 2, 7)
    assert (found.upstream_allow, found.refresh, found.clock) == (("example.org",), True, ())


def test_the_clock_is_the_recordings_and_a_pool_of_the_settings_wins(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.network.mkdir(parents=True)
    (project.hermit_dir / recorded.FILE_NAME).write_bytes(recorded.dump(1_600_000_000))
    found = proxy_settings(project, Settings(pool="shared"), rules=project.rules, network=project.network)
    assert (found.clock, found.pool) == ((1_600_000_000.0,), "shared")
