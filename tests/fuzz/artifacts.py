"""Fuzzes the patterns of artifacts: parsing, and following them down a tree, against a second way to read them."""

from __future__ import annotations

import fnmatch

from hermit_workers.sandbox.artifacts.matching import Matcher
from hermit_workers.sandbox.artifacts.patterns import PatternError, parse
from tests.fuzz.case import Case, attempt

_MAX_PATHS = 6
_MAX_NAMES = 8


def artifacts(data: bytes) -> bool:
    """Read a first line as a pattern, and further ones as paths of files."""
    first, *rest = data.decode("utf-8", "surrogateescape").split("\n")
    pattern = attempt(lambda: parse(first), PatternError)
    if pattern is None:
        return False
    assert parse(pattern.text) == pattern
    assert ".." not in first.split("/")
    assert not first.startswith("/")
    assert first.isprintable()
    matcher = Matcher([pattern])
    for path in rest[:_MAX_PATHS]:
        names = path.split("/")
        if len(names) <= _MAX_NAMES and not {"", ".", ".."} & set(names):
            written = first.removesuffix("/").split("/")
            expected = _expected(written, names, folder=first.endswith("/"))
            assert _followed(matcher, names) == expected, (first, path)
    return True


def _followed(matcher: Matcher, names: list[str]) -> bool:
    """Follow a path as the walker does: no folder is listed, nor entered, where nothing can match."""
    places = matcher.start()
    for name in names[:-1]:
        step = matcher.step(places, name)
        places = step.folder()
        if not places:
            return False
    plain = matcher.plain(places)
    taken = bool(matcher.step(places, names[-1]).file(link=False))
    assert not taken or plain is None or names[-1] in plain, "a file that is taken is not looked for"
    return taken


def _expected(written: list[str], names: list[str], *, folder: bool) -> bool:
    """Say it again, from the back and with Python's fnmatch: a file, or any folder above it, is what is meant."""
    if not folder and _means(written, names):
        return True
    above = [names[:end] for end in range(1, len(names))]
    return (folder or written[-1] != "**") and any(_means(written, part) for part in above)


def _means(written: list[str], names: list[str]) -> bool:
    if not written:
        return not names
    if written[0] != "**":
        return bool(names) and _same(written[0], names[0]) and _means(written[1:], names[1:])
    if len(written) > 1 and _means(written[1:], names):
        return True
    if not names or names[0].startswith("."):
        return False
    return _means(written, names[1:]) or (len(written) == 1 and len(names) == 1)


def _same(pattern: str, name: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, pattern)


CASES = (
    Case(
        "artifacts",
        artifacts,
        [
            b"dist/*\ndist/a.whl\ndist/.hidden\ndist/sub/.hidden\nother",
            b"**/*.whl\na.whl\na/b/c.whl\n.venv/c.whl",
            b"target/release/app\ntarget/release/app\ntarget/release/app/x",
            b"docs/\ndocs\ndocs/a\ndocs/.nojekyll",
            b"a/**/b/**/c\na/b/c\na/x/b/y/c\na/b/b/c/d",
            b"**\na\n.a\na/.b\n.a/b",
            b"**/\na\na/b\n.a/b\na/.b/c",
            b"[!a-c]?[]x]\ndz]\nazx",
            b"*a*b*[0-9]\naXbY7\nab",
            b".github/*.yml\n.github/x.yml",
            "ä*\u4e2d?\nä-\u4e2dx".encode(),
        ],
        (
            *(b"*", b"**", b"**/", b"/**", b"?", b"[a-z]", b"[!a]", b"[]]", b"[[]", b"[", b"]", b"!", b"^", b"-"),
            *(b"/", b"//", b"..", b"./", b".", b".h", b"\\", b"{a,b}", b"\n", b"\r", b"\0", b"\xff", b"[:alpha:]"),
            *(b"\nx/y/z", b"\na/b", b"a", b"ab", b"\xc2\xa0", b"\xe2\x80\xae"),
        ),
        300,
    ),
)
