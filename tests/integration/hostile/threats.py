"""Writes docs/threat-model.md from the rows and the tests: `python -m tests.integration.hostile.threats`."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import tests.integration.vm.escapes.rows  # noqa: F401  its rows are entered by importing
from tests.integration.hostile.rows import ROWS

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[2]
# Attacks from within a VM are beside what boots one.
FOLDERS = (FOLDER, ROOT / "tests/integration/vm/escapes")
DOCUMENT = ROOT / "docs/threat-model.md"
COMMAND = "python -m tests.integration.hostile.threats"
START, END = "<!-- table -->", "<!-- end of table -->"


def proofs() -> dict[str, list[str]]:
    """Find the tests of each row in the sources, so that a test which does not load is found as well."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in _sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for name in _attacks(node):
                    found[name].append(f"{path.stem}::{node.name}")
    return found


def unmarked() -> list[str]:
    """Name the tests here that belong to no row."""
    return [
        f"{path.stem}::{node.name}"
        for path in _sources()
        if path.stem != "test_threat_model"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not _attacks(node)
    ]


def _sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted(folder.glob("test_*.py"))]


def _attacks(node: ast.FunctionDef) -> list[str]:
    return [
        str(mark.args[0].value)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call)
        and isinstance(mark.func, ast.Name)
        and mark.func.id == "attack"
        and isinstance(mark.args[0], ast.Constant)
    ]


def table() -> str:
    """Give the table, one line for each row, in the order of who attacks."""
    found = proofs()
    lines = ["| attack | who | what | what stops it | test |", "|---|---|---|---|---|"]
    order = list(dict.fromkeys(row.who for row in ROWS.values()))
    for name, row in sorted(ROWS.items(), key=lambda item: order.index(item[1].who)):
        named = "<br>".join(f"`{test}`" for test in found.get(name, []))
        lines.append(f"| {name} | {row.who} | {row.attack} | {row.barrier} | {named} |")
    return "\n".join(lines) + "\n"


def render(text: str) -> str:
    """Give a text with the table between its marks."""
    head, _, rest = text.partition(START)
    return f"{head}{START}\n{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text()))
