"""A lookup must find what the server would have answered, and nothing where that is not clear."""

from __future__ import annotations

import itertools

import pytest

from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot

URL = "https://registry.example.org/simple/foo/"
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html"


def variant(accept: str, content_type: str, digit: str) -> Entry:
    return Entry("GET", URL, 200, None, (("accept", accept),), digit * 64, 1, (("content-type", content_type),))


def ask(
    snapshot: Snapshot, method: str = "GET", *, url: str = URL, body: str | None = None, **sent: str
) -> Entry | None:
    headers = {name.replace("_", "-"): value for name, value in sent.items()}
    return snapshot.find(Request(method, parse_url(url), headers, body))


def test_an_empty_snapshot_has_no_answer() -> None:
    assert ask(Snapshot()) is None
    assert list(Snapshot()) == []


def test_method_query_and_body_are_part_of_the_question() -> None:
    posts = [Entry("POST", URL, 200, body=digit * 64, sha256=digit * 64, size=1) for digit in "ab"]
    snapshot = Snapshot([*posts, Entry("GET", URL + "?go-get=1", 404)])
    assert ask(snapshot, "POST", body="b" * 64) == posts[1]
    assert ask(snapshot, "POST", body="c" * 64) is None
    assert ask(snapshot, "POST") is None
    assert ask(snapshot) is None
    assert ask(snapshot, url=URL + "?go-get=1") is not None


def test_a_head_is_answered_by_its_own_entry_or_by_the_get() -> None:
    get, head = Entry("GET", URL, 200, sha256="a" * 64, size=9), Entry("HEAD", URL, 200, size=9)
    assert ask(Snapshot([get]), "HEAD") == get
    assert ask(Snapshot([get, head]), "HEAD") == head
    assert ask(Snapshot([head])) is None


@pytest.mark.parametrize(
    ("accept", "digit"),
    [
        (JSON, "a"),
        (HTML, "b"),
        (JSON.upper(), "a"),
        (f"{JSON}, {HTML};q=0.1", "a"),
        (f"{HTML}, {JSON};q=0.2", "b"),
        ("text/*", "b"),
        ("image/png", None),
        ("*/*", None),
        ("", None),
        (None, None),
    ],
)
def test_a_newer_clients_accept_is_negotiated_and_a_tie_is_no_answer(accept: str | None, digit: str | None) -> None:
    found = ask(
        Snapshot([variant(JSON.lower(), JSON, "a"), variant(HTML, HTML, "b")]),
        **({"accept": accept} if accept is not None else {}),
    )
    assert (found.sha256 if found else None) == (digit * 64 if digit else None)


def test_a_tie_of_the_same_answer_is_that_answer() -> None:
    one, other = variant("a/b", HTML, "a"), variant("c/d", HTML, "a")
    assert ask(Snapshot([one, other]), accept="*/*") in {one, other}


def test_an_answer_without_a_body_is_found_however_the_client_words_its_accept() -> None:
    missing = Entry("GET", URL, 404, vary=(("accept", JSON),))
    assert ask(Snapshot([missing]), accept=HTML) == missing
    assert ask(Snapshot([missing, variant(HTML, HTML, "b")]), accept="text/html;q=0.9") == variant(HTML, HTML, "b")


def test_redirects_to_different_places_are_a_tie() -> None:
    moved = [Entry("GET", URL, 302, vary=(("accept", a),), headers=(("location", f"/{a}"),)) for a in ("x/y", "z/y")]
    for order in itertools.permutations(moved):
        assert ask(Snapshot(order), accept="text/html") is None


def test_the_entry_that_knows_more_of_the_request_comes_first() -> None:
    anyone = Entry("GET", URL, 200, sha256="a" * 64, size=1)
    asked = variant(HTML, HTML, "b")
    for order in itertools.permutations([anyone, asked]):
        assert ask(Snapshot(order), accept=HTML) == asked
        assert ask(Snapshot(order), accept="image/png") == anyone
        assert ask(Snapshot(order)) == anyone


def test_a_git_answer_of_another_protocol_is_never_negotiated() -> None:
    entry = Entry("GET", URL, 200, vary=(("git-protocol", "version=2"),), sha256="a" * 64, size=1)
    assert ask(Snapshot([entry]), git_protocol="version=2") == entry
    assert ask(Snapshot([entry])) is None
    assert ask(Snapshot([entry]), git_protocol="version=1") is None


def test_entries_come_in_one_order_whatever_order_they_went_in() -> None:
    entries = [
        variant(HTML, HTML, "a"),
        variant(JSON, JSON, "b"),
        Entry("HEAD", URL, 404),
        Entry("GET", URL + "a", 404),
    ]
    orders = {tuple(Snapshot(order)) for order in itertools.permutations(entries)}
    assert len(orders) == 1
    assert len(Snapshot(entries)) == 4


def test_adding_gives_the_entry_that_was_replaced() -> None:
    snapshot = Snapshot([variant(HTML, HTML, "a")])
    assert snapshot.add(variant(HTML, HTML, "b")) == variant(HTML, HTML, "a")
    assert snapshot.add(variant(JSON, JSON, "b")) is None
    assert len(snapshot.variants("GET", URL)) == 2


def test_variants_of_one_key_are_added_replaced_and_counted_one_by_one() -> None:
    three = [variant(f"text/{name}", HTML, "a") for name in "xyz"]
    snapshot = Snapshot()
    assert [snapshot.add(entry) for entry in three] == [None, None, None]
    assert snapshot.variants("GET", URL) == tuple(three)
    assert snapshot.add(variant("text/y", HTML, "b")) == three[1]
    assert (len(snapshot), len(snapshot.variants("GET", URL))) == (3, 3)
    assert ask(snapshot, accept="text/y") == variant("text/y", HTML, "b")


def test_a_get_without_a_body_shares_its_url_with_no_other_question() -> None:
    others = [
        Entry("GET", URL, 404, body="a" * 64),
        Entry("POST", URL, 404),
        Entry("HEAD", URL, 404),
        Entry("POST", URL, 404, body="a" * 64),
    ]
    get = Entry("GET", URL, 404)
    for order in itertools.permutations([*others, get]):
        snapshot = Snapshot(order)
        assert len(snapshot) == 5
        assert all(snapshot.variants(*entry.key) == (entry,) for entry in order)


def test_without_an_order_there_are_the_same_entries() -> None:
    entries = [variant(HTML, HTML, "a"), variant(JSON, JSON, "b"), Entry("HEAD", URL, 404), Entry("GET", "b", 404)]
    assert sorted(Snapshot(entries).unordered(), key=lambda entry: entry.sort_key) == list(Snapshot(entries))
