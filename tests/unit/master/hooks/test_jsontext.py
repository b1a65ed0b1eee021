"""JSON of strangers: nothing deep, doubled or half legal is read, and no text costs more than its length."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_master.hooks import jsontext
from hermit_master.hooks.jsontext import MAX_DEPTH, BadJsonError, read_object

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refusal(body: bytes) -> str:
    with pytest.raises(BadJsonError) as caught:
        read_object(body)
    return str(caught.value)


@given(st.dictionaries(st.text(), _JSON, max_size=5), st.sampled_from([None, 1]))
def test_what_is_an_object_is_read_as_python_reads_it(value: dict[str, Any], indent: int | None) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=indent is None).encode("utf-8", "surrogatepass")
    assert read_object(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"[]", "no JSON object"),
        (b'"a"', "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} {}', "not JSON"),
        (b'{"a": 1, "a": 2}', "key twice"),
        (b'{"a": {"b": 1, "b": 1}}', "key twice"),
        (b'{"a": NaN}', "does not know"),
        (b'{"a": -Infinity}', "does not know"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
        (b"a=1&payload={}", "not JSON"),
    ],
)
def test_what_is_none_is_refused(body: bytes, told: str) -> None:
    assert told in refusal(body)


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"a":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"


def test_depth_is_bounded_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_object(nested(MAX_DEPTH))
    monkeypatch.setattr(jsontext, "json", None)
    assert "deeper" in refusal(nested(MAX_DEPTH + 1))
    assert "deeper" in refusal(nested(MAX_DEPTH + 1, b'{"a":', b"}"))
    assert "deeper" in refusal(b"[" * 1_000_000)


def test_brackets_in_a_text_are_no_depth() -> None:
    text = "[{" * 100 + '\\"]'
    assert read_object(json.dumps({"a": text, "b\\": '"['}).encode()) == {"a": text, "b\\": '"['}


@pytest.mark.parametrize("body", [b'{"' + b'\\"' * 500_000, b'"' * 1_000_001, b'{"' + b"\\" * 1_000_001])
def test_a_text_without_end_costs_its_length_and_not_its_square(body: bytes) -> None:
    assert "not JSON" in refusal(body)


@given(st.binary(max_size=60) | st.text('{}[]":,\\ 1a', max_size=40).map(str.encode))
def test_whatever_comes_is_an_object_or_refused(body: bytes) -> None:
    try:
        found = read_object(body)
    except BadJsonError:
        return
    assert found == json.loads(body)
