"""The words of a difference: the alarm first, nothing that a terminal would obey."""

from __future__ import annotations

import json

from hermit_proxy.snapshot.diff import diff
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.report import as_json, render

ORIGIN = "https://mirror.example.org"
OLD = Snapshot(
    [
        Entry("GET", f"{ORIGIN}/a", 200, sha256="a" * 64, size=1),
        Entry("GET", f"{ORIGIN}/foo-1.0.tar.gz", 200, sha256="b" * 64, size=2),
        Entry("GET", f"{ORIGIN}/h", 200, sha256="c" * 64, size=3, headers=(("etag", '"1"'),)),
        Entry("GET", "https://gone.example.org/", 404),
    ]
)
NEW = Snapshot(
    [
        Entry("GET", f"{ORIGIN}/a", 302, headers=(("location", "/\x9b31mevil"),)),
        Entry("GET", f"{ORIGIN}/a", 200, vary=(("accept", "a/b" + "x" * 60),), sha256="d" * 64, size=1),
        Entry("GET", f"{ORIGIN}/foo-1.1.tar.gz", 200, sha256="e" * 64, size=2),
        Entry("GET", f"{ORIGIN}/h", 200, sha256="c" * 64, size=3, headers=(("etag", '"2"'),)),
        Entry("POST", "https://new.example.org/", 200, body="f" * 64, stand_in="token"),
    ]
)
TEXT = f"""\
CHANGED under an unchanged URL (1)
  GET {ORIGIN}/a
      - 200 sha256:aaaaaaaaaaaa 1 bytes
      + 302 -> /?31mevil
Another answer beside a known one (1)
  GET {ORIGIN}/a  200 sha256:dddddddddddd 1 bytes  [accept: a/b{"x" * 36}…]
New hosts (1)
  new.example.org
New versions of known packages (1)
  foo 1.0 -> 1.1 (sdist)  {ORIGIN}/foo-1.1.tar.gz
Added (1)
  POST https://new.example.org/  body ffffffffffff  200 (a stand-in token)
Same content, other headers or key (1)
  GET {ORIGIN}/h
      etag: "1" -> "2"
Removed (2)
  GET https://gone.example.org/  404
  GET {ORIGIN}/foo-1.0.tar.gz  200 sha256:bbbbbbbbbbbb 2 bytes
Hosts no longer used (1)
  gone.example.org
"""


def test_the_text_tells_the_alarm_first_and_each_entry_once() -> None:
    assert render(diff(OLD, NEW)) == TEXT


def test_colour_changes_titles_only() -> None:
    coloured = render(diff(OLD, NEW), colour=True)
    assert coloured.startswith("\x1b[1;31mCHANGED under an unchanged URL (1)\x1b[0m\n")
    assert all(plain in coloured for plain in TEXT.splitlines() if plain.startswith("  "))


def test_no_difference_is_said_in_words() -> None:
    assert render(diff(OLD, OLD)) == "The snapshots say the same.\n"


def test_the_data_has_the_same_and_is_json() -> None:
    data = json.loads(json.dumps(as_json(diff(OLD, NEW))))
    assert {name: len(told) for name, told in data.items()} == {
        "changed": 1,
        "new_hosts": 1,
        "gone_hosts": 1,
        "new_variants": 1,
        "new_versions": 1,
        "headers": 1,
        "added": 3,
        "removed": 2,
    }
    assert data["changed"][0]["old"]["sha256"] == "a" * 64
    assert data["new_versions"] == [
        {"kind": "sdist", "name": "foo", "version": "1.1", "known": ["1.0"], "url": f"{ORIGIN}/foo-1.1.tar.gz"}
    ]
