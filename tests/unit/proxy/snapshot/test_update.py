"""The next snapshot has what the run used and recorded, keeps bytes where nothing changed, and tells what conflicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.format import dump
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.update import Update, updated

URL = "https://registry.example.org/a"
A = Entry("GET", URL, 200, sha256="a" * 64, size=1, headers=(("content-type", "a/b"), ("etag", '"1"')))
B = replace(A, sha256="b" * 64)
OTHER = replace(A, url=URL + "/other")
CHALLENGE = Entry("GET", URL, 401, headers=(("www-authenticate", 'Bearer realm="x"'),))


def recorded(entry: Entry) -> RequestEvent:
    return RequestEvent(1.0, entry.method, entry.url, Outcome.RECORDED, entry.status, entry=entry, entry_id=entry.id)


def replayed(entry: Entry) -> RequestEvent:
    return RequestEvent(1.0, entry.method, entry.url, Outcome.REPLAYED, entry.status, entry_id=entry.id)


def entries(update: Update) -> list[Entry]:
    return list(update.snapshot)


def always(*_: Entry) -> bool:
    return True


def test_nothing_used_is_nothing_left_unless_it_is_asked_for() -> None:
    old = Snapshot([A])
    assert updated(old, []).pruned == (A,)
    assert entries(updated(old, [])) == []
    assert entries(updated(old, [], keep_unused=True)) == [A]


def test_used_entries_stay_new_ones_come_and_the_rest_goes() -> None:
    new = replace(A, url=URL + "/new")
    found = updated(Snapshot([A, OTHER]), [replayed(A), recorded(new)])
    assert entries(found) == [A, new]
    assert (found.confirmed, found.added, found.pruned, found.changed) == ((A,), (new,), (OTHER,), ())


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.REFUSED, Outcome.FAILED])
def test_what_was_not_recorded_or_replayed_is_not_in_it(outcome: Outcome) -> None:
    event = replace(recorded(A), outcome=outcome)
    assert entries(updated(Snapshot(), [event])) == []
    assert entries(updated(Snapshot([A]), [event])) == []


def test_a_new_answer_replaces_the_old_one() -> None:
    found = updated(Snapshot([A]), [recorded(B)], observed=always)
    assert entries(found) == [B]
    assert found.changed == ((A, B),)
    assert found.conflicts == ()


def test_recording_the_same_again_changes_no_byte() -> None:
    old = Snapshot([A, OTHER])
    found = updated(old, [recorded(OTHER), recorded(A), recorded(A), replayed(A)])
    assert dump(found.snapshot) == dump(old)
    assert set(found.confirmed) == {A, OTHER}


def test_an_observed_old_entry_of_the_same_content_stays_an_unobserved_one_does_not() -> None:
    newer = replace(A, headers=(("content-type", "a/b"), ("etag", '"2"')))
    assert entries(updated(Snapshot([A]), [recorded(newer)], observed=always)) == [A]
    assert entries(updated(Snapshot([A]), [recorded(newer)])) == [newer]


def test_a_pack_in_other_packets_keeps_the_old_entry_when_it_was_observed() -> None:
    asked: list[tuple[Entry, Entry]] = []

    def same(old: Entry, new: Entry) -> bool:
        asked.append((old, new))
        return True

    assert entries(updated(Snapshot([A]), [recorded(B)], same_content=same, observed=always)) == [A]
    assert asked == [(A, B)]
    assert entries(updated(Snapshot([A]), [recorded(B)], same_content=always)) == [B]


@pytest.mark.parametrize(
    "newer",
    [
        replace(A, headers=(("content-type", "evil/type"), ("etag", '"1"'))),
        replace(A, status=203),
        Entry("GET", URL, 302, headers=(("location", "/x"),)),
    ],
)
def test_another_status_type_or_place_is_never_the_same_content(newer: Entry) -> None:
    assert entries(updated(Snapshot([A]), [recorded(newer)], same_content=always, observed=always)) == [newer]


def test_a_redirect_to_another_place_replaces_the_old_one() -> None:
    one, other = (Entry("GET", URL, 302, headers=(("location", place),)) for place in ("/x", "/y"))
    assert entries(updated(Snapshot([one]), [recorded(other)], same_content=always, observed=always)) == [other]


def test_several_answers_to_one_request_are_told_and_the_last_is_kept() -> None:
    found = updated(Snapshot(), [recorded(A), recorded(B)])
    assert entries(found) == [B]
    (conflict,) = found.conflicts
    assert (conflict.url, conflict.answers) == (URL, (A, B))
    assert str(conflict) == f"GET {URL} was answered in 2 ways: 200 aaaaaaaaaaaaaa, 200 bbbbbbbbbbbbbb"


def test_the_same_answer_twice_or_with_another_etag_is_no_conflict() -> None:
    newer = replace(A, headers=(("etag", '"2"'),))
    assert updated(Snapshot(), [recorded(A), recorded(newer), recorded(A)]).conflicts == ()


@pytest.mark.parametrize("order", [(CHALLENGE, A), (A, CHALLENGE), (CHALLENGE, A, CHALLENGE)])
def test_a_challenge_gives_way_to_the_answer_behind_it_without_a_complaint(order: tuple[Entry, ...]) -> None:
    found = updated(Snapshot(), [recorded(entry) for entry in order])
    assert entries(found) == [A]
    assert found.conflicts == ()


def test_a_challenge_gives_way_to_an_answer_of_another_variant() -> None:
    manifest = replace(A, vary=(("accept", "application/vnd.x"),))
    assert entries(updated(Snapshot(), [recorded(CHALLENGE), recorded(manifest)])) == [manifest]


def test_a_challenge_alone_is_kept() -> None:
    assert entries(updated(Snapshot(), [recorded(CHALLENGE)])) == [CHALLENGE]


@pytest.mark.parametrize(
    ("head", "dropped"),
    [
        (Entry("HEAD", URL, 200, size=1), True),
        (Entry("HEAD", URL, 200), True),
        (Entry("HEAD", URL, 200, size=2), False),
        (Entry("HEAD", URL, 404), False),
        (Entry("HEAD", URL, 200, size=1, vary=(("accept", "a/b"),)), False),
        (Entry("HEAD", URL + "/other", 200, size=1), False),
    ],
)
def test_a_head_is_dropped_where_the_get_answers_it(head: Entry, dropped: bool) -> None:
    for order in ((head, A), (A, head)):
        assert (head not in entries(updated(Snapshot(), [recorded(e) for e in order]))) is dropped


def test_variants_of_one_url_live_side_by_side() -> None:
    one, other = (replace(A, vary=(("accept", accept),)) for accept in ("a/b", "c/d"))
    found = updated(Snapshot([one]), [recorded(other), replayed(one)])
    assert entries(found) == [one, other]
    assert found.conflicts == ()
