"""Finds cargo's index by listening to whom cargo calls, and asks that index for the host of the crates."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hermit_cli.init.finding import Asked, Registry
from hermit_cli.init.registries.asking import fetched_json, not_installed, without
from hermit_cli.init.tree import string, table
from hermit_cli.init.urls import site

_MANIFEST = '[package]\nname = "asks"\nversion = "0.1.0"\n[dependencies]\nitoa = "1"\n'
_TIMEOUT = 20
_NEEDED = "the hosts of its index and of the crates"


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the index and the host of the crates; what this machine puts in their place cannot be told by variables."""
    home = Path(environ.get("CARGO_HOME") or Path(environ.get("HOME") or "/") / ".cargo")
    host = _called(environ)
    if host is None:
        return not_installed("cargo", _NEEDED)
    if not host:
        return Registry("cargo", unknown=(f"cargo did not say whom it asks: {_NEEDED}",), notes=_replaced(home))
    asked = [Asked(f"https://{host}/", "cargo's own registry, its index")]
    # The index says where the crates are: https://doc.rust-lang.org/cargo/reference/registry-index.html
    crates = site(string(fetched_json(f"https://{host}/config.json").get("dl")))
    if crates:
        asked.append(Asked(f"{crates.scheme}://{crates.authority}/", "cargo's own registry, the crates"))
    unknown = () if crates else (f"the host of the crates (https://{host}/config.json says it)",)
    return Registry("cargo", tuple(asked), unknown=unknown, notes=_replaced(home))


def _replaced(home: Path) -> tuple[str, ...]:
    """Say what the user's configuration puts in the place of the registry."""
    for name in ("config.toml", "config"):
        try:
            settings = tomllib.loads((home / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        source = table(settings, "source")
        mirror = string(table(source, "crates-io").get("replace-with"))
        where = site(string(table(source, mirror).get("registry")))
        if mirror:
            told = where.url if where else mirror
            return (
                f"cargo asks {told} here: put that [source] table into the project's .cargo/config.toml, add a rule",
            )
    return ()


def _called(environ: Mapping[str, str]) -> str | None:
    """Give the host that a cargo without any configuration calls first; None where there is no cargo."""
    cargo = shutil.which("cargo", path=environ.get("PATH", os.defpath))
    if cargo is None:
        return None
    with TemporaryDirectory(prefix="hermit-init-") as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        project = Path(folder) / "asks"
        (project / "src").mkdir(parents=True)
        (project / "src/lib.rs").touch()
        (project / "Cargo.toml").write_text(_MANIFEST, encoding="utf-8")
        # rustup, which may stand before cargo, has a home of its own.
        own = {
            "CARGO_HOME": f"{folder}/home",
            "CARGO_HTTP_PROXY": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "CARGO_NET_RETRY": "0",
        }
        process = subprocess.Popen(
            [cargo, "fetch"],
            cwd=project,
            env={**without(environ, "cargo_"), **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return _first_caller(listener, process)
        finally:
            process.kill()
            process.wait()


def _first_caller(listener: socket.socket, process: subprocess.Popen[bytes]) -> str:
    """Give the host of the first `CONNECT host:443` that comes in; nothing where the process ends without one."""
    listener.settimeout(0.2)
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            if process.poll() is not None:
                return ""
            continue
        with client:
            client.settimeout(1)
            words = client.recv(4096).split(b" ")
        where = site(f"https://{words[1].decode('ascii', 'replace')}/") if len(words) > 1 else None
        return where.authority if where else ""
    return ""
