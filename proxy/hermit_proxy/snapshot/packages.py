"""Reads package and version from the shape of a URL, not from its host, so that mirrors and proxies work too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

_VERSION = r"[0-9][0-9A-Za-z.+~!_:-]*"
_WHEEL_VERSION = r"[0-9][0-9A-Za-z.+!_]*"  # a wheel's name is cut at its hyphens
_MAX_PATH = 1024  # the patterns look at a path from each of its slashes
_ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lzma", ".tgz", ".tbz2", ".txz", ".zip")
_ARCHIVE = r"\.(?:tar\.(?:gz|bz2|xz|zst|lzma)|tgz|tbz2|txz|zip)"


@dataclass(frozen=True, slots=True)
class Package:
    """Is one version of a package; `kind` is the format (wheel, sdist, npm, crate, deb, rpm, maven, go, gem)."""

    kind: str
    name: str
    version: str


def package_of(url: str) -> Package | None:
    """Give the package that a URL delivers, or None; the first shape that fits names it."""
    path = unquote(url.partition("?")[0].partition("://")[2].partition("/")[2])
    return next(_shapes(f"/{path}"), None) if len(path) <= _MAX_PATH else None


def _shapes(path: str) -> Iterator[Package]:
    for kind, endings, pattern, name in _PATTERNS:
        # Of 200,000 URLs most end like no package, or like one kind of them.
        if path.endswith(endings) and (found := pattern.search(path)):
            yield Package(kind, name(found["name"]), found["version"])


def _as_is(name: str) -> str:
    return name


def _python(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _maven(name: str) -> str:
    group, _, artifact = name.rpartition("/")
    return f"{group.replace('/', '.')}:{artifact}"


def _go(name: str) -> str:
    return re.sub(r"!([a-z])", lambda found: found.group(1).upper(), name)  # "!x" stands for "X" (go.dev/ref/mod)


# Each with the endings that it asks for anyhow.
_PATTERNS: tuple[tuple[str, tuple[str, ...], re.Pattern[str], Callable[[str], str]], ...] = (
    ("go", (".zip", ".mod", ".info"), re.compile(r"/(?P<name>[^@]+)/@v/(?P<version>v[^/]+)\.(?:zip|mod|info)\Z"), _go),
    (
        "wheel",
        (".whl",),
        re.compile(rf"/(?P<name>[A-Za-z0-9._]+)-(?P<version>{_WHEEL_VERSION})(?:-[^/-]+){{3,4}}\.whl\Z"),
        _python,
    ),
    (
        "deb",
        ("deb",),
        re.compile(rf"/(?P<name>[a-z0-9][a-z0-9+.-]+)_(?P<version>{_VERSION})_[a-z0-9-]+\.u?deb\Z"),
        _as_is,
    ),
    ("rpm", (".rpm",), re.compile(r"/(?P<name>[^/]+)-(?P<version>[^/-]+-[^/-]+)\.[a-z0-9_]+\.rpm\Z"), _as_is),
    # npm: /name/-/name-1.2.3.tgz, /@scope/name/-/name-1.2.3.tgz
    (
        "npm",
        (".tgz",),
        re.compile(rf"/(?P<name>(?:@[^/]+/)?(?P<base>[^/]+))/-/(?P=base)-(?P<version>{_VERSION})\.tgz\Z"),
        _as_is,
    ),
    ("crate", (".crate",), re.compile(rf"/(?P<name>[A-Za-z][A-Za-z0-9_-]*)-(?P<version>{_VERSION})\.crate\Z"), _as_is),
    (
        "crate",
        ("/download",),
        re.compile(rf"/crates/(?P<name>[A-Za-z][A-Za-z0-9_-]*)/(?P<version>{_VERSION})/download\Z"),
        _as_is,
    ),
    ("gem", (".gem",), re.compile(rf"/gems/(?P<name>[A-Za-z0-9_.-]+?)-(?P<version>{_VERSION})\.gem\Z"), _as_is),
    # Maven 2 layout: group/artifact/version/artifact-version[-classifier].extension
    (
        "maven",
        (".jar", ".pom", ".war", ".aar", ".module", ".zip"),
        re.compile(
            r"/(?:maven2?/)?(?P<name>(?:[^/]+/)+(?P<base>[^/]+))/(?P<version>[^/]+)"
            r"/(?P=base)-(?P=version)[^/]*\.(?:jar|pom|war|aar|module|zip)\Z"
        ),
        _maven,
    ),
    (
        "sdist",
        _ARCHIVES,
        re.compile(rf"/(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]*?)[-_]v?(?P<version>{_VERSION}?){_ARCHIVE}\Z"),
        _python,
    ),
)
