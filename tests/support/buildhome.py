"""Runs the real `hermit build` as its users do: the tests' own user, or another one, with settings of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hermit import UNPLUGGED
from tests.support.otheruser import becoming
from tests.support.registries import Registry, apt_registry, apt_sources, rules_for

# Read before a test gives itself folders of its own. Images stay there for the next test.
_CACHE = Path(os.environ.get("HERMIT_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_TIMEOUT = 280
OTHER = 23456


@dataclass(frozen=True, slots=True)
class Built:
    """Is what one `hermit build` did: its exit code, what it printed, its object, and its artifacts by name."""

    code: int
    out: str
    err: str
    found: dict[str, Any]
    artifacts: dict[str, bytes]


@dataclass(slots=True)
class BuildHome:
    """Is one user of `hermit build`, who may use these registries; `uid` is another user than the tests' own."""

    folder: Path
    registries: Sequence[Registry] = ()
    uid: int | None = None
    _builds: int = 0
    _prefix: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the user's settings; skip the test where nobody can be another user."""
        reached = [*self.registries, *(apt_registry(source) for source in apt_sources())]
        allow = sorted({item for registry in reached for item in registry.allow})
        settings = self.folder / "config/hermit/config.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text(yaml.safe_dump({"upstream": {"allow": allow}}))
        (self.folder / "runtime").mkdir(mode=0o700)
        self._data.mkdir(parents=True, exist_ok=True)
        if self.uid is not None:
            self._become(self.uid)

    def project(self, name: str, spec: str, files: Mapping[str, str] | None = None) -> Path:
        """Make a project whose rules admit the registries."""
        project = self.folder / name
        hosts = sorted({host for registry in self.registries for host in registry.hosts})
        rules = rules_for(hosts) if hosts else "rules: []\n"
        texts = {".hermit/build.yaml": spec, ".hermit/rules.yaml": rules, **(files or {})}
        for path, text in texts.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        return project

    def record(self, project: Path, **options: Any) -> Built:
        """Build and record."""
        return self._build(project, "record", [], **options)

    def hermetic(self, project: Path, **options: Any) -> Built:
        """Build hermetically where there is no network at all."""
        return self._build(project, "hermetic", UNPLUGGED, **options)

    def _build(
        self,
        project: Path,
        mode: str,
        plugged: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Built:
        """Build; `environment` takes the place of the tests' own, `env` comes on top, `prefix` stands before hermit."""
        self._builds += 1
        out = self.folder / f"out-{self._builds}"
        own = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}
        own |= {"XDG_DATA_HOME": str(self._data), "XDG_RUNTIME_DIR": str(self.folder / "runtime")}
        command = [*plugged, *self._prefix, *prefix, sys.executable, "-m", "hermit_cli.main", "build"]
        command += ["--mode", mode, "--json", "--out", str(out), str(project)]
        if self.uid is not None:
            _give(self.folder, self.uid)
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={**(os.environ if environment is None else environment), **own, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        files = sorted(path for path in out.rglob("*") if path.is_file())
        found: dict[str, Any] = json.loads(done.stdout)
        artifacts = {str(path.relative_to(out)): path.read_bytes() for path in files}
        return Built(done.returncode, done.stdout, done.stderr, found, artifacts)

    @property
    def _data(self) -> Path:
        return _CACHE / "hermit-tests/data" if self.uid is None else self.folder / "data"

    def _become(self, uid: int) -> None:
        if os.geteuid() != 0 or shutil.which("newuidmap") is None:
            pytest.skip("only root can be another user, and uidmap must be installed")
        self.folder.chmod(0o755)
        lines = {
            "passwd": f"other:x:{uid}:{uid}::{self.folder}:/bin/sh\n",
            "group": f"other:x:{uid}:\n",
            "subuid": "other:2000000000:65536\n",
            "subgid": "other:2000000000:65536\n",
        }
        self._prefix = becoming(uid, self.folder / "etc", lines)


def _give(folder: Path, uid: int) -> None:
    """Make a folder another user's, but for what belongs to the ids that they map already."""
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid == os.geteuid():
            os.chown(path, uid, uid, follow_symlinks=False)
