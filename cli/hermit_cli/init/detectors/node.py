"""Finds JavaScript projects: package.json with the lock file of npm, pnpm or yarn, workspaces and scripts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Table, Tree, string, strings, table
from hermit_cli.init.urls import site, urls_in

_PLACEHOLDER = "no test specified"
_PNPM = {"5": "7", "6": "8", "9": "9"}
_DEBIAN_MAJOR = 18
_REGISTRY = re.compile(r"^\s*(?:@[^:=\s]+:)?registry\s*=\s*(\S+)", re.MULTILINE)
_TARBALL = re.compile(r"^\s+(?:resolved|tarball:)?\s*\"?(https?://\S+?)\"?$", re.MULTILINE)
_GIT = re.compile(r"\b(?:git\+ssh|git)://|\bgithub:")


def detect(tree: Tree) -> Part | None:
    """Look for package.json; which tool installs is what its lock file says."""
    if not tree.has("package.json"):
        return None
    package = tree.json("package.json")
    scripts = {name: string(text) for name, text in table(package, "scripts").items()}
    manager = string(package.get("packageManager"))
    if tree.has("pnpm-lock.yaml") or manager.startswith("pnpm@"):
        title, fetch, run, pack, apt = _pnpm(tree, manager)
    elif tree.has("yarn.lock") or manager.startswith("yarn@"):
        title, fetch, run, pack, apt = _yarn(tree, manager)
    else:
        title, fetch, run, pack, apt = _npm(tree)
    steps = [*fetch]
    members = _members(package)
    workspaces = bool(members) or tree.has("pnpm-workspace.yaml")
    if "build" in scripts:
        steps.append(Do("build", (f"{run} build",)))
    if "test" in scripts and _PLACEHOLDER not in scripts["test"]:
        steps.append(Do("test", (f"{run} test",)))
    packed = not package.get("private") and not workspaces and bool(package.get("name"))
    if packed:
        steps.append(Do("pack", (pack,)))
    return Part(
        kind="node",
        title=f"JavaScript ({title}{', workspaces' if workspaces else ''})",
        steps=tuple(steps),
        apt=(*apt, *_compiler(tree, package)),
        artifacts=("*.tgz",) if packed else _built(members) if "build" in scripts else (),
        tools=("npm",),
        asked=tuple(_asked(tree)),
        notes=tuple(_notes(tree, package)),
    )


_Manager = tuple[str, tuple[Do, ...], str, str, tuple[str, ...]]


def _npm(tree: Tree) -> _Manager:
    locked = tree.has("package-lock.json") or tree.has("npm-shrinkwrap.json")
    name = "package-lock.json" if tree.has("package-lock.json") else "npm-shrinkwrap.json"
    fetch = Do("fetch", ("npm ci" if locked else "npm install",), network=True)
    return (name if locked else "package.json", (fetch,), "npm run", "npm pack", ("nodejs", "npm"))


def _pnpm(tree: Tree, manager: str) -> _Manager:
    found = re.search(r"^lockfileVersion:\s*'?\"?([0-9]+)", tree.text("pnpm-lock.yaml")[:1000], re.MULTILINE)
    wanted = _exact(manager) or (f"pnpm@{_PNPM[found.group(1)]}" if found and found.group(1) in _PNPM else "pnpm@9")
    locked = tree.has("pnpm-lock.yaml")
    tool = Do("pnpm", (f"npm install --global {wanted}",), network=True, root=True, why="Debian has no pnpm")
    fetch = Do("fetch", ("pnpm install --frozen-lockfile" if locked else "pnpm install",), network=True)
    return ("pnpm-lock.yaml" if locked else "pnpm", (tool, fetch), "pnpm run", "pnpm pack", ("nodejs", "npm"))


def _yarn(tree: Tree, manager: str) -> _Manager:
    modern = tree.has(".yarnrc.yml") or re.match(r"yarn@[2-9]", manager)
    if not modern:
        fetch = Do("fetch", ("yarnpkg install --frozen-lockfile",), network=True)
        # Debian has another command by the name of yarn.
        return "yarn.lock", (fetch,), "yarnpkg --offline run", "yarnpkg pack", ("yarnpkg",)
    tools: tuple[Do, ...] = ()
    releases = tree.below(PurePosixPath(".yarn/releases")).names("yarn-*.cjs")
    if releases:
        yarn = f"node .yarn/releases/{shlex.quote(releases[-1])}"
    else:
        wanted = _exact(manager).replace("yarn@", "@yarnpkg/cli-dist@") or "@yarnpkg/cli-dist"
        tool = Do("yarn", (f"npm install --global {wanted}",), network=True, root=True, why="Debian's yarn is 1.22")
        yarn, tools = "yarn", (tool,)
    fetch = Do("fetch", (f"{yarn} install --immutable",), network=True)
    return "yarn.lock, .yarnrc.yml", (*tools, fetch), f"{yarn} run", f"{yarn} pack -o package.tgz", ("nodejs", "npm")


def _exact(manager: str) -> str:
    """Give `name@version` without the digest that may follow; nothing for what is no version."""
    found = re.match(r"(?:pnpm|yarn)@[0-9]+(?:\.[0-9]+)*(?:-[0-9A-Za-z.]+)?", manager)
    return found.group() if found else ""


def _members(package: Table) -> tuple[str, ...]:
    """Give the patterns of the workspaces' folders, without those that take some out again."""
    said = package.get("workspaces")
    found = strings(said) or strings(table(said).get("packages"))
    return tuple(pattern.removeprefix("./").rstrip("/") for pattern in found if not pattern.startswith("!"))


