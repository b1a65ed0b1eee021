"""Reads an operator's whole folder at once, and keeps the last good one where a running master finds mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_master.names import RepositoryId
from hermit_master.settings.master import Settings, read_master
from hermit_master.settings.repository import Repository, read_repository
from hermit_proxy.errors import InputError, Mistake

_MAX_MISTAKES = 200


@dataclass(frozen=True, slots=True)
class Configuration:
    """Is what a master works by: its own settings and its repositories by their names."""

    settings: Settings
    repositories: Mapping[RepositoryId, Repository]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Is what a running master goes on with; where there are mistakes, that is what it had."""

    configuration: Configuration
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """Is what a new configuration changes, by the names of repositories; `settings` tells of the master's own."""

    added: frozenset[RepositoryId]
    changed: frozenset[RepositoryId]
    removed: frozenset[RepositoryId]
    settings: bool


def load_configuration(path: Path) -> Configuration:
    """Read `hermit.yaml` and what it names; raise InputError with the mistakes of all files."""
    settings, reader = read_master(path)
    mistakes = list(reader.mistakes)
    found: dict[RepositoryId, Repository] = {}
    homes: dict[str, Repository] = {}
    for file in _files(settings.repositories, mistakes):
        try:
            repository = read_repository(file, settings.machine.cell)
        except InputError as error:
            mistakes += error.mistakes
            continue
        found[repository.id] = repository
        first = homes.setdefault(repository.home, repository)
        if first is not repository:
            mistakes.append(Mistake(file, None, f"{repository.home} is a repository already, by {first.source.name}"))
    if mistakes:
        raise InputError(mistakes[:_MAX_MISTAKES])
    return Configuration(settings, found)


def _files(folder: Path, mistakes: list[Mistake]) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    mistakes += [Mistake(path, None, "is not read; name it .yaml") for path in files if path.suffix == ".yml"]
    return [path for path in files if path.suffix == ".yaml"]


def reload_configuration(old: Configuration, path: Path) -> Reloaded:
    """Read everything anew; with any mistake nothing is taken over, and the last good configuration stays."""
    try:
        return Reloaded(load_configuration(path))
    except InputError as error:
        return Reloaded(old, error.mistakes)


def changes(old: Configuration, new: Configuration) -> Changes:
    """Compare two configurations; a secret whose file has another content is a change."""
    before, after = old.repositories, new.repositories
    return Changes(
        added=frozenset(after.keys() - before.keys()),
        changed=frozenset(name for name in before.keys() & after.keys() if before[name] != after[name]),
        removed=frozenset(before.keys() - after.keys()),
        settings=old.settings != new.settings,
    )
