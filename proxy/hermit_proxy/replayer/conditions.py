"""Decides what a client that already has something, or wants only a part, is answered (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from enum import Enum

from hermit_proxy.snapshot.entry import Entry

_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Verdict(Enum):
    """Is what the conditions of a request say."""

    SEND = "send it"
    NOT_MODIFIED = "304"
    FAILED = "412"


def judge(entry: Entry, headers: Mapping[str, str]) -> Verdict:
    """Evaluate the conditions of a GET or HEAD in the order of RFC 9110 section 13.2.2."""
    etag, modified = entry.header("etag"), entry.header("last-modified")
    if (wanted := headers.get("if-match")) is not None:
        if not _listed(wanted, etag, strong=True):
            return Verdict.FAILED
    elif (limit := headers.get("if-unmodified-since")) is not None and _newer(modified, limit):
        return Verdict.FAILED
    if (known := headers.get("if-none-match")) is not None:
        return Verdict.NOT_MODIFIED if _listed(known, etag, strong=False) else Verdict.SEND
    since = headers.get("if-modified-since")
    if since is not None and _same_or_older(modified, since):
        return Verdict.NOT_MODIFIED
    return Verdict.SEND


def wanted_range(entry: Entry, size: int, headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Give the one range that is asked for as (start, stop) within `size` bytes, stop excluded; None for the whole.

    An empty range (start == stop) means that it cannot be satisfied. Several ranges, other units and what does not
    parse get the whole, as section 14.2 allows; so does an If-Range that names another version.
    """
    asked = headers.get("range")
    if asked is None or not _if_range(entry, headers.get("if-range")):
        return None
    unit, equals, text = asked.partition("=")
    found = _RANGE.fullmatch(text.strip()) if equals and unit.strip().lower() == "bytes" else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, stop) if start < size else (size, size)


def _if_range(entry: Entry, condition: str | None) -> bool:
    if condition is None:
        return True
    condition = condition.strip()
    if _TAG.fullmatch(condition):
        return condition == entry.header("etag") and not condition.startswith("W/")
    return condition == entry.header("last-modified")


def _listed(wanted: str, etag: str | None, *, strong: bool) -> bool:
    if wanted.strip() == "*":
        return True
    if etag is None or (strong and etag.startswith("W/")):
        return False
    tags = [found.group() for found in _TAG.finditer(wanted)]
    if strong:
        return etag in tags
    return etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]


def _newer(modified: str | None, limit: str) -> bool:
    ours, theirs = _time(modified), _time(limit)
    return ours is not None and theirs is not None and ours > theirs


def _same_or_older(modified: str | None, since: str) -> bool:
    if modified is not None and modified == since:
        return True
    ours, theirs = _time(modified), _time(since)
    return ours is not None and theirs is not None and ours <= theirs


def _time(text: str | None) -> dt.datetime | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  a sixth of the start, and few clients need it

    try:
        found = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return found.replace(tzinfo=dt.UTC) if found is not None and found.tzinfo is None else found
