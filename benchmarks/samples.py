"""Makes the sample projects of the build benchmark, and a user of their own with settings, store and image."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.upstream.guard import own_addresses, parse_allow, refusal
from hermit_workers.image.library import Library
from hermit_workers.sandbox.namespaces.mapped import remove_tree

HERMIT = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "hermit"
_RECIPE = "base: debian-12\npackages: [build-essential, cargo-web, nodejs, npm, python3-dev, python3-venv]\n"
_RUN = "  - run: {script}\n    network: proxy\n"
# What is built: the project's files, and the steps as YAML. `hermit init` says which hosts they need.
SAMPLES = {
    "pip": (
        {"pyproject.toml": '[project]\nname = "sample"\nversion = "1"\n'},
        _RUN.format(script="python3 -m venv ~/v && ~/v/bin/pip install flask requests"),
    ),
    "npm": (
        {"package.json": '{"name": "sample", "version": "1.0.0", "dependencies": {"express": "4.21.2"}}\n'},
        _RUN.format(script="npm install --loglevel=error"),
    ),
    "cargo": (
        {
            "Cargo.toml": '[package]\nname = "sample"\nversion = "1.0.0"\n[dependencies]\nhex = "0.4"\nryu = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", hex::encode("hello")); }\n',
        },
        _RUN.format(script="cargo build"),
    ),
    "apt": ({"Makefile": "all:\n\techo hello\n"}, "  - apt: [debhelper, bison]\n"),
}


@dataclass(frozen=True)
class Place:
    """Is the folder of one benchmark: home, settings, store, image and projects lie in it."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Give an environment with nothing of the user's but PATH."""
        trust = {name: os.environ[name] for name in ("SSL_CERT_DIR", "SSL_CERT_FILE") if name in os.environ}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **trust} | {
            f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")
        }

    def project(self, name: str) -> Path:
        """Make a sample, with the rules that `hermit init` writes for it and steps of our own."""
        files, steps = SAMPLES[name]
        project = self.folder / "projects" / name
        if project.exists():
            return project
        for path, text in files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        # With the user's own environment: which registries to use is what the machine's tools are set up for.
        subprocess.run([HERMIT, "init", "--json", project], check=True, capture_output=True)
        (project / ".hermit/image.yaml").write_text(_RECIPE)
        (project / ".hermit/build.yaml").write_text(f"image: .hermit/image.yaml\nsteps:\n{steps}")
        self._allow((project / ".hermit/rules.yaml").read_text())
        return project

    def image(self, project: Path) -> Path:
        """Make the image, once for all samples, and give its tree."""
        command = [HERMIT, "image", "build", "--json", ".hermit/image.yaml"]
        done = subprocess.run(command, cwd=project, env=self.environment(), check=True, capture_output=True, text=True)
        found = Library.of(self.environment()).get(json.loads(done.stdout)["digest"])
        if found is None:
            raise RuntimeError("the image that was made is not there")
        return found.root

    def forget(self) -> None:
        """Empty the store: what a recording has is no longer there."""
        shutil.rmtree(self.folder / "data/hermit/store", ignore_errors=True)

    def leave(self) -> None:
        """Remove what belongs to mapped ids."""
        asyncio.run(remove_tree(self.folder / "data"))

    def _allow(self, rules: str) -> None:
        """Let the user's settings open what of the rules' hosts has an address that is not public."""
        config = self.folder / "config/hermit/config.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        opened = set(re.findall(r'- "(.*)"', config.read_text())) if config.exists() else set()
        for authority in re.findall(r"pattern: ['\"]?([^/'\"]+)/", rules):
            opened |= _closed(authority.replace("\\", ""))
        if opened:
            config.write_text("upstream:\n  allow:\n" + "".join(f'    - "{one}"\n' for one in sorted(opened)))


def _closed(authority: str) -> set[str]:
    host, _, port = authority.partition(":")
    number = int(port or 443)
    own = own_addresses()
    found = set()
    try:
        infos = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
    except socket.gaierror:  # a tool's default that this machine does not reach
        return found
    for info in infos:
        address = ipaddress.ip_address(info[4][0])
        if refusal(address, parse_allow(()), own, host=host, port=number):
            by_name = refusal(address, parse_allow((host,)), own, host=host, port=number) is None
            found.add(host if by_name else str(address))
    return found