def _built(members: tuple[str, ...]) -> tuple[str, ...]:
    """Guess where a build leaves what it makes: each workspace has a folder of its own for it."""
    plain = all(re.fullmatch(r"[\w@.*-]+(/[\w@.*-]+)*", pattern) and ".." not in pattern for pattern in members)
    return tuple(f"{pattern}/dist/**" for pattern in members) if members and plain else ("dist/**",)


def _compiler(tree: Tree, package: Table) -> tuple[str, ...]:
    tools = {**table(package, "dependencies"), **table(package, "devDependencies")}
    return ("build-essential", "python3") if tree.has("binding.gyp") or "node-gyp" in tools else ()


def _asked(tree: Tree) -> Iterable[Asked]:
    for url in _REGISTRY.findall(tree.text(".npmrc")):
        yield Asked(url, ".npmrc")
    seen: set[str] = set()
    for url, why in _locked(tree):
        where = site(url)
        if where and where.authority not in seen:
            seen.add(where.authority)
            yield Asked(url, why)


def _locked(tree: Tree) -> Iterable[tuple[str, str]]:
    for name in ("package-lock.json", "npm-shrinkwrap.json"):
        for entry in table(tree.json(name), "packages").values():
            yield string(table(entry).get("resolved")), name
    for url in urls_in("\n".join(_TARBALL.findall(tree.text("yarn.lock")))):
        yield url, "yarn.lock"


def _notes(tree: Tree, package: Table) -> Iterable[str]:
    wanted = string(table(package, "engines").get("node"))
    # `18 || 20` is content with either; what a range begins with is its least.
    least = [int(found.group()) for one in wanted.split("||") if (found := re.search("[0-9]+", one))]
    if least and min(least) > _DEBIAN_MAJOR:
        yield f"it wants Node {wanted}, and Debian 12 has {_DEBIAN_MAJOR}"
    if _compiler(tree, package):
        yield "node-gyp fetches Node's headers from the host that `hermit build` will name as refused"
    locks = "".join(tree.text(name) for name in ("package-lock.json", "yarn.lock", "pnpm-lock.yaml"))
    if _GIT.search(locks):
        yield "a dependency comes by git over ssh or git://, which a cell does not reach: it needs an https URL"


DESCRIBED = "package.json"
