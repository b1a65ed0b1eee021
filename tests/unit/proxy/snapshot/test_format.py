"""What is written is read back, by this reader and by any YAML reader; what is hostile is refused, and soon."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hermit_proxy.errors import InputError
from hermit_proxy.request.target import BadTargetError, parse_url
from hermit_proxy.snapshot import check, handwritten
from hermit_proxy.snapshot import format as file_format
from hermit_proxy.snapshot.entry import KEPT_HEADERS, Entry
from hermit_proxy.snapshot.format import dump, parse

PATH = Path(".hermit/network/registry.example.org.yaml")
ORIGIN = "https://registry.example.org"
DIGEST = "4c25de18" * 8

SAMPLE = [
    Entry("GET", f"{ORIGIN}/@v/list", 404),
    Entry("HEAD", f"{ORIGIN}/a.whl", 200, size=7),
    Entry("POST", f"{ORIGIN}/foo.git/git-upload-pack", 200, DIGEST, (), DIGEST, 0),
    Entry(
        "GET",
        f"{ORIGIN}/simple/foo/",
        200,
        None,
        (("accept", "application/vnd.pypi.simple.v1+json"),),
        DIGEST,
        529,
        (("content-type", "application/vnd.pypi.simple.v1+json"), ("etag", '"abc"')),
    ),
    Entry("GET", f"{ORIGIN}/token?scope=a", 200, headers=(("content-type", "application/json"),), stand_in="token"),
    Entry("GET", f"{ORIGIN}/urn:", 302, headers=(("location", '/it\'s "here"'),)),
]
TEXT = f"""\
version: 2
entries:
  - request: GET {ORIGIN}/@v/list
    status: 404
  - request: HEAD {ORIGIN}/a.whl
    status: 200
    size: 7
  - request: POST {ORIGIN}/foo.git/git-upload-pack
    body: sha256:{DIGEST}
    status: 200
    sha256: {DIGEST}
    size: 0
  - request: GET {ORIGIN}/simple/foo/
    vary: {{accept: application/vnd.pypi.simple.v1+json}}
    status: 200
    sha256: {DIGEST}
    size: 529
    headers: {{content-type: application/vnd.pypi.simple.v1+json, etag: '"abc"'}}
  - request: GET {ORIGIN}/token?scope=a
    status: 200
    headers: {{content-type: application/json}}
    stand-in: token
  - request: "GET {ORIGIN}/urn:"
    status: 302
    headers: {{location: "/it's \\"here\\""}}
