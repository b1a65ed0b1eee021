"""The HAR file must be what other tools expect, and never have a body or a cookie."""

from __future__ import annotations

import json

from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.run.har import har
from hermit_proxy.snapshot.entry import Entry

URL = "https://registry.example.org/simple/foo/?a=1&b=&c=%20x"
HEADERS = (("content-type", "text/html"), ("location", "https://registry.example.org/x"))
EVENTS = [
    RequestEvent(
        1700000000.1239, "GET", URL, Outcome.RECORDED, 302, 0.25, 12, entry=Entry("GET", URL, 302, headers=HEADERS)
    ),
    RequestEvent(1600000000.0, "POST", URL, Outcome.REFUSED, 403, reason="no rule admits it", broken=True, body="ab"),
    RequestEvent(1800000000.0, "GET", "https://[", Outcome.FAILED, 0),
]
# HAR 1.2, "HAR Data Structure": the members that are not optional.
ENTRY = {"startedDateTime", "time", "request", "response", "cache", "timings"}
REQUEST = {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"}
RESPONSE = {
    "status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"
}  # fmt: skip


def test_every_required_member_is_there_and_only_custom_ones_are_added() -> None:
    log = har(EVENTS, version="1.0")["log"]
    assert log["version"] == "1.2"
    assert log["creator"] == {"name": "Hermit CI", "version": "1.0"}
    for entry in log["entries"]:
        assert set(entry) - {"_hermit"} == ENTRY
        assert set(entry["request"]) == REQUEST
        assert set(entry["response"]) == RESPONSE
        assert set(entry["response"]["content"]) == {"size", "mimeType"}
        assert set(entry["timings"]) == {"send", "wait", "receive"}
        assert sum(entry["timings"].values()) == entry["time"]
        assert entry["request"]["cookies"] == entry["response"]["cookies"] == []
    json.dumps(log)


def test_entries_are_in_the_order_of_time_and_say_how_they_ended() -> None:
    refused, recorded, failed = har(EVENTS)["log"]["entries"]
    assert recorded["startedDateTime"] == "2023-11-14T22:13:20.123Z"
    assert recorded["time"] == 250.0
    assert recorded["request"]["queryString"] == [
        {"name": "a", "value": "1"},
        {"name": "b", "value": ""},
        {"name": "c", "value": " x"},
    ]
    assert recorded["response"]["redirectURL"] == "https://registry.example.org/x"
    assert recorded["response"]["statusText"] == "Found"
    assert refused["_hermit"] == {
        "outcome": "refused", "reason": "no rule admits it", "requestBodySha256": "ab", "broken": True
    }  # fmt: skip
    assert failed["response"]["statusText"] == ""
