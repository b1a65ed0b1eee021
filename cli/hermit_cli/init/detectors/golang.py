"""Finds Go modules, and gets a newer Go where the module wants one."""

from __future__ import annotations

import re

from hermit_cli.init.finding import Do, Part
from hermit_cli.init.tree import Tree

_GO = re.compile(r"^go\s+([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", re.MULTILINE)
_TOOLCHAIN = re.compile(r"^toolchain\s+go([0-9]+\.[0-9]+\.[0-9]+)\b", re.MULTILINE)
_MAIN = re.compile(r"^package main\b", re.MULTILINE)
_NEEDED = re.compile(r"^\s*require\b", re.MULTILINE)
_DEBIAN_MINOR = 19
# From here on a Go of one's own choice is a module that any Go can fetch (https://go.dev/doc/toolchain).
_FIRST_AS_MODULE = 21
# From here on Go asks for its telemetry's configuration while it does something else.
_WITH_TELEMETRY = 23
# What `go telemetry off` does; but that command itself leaves a process behind that asks once more.
_NO_TELEMETRY = "mkdir -p ~/.config/go/telemetry && echo off >~/.config/go/telemetry/mode"
# The folder that modules lie in is read-only and has no executable files.
_UNPACK = (
    "cp -r ~/go/pkg/mod/golang.org/toolchain@* ~/sdk",
    "chmod -R u+w ~/sdk",
    "chmod +x ~/sdk/bin/* ~/sdk/pkg/tool/*/*",
)


def detect(tree: Tree) -> Part | None:
    """Look for go.mod."""
    if not tree.has("go.mod"):
        return None
    text = tree.text("go.mod")
    newer = _newer(text)
    go = "~/sdk/bin/go" if newer else "go"
    steps: list[Do] = []
    if newer:
        # Outside of the project, whose go.mod the older Go cannot read.
        fetch = f"cd / && go mod download golang.org/toolchain@v0.0.1-go{newer}.linux-$(go env GOARCH)"
        why = f"go.mod wants Go {newer}, Debian 12 has 1.{_DEBIAN_MINOR}; a newer Go is a module as well"
        quiet = int(newer.split(".")[1]) >= _WITH_TELEMETRY
        lines = (fetch, *_UNPACK, *[_NO_TELEMETRY] * quiet)
        steps.append(Do("toolchain", lines, network=True, why=why))
    vendored = tree.has("vendor/modules.txt")
    fetched = bool(_NEEDED.search(text)) and not vendored
    if fetched:
        summed = tree.has("go.sum")
        why = "" if summed else "there is no go.sum, and nothing is built without one: commit it"
        # What tidies fetches less than a build asks for.
        lines = (f"{go} mod download",) if summed else (f"{go} mod tidy", f"{go} mod download")
        steps.append(Do("fetch", lines, network=True, why=why))
    programs = any(_MAIN.search(tree.text(file)) for file in tree.files("*.go") if not file.endswith("_test.go"))
    steps.append(Do("build", (f"{go} build -o bin/ ./...",) if programs else (f"{go} build ./...",)))
    steps.append(Do("test", (f"{go} test ./...",)))
    uses_c = any('import "C"' in tree.text(name) for name in tree.names("*.go"))
    return Part(
        kind="go",
        title=f"Go (go.mod{', vendored' if vendored else ''})",
        steps=tuple(steps),
        apt=("build-essential", "golang-go") if uses_c else ("golang-go",),
        artifacts=("bin/*",) if programs else (),
        tools=("go",) if fetched or newer else (),
    )


def _newer(text: str) -> str:
    """Give the version of Go to fetch; nothing where Debian's will do."""
    wanted = _GO.search(text)
    if wanted is None or (int(wanted[1]), int(wanted[2])) < (1, _FIRST_AS_MODULE):
        return ""
    exact = _TOOLCHAIN.search(text)
    return exact[1] if exact else f"{wanted[1]}.{wanted[2]}.{wanted[3] or 0}"


DESCRIBED = "go.mod"
