"""Makes the sample projects of the build benchmark, and a user of their own with settings, store and image."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from hermit_proxy.upstream.guard import own_addresses, parse_allow, refusal
from hermit_workers.image.library import Library
from hermit_workers.image.lock import read_lock
from hermit_workers.sandbox.namespaces.mapped import remove_tree

HERMIT = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "hermit"
PROJECTS = Path(__file__).resolve().parent / "projects"
# In the order in which they are told: the fixed cost first, then as large as they are.
NAMES = ("nothing", "cargo", "npm", "apt", "pip", "go", "maven", "cargo-large")
# Half a minute each: they get fewer turns.
LONG = frozenset({"cargo-large"})


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
        """Make a sample: its files, its steps, and the rules that `hermit init` writes for it."""
        project, own = self.folder / "projects" / name, PROJECTS / name
        if project.exists():
            return project
        hermit = project / ".hermit"
        spec = yaml.safe_load((own / "build.yaml").read_text())
        if (own / "files").is_dir():
            shutil.copytree(own / "files", project)
            # With the user's own environment: which registries to use is what the machine's tools are set up for.
            subprocess.run([HERMIT, "init", "--json", project], check=True, capture_output=True)
            self._allow((hermit / "rules.yaml").read_text())
            if told := yaml.safe_load((hermit / "build.yaml").read_text()).get("environment"):
                spec["environment"] = told
        hermit.mkdir(parents=True, exist_ok=True)
        (hermit / "build.yaml").write_text(yaml.safe_dump(spec))
        shutil.copyfile(PROJECTS / "image.yaml", hermit / "image.yaml")
        return project

    def image(self, project: Path) -> Path:
        """Pin the image for a project, and give its tree; it is made the first time, for all samples."""
        maker = self.project("apt")  # With it the archives are open that the image is made from.
        lock = maker / ".hermit/image.lock"
        if not lock.exists():
            command = [str(HERMIT), "image", "build", "--json"]
            done = subprocess.run(
                command, cwd=maker, env=self.environment(), check=False, capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"the image was not made:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        pinned = read_lock(lock)
        found = pinned and Library.of(self.environment()).get(pinned.digest)
        if not found:
            raise RuntimeError("the image that was made is not there")
        if project != maker:
            shutil.copyfile(lock, project / ".hermit/image.lock")
        return found.root

    def registries(self) -> list[tuple[str, int]]:
        """Give host and port of all that the rules of the samples made so far name."""
        rules = [file.read_text() for file in self.folder.glob("projects/*/.hermit/rules.yaml")]
        return sorted({place for text in rules for place in _places(text)})

    def forget(self, project: Path) -> None:
        """Remove a project's snapshot and empty the store, so that a recording has nothing to begin with."""
        shutil.rmtree(project / ".hermit/network", ignore_errors=True)
        shutil.rmtree(self.folder / "data/hermit/store", ignore_errors=True)

    def leave(self) -> None:
        """Remove what belongs to mapped ids."""
        asyncio.run(remove_tree(self.folder / "data"))

    def _allow(self, rules: str) -> None:
        """Let the user's settings open what of the rules' hosts has an address that is not public."""
        config = self.folder / "config/hermit/config.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        opened = set(re.findall(r'- "(.*)"', config.read_text())) if config.exists() else set()
        for host, port in _places(rules):
            opened |= _closed(host, port)
        if opened:
            config.write_text("upstream:\n  allow:\n" + "".join(f'    - "{one}"\n' for one in sorted(opened)))


def _places(rules: str) -> set[tuple[str, int]]:
    """Give host and port of each pattern in a file of rules."""
    found = set()
    for authority in re.findall(r"pattern: ['\"]?([^/'\"]+)/", rules):
        host, _, port = authority.replace("\\", "").partition(":")
        found.add((host, int(port or 443)))
    return found


def _closed(host: str, port: int) -> set[str]:
    """Give what opens a place whose addresses are not public, as names or addresses."""
    own = own_addresses()
    found: set[str] = set()
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:  # a tool's default that this machine does not reach
        return found
    for info in infos:
        address = ipaddress.ip_address(info[4][0])
        if refusal(address, parse_allow(()), own, host=host, port=port):
            by_name = refusal(address, parse_allow((host,)), own, host=host, port=port) is None
            found.add(host if by_name else str(address))
    return found
