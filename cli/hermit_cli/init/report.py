"""Tells a person what `hermit init` found and wrote, and a program the same as one object."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermit_cli.init.finding import Found, Registry
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.rules.file import Rules
from hermit_proxy.upstream import openings
from hermit_steps.spec import Spec


@dataclass(frozen=True, slots=True)
class Report:
    """Is what was found and done: `texts` are all files by path, of which `written` are new and `kept` were there.

    `to_open` are items of upstream.allow that hosts of the rules want, in the user's own `settings`.
    """

    root: Path
    found: Found
    registries: tuple[Registry, ...]
    texts: Mapping[Path, str]
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    spec: Spec
    rules: Rules
    dry: bool = False
    settings: Path = Path()
    to_open: tuple[str, ...] = ()

    def say(self) -> None:
        """Print it for people."""
        tell(f"hermit init: {self.root}")
        rows = [
            *_rows("found", (_titled(self.found, index) for index in range(len(self.found.parts)))),
            *_rows("not used", self.found.unused),
            *_rows("would write" if self.dry else "wrote", (self._described(path) for path in self.written)),
            *_rows("kept", (f"{self._short(path)}  was there; --force writes it anew" for path in self.kept)),
            *_rows("look at", self.looks()),
        ]
        tell("\n".join(aligned(rows)))
        if self.to_open:
            first, lines = openings.told(self.settings, self.to_open).split("\n", 1)
            tell(f"  hosts outside of the public internet are opened by your own settings alone;\n  {first}")
            tell(lines)  # as they stand in the file, so that they can be pasted
        tell(f"  next: {self.next()}")

    def looks(self) -> list[str]:
        """List what a person has to decide or to mend."""
        filled = [f"fill in a rule: {told}" for registry in self.registries for told in registry.unknown]
        notes = [note for part in self.found.parts for note in part.notes]
        machine = [note for registry in self.registries for note in registry.notes]
        return list(dict.fromkeys([*self.found.troubles, *notes, *filled, *machine]))

    def next(self) -> str:
        """Give the next command."""
        if self.dry:
            return "hermit init, without --dry-run, writes them"
        here = self.root == Path.cwd()
        read = f"read {' and '.join(map(self._short, self.written))}, then: " if self.written else ""
        return f"{read}hermit build{'' if here else f' {shlex.quote(str(self.root))}'}"

    def to_json(self) -> dict[str, Any]:
        """Give the object of `--json`."""
        return {
            "project": str(self.root),
            "found": [
                {"kind": part.kind, "title": part.title, "folder": str(part.folder)} for part in self.found.parts
            ],
            "unused": list(self.found.unused),
            "look": self.looks(),
            "to_open": list(self.to_open),
            "written": [] if self.dry else [str(path) for path in self.written],
            "kept": [str(path) for path in self.kept],
            "files": {str(path): text for path, text in self.texts.items()},
        }

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _described(self, path: Path) -> str:
        if path.name == "rules.yaml":
            hosts = dict.fromkeys(rule.pattern.text.partition("/")[0] for rule in self.rules.rules)
            return f"{self._short(path)}  {counted(len(self.rules.rules), 'rule')}: {', '.join(hosts) or 'no host'}"
        online = sum(step.network == "proxy" for step in self.spec.steps)
        return f"{self._short(path)}  {counted(len(self.spec.steps), 'step')}, {online} with network"


def _titled(found: Found, index: int) -> str:
    part = found.parts[index]
    return f"{part.title} in {part.folder}" if part.folder.parts else part.title


def _rows(head: str, lines: Iterable[str]) -> list[tuple[str, str]]:
    return [(head if index == 0 else "", line) for index, line in enumerate(lines)]
