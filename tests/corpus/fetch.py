"""Fetches what a project is made of from the registries that this machine's tools are set up for, checked by digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin

from hermit_cli.init.finding import Registry
from hermit_cli.init.registries import TOOLS
from hermit_proxy.errors import HermitError
from tests.corpus.project import Wanted

_TIMEOUT = 60
_LIMIT_BYTES = 64 << 20


class FetchError(HermitError):
    """Is raised where a registry does not give what a project is pinned to."""


@cache
def registry(tool: str) -> Registry:
    """Ask a tool of this machine for its registries, once; raise FetchError where it cannot say."""
    found = TOOLS[tool](os.environ)
    if tool in _URLS and not found.asked:
        raise FetchError(
            f"{tool} names no registry: {'; '.join(found.unknown)}", hint="script/setup installs the tools"
        )
    return found


def fetch(wanted: Wanted, cache_folder: Path) -> Path:
    """Give the file, from the cache where it is there; raise FetchError where it is not what the digest says."""
    path = cache_folder / wanted.sha256
    if not path.exists():
        data = _get(_URLS[wanted.registry](wanted))
        found = hashlib.sha256(data).hexdigest()
        if found != wanted.sha256:
            raise FetchError(
                f"{wanted.name} {wanted.version}: expected sha256 {wanted.sha256}, the registry gave {found}"
            )
        cache_folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(data)
        part.rename(path)
    return path


def unpack(wanted: Wanted, archive: Path, target: Path) -> None:
    """Unpack the files of an archive without the folder around them; raise FetchError for what would land elsewhere."""
    target.mkdir(parents=True, exist_ok=True)
    for name, executable, data in _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive):
        below = PurePosixPath(*PurePosixPath(name).parts[_folders(wanted) :])
        if below.is_absolute() or ".." in below.parts or not below.name:
            raise FetchError(f"{wanted.name} {wanted.version} has a file that leads out of its folder: {name}")
        path = target / below
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(
            0o755 if executable else 0o644
        )  # what an archive says besides, such as npm's 0600, stops other users


def _tarred(archive: Path) -> Iterator[tuple[str, bool, bytes]]:
    """Give the plain files; none of the projects needs its links, and Debian 12's tarfile has no filters for them."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                yield member.name, bool(member.mode & 0o100), file.read()


def _zipped(archive: Path) -> Iterator[tuple[str, bool, bytes]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if not member.is_dir():
                yield member.filename, bool(member.external_attr >> 16 & 0o100), packed.read(member)


def _folders(wanted: Wanted) -> int:
    """Count the folders around the files; a jar and Debian's part of a source have none that is not wanted."""
    if wanted.registry == "go":
        return wanted.name.count("/") + 1
    return 0 if wanted.file.endswith(".jar") or ".debian." in wanted.file else 1


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"user-agent": "hermit-corpus"})  # noqa: S310  a tool's own registry
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  see above
            data: bytes = answer.read(_LIMIT_BYTES)
    except OSError as error:
        raise FetchError(f"{url} cannot be fetched: {error}", hint="is this machine online?") from error
    return data


def _base(tool: str) -> str:
    return registry(tool).asked[0].url.rstrip("/") + "/"


def _pip(wanted: Wanted) -> str:
    """Find the source distribution on the index's page (PEP 503)."""
    page = f"{_base('pip')}{_normal(wanted.name)}/"
    for link in re.findall(r'href="([^"#]+)', _get(page).decode()):
        if _normal(link.rpartition("/")[2]) == _normal(f"{wanted.name}-{wanted.version}.tar.gz"):
            return str(urljoin(page, link))
    raise FetchError(f"the index has no source of {wanted.name} {wanted.version}")


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _npm(wanted: Wanted) -> str:
    document = json.loads(_get(f"{_base('npm')}{quote(wanted.name, safe='@')}"))
    return str(document["versions"][wanted.version]["dist"]["tarball"])


def _cargo(wanted: Wanted) -> str:
    """Follow the index's own template: https://doc.rust-lang.org/cargo/reference/registry-index.html ."""
    template = str(json.loads(_get(f"{_base('cargo')}config.json"))["dl"])
    if "{" not in template:
        template += "/{crate}/{version}/download"
    return template.replace("{crate}", wanted.name).replace("{version}", wanted.version)


def _go(wanted: Wanted) -> str:
    """Write capitals as `!` and the small letter: https://go.dev/ref/mod#goproxy-protocol ."""
    escaped = re.sub("[A-Z]", lambda found: "!" + found.group().lower(), wanted.name)
    return f"{_base('go')}{escaped}/@v/{wanted.version}.zip"


def _maven(wanted: Wanted) -> str:
    group, _, artifact = wanted.name.partition(":")
    stem = f"{artifact}-{wanted.version}"
    name = f"{stem}.pom" if wanted.file == "pom" else f"{stem}-{wanted.file}"
    return f"{_base('maven')}{group.replace('.', '/')}/{artifact}/{wanted.version}/{name}"


def _apt(wanted: Wanted) -> str:
    return f"{_base('apt')}pool/main/{wanted.name[0]}/{wanted.name}/{wanted.file}"


_URLS: dict[str, Callable[[Wanted], str]] = {
    "pip": _pip,
    "npm": _npm,
    "cargo": _cargo,
    "go": _go,
    "maven": _maven,
    "apt": _apt,
}
