"""Tells the log of a run as HAR 1.2, which browsers and other people's tools can open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hermit_proxy.run.events import RequestEvent
from hermit_proxy.snapshot.entry import Entry

_UNKNOWN = -1  # HAR 1.2: "-1 if the info is not available"


def har(events: Iterable[RequestEvent], *, version: str = "0") -> dict[str, Any]:
    """Give the HAR document, ready for json.dump: what was asked and how it ended, without bodies and cookies.

    `version` is Hermit's. Outcome, rule, step and reason are in `_hermit` of each entry (custom fields start with an
    underscore, HAR 1.2 section "Custom fields").
    """
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "Hermit CI", "version": version},
            "entries": [_entry(event) for event in sorted(events, key=lambda event: event.time)],
        }
    }


def _entry(event: RequestEvent) -> dict[str, Any]:
    milliseconds = round(max(event.duration, 0.0) * 1000, 3)
    return {
        "startedDateTime": _time(event.time),
        "time": milliseconds,
        "request": _request(event),
        "response": _response(event),
        "cache": {},
        # What is known is the whole; send and receive are required numbers.
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "_hermit": _hermit(event),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request(event: RequestEvent) -> dict[str, Any]:
    query = _query(event.url)
    vary = event.entry.vary if event.entry is not None else ()
    return {
        "method": event.method,
        "url": event.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in vary],
        "queryString": [{"name": name, "value": value} for name, value in query],
        "headersSize": _UNKNOWN,
        "bodySize": 0 if event.body is None else _UNKNOWN,
    }


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return []  # a refused request may have asked for anything


def _response(event: RequestEvent) -> dict[str, Any]:
    entry = event.entry
    return {
        "status": event.status,
        "statusText": _status_text(event.status),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in entry.headers] if entry is not None else [],
        "content": {"size": event.size, "mimeType": _mime_type(entry)},
        "redirectURL": (entry.header("location") or "") if entry is not None else "",
        "headersSize": _UNKNOWN,
        "bodySize": event.size,
    }


def _status_text(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _mime_type(entry: Entry | None) -> str:
    return (entry.header("content-type") if entry is not None else None) or "x-unknown"


def _hermit(event: RequestEvent) -> dict[str, Any]:
    told = {
        "outcome": event.outcome.value,
        "sha256": event.sha256,
        "step": event.step,
        "rule": event.rule,
        "action": event.action,
        "reason": event.reason,
        "hint": event.hint,
        "note": event.note,
        "requestBodySha256": event.body,
        "entryId": event.entry_id,
    }
    return {name: value for name, value in told.items() if value is not None} | {"broken": event.broken}
