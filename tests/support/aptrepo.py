"""Builds a signed Debian archive with real packages, whose content a test may change between two recordings."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from tests.support.origin import Origin

_FOLDER = "dists/stable"
_INDEX = "main/binary-all/Packages"


@dataclass
class AptRepository:
    """Is an archive with one suite `stable`, component `main`, under `/apt/` of an origin.

    `by_hash` publishes Acquire-By-Hash and keeps what it published before; `clearsigned=False` leaves out
    InRelease, so that apt has to find Release and Release.gpg. `valid_until` is seconds since the epoch.
    """

    origin: Origin
    folder: Path
    by_hash: bool = True
    clearsigned: bool = True
    valid_until: int | None = None
    _packages: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the key that signs."""
        # A socket's path is short; gpg's agent makes one in its home.
        self._home = Path(tempfile.mkdtemp(prefix="gpg."))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._gpg("--quick-gen-key", "archive@example.org", "ed25519", "sign", "never")
        self.keyring = self.folder / "archive.gpg"
        self._gpg("--output", str(self.keyring), "--export")

    def close(self) -> None:
        """End gpg's agent and forget the key."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def line(self, host: str) -> str:
        """Give the source as one line of a sources.list."""
        return f"deb [signed-by={self.keyring}] {self.origin.url(host, '/apt/')} stable main\n"

    def publish(self, name: str, version: str) -> None:
        """Replace the package of this name and sign the archive anew."""
        tree = self.folder / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share").mkdir(parents=True)
        (tree / "usr/share" / name).write_text(version)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        (tree / "DEBIAN/control").write_text(f"{control}Description: made by a test\n")
        path = self.folder / f"{name}_{version}_all.deb"
        options = ["--root-owner-group", "-Zgzip", "--build", str(tree), str(path)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(["dpkg-deb", *options], env=environment, check=True, capture_output=True)
        data = path.read_bytes()
        self.origin.route(f"/apt/pool/{path.name}", data)
        digest = hashlib.sha256(data).hexdigest()
        fields = f"Filename: pool/{path.name}\nSize: {len(data)}\nSHA256: {digest}\nDescription: made by a test\n"
        self._packages[name] = (control + fields).encode()
        self._sign()

    def _sign(self) -> None:
        packages = b"\n".join(self._packages.values())
        files = {_INDEX: packages, f"{_INDEX}.gz": gzip.compress(packages, mtime=0)}
        lines = ["Origin: tests", "Suite: stable", "Codename: stable", "Architectures: all amd64", "Components: main"]
        lines.append(f"Date: {formatdate(1_700_000_000, usegmt=True)}".replace("GMT", "UTC"))
        if self.by_hash:
            lines.append("Acquire-By-Hash: yes")
        if self.valid_until is not None:
            lines.append(f"Valid-Until: {formatdate(self.valid_until, usegmt=True)}".replace("GMT", "UTC"))
        lines.append("SHA256:")
        for name, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            lines.append(f" {digest} {len(data)} {name}")
            if self.by_hash:
                self._route(f"{Path(name).parent}/by-hash/SHA256/{digest}", data)
        # Packages itself stands in Release only, as in Debian's own archive: clients have to try compressions.
        self._route(f"{_INDEX}.gz", files[f"{_INDEX}.gz"])
        release = self.folder / "Release"
        release.write_text("\n".join(lines) + "\n")
        if self.clearsigned:
            self._gpg("--output", str(self.folder / "InRelease"), "--clearsign", str(release))
            self._route("InRelease", (self.folder / "InRelease").read_bytes())
            return
        self._gpg("--output", str(self.folder / "Release.gpg"), "--armor", "--detach-sign", str(release))
        self._route("Release", release.read_bytes())
        self._route("Release.gpg", (self.folder / "Release.gpg").read_bytes())

    def _route(self, name: str, data: bytes) -> None:
        self.origin.route(f"/apt/{_FOLDER}/{name}", data)

    def _gpg(self, *arguments: str) -> None:
        options = ["--homedir", str(self._home), "--batch", "--yes", "--quiet", "--passphrase", ""]
        subprocess.run(["gpg", *options, *arguments], check=True, capture_output=True)
