"""Makes a project's folder: what was fetched, as it is, with a spec, rules and one commit of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml

from hermit_cli.init.urls import site
from hermit_proxy.errors import HermitError
from tests.corpus.fetch import FetchError, fetch, registry, unpack
from tests.corpus.project import IMAGES, Project
from tests.support.gitserver import git

# Stands in a project's files where the URL of its own server will be.
SERVER = "@SERVER@"
_LOCK_TIMEOUT = 300
# Some leave the URLs out of lock files, by npm's settings; a lock file as it is found in projects has them.
_NPM_LOCK = ["npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved=false"]
_NPM_LOCK += ["--ignore-scripts", "--no-audit", "--no-fund"]


def make(project: Project, folder: Path, cache_folder: Path, server: str) -> None:
    """Make the folder; `server` is the URL of what is served for it."""
    for one in project.fetch:
        if one.served_as or one.repository:
            continue
        archive = fetch(one, cache_folder)
        if one.saved_as:
            (folder / one.saved_as).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive, folder / one.saved_as)
        else:
            unpack(one, archive, folder / one.to)
    folder.mkdir(parents=True, exist_ok=True)
    _lay_over(project.folder / "files", folder, server)
    if project.lock:
        _make_lock(folder)
    own = folder / ".hermit"
    own.mkdir()
    shutil.copyfile(project.folder / "build.yaml", own / "build.yaml")
    if project.image:
        shutil.copyfile(IMAGES / f"{project.image}.yaml", own / "image.yaml")
    (own / "rules.yaml").write_text(rules(project.asks, server))
    if environment := _environment(project.asks):
        with (own / "build.yaml").open("a") as spec:
            spec.write(yaml.safe_dump({"environment": environment}))
    _commit(project, folder, server)


def rules(asks: Iterable[str], server: str) -> str:
    """Give rules that admit the registries of these tools, and the project's own server."""
    sites = [where for tool in asks for asked in registry(tool).asked if (where := site(asked.url))]
    patterns = [where.pattern(narrow=False) for where in sites]
    patterns += [where.pattern(narrow=False) for where in [site(server)] if where]
    return yaml.safe_dump({"rules": [{"pattern": one, "action": "ALLOW"} for one in dict.fromkeys(patterns)]})


def hosts(asks: Iterable[str]) -> tuple[str, ...]:
    """Name the hosts, with their ports, of the registries of these tools."""
    sites = [where for tool in asks for asked in registry(tool).asked if (where := site(asked.url))]
    return tuple(dict.fromkeys(where.authority for where in sites))


def _environment(asks: Iterable[str]) -> dict[str, str]:
    """Give what makes the tools in the cell ask the registries that this machine is set up for."""
    return {name: value for tool in asks for name, value in registry(tool).environment.items()}


def _lay_over(files: Path, folder: Path, server: str) -> None:
    for path in sorted(files.rglob("*")):
        target = folder / path.relative_to(files)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text().replace(SERVER, server))
        shutil.copymode(path, target)


def _make_lock(folder: Path) -> None:
    try:
        done = subprocess.run(
            _NPM_LOCK, cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=_LOCK_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"npm cannot make a lock file: {error}", hint="script/setup installs npm") from error
    if done.returncode:
        raise FetchError(f"npm cannot make a lock file: {done.stderr[-500:]}")


def _commit(project: Project, folder: Path, server: str) -> None:
    try:
        git("init", "--quiet", "--initial-branch", "main", cwd=folder)
        for path, repository in (project.submodules or {}).items():
            git("submodule", "--quiet", "add", f"{server}/git/{repository}.git", path, cwd=folder)
        git("add", "--all", "--force", cwd=folder)
        git("commit", "--quiet", "--message", project.version, cwd=folder)
    except subprocess.CalledProcessError as error:
        raise HermitError(f"{project.name}: git {error.cmd[1]} failed: {error.stderr[-500:]}") from error
