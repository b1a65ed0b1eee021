"""Finds where an image's packages come from: in apt's own configuration of this machine, or in the user's file."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from hermit_proxy.errors import UsageError
from hermit_proxy.settings import config_dir

# Every Debian tree has this file, it belongs to the package that apt depends on.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FORMAT = "$(REPO_URI)|$(CODENAME)|$(ORIGIN)|$(COMPONENT)|$(SOURCESENTRY)"
_RELEASE_FILE = re.compile(r"^'(https?://\S+/)dists/(\S+)/InRelease' ", re.MULTILINE)
_SIGNED_BY = re.compile(r"^signed-by:[ \t]*(/\S+)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SIGNED_BY_OPTION = re.compile(r"\[[^]]*signed-by=(/[^]\s,]+)", re.IGNORECASE)
_COMPONENT = "main"
_WANTED = ("Debian", _COMPONENT)


class SourcesError(UsageError):
    """Is raised where this machine does not say where Debian packages are."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Is one suite of an archive: `http://example.org/debian/`, `bookworm-updates`."""

    uri: str
    name: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Is all that a release is installed from, and the files with the keys that sign it."""

    suites: tuple[Suite, ...]
    keyrings: tuple[Path, ...]

    def lines(self) -> str:
        """Give apt's one-line form, without options."""
        return "".join(f"deb {suite.uri} {suite.name} {_COMPONENT}\n" for suite in self.suites)

    def releases(self) -> list[str]:
        """Give the address of each suite's signed list of lists, which says when the suite was last changed."""
        return [f"{suite.uri}dists/{suite.name}/InRelease" for suite in self.suites]

    def deb822(self) -> str:
        """Give the sources file that the image keeps (sources.list(5)): what is in it does not depend on this host."""
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {' '.join(names)}\nComponents: {_COMPONENT}\nSigned-By: {KEYRING}\n"
            for uri, names in self._by_uri().items()
        )

    def rules(self) -> str:
        """Give the rules file of the proxy: these archives and nothing else."""
        return "rules:\n" + "".join(f"  - {{pattern: '{_pattern(uri)}', action: ALLOW}}\n" for uri in self._by_uri())

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` reads."""
        return {"suites": [asdict(suite) for suite in self.suites], "keyrings": [str(path) for path in self.keyrings]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(tuple(Suite(**suite) for suite in fields["suites"]), tuple(map(Path, fields["keyrings"])))

    def _by_uri(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for suite in self.suites:
            found.setdefault(suite.uri, []).append(suite.name)
        return found


def own_file(release: str, environ: Mapping[str, str]) -> Path:
    """Name the user's file that says where a release is: `~/.config/hermit/bookworm.sources`, sources.list(5)."""
    return config_dir(environ) / f"{release}.sources"


def find_sources(release: str, environ: Mapping[str, str]) -> Sources:
    """Ask apt where it gets this release from, or the user's own file where there is one; raise SourcesError."""
    own = own_file(release, environ)
    suites, files = _from_file(own) if own.exists() else _from_machine()
    chosen = {suite for suite in suites if suite.name in {release, f"{release}-updates", f"{release}-security"}}
    if release not in {suite.name for suite in chosen}:
        raise SourcesError(
            f"apt on this machine knows no archive of Debian's {release}",
            hint=f"on Debian: apt-get update; elsewhere write {own} (docs/images.md shows one)",
        )
    for suite in chosen:
        if "@" in urlsplit(suite.uri).netloc:
            raise SourcesError(
                f"the archive of {suite.name} has a password in its address, which the image would keep",
                hint=f"name an archive without one in {own} (docs/images.md)",
            )
    ordered = sorted(chosen, key=lambda suite: (len(suite.name), suite.name, suite.uri))
    return Sources(tuple(ordered), _keyrings(files))


def _from_machine() -> tuple[list[Suite], list[Path]]:
    """Give Debian's suites in apt's configuration by code name: `stable` will be another release one day."""
    said = _apt("indextargets", "--format", _FORMAT, "Created-By: Packages")
    rows = [row for line in said.splitlines() if len(row := line.split("|")) == _FORMAT.count("|") + 1]
    found = [(Suite(uri, name), entry) for uri, name, origin, part, entry in rows if (origin, part) == _WANTED]
    files = dict.fromkeys(Path(entry.rpartition(":")[0]) for _, entry in found)
    return [suite for suite, _ in found if urlsplit(suite.uri).scheme in {"http", "https"}], list(files)


def _from_file(own: Path) -> tuple[list[Suite], list[Path]]:
    """Give the suites of the user's file; their lists may never have been fetched, so only their addresses count."""
    said = _apt("update", "--print-uris", "-o", f"Dir::Etc::SourceList={own}", "-o", "Dir::Etc::SourceParts=/dev/null")
    return [Suite(uri, name) for uri, name in _RELEASE_FILE.findall(said)], [own]


def _apt(*arguments: str) -> str:
    command = shutil.which("apt-get")
    if command is None:
        raise SourcesError("apt is not installed, and images are made from Debian packages", hint="install apt")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise SourcesError(f"apt cannot read its sources: {done.stderr.strip()[-500:]}", hint="apt-get update")
    return done.stdout


def _keyrings(files: Iterable[Path]) -> tuple[Path, ...]:
    """Give the keyrings that sources files name, and Debian's own."""
    found: dict[Path, None] = {}
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        form = _SIGNED_BY if file.suffix == ".sources" else _SIGNED_BY_OPTION
        found |= dict.fromkeys(Path(path) for path in form.findall(text))
    there = tuple(path for path in (*found, KEYRING) if path.is_file())
    if not there:
        raise SourcesError(
            "this machine has no keys of the Debian archive", hint="apt-get install debian-archive-keyring"
        )
    return tuple(dict.fromkeys(there))


def _pattern(uri: str) -> str:
    parts = urlsplit(uri)
    default = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in {None, default} else ""
    path = "".join(f"\\{letter}" if letter in ".+*?()[]{}|^$\\" else letter for letter in parts.path.rstrip("/"))
    return f"{parts.hostname}{port}{path}/.*"
