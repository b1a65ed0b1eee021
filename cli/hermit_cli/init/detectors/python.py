"""Finds Python projects: a build backend, a setup.py, requirements, and the lock files of uv and poetry."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import replace

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Table, Tree, string, strings, table
from hermit_cli.init.urls import site, urls_in

_PIP = "~/venv/bin/pip"
_VENV = "python3 -m venv ~/venv"
_COMPILER = ("build-essential", "python3-dev")
_RUST = ("build-essential", "cargo-web")
# What a build requirement needs of Debian, since no wheel brings it.
_NEEDS = {
    "cython": _COMPILER,
    "pybind11": _COMPILER,
    "cffi": _COMPILER,
    "numpy": _COMPILER,
    "meson-python": (*_COMPILER, "ninja-build"),
    "scikit-build": (*_COMPILER, "cmake", "ninja-build"),
    "scikit-build-core": (*_COMPILER, "cmake", "ninja-build"),
    "maturin": _RUST,
    "setuptools-rust": (*_RUST, "python3-dev"),
}
_DRIVES = {"maturin": "cargo", "setuptools-rust": "cargo", "scikit-build-core": "cmake", "meson-python": "meson"}
_TEST_NAMES = ("test", "tests", "testing", "dev")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEBIAN_MINOR = 11
_AT_LEAST = re.compile(r">=?\s*3\.([0-9]+)")
_EXTENSION = re.compile(r"\bext_modules\b|\bExtension\s*\(")
_REQUIREMENTS = ("requirements*.txt", "*-requirements.txt", "*_requirements.txt")
_PROJECT_FILES = ("pyproject.toml", "setup.py", "uv.lock", "poetry.lock")


def detect(tree: Tree) -> Part | None:
    """Look for what pip, uv and poetry read."""
    lists = list(dict.fromkeys(name for pattern in _REQUIREMENTS for name in tree.names(pattern)))
    project = tree.toml("pyproject.toml")
    packaged = "build-system" in project or "project" in project or tree.has("setup.py")
    if tree.has("uv.lock"):
        part = _uv(tree, project)
    elif tree.has("poetry.lock") or ("tool" in project and "poetry" in table(project, "tool") and not packaged):
        part = _poetry(tree, project)
    elif packaged:
        part = _package(tree, project, lists)
    elif lists:
        part = _requirements(tree, lists)
    else:
        return None
    return replace(part, notes=(*part.notes, *_version_note(project)), asked=(*part.asked, *_named(tree, lists)))


def _package(tree: Tree, project: Table, lists: list[str]) -> Part:
    requires = _build_requires(project)
    extra, tests = _test_dependencies(tree, project)
    fetch = [_VENV, _wheels(requires)]
    if tests or extra:
        fetch.append(_wheels([f".[{extra}]" if extra else ".", *tests]))
    fetch += [_install(tree, name) for name in lists]
    names = {_distribution(item) for item in requires}
    driven = frozenset(_DRIVES[name] for name in names if name in _DRIVES)
    crates = "cargo" in driven and tree.has("Cargo.toml")
    if crates:
        fetch.append("cargo fetch --locked" if tree.has("Cargo.lock") else "cargo fetch")
    offline = "CARGO_NET_OFFLINE=true " if crates else ""
    build = f"{offline}{_PIP} wheel --no-index --find-links ~/wheels --no-deps --wheel-dir dist ."
    steps = [Do("fetch", tuple(fetch), network=True), Do("build", (build,))]
    if tests or extra or (_mentions(tree, lists, "pytest") and _has_tests(tree)):
        wanted = shlex.join([f".[{extra}]" if extra else ".", *tests])
        install = f"{offline}{_PIP} install --no-index --find-links ~/wheels {wanted}"
        steps.append(Do("test", (install, "~/venv/bin/python -m pytest")))
    backend = string(table(project, "build-system").get("build-backend")) or "setuptools"
    source = "pyproject.toml" if tree.has("pyproject.toml") else "setup.py"
    return Part(
        kind="python",
        title=f"Python package ({source}, {backend.split('.')[0].split(':')[0]})",
        steps=tuple(steps),
        apt=("python3-venv", *_apt(tree, names)),
        artifacts=("dist/*.whl",),
        tools=("pip", "cargo") if crates else ("pip",),
        covers=driven,
        notes=_scm_note(names),
    )


def _requirements(tree: Tree, lists: list[str]) -> Part:
    fetch = Do("fetch", (_VENV, *(_install(tree, name) for name in lists)), network=True)
    tested = _has_tests(tree) and _mentions(tree, lists, "pytest")
    hashed = all(_hashed(tree, name) for name in lists)
    return Part(
        kind="python",
        title=f"Python ({', '.join(lists)}{', with hashes' if hashed else ''})",
        steps=(fetch, Do("test", ("~/venv/bin/python -m pytest",))) if tested else (fetch,),
        apt=("python3-venv",),
        tools=("pip",),
        notes=() if tested else ("nothing says how this project is built or tested: add a step for it",),
    )


def _uv(tree: Tree, project: Table) -> Part:
    uv = "~/venv/bin/uv"
    fetch = Do("fetch", (_VENV, f"{_PIP} install uv", f"{uv} sync --frozen"), network=True)
    steps = [fetch]
    artifacts: tuple[str, ...] = ()
    if "build-system" in project:
        # `uv sync` has built the project, so what its backend requires is in uv's cache.
        steps.append(Do("build", (f"{uv} build --offline --wheel",)))
        artifacts = ("dist/*.whl",)
    if _has_tests(tree) and "pytest" in tree.text("pyproject.toml"):
        steps.append(Do("test", (f"{uv} run --offline --frozen pytest",)))
    names = {_distribution(item) for item in _build_requires(project)}
    return Part(
        kind="python",
        title="Python (uv.lock)",
        steps=tuple(steps),
        apt=("python3-venv", *_apt(tree, names)),
        artifacts=artifacts,
        tools=("pip", "uv"),
        asked=_hosts(tree.text("uv.lock"), "uv.lock"),
        notes=_scm_note(names),
    )


def _poetry(tree: Tree, project: Table) -> Part:
    found = re.search(r"generated by Poetry ([0-9.]+)", tree.text("poetry.lock")[:500])
    poetry = "~/venv/bin/poetry"
    wanted = f"poetry=={found.group(1)}" if found else "poetry"
    fetch = Do("fetch", (_VENV, f"{_PIP} install {wanted}", f"{poetry} install"), network=True)
    steps = [fetch]
    artifacts: tuple[str, ...] = ()
    if table(project, "tool", "poetry").get("package-mode") is not False and "build-system" in project:
        steps.append(Do("build", (f"{poetry} build --format wheel",)))
        artifacts = ("dist/*.whl",)
    if _has_tests(tree) and "pytest" in tree.text("pyproject.toml"):
        steps.append(Do("test", (f"{poetry} run pytest",)))
    return Part(
        kind="python",
        title="Python (poetry.lock)" if tree.has("poetry.lock") else "Python (poetry)",
        steps=tuple(steps),
        apt=("python3-venv",),
        artifacts=artifacts,
        tools=("pip",),
    )


def _wheels(requirements: Iterable[str]) -> str:
    return f"{_PIP} wheel --wheel-dir ~/wheels {shlex.join(requirements)}"


def _install(tree: Tree, name: str) -> str:
    strict = "--require-hashes " if _hashed(tree, name) else ""
    return f"{_PIP} install {strict}-r {shlex.quote(name)}"


def _hashed(tree: Tree, name: str) -> bool:
    return "--hash=" in tree.text(name)


def _build_requires(project: Table) -> list[str]:
    """Give what the backend is made of; PEP 517 and 518 say what it is where nothing is said."""
    system = table(project, "build-system")
    requires = list(strings(system.get("requires"))) or ["setuptools"]
    legacy = not string(system.get("build-backend")) or "setuptools" in string(system.get("build-backend"))
    names = {_distribution(item) for item in requires}
    # Older setuptools asks for wheel only once it runs, when there is no network.
    return [*requires, "wheel"] if legacy and "wheel" not in names else requires


def _test_dependencies(tree: Tree, project: Table) -> tuple[str, list[str]]:
    """Give the extra, or else the requirements, that bring pytest."""
    if not _has_tests(tree):
        return "", []
    extras, groups = table(project, "project", "optional-dependencies"), table(project, "dependency-groups")
    for name in _TEST_NAMES:
        if _brings_pytest(extras.get(name)):
            return name, []
        if _brings_pytest(groups.get(name)):
            # Debian 12's pip is older than `--group`.
            return "", list(strings(groups.get(name)))
    return "", []


def _brings_pytest(value: object) -> bool:
    return any(_distribution(item) == "pytest" for item in strings(value))


def _distribution(requirement: str) -> str:
    found = _NAME.match(requirement.strip())
    return re.sub(r"[._-]+", "-", found.group()).lower() if found else ""


def _mentions(tree: Tree, lists: list[str], name: str) -> bool:
    return any(_distribution(line) == name for file in lists for line in tree.text(file).splitlines())


def _has_tests(tree: Tree) -> bool:
    return tree.has_folder("tests") or tree.has_folder("test") or bool(tree.names("test_*.py"))


def _apt(tree: Tree, names: set[str]) -> tuple[str, ...]:
    compiled = _COMPILER if _EXTENSION.search(tree.text("setup.py")) else ()
    needed = (*compiled, *(package for name in sorted(names) for package in _NEEDS.get(name, ())))
    return tuple(dict.fromkeys(needed))


def _scm_note(names: set[str]) -> tuple[str, ...]:
    if names & {"setuptools-scm", "hatch-vcs"}:
        return ("the version comes from git's tags: a checkout without them gives another one",)
    return ()


def _version_note(project: Table) -> tuple[str, ...]:
    wanted = string(table(project, "project").get("requires-python"))
    newest = max((int(minor) for minor in _AT_LEAST.findall(wanted)), default=0)
    if newest <= _DEBIAN_MINOR:
        return ()
    return (f"it wants Python {wanted}, and Debian 12 has 3.{_DEBIAN_MINOR}",)


def _named(tree: Tree, lists: list[str]) -> tuple[Asked, ...]:
    found: list[Asked] = []
    for name in lists:
        lines = [line for line in tree.text(name).splitlines() if not line.lstrip().startswith("#")]
        found += _hosts("\n".join(line.partition(" #")[0] for line in lines), name)
    tools = table(tree.toml("pyproject.toml"), "tool")
    for tool, key in (("uv", "index"), ("poetry", "source")):
        sources = table(tools, tool).get(key)
        for source in sources if isinstance(sources, list) else []:
            if url := string(table(source).get("url")):
                found.append(Asked(url, "pyproject.toml"))
    return tuple(found)


def _hosts(text: str, why: str) -> tuple[Asked, ...]:
    """Give one URL for each host of a text."""
    found = {where.authority: Asked(url, why) for url in urls_in(text) if (where := site(url))}
    return tuple(found.values())


DESCRIBED = f"{', '.join(_PROJECT_FILES)}, requirements*.txt"
