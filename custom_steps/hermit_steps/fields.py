"""Reads the values that stand in several places of a spec, in the words of its grammar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hermit_proxy.closedyaml.file import Node, Scalar, excerpt
from hermit_proxy.closedyaml.reader import Reader, describe
from hermit_proxy.toolvariables import INSTEAD, is_reserved
from hermit_steps import grammar

Value = TypeVar("Value")


def read_environment(reader: Reader, node: Node | None) -> dict[str, str]:
    """Read variables; a name that Hermit needs for itself is a mistake."""
    variables: dict[str, str] = {}
    for key, value in reader.expect_free_mapping(node, "environment"):
        if not isinstance(value, Scalar) or value.nothing:
            told = f'expected {excerpt(key.text)} as a text, found {describe(value)}; an empty one is `""`'
            reader.mistake(value, told)
            continue
        try:
            grammar.check_variable(key.text)
            grammar.check_argument(key.text + value.text)
        except ValueError as error:
            reader.mistake(key, f"{excerpt(key.text)}: {error}")
            continue
        if is_reserved(key.text):
            better = f"use {INSTEAD[key.text]}" if key.text in INSTEAD else "a script may still set it for itself"
            reader.mistake(key, f"`{key.text}` is set by Hermit, the same in every build; {better}")
        variables[key.text] = value.text
    return variables


def read_size(reader: Reader, node: Node | None, what: str) -> int | None:
    """Read a number of bytes above 0."""
    return _more_than_nothing(reader, node, what, reader.expect_size(node, what))


def read_duration(reader: Reader, node: Node | None, what: str) -> float | None:
    """Read seconds above 0."""
    return _more_than_nothing(reader, node, what, reader.expect_duration(node, what))


def _more_than_nothing(reader: Reader, node: Node | None, what: str, value: Value | None) -> Value | None:
    if value == 0:
        reader.mistake(node, f"expected {what} as more than nothing")
    return value


def scan_text(reader: Reader, node: Node | None, what: str, scan: Callable[[str], Value]) -> Value | None:
    """Read a text of one of the grammar's languages."""
    text = reader.expect_str(node, what)
    if text is None:
        return None
    try:
        return scan(text)
    except ValueError as error:
        reader.mistake(node, f"{what} {excerpt(text)}: {error}")
        return None


def checked(check: Callable[[str], None]) -> Callable[[str], str]:
    """Give a reader that takes a text as it is, where a check does not raise."""

    def scan(text: str) -> str:
        check(text)
        return text

    return scan
