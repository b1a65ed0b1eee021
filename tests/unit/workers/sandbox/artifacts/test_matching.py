"""Follows patterns down made-up paths."""

from __future__ import annotations

import pytest

from hermit_workers.sandbox.artifacts.matching import Matcher
from hermit_workers.sandbox.artifacts.patterns import parse


def taken(pattern: str, path: str) -> bool:
    """Tell whether a file is taken, its folders being folders."""
    matcher = Matcher([parse(pattern)])
    places = matcher.start()
    *folders, name = path.split("/")
    for folder in folders:
        places = matcher.step(places, folder).folder()
        if not places:
            return False
    return bool(matcher.step(places, name).file(link=False))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("target/release/app", "target/release/app", True),
        ("target/release/app", "target/release/app.d", False),
        ("target/release/app", "x/target/release/app", False),
        ("dist/*", "dist/a.whl", True),
        ("dist/*", "dist/.hidden", False),
        ("dist/*", "dist/sub/a", True),
        ("dist/*", "dist/sub/.hidden", True),
        ("dist/*", "dist/.sub/a", False),
        ("docs/", "docs/a/b", True),
        ("docs/", "docs", False),
        ("docs", "docs", True),
        ("docs", "docs/.nojekyll", True),
        ("**/*.whl", "a.whl", True),
        ("**/*.whl", "a/b/c.whl", True),
        ("**/*.whl", ".venv/c.whl", False),
        ("**/*.whl", "a/b/c.txt", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/c", False),
        ("a/**", "a/x/y", True),
        ("a/**", "a/x/.y", False),
        ("a/**", "a", False),
        ("**", "x/y", True),
        ("**/", "x", False),
        ("**/", "x/y", True),
        ("**/x/**/y", "x/x/y/x/y", True),
        (".github/*", ".github/x", True),
    ],
)
def test_a_pattern_takes(pattern: str, path: str, *, expected: bool) -> None:
    assert taken(pattern, path) is expected


def test_a_folder_is_only_listed_where_a_name_is_open() -> None:
    matcher = Matcher([parse("dist/app"), parse("target/*")])
    assert matcher.plain(matcher.start()) == {"dist", "target"}
    assert matcher.plain(matcher.step(matcher.start(), "dist").folder()) == {"app"}
    assert matcher.plain(matcher.step(matcher.start(), "target").folder()) is None


def test_a_folder_that_is_taken_whole_is_listed() -> None:
    matcher = Matcher([parse("dist")])
    assert matcher.plain(matcher.step(matcher.start(), "dist").folder()) is None


def test_only_a_name_that_is_spelled_out_is_asked_for_by_name() -> None:
    matcher = Matcher([parse("target/x"), parse("**/y"), parse("*/z")])
    assert matcher.step(matcher.start(), "target").named
    assert not matcher.step(matcher.start(), "other").named
