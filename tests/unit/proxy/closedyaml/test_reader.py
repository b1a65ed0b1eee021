"""Typed readers: values come back right, mistakes are collected with line and expectation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_proxy.closedyaml.file import Mapping, Node, loads
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.errors import InputError

HERE = Path("file.yaml")


def value_of(text: str) -> Node:
    node = loads(f"key: {text}\n".encode(), HERE)
    assert isinstance(node, Mapping)
    return node.items[0][1]


READERS: dict[str, Callable[[Reader, Node | None], object]] = {
    "str": lambda reader, node: reader.expect_str(node, "it"),
    "strs": lambda reader, node: reader.expect_strs(node, "it"),
    "int": lambda reader, node: reader.expect_int(node, "it", least=1),
    "bool": lambda reader, node: reader.expect_bool(node, "it"),
    "enum": lambda reader, node: reader.expect_enum(node, "it", ("ALLOW", "REJECT")),
    "size": lambda reader, node: reader.expect_size(node, "it"),
    "duration": lambda reader, node: reader.expect_duration(node, "it"),
}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("str", "x", "x"),
        ("str", "12", "12"),
        ("str", "'null'", "null"),
        ("strs", "x", ("x",)),
        ("strs", "[x, y]", ("x", "y")),
        ("int", "7", 7),
        ("bool", "true", True),
        ("bool", "false", False),
        ("enum", "ALLOW", "ALLOW"),
        ("size", "4096", 4096),
        ("size", "10 MB", 10_000_000),
        ("size", "10MiB", 10 << 20),
        ("size", "2 GiB", 2 << 30),
        ("size", "1k", 1000),
        ("duration", "90s", 90.0),
        ("duration", "3d", 259_200.0),
        ("duration", "2w", 1_209_600.0),
    ],
)
def test_a_right_value_is_read(kind: str, text: str, value: object) -> None:
    reader = Reader(HERE)
    assert READERS[kind](reader, value_of(text)) == value
    assert not reader.mistakes


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("str", "", "expected it as a text, found nothing"),
        ("str", "null", "found nothing"),
        ("str", "~", "found nothing"),
        ("str", "''", "found nothing"),
        ("str", "[x]", "found a list"),
        ("str", "{x: y}", "found a mapping"),
        ("strs", "[]", "found an empty list"),
        ("strs", "[[x]]", "found a list"),
        ("int", "0", "whole number of at least 1; found '0'"),
        ("int", "-1", "found '-1'"),
        ("int", "1.5", "found '1.5'"),
        ("int", "1_0", "found '1_0'"),
        ("int", "'7'", "found '7' in quotes"),
        ("int", "9" * 5000, "whole number"),
        ("int", "٣", "whole number"),
        ("bool", "yes", "true or false; found 'yes'"),
        ("bool", "True", "true or false"),
        ("bool", "'true'", "in quotes"),
        ("enum", "ALOW", "did you mean `ALLOW`?"),
        ("enum", "allow", "did you mean `ALLOW`?"),
        ("enum", "zzzz", "expected it as one of ALLOW, REJECT; found 'zzzz'"),
        ("enum", "[ALLOW]", "one of ALLOW, REJECT; found a list"),
        ("enum", "A" * 100_000, "one of ALLOW, REJECT"),
        ("size", "10 XB", "as a size"),
        ("size", "-5", "as a size"),
        ("size", "1e9", "as a size"),
        ("duration", "3", "as a time"),
        ("duration", "3 days", "as a time"),
        ("duration", "-3d", "as a time"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(kind: str, text: str, words: str) -> None:
    reader = Reader(HERE)
    assert not READERS[kind](reader, value_of(text))
    with pytest.raises(InputError) as caught:
        reader.finish()
    assert str(caught.value).startswith("file.yaml:1: ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["zzzz", "ALOW", "[ALLOW]"])
def test_the_words_that_are_known_are_told_once(text: str) -> None:
    reader = Reader(HERE)
    reader.expect_enum(value_of(text), "it", ("ALLOW", "REJECT"))
    assert str(reader.mistakes[0]).count("REJECT") == 1


def test_a_key_that_is_like_none_is_told_with_those_that_are_known() -> None:
    reader = Reader(HERE)
    reader.expect_mapping(loads(b"zzzz: 1\n", HERE), ("pattern", "action"), "a rule")
    assert str(reader.mistakes[0]).endswith("unknown key 'zzzz' in a rule; known: pattern, action")


@pytest.mark.parametrize("kind", READERS)
def test_an_absent_value_is_no_mistake(kind: str) -> None:
    reader = Reader(HERE)
    assert READERS[kind](reader, None) is None
    assert not reader.mistakes


def test_unknown_and_missing_keys_are_told_with_the_key_that_was_meant() -> None:
    reader = Reader(HERE)
    fields = reader.expect_mapping(
        loads(b"patern: 1\nmax-size: 2\n", HERE), ("pattern", "max_size", "action"), "a rule", required=("action",)
    )
    assert fields == {}
    assert [str(mistake) for mistake in reader.mistakes] == [
        "file.yaml:1: unknown key 'patern' in a rule; did you mean `pattern`?",
        "file.yaml:2: unknown key 'max-size' in a rule; did you mean `max_size`?",
        "file.yaml:1: a rule needs the key `action`",
    ]


@pytest.mark.parametrize(("text", "found"), [("x", "'x'"), ("[x]", "a list"), ("''", "nothing")])
def test_a_mapping_is_nothing_else(text: str, found: str) -> None:
    reader = Reader(HERE)
    assert reader.expect_mapping(value_of(text), ("a",), "a rule") == {}
    assert f"expected a rule as a mapping (`key: value`), found {found}" in str(reader.mistakes[0])


def test_a_list_is_nothing_else() -> None:
    reader = Reader(HERE)
    assert reader.expect_list(value_of("x"), "rules") == ()
    assert "expected rules as a list, found 'x'" in str(reader.mistakes[0])


def test_paths_begin_at_the_file(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "there/file.yaml")
    assert reader.expect_path(value_of("a/b"), "it") == tmp_path / "there/a/b"
    assert reader.expect_path(value_of("/a/b"), "it") == Path("/a/b")
    assert reader.mistakes == []
    assert reader.expect_path(value_of("~no-such-user-here/a"), "it") is None
    assert "it: " in str(reader.mistakes[0])


def test_a_file_has_to_be_there(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "file.yaml")
    (tmp_path / "there").touch()
    assert reader.expect_file(value_of("there"), "it") == tmp_path / "there"
    assert reader.expect_file(None, "it") is None
    assert reader.mistakes == []
    assert reader.expect_file(value_of("."), "it") is None
    assert f"it: there is no file {tmp_path}" in str(reader.mistakes[0])


def test_a_file_full_of_mistakes_is_told_by_its_first_ones() -> None:
    reader = Reader(HERE)
    for line in range(1000):
        reader.mistake(line, "wrong")
    assert len(reader.mistakes) == 50
