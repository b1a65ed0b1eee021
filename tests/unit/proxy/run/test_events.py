"""The log must give back what was written, and end cleanly wherever the writer was stopped."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.errors import HermitError
from hermit_proxy.run.events import Outcome, RepeatedEvent, RequestEvent, RequestLog, read_log
from hermit_proxy.snapshot.entry import Entry

URL = "https://registry.example.org/simple/foo/"
ENTRY = Entry("GET", URL, 200, None, (("accept", "a/b"),), "ab" * 32, 0, (("etag", '"x"'),))

entries = st.builds(
    Entry,
    method=st.text(max_size=5),
    url=st.text(max_size=20),
    status=st.integers(0, 999),
    body=st.none() | st.text(max_size=5),
    vary=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple),
    sha256=st.none() | st.text(max_size=5),
    size=st.none() | st.integers(0),
    headers=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple),
    stand_in=st.none() | st.just("token"),
)
texts = st.none() | st.text(max_size=10)
events = st.builds(
    RequestEvent,
    time=st.floats(0, 1e10),
    method=st.text(max_size=5),
    url=st.text(max_size=20),
    outcome=st.sampled_from(Outcome),
    status=st.integers(0, 999),
    duration=st.floats(0, 1e6),
    size=st.integers(0, 1 << 60),
    sha256=texts,
    reason=texts,
    note=texts,
    broken=st.booleans(),
    entry=st.none() | entries,
)


@given(events)
def test_a_line_gives_back_the_event_it_was_made_from(event: RequestEvent) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert RequestEvent.from_json(line) == event


@given(events, st.floats(0, 1e10), st.floats(0, 1e6))
def test_a_repeated_line_differs_from_the_first_in_its_times_alone(
    event: RequestEvent, time: float, duration: float
) -> None:
    line = RepeatedEvent(event).to_json(time, duration)
    assert "\n" not in line
    assert RequestEvent.from_json(line) == replace(event, time=time, duration=duration)


def test_a_status_and_a_time_of_zero_survive() -> None:
    event = RequestEvent(0.0, "GET", URL, Outcome.FAILED, 0)
    assert RequestEvent.from_json(event.to_json()) == event


def test_a_line_leaves_out_what_says_nothing() -> None:
    fields = json.loads(RequestEvent(1.0, "GET", URL, Outcome.REFUSED, 403, broken=True).to_json())
    assert fields == {
        "time": 1.0,
        "method": "GET",
        "url": URL,
        "outcome": "refused",
        "status": 403,
        "duration": 0.0,
        "size": 0,
        "broken": True,
    }


BASE = '"time":1,"method":"GET","url":"u","outcome":"failed","status":0'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{}",
        '"x"',
        "{" + BASE,
        "{" + BASE + ',"unknown":1}',
        "{" + BASE.replace("failed", "exploded") + "}",
        "{" + BASE.replace('"failed"', "[]") + "}",
        "{" + BASE.replace('"status":0', '"status":"200"') + "}",
        "{" + BASE.replace('"status":0', '"status":true') + "}",
        "{" + BASE.replace('"u"', "7") + "}",
        "{" + BASE + ',"broken":1}',
        "{" + BASE + ',"entry":null}',
        "{" + BASE + ',"entry":[]}',
        "{" + BASE + ',"entry":{"method":"GET"}}',
        "{" + BASE + ',"entry":{"method":"GET","url":"u","status":"200"}}',
        "{" + BASE + ',"entry":{"method":"GET","url":"u","status":200,"vary":[["a"]]}}',
        "[" * 100_000,
        "{" + BASE + ',"duration":NaN}',
        "{" + BASE + ',"duration":-Infinity}',
        "{" + BASE + ',"duration":1e999}',
        "{" + BASE + ',"duration":-1}',
        '{"time":Infinity,' + BASE + "}",
        "{" + BASE.replace("1", "1e12", 1) + "}",
    ],
)
def test_a_line_of_anything_else_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of a request log"):
        RequestEvent.from_json(line)


@given(st.text())
def test_any_text_is_an_event_or_an_error(line: str) -> None:
    try:
        RequestEvent.from_json(line)
    except ValueError:
        return
    raise AssertionError(line)  # hypothesis does not write a whole event by chance


def test_a_log_gives_back_its_events_in_order(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "requests.jsonl")
    written = [RequestEvent(float(n), "GET", URL, Outcome.RECORDED, 200, entry=ENTRY) for n in range(3)]
    for event in written:
        log.write(event)
    log.sync()
    log.close()
    log.close()
    assert list(read_log(tmp_path / "requests.jsonl")) == written


def test_an_unfinished_last_line_ends_the_log(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    whole = RequestEvent(1.0, "GET", URL, Outcome.PASSED, 200).to_json().encode()
    path.write_bytes(whole + b"\n" + whole)
    assert len(list(read_log(path))) == 1


@pytest.mark.parametrize("damage", [b"{}\n", b"\xff\n", b"\n"])
def test_a_damaged_line_is_named_by_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(RequestEvent(1.0, "GET", URL, Outcome.PASSED, 200).to_json().encode() + b"\n" + damage)
    with pytest.raises(HermitError, match=r"requests\.jsonl:2: "):
        list(read_log(path))


def test_a_full_disk_leaves_no_half_line_before_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    log = RequestLog(path)
    event = RequestEvent(1.0, "GET", URL, Outcome.PASSED, 200)
    log.write(event)
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        with pytest.raises(OSError, match="space"):
            log.write(event)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    log.write(event)
    log.close()
    assert list(read_log(path)) == [event, event]
