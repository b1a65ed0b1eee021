"""The closed YAML subset: what it reads, and that every mistake names file, line and what was expected."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.closedyaml.file import MAX_DEPTH, Mapping, Node, Scalar, Sequence, _tab_lines, load, loads, read_bytes
from hermit_proxy.errors import ExitCode, InputError

HERE = Path("file.yaml")


def plainly(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plainly(item) for item in node.items]
    return {key.text: plainly(value) for key, value in node.items}


def test_values_keep_their_text_whatever_yaml_would_make_of_them() -> None:
    node = loads(b"a: yes\nb: 010\nc: 2020-01-01\nd: 'x'\ne: |\n  two\n  lines\n", HERE)
    assert plainly(node) == {"a": "yes", "b": "010", "c": "2020-01-01", "d": "x", "e": "two\nlines\n"}


def test_nodes_know_their_line_and_whether_they_were_quoted() -> None:
    node = loads(b"# one\na: 1\nb:\n  - 'x'\n", HERE)
    assert isinstance(node, Mapping)
    (_, a), (key, b) = node.items
    assert (a, key.line) == (Scalar(2, "1", plain=True), 3)
    assert isinstance(b, Sequence)
    assert b.items == (Scalar(4, "x", plain=False),)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_content_is_no_value(text: bytes) -> None:
    node = loads(text, HERE)
    assert isinstance(node, Scalar)
    assert node.nothing


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "'a' stands here a second time (first: line 1)"),
        (b"a: 1\n'a': 3\n", 2, "second time"),
        (b"a: {b: 1, b: 2}\n", 1, "'b' stands here a second time"),
        (b"a: &x 1\n", 1, "an anchor (&x)"),
        (b"a: &x {b: 1}\n", 1, "an anchor (&x)"),
        (b"a: 1\nb: *x\n", 2, "an alias (*x)"),
        (b"a:\n  <<: {b: 1}\n", 2, "a merge key"),
        (b"a: !!python/object:os.system x\n", 1, "a tag"),
        (b"a: ! x\n", 1, "a tag"),
        (b"a: 1\n\tb: 2\n", 2, "a tab"),
        (b"a:\t1\n", 1, "a tab"),
        (b"a: b#\t\n", 1, "a tab"),
        (b"a: 1\n\t# comment\n", 2, "a tab"),
        (b"a: 1\n---\nb: 2\n", 2, "a second document"),
        (b"%YAML 1.1\n---\na: 1\n", 1, "directive"),
        (b"%TAG ! x:\n---\na: 1\n", 1, "directive"),
        (b"a: 1\nb: [1,\n", 3, "not YAML"),
        (b"a: 1\n b: 2\n", 2, "not YAML"),
        (b"a: 'x\n", 2, "not YAML"),
        (b"? [a, b]\n: 1\n", 1, "a key is one word"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"\xff\xfea\x00:\x00", 1, "not UTF-8"),
        (b"a: 1\nb: \x00\n", 2, "control characters"),
        (b"a: 1\nb: \x1b[31m\n", 2, "control characters"),
        (b"a: " + b"[" * 1000, 1, f"nested deeper than {MAX_DEPTH} levels"),
        (b"{a: " * 100, 1, f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_the_subset_leaves_out_is_refused_with_file_line_and_words(text: bytes, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        loads(text, HERE)
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).startswith(f"file.yaml:{line}: ")
    assert words in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        loads(b"a: &x 1\nb: *x\nb: 2\nc: !t 1\n", HERE)
    assert [mistake.line for mistake in caught.value.mistakes] == [1, 2, 3, 4]


def test_a_billion_laughs_are_not_laughed() -> None:
    text = b"a: &a [x, x]\n" + b"".join(b"a%d: &a%d [*a, *a]\n" % (n, n) for n in range(1000))
    with pytest.raises(InputError) as caught:
        loads(text, HERE)
    assert len(caught.value.mistakes) <= 50


def test_a_file_of_tabs_is_told_by_its_first_ones() -> None:
    # Counting lines for each of them would take minutes.
    with pytest.raises(InputError) as caught:
        loads(b"a\t\n" * 300_000, HERE)
    assert [mistake.line for mistake in caught.value.mistakes] == list(range(1, 51))


def test_a_tab_in_a_comment_is_no_mistake() -> None:
    assert plainly(loads(b"a: 1 # one\ttwo\n", HERE)) == {"a": "1"}


def test_of_very_many_tabs_the_first_are_told_and_the_rest_is_not_looked_at() -> None:
    class Counted(str):
        """Counts the characters that are looked at for ends of lines."""

        __slots__ = ("seen",)

        def count(self, sub: str, start: int = 0, end: int | None = None) -> int:
            stop = len(self) if end is None else end
            self.seen = getattr(self, "seen", 0) + stop - start
            return super().count(sub, start, stop)

    text = Counted("\tx\n" * 100_000)
    assert list(islice(_tab_lines(text), 50)) == list(range(1, 51))
    assert text.seen < 200
    with pytest.raises(InputError) as caught:
        loads(text.encode(), HERE)
    assert [mistake.line for mistake in caught.value.mistakes] == list(range(1, 51))


def test_a_message_shows_neither_long_nor_raw_text() -> None:
    with pytest.raises(InputError) as caught:
        loads(b'? "' + b"\\e[31m" + b"k" * 900 + b'"\n: 1\n? "' + b"\\e[31m" + b"k" * 900 + b'"\n: 2\n', HERE)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_10_mb_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"# comment\n" * 1_000_000)
    with pytest.raises(InputError, match=r"rules\.yaml: larger than the 1,048,576 bytes that are read"):
        load(path)


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"#" * 100)
    assert load(path, limit_bytes=100) == Scalar(1, "", plain=True)
    with pytest.raises(InputError, match="larger than the 99 bytes"):
        load(path, limit_bytes=99)


def test_what_is_no_file_is_refused_and_does_not_block(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in (
        (pipe, "expected a file"),
        (Path("/dev/zero"), "expected a file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "absent", "No such file"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            load(path)


def test_a_private_file_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    for mode in (0o644, 0o640, 0o604, 0o620, 0o602, 0o610):
        path.chmod(mode)
        with pytest.raises(InputError, match="expected 0600") as caught:
            read_bytes(path, private=True)
        assert caught.value.hint == f"chmod 600 {path}"
    for mode in (0o600, 0o400):
        path.chmod(mode)
        assert read_bytes(path, private=True) == b"x"


@given(st.binary(max_size=300))
def test_no_octets_crash_it(data: bytes) -> None:
    try:
        node = loads(data, HERE)
    except InputError:
        return
    assert isinstance(node, Scalar | Sequence | Mapping)


YAML_PIECES = st.sampled_from(
    [*"ab[]{},'|>#~1é\n\t\r\\\"\u2028\x85", ": ", "- ", "  ", "? ", "&x ", "*x", "!t ", "---", "...", "%YAML 1.1", "<<"]
)


@given(st.lists(YAML_PIECES, max_size=40).map("".join))
def test_no_text_crashes_it_and_what_it_accepts_means_the_same_to_pyyaml(text: str) -> None:
    try:
        node = loads(text.encode(), HERE)
    except InputError:
        return
    try:
        expected = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  BaseLoader makes texts only
    except yaml.YAMLError:
        return  # libyaml reads `|#` as an empty text, PyYAML's own scanner refuses it
    assert plainly(node) == ("" if expected is None else expected)


@given(
    st.recursive(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1), inner, max_size=3
            )
        ),
        max_leaves=10,
    )
)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert plainly(loads(yaml.safe_dump(value).encode(), HERE)) == value
