"""Runs the real `hermit build` and `hermit shell` on projects of a test, over the stock image, which is made once."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hermit_workers.image.library import Library
from hermit_workers.image.maker import architecture
from hermit_workers.image.recipe import load_recipe
from tests.support.origin import Origin
from tests.support.registries import apt_registry, apt_sources

# Read before a test gives itself folders of its own. Images stay there for the next test.
_CACHE = Path(os.environ.get("HERMIT_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_TIMEOUT = 240
# Not the cell's own loopback to its tools, and so a matter for the proxy.
ADDRESS = "127.0.0.2"
# The stock image has no client but git: a request to the proxy by hand, with the answer's body on stdout.
FETCH = r"""
fetch() {
    exec 3<>/dev/tcp/127.0.0.1/3128 || return 7
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$(echo "$1" | cut -d/ -f3)" >&3
    read -r _ code _ <&3
    while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
    cat <&3
    exec 3>&-
    [ "$code" = 200 ]
}
"""


class BuildProject:
    """Is a project of a test with one server that its rules admit; user and machine are the test's own."""

    def __init__(self, root: Path, origin: Origin) -> None:
        """Write rules and settings, and take the image from where tests keep it."""
        self.root = root
        self.origin = origin
        self.network = root / ".hermit/network"
        self.out = root / ".hermit/out"
        self.network.parent.mkdir(parents=True)
        rules = f"rules:\n  - pattern: '{ADDRESS}:{origin.port}/file.*'\n    action: ALLOW\n"
        (root / ".hermit/rules.yaml").write_text(rules)
        config = Path(os.environ["XDG_CONFIG_HOME"], "hermit/config.yaml")
        config.parent.mkdir(exist_ok=True)
        config.write_text(f"upstream: {{allow: ['{ADDRESS}:{origin.port}']}}\npool: tests\n")
        own = Path(os.environ["XDG_DATA_HOME"], "hermit")
        own.mkdir(exist_ok=True)
        (own / "images").symlink_to(image_library())

    def spec(self, *steps: str | dict[str, Any], artifacts: tuple[str, ...] = (), **fields: Any) -> None:
        """Write the spec; a step that is a text is a bash script with network and `fetch`."""
        listed = [
            {"run": FETCH + step, "shell": "bash", "network": "proxy"} if isinstance(step, str) else step
            for step in steps
        ]
        spec = {
            "image": "debian-12",
            "steps": listed,
            **({"artifacts": list(artifacts)} if artifacts else {}),
            **fields,
        }
        (self.root / ".hermit/build.yaml").write_text(yaml.safe_dump(spec, sort_keys=False, width=10_000))

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"http://{ADDRESS}:{self.origin.port}{path}"

    def start(self, *arguments: str, command: str = "build", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start `hermit build` with these arguments."""
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "hermit_cli.main", command, *arguments],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def run(
        self, *arguments: str, status: int = 0, command: str = "build", prefix: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Run it to the end and give stdout and stderr."""
        process = self.start(*arguments, command=command, prefix=prefix)
        try:
            stdout, stderr = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            raise
        assert process.returncode == status, f"exit {process.returncode}\n{stdout}\n{stderr}"
        return stdout, stderr

    def json(self, *arguments: str, status: int = 0, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
        """Build with --json and give the object."""
        found: dict[str, Any] = json.loads(self.run("--json", *arguments, status=status, prefix=prefix)[0])
        return found

    def snapshot(self) -> dict[str, bytes]:
        """Give the snapshot's files."""
        return {path.name: path.read_bytes() for path in self.network.glob("*")} if self.network.exists() else {}


def image_library() -> Path:
    """Give the folder that tests keep images in, with the stock image in it; make that where it is missing."""
    data = _CACHE / "hermit-tests/data"
    data.mkdir(parents=True, exist_ok=True)
    with (data / "stock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        library = Library(data / "hermit/images")
        recipe = load_recipe("debian-12", data)
        if library.find(recipe.digest, architecture()) is None:
            config = data / "config/hermit/config.yaml"
            config.parent.mkdir(parents=True, exist_ok=True)
            allow = sorted({item for source in apt_sources() for item in apt_registry(source).allow})
            config.write_text(yaml.safe_dump({"upstream": {"allow": allow}}))
            own = {"XDG_DATA_HOME": str(data), "XDG_CONFIG_HOME": str(data / "config")}
            command = [sys.executable, "-m", "hermit_cli.main", "image", "build", "debian-12"]
            subprocess.run(command, cwd=data, env={**os.environ, **own}, check=True, timeout=_TIMEOUT)
    return data / "hermit/images"


@contextmanager
def build_project(root: Path) -> Iterator[BuildProject]:
    """Give a project and its server, which has `/file`."""
    root.mkdir(exist_ok=True)
    with Origin(address=ADDRESS) as origin:
        origin.route("/file", "content\n")
        yield BuildProject(root, origin)