"""


def identities(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.sort_key)


def test_the_layout_is_this_one_and_reads_back() -> None:
    assert dump(SAMPLE).decode() == TEXT
    assert dump(reversed(SAMPLE)).decode() == TEXT
    assert parse(TEXT.encode(), PATH) == SAMPLE


def test_entries_share_what_they_say_alike() -> None:
    kind, etag = ("content-type", "text/html; charset=utf-8"), ("etag", '"a"')
    made = [Entry("GET", f"{ORIGIN}/{n}", 404, headers=(kind, etag) if n % 2 else (kind,)) for n in range(4)]
    read = parse(dump(made), PATH)
    assert read == made
    assert read[0].method is read[1].method
    assert read[0].headers is read[2].headers
    assert read[0].headers[0] is read[1].headers[0]


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("content-type: a, content-type: a", "content-type"),
        ("set-cookie: a", "'set-cookie' is none of"),
        ("content-type: a, etag: ' b'", "space around it"),
    ],
)
def test_headers_that_stand_in_many_entries_are_judged_in_each(headers: str, expected: str, long: bool) -> None:
    good = f"  - request: GET {ORIGIN}/a\n    status: 404\n    headers: {{content-type: a, etag: b}}\n"
    more = f", vary: {'a' * 100}" if long else ""
    bad = f"  - request: GET {ORIGIN}/b\n    status: 404\n    headers: {{{headers}{more}}}\n"
    for _ in range(2):
        with pytest.raises(InputError, match=expected) as caught:
            parse(f"version: 2\nentries:\n{good}{bad}".encode(), PATH)
        assert {mistake.line for mistake in caught.value.mistakes} <= {6, 7, 8}


def test_headers_in_another_order_mean_the_same() -> None:
    sorted_so = (
        f"version: 2\nentries:\n  - request: GET {ORIGIN}/a\n    status: 404\n    headers: {{etag: b, vary: a}}\n"
    )
    other = sorted_so.replace("etag: b, vary: a", "vary: a, etag: b")
    assert parse(other.encode(), PATH) == parse(sorted_so.encode(), PATH)


def test_an_empty_snapshot_reads_back() -> None:
    assert dump([]) == b"version: 2\nentries: []\n"
    assert parse(dump([]), PATH) == []


def url_of(tail: str) -> str:
    try:
        return parse_url(f"{ORIGIN}/{tail}").url
    except BadTargetError:
        return f"{ORIGIN}/"


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
octets = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters=[chr(c) for c in range(0x7F, 0x80)])
values = st.text(octets | st.sampled_from(" \t'\"\\:#,{}[]&*!|>%@`-?"), max_size=12).map(str.strip).filter(
    lambda value: check._VALUE.fullmatch(value) is not None
) | st.sampled_from(
    ["", "yes", "Null", "~", "1", "a: b", "a #b", "- a", "? a", "*a", "&a", "!a", "%a", "@a", "a:", "{a"]
)


def pairs(names: Iterable[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.dictionaries(st.sampled_from(sorted(names)), values, max_size=3).map(lambda d: tuple(sorted(d.items())))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    sha256 = draw(st.none() | digests)
    status = draw(st.integers(200, 499).filter(check.recordable))
    return Entry(
        method=draw(st.sampled_from(["GET", "POST", "PROPFIND", "M-SEARCH"])),
        url=url_of(draw(st.text(string.printable, max_size=12) | st.text(max_size=5))),
        status=status,
        body=draw(st.none() | digests),
        vary=draw(pairs(check.VARY_NAMES)),
        sha256=sha256,
        size=None if sha256 is None else draw(st.integers(0, check.MAX_SIZE)),
        headers=draw(pairs(KEPT_HEADERS)),
        stand_in=None if sha256 is not None or status != 200 else draw(st.sampled_from([None, "token"])),
    )


files = st.lists(entries(), max_size=4, unique_by=lambda entry: (entry.key, entry.vary))


@given(files)
def test_whatever_is_written_reads_back_quickly_slowly_and_by_any_yaml_reader(written: list[Entry]) -> None:
    text = dump(written)
    assert file_format._parse_canonical(text.decode(), PATH.name) == identities(written)
    assert identities(handwritten.parse(text, PATH)) == identities(written)
    assert dump(parse(text, PATH)) == text
    data = yaml.safe_load(text)
    assert [entry["request"] for entry in data["entries"]] == [f"{e.method} {e.url}" for e in identities(written)]
    for found, entry in zip(data["entries"], identities(written), strict=True):
        assert found.get("headers", {}) == dict(entry.headers)
        assert found.get("vary", {}) == dict(entry.vary)
        assert found["status"] == entry.status


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_snapshot_or_a_mistake_with_a_file(text: bytes) -> None:
    try:
        parse(text, PATH)
    except InputError as error:
        mistakes = error.mistakes
    else:
        return
    assert mistakes
    assert all(mistake.path == PATH for mistake in mistakes)


@settings(max_examples=max(300, settings().max_examples))
@given(st.integers(0, len(TEXT)), st.integers(0, 30), st.binary(max_size=6) | st.sampled_from([b"\t", b"&a ", b"\n"]))
def test_a_damaged_file_means_the_same_to_both_readers_or_is_refused(at: int, cut: int, put: bytes) -> None:
    damaged = TEXT.encode()[:at] + put + TEXT.encode()[at + cut :]
    try:
        found = parse(damaged, PATH)
    except InputError:
        return
    assert identities(found) == identities(handwritten.parse(damaged, PATH))
    assert not [problem for entry in found for problem in check.problems(entry)]


def test_a_tab_within_quotes_is_refused_by_both_readers() -> None:
    line = '    headers: {location: "/it\'s \\"here\\""}\n'
    assert TEXT.endswith(line)
    tabbed = (TEXT.removesuffix(line) + line.replace("it's ", "it's\t")).encode()
    with pytest.raises(InputError, match="a tab"):
        parse(tabbed, PATH)


def test_a_file_with_another_layout_means_the_same() -> None:
    laid_out = f"""\
# Edited by hand.
entries:
- status: 200
  size: 529
  request: "GET {ORIGIN}/simple/foo/"
  sha256: {DIGEST}
  headers:
    etag: '"abc"'
    content-type: application/vnd.pypi.simple.v1+json
  vary:
    accept: application/vnd.pypi.simple.v1+json
