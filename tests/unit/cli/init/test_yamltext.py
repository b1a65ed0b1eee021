"""Tests that what is written as YAML is read as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.yamltext import comment, flow, scalar, script
from hermit_proxy.closedyaml.file import Mapping, Scalar, Sequence, loads

TEXTS = [
    "npm ci",
    "~/venv/bin/pip wheel --wheel-dir ~/wheels 'x>=1'",
    'make install DESTDIR="$PWD/dist"',
    "dist/*.whl",
    "*.tgz",
    "a: b",
    "a #b",
    "a, b",
    "[a]",
    "- a",
    "? a",
    "true",
    "null",
    "1.0",
    " a",
    "a ",
    'a "b" \\ c',
    "tab\there",
    "line\nbreak",
    "\x07\x7f\x85\u2028\U000e0001\ufeff",
    "ä 😀",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_read_as_it_was(text: str) -> None:
    node = loads(f"a: {scalar(text)}\n".encode(), Path("x"))
    assert isinstance(node, Mapping)
    value = node.items[0][1]
    assert isinstance(value, Scalar)
    assert value.text == text
    assert not value.nothing


def test_a_list_on_one_line_is_read_as_it_was() -> None:
    node = loads(f"a: {flow(TEXTS)}\n".encode(), Path("x"))
    assert isinstance(node, Mapping)
    found = node.items[0][1]
    assert isinstance(found, Sequence)
    assert [item.text for item in found.items if isinstance(item, Scalar)] == TEXTS


@pytest.mark.parametrize(
    "lines", [["a"], ["a: b"], ["a", "b # c", "  d"], ["a", "b\n- run: evil"], ["a", "b\tc"], ["a", "\x1b[1m"]]
)
def test_a_script_is_read_as_it_was(lines: list[str]) -> None:
    node = loads(f"- a: {script(lines, 4)}\n  b: c\n".encode(), Path("x"))
    assert isinstance(node, Sequence)
    item = node.items[0]
    assert isinstance(item, Mapping)
    assert len(item.items) == 2
    value = item.items[0][1]
    assert isinstance(value, Scalar)
    assert value.text.rstrip("\n") == "\n".join(lines)


@pytest.mark.parametrize("text", ["npm ci", "make test", "/usr/bin/x -y", "build/x", "dist/*.whl"])
def test_what_can_stand_without_quotes_does(text: str) -> None:
    assert scalar(text) == text


def test_a_comment_is_broken_and_nothing_ends_it() -> None:
    lines = comment("a\nb: c\x85" + " word" * 60, 2)
    assert len(lines) > 1
    assert all(line.startswith("  # ") and len(line) <= 120 for line in lines)
    assert all(line.isprintable() for line in lines)
    assert comment("") == []
