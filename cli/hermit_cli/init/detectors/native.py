"""Finds C and C++ projects: CMake, Meson, autotools, or nothing but a Makefile."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Tree
from hermit_cli.init.urls import site, urls_in

_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_AT_CONFIGURE = re.compile(r"\bFetchContent_\w+\s*\(|\bfile\s*\(\s*DOWNLOAD|\bCPMAddPackage\s*\(", re.IGNORECASE)
_AT_BUILD = re.compile(r"\bExternalProject_Add\s*\(", re.IGNORECASE)
_TESTS = re.compile(r"\benable_testing\s*\(|\binclude\s*\(\s*CTest\b", re.IGNORECASE)
_INSTALL = re.compile(r"^\s*install\s*\(", re.IGNORECASE | re.MULTILINE)
_PROGRAM = re.compile(r"^\s*add_executable\s*\(\s*([A-Za-z0-9_.+-]+)", re.IGNORECASE | re.MULTILINE)
_PACKAGE = re.compile(r"\bfind_package\s*\(\s*([A-Za-z0-9_+-]+)", re.IGNORECASE)
_TARGET = re.compile(r"^(check|test)\s*:", re.MULTILINE)
_OF_DEBIAN = {
    "Boost": "libboost-all-dev",
    "CURL": "libcurl4-openssl-dev",
    "EXPAT": "libexpat1-dev",
    "GTest": "libgtest-dev",
    "LibXml2": "libxml2-dev",
    "OpenSSL": "libssl-dev",
    "PkgConfig": "pkg-config",
    "SQLite3": "libsqlite3-dev",
    "ZLIB": "zlib1g-dev",
    "fmt": "libfmt-dev",
}
# CMake brings these itself, or the compiler does.
_BROUGHT = frozenset({"Threads", "OpenMP", "CMakePackageConfigHelpers"})


def detect_cmake(tree: Tree) -> Part | None:
    """Look for CMakeLists.txt, and for what it fetches when it configures or builds."""
    if not tree.has("CMakeLists.txt"):
        return None
    files = list(dict.fromkeys(["CMakeLists.txt", *tree.files("CMakeLists.txt", 3), *tree.files("*.cmake", 3)]))
    text = "\n".join(_COMMENT.sub("", tree.text(name)) for name in files)
    top = _COMMENT.sub("", tree.text("CMakeLists.txt"))
    fetching, building = bool(_AT_CONFIGURE.search(text)), bool(_AT_BUILD.search(text))
    steps = [
        Do(
            "configure",
            ("cmake -S . -B build -D CMAKE_BUILD_TYPE=Release",),
            network=fetching,
            why="it fetches sources while it configures" if fetching else "",
        ),
        Do(
            "build",
            ("cmake --build build --parallel",),
            network=building,
            why="ExternalProject fetches sources while it builds" if building else "",
        ),
    ]
    if _TESTS.search(top):
        steps.append(Do("test", ("ctest --test-dir build --output-on-failure",)))
    installs = bool(_INSTALL.search(top))
    if installs:
        steps.append(Do("install", ('cmake --install build --prefix "$PWD/dist"',)))
    wanted = [name for name in dict.fromkeys(_PACKAGE.findall(text)) if name not in _BROUGHT]
    unknown = [name for name in wanted if name not in _OF_DEBIAN]
    return Part(
        kind="cmake",
        title=f"CMake (CMakeLists.txt{', fetches sources' if fetching or building else ''})",
        steps=tuple(steps),
        apt=("build-essential", "cmake", *(_OF_DEBIAN[name] for name in wanted if name in _OF_DEBIAN)),
        artifacts=("dist/**",) if installs else tuple(f"build/{name}" for name in _PROGRAM.findall(top)),
        asked=_sources(text) if fetching or building else (),
        notes=(f"find_package asks for {', '.join(unknown)}: add the Debian packages of these",) if unknown else (),
    )


def detect_meson(tree: Tree) -> Part | None:
    """Look for meson.build, and for the sources that its wraps name."""
    if not tree.has("meson.build"):
        return None
    wraps = tree.below(PurePosixPath("subprojects"))
    text = "\n".join(wraps.text(name) for name in wraps.names("*.wrap"))
    why = "it fetches the wraps of subprojects" if text else ""
    return Part(
        kind="meson",
        title="Meson (meson.build)",
        steps=(
            Do("configure", ("meson setup build",), network=bool(text), why=why),
            Do("build", ("meson compile -C build",)),
            Do("test", ("meson test -C build",)),
            Do("install", ('DESTDIR="$PWD/dist" meson install -C build',)),
        ),
        apt=("build-essential", "meson", "ninja-build", "pkg-config"),
        artifacts=("dist/**",),
        asked=_sources(text),
        notes=("add the Debian packages of what meson.build's dependency() names",)
        if "dependency(" in tree.text("meson.build")
        else (),
    )


def detect_autotools(tree: Tree) -> Part | None:
    """Look for a configure script, or what makes one."""
    source = next((name for name in ("configure.ac", "configure.in") if tree.has(name)), None)
    ready = tree.executable("configure")
    if not ready and source is None:
        return None
    script = "./autogen.sh" if tree.executable("autogen.sh") else "autoreconf --force --install"
    lines = ("./configure",) if ready else (script, "./configure")
    return Part(
        kind="autotools",
        title=f"autotools ({'configure' if ready else source})",
        steps=(
            Do("configure", lines),
            Do("build", ("make",)),
            Do("test", ("make check",)),
            Do("install", ('make install DESTDIR="$PWD/dist"',)),
        ),
        apt=("build-essential",) if ready else ("build-essential", "autoconf", "automake", "libtool", "pkg-config"),
        artifacts=("dist/**",),
    )


def detect_make(tree: Tree) -> Part | None:
    """Look for a Makefile; what it makes only its author knows."""
    name = next((name for name in ("GNUmakefile", "makefile", "Makefile") if tree.has(name)), None)
    if name is None:
        return None
    tests = [Do("test", (f"make {target}",)) for target in _TARGET.findall(tree.text(name))[:1]]
    return Part(
        kind="make",
        title=f"make ({name})",
        steps=(Do("build", ("make",)), *tests),
        apt=("build-essential",),
        notes=("only its author knows what a Makefile makes: fill in artifacts",),
    )


def _sources(text: str) -> tuple[Asked, ...]:
    """Give the repositories, and one URL for each host of archives: those redirect within it, and are replaced."""
    sites = [where for url in urls_in(text) if (where := site(url))]
    repositories = dict.fromkeys(where.url for where in sites if where.path.endswith(".git"))
    hosts = {where.authority: where.url for where in sites if not where.path.endswith(".git")}
    return (
        *(Asked(url, "its build files", narrow=True) for url in repositories),
        *(Asked(url, "its build files") for url in hosts.values()),
    )


DESCRIBED = "CMakeLists.txt, meson.build, configure, Makefile"