version: 2
"""
    assert parse(laid_out.encode(), PATH) == [SAMPLE[3]]


ENTRY = f"  - request: GET {ORIGIN}/a\n    status: 404\n"
HEAD = "version: 2\nentries:\n"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", None, "mapping"),
        ("[]\n", 1, "mapping"),
        ("version: 2\n", 1, "`entries`"),
        ("entries: []\n", 1, "`version`"),
        ("version: 3\nentries: []\n", 1, "expected version 2, found 3"),
        ("version: '2'\nentries: []\n", 1, "whole number"),
        ("version: 2\nentries: {}\n", 2, "list"),
        ("version: 2\nversion: 2\nentries: []\n", 2, "second time"),
        ("version: 2\nextra: 1\nentries: []\n", 2, "unknown key 'extra'"),
        (HEAD + ENTRY + "    statsu: 1\n", 5, "unknown key 'statsu'"),
        (HEAD + ENTRY + "    status: 404\n", 5, "second time"),
        (HEAD + ENTRY + ENTRY, 5, "second time (first: line 3)"),
        (HEAD + ENTRY + "\t# a\n", None, ""),
        (HEAD + ENTRY.replace("    status", "\tstatus"), 4, "tab"),
        (HEAD + ENTRY + "    headers: &a {etag: x}\n", 5, "anchor"),
        (HEAD + ENTRY + "    headers: *a\n", 5, "alias"),
        (HEAD + ENTRY + "    <<: {etag: x}\n", 5, "merge"),
        (HEAD + ENTRY + "    headers: !!map {etag: x}\n", 5, "tag"),
        (HEAD + ENTRY + "---\nversion: 2\n", 5, "second document"),
        (HEAD + ENTRY + "    headers: {etag: [x]}\n", 5, "as a text, found a list"),
        (HEAD + ENTRY + "    headers: [etag]\n", 5, "mapping"),
        (HEAD + ENTRY + "    headers: {etag: }\n", 5, "found nothing"),
        (HEAD + ENTRY + "    headers: {set-cookie: a=b}\n", 5, "'set-cookie' is none of"),
        (HEAD + ENTRY + "    headers: {ETag: x}\n", 5, "'ETag' is none of"),
        (HEAD + ENTRY + '    headers: {etag: "a\\r\\nset-cookie: b"}\n', 5, "control characters"),
        (HEAD + ENTRY + "    headers: {etag: €}\n", 5, "control characters"),
        (HEAD + ENTRY + "    vary: {user-agent: x}\n", 5, "'user-agent' is none of"),
        (HEAD + ENTRY + "    size: 5\n", 3, "an entry with a size has the digest"),
        (HEAD + ENTRY + "    size: -5\n", 5, "whole number"),
        (HEAD + ENTRY + "    size: 1e3\n", 5, "whole number"),
        (HEAD + ENTRY + "    size: 99999999999999999\n", 5, "expected 0 to"),
        (HEAD + ENTRY + f"    sha256: {DIGEST}\n", 3, "has the size"),
        (HEAD + ENTRY + f"    sha256: {DIGEST.upper()}\n    size: 1\n", 5, "64 lower-case hex"),
        (HEAD + ENTRY + "    sha256: ../../../etc/passwd\n    size: 1\n", 5, "64 lower-case hex"),
        (HEAD + ENTRY + f"    body: {DIGEST}\n", 5, "expected sha256:"),
        (HEAD + ENTRY + "    body: sha256:abc\n", 5, "64 lower-case hex"),
        (HEAD + ENTRY + "    stand-in: password\n", 5, "expected token"),
        (HEAD + ENTRY + f"    stand-in: token\n    sha256: {DIGEST}\n    size: 1\n", 5, "no sha256"),
        (HEAD + ENTRY.replace("404", "500"), 4, "never recorded"),
        (HEAD + ENTRY.replace("404", "206"), 4, "never recorded"),
        (HEAD + ENTRY.replace("404", "099"), 4, "never recorded"),
        (HEAD + ENTRY.replace("404", "OK"), 4, "whole number"),
        (HEAD + ENTRY.replace("GET ", ""), 3, "a method and a URL"),
        (HEAD + ENTRY.replace("GET", "get"), 3, "method in capitals"),
        (HEAD + ENTRY.replace("/a\n", "/a/../b\n"), 3, f"written as {ORIGIN}/b"),
        (HEAD + ENTRY.replace("/a\n", "/a//b\n"), 3, f"written as {ORIGIN}/a/b"),
        (HEAD + ENTRY.replace("/a\n", "/%61\n"), 3, f"written as {ORIGIN}/a"),
        (HEAD + ENTRY.replace("/a\n", "/..%2fb\n"), 3, "dot segments"),
        (HEAD + ENTRY.replace("/a\n", "\n"), 3, f"written as {ORIGIN}/"),
        (HEAD + ENTRY.replace(".org/", ".org:443/"), 3, f"begins with {ORIGIN}/"),
        (HEAD + ENTRY.replace("registry", "Registry"), 3, f"begins with {ORIGIN}/"),
        (HEAD + ENTRY.replace("https", "ftp"), 3, "not an http or https URL"),
        (HEAD + ENTRY.replace("registry", "other"), 3, "belongs into other.example.org.yaml"),
        (HEAD + ENTRY.replace("registry.example.org", "../../etc"), 3, "not a host name"),
        (HEAD + ENTRY.replace(".org/", ".org:8443/"), 3, "belongs into registry.example.org+8443.yaml"),
        (HEAD + "  - " + "[" * 40 + "\n", None, ""),
        (HEAD + "  - [a, b]\n", 3, "mapping"),
        (HEAD + "  - {}\n", 3, "`request`"),
    ],
)
def test_a_bad_file_is_told_with_line_and_what_was_expected(text: str, line: int | None, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text.encode(), PATH)
    told = caught.value.mistakes
    assert all(mistake.path == PATH for mistake in told)
    assert any((line is None or mistake.line == line) and expected in mistake.message for mistake in told), told


def test_all_mistakes_are_told_at_once() -> None:
    text = HEAD + ENTRY.replace("404", "500") + ENTRY.replace("GET", "get").replace("/a", "/b") + "    odd: 1\n"
    with pytest.raises(InputError) as caught:
        parse(text.encode(), PATH)
    assert [mistake.line for mistake in caught.value.mistakes] == [4, 7]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"version: 2\nentries: []\n\xff", b"version: 2\x00\n"])
def test_what_is_no_text_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        parse(text, PATH)


@pytest.mark.parametrize(
    "hostile",
    [
        b"version: 2\nentries: " + b"[" * 1_000_000,
        b"version: 2\nentries: " + b"{a: " * 1_000_000,
        b"version: 2\nentries:\n" + b"  - x\n" * 100_000,
        b"version: 2\nentries:\n" + b"- - " * 100_000,
        b"&a [*a, *a]\n" * 10_000,
        b"a: b\n" * 100_000,
        b"\tx\n" * 200_000,
        b"version: 2\nentries:\n  - request: GET " + b"https://registry.example.org/" + b"a" * 5_000_000 + b"\n",
        b"version: 2\nentries:\n  - request: GET https://registry.example.org/"
        b"%" + b"25" * 5000 + b"\n    status: 404\n",
        b'version: 2\nentries:\n  - headers: {etag: "' + b"\\x41" * 500_000,
        b"x" * (handwritten.MAX_FILE + 1),
        TEXT.encode() * 2000,
    ],
    ids=range(12),
)
@pytest.mark.timeout(60)
def test_a_hostile_file_is_refused_without_a_hang(hostile: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse(hostile, PATH)
    assert len(str(caught.value)) < 100_000


def test_a_large_file_of_hermits_own_is_read_without_the_yaml_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(handwritten, "parse")
    many = [replace(SAMPLE[3], url=f"{ORIGIN}/{number:05}/") for number in range(20_000)]
    assert parse(dump(many), PATH) == many


@pytest.mark.parametrize(
    "bad",
    [
        replace(SAMPLE[0], status=503),
        replace(SAMPLE[0], url=f"{ORIGIN}/a/../b"),
        replace(SAMPLE[0], headers=(("set-cookie", "a"),)),
        replace(SAMPLE[0], headers=(("etag", "a"), ("etag", "b"))),
        replace(SAMPLE[0], headers=(("etag", "a\nb"),)),
        replace(SAMPLE[0], headers=(("etag", " a"),)),
        replace(SAMPLE[0], headers=(("etag", "\u20ac"),)),
        replace(SAMPLE[0], sha256="x"),
    ],
)
def test_what_would_not_read_back_is_not_written(bad: Entry) -> None:
    with pytest.raises(ValueError, match="registry"):
        dump([bad])
