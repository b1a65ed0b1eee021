"""Tests that a project's files are read calmly, and nothing outside of it is."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from hermit_cli.init import tree as module
from hermit_cli.init.tree import Tree, string, strings, table


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", "a = [", "a.toml: not TOML: "),
        ("a.json", "{", "a.json: not JSON: "),
        ("b.json", "[1]", "b.json: expected a JSON object"),
        ("c.json", "[" * 100_000, "c.json: not JSON: "),
        ("a.xml", "<a>", "a.xml: not XML: "),
        ("b.xml", '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "b.xml: declares a document type, which is not read"),
    ],
)
def test_a_broken_file_is_noted_once_and_read_as_an_empty_one(name: str, text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    tree = Tree(tmp_path)
    read = {"toml": tree.toml, "json": tree.json, "xml": tree.xml}[name.partition(".")[2]]
    assert not read(name)
    assert not read(name)
    assert len(tree.troubles) == 1
    assert tree.troubles[0].startswith(told)


def test_what_is_not_there_is_empty_and_no_trouble(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert (tree.text("a"), tree.toml("a"), tree.json("a"), tree.xml("a"), tree.names("*")) == ("", {}, {}, None, [])
    assert tree.troubles == []


def test_a_byte_order_mark_and_foreign_bytes_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "\xff"}')
    assert Tree(tmp_path).json("a.json") == {"a": "\ufffd"}


def test_names_in_xml_lose_their_namespaces(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<a xmlns="http://example.org/x"><b>c</b></a>')
    found = Tree(tmp_path).xml("a.xml")
    assert found is not None
    assert found.findtext("b") == "c"


def test_a_link_out_of_the_project_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    root = tmp_path / "project"
    root.mkdir()
    (root / "package.json").symlink_to(tmp_path / "secret")
    (root / "inside").write_text("{}")
    (root / "link").symlink_to("inside")
    tree = Tree(root)
    assert not tree.has("package.json")
    assert tree.text("package.json") == ""
    assert tree.has("link")


def test_a_file_that_is_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": "0123456789"}')
    tree = Tree(tmp_path)
    assert tree.json("a.json") == {}
    assert tree.troubles == ["a.json: larger than the 10 bytes that are read"]


def test_folders_are_walked_without_those_of_tools_hidden_ones_and_links(tmp_path: Path) -> None:
    for name in ("b/c/d", "a", ".git/x", "node_modules/x", "vendor/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [str(folder) for folder in Tree(tmp_path).folders(2)]
    assert found == ["a", "b", "b/c"]


def test_files_below_are_found_with_their_folders(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("x.go", "a/y.go", "a/b/z.go", "a/b/z.c"):
        (tmp_path / name).touch()
    tree = Tree(tmp_path)
    assert tree.files("*.go") == ["x.go", "a/y.go", "a/b/z.go"]
    assert tree.files("*.go", 1) == ["x.go", "a/y.go"]
    assert tree.below(PurePosixPath("a")).files("*.go") == ["y.go", "b/z.go"]


def test_values_of_another_kind_are_read_as_nothing() -> None:
    data = {"a": {"b": ["c", 1, None]}}
    assert table(data, "a") == data["a"]
    assert table(data, "a", "b") == {}
    assert table(None, "a") == {}
    assert strings(data["a"]["b"]) == ("c",)
    assert strings("c") == ()
    assert (string("c"), string(1)) == ("c", "")
