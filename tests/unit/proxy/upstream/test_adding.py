"""What is told to be added, put where it is told to go, opens what it says and takes nothing away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hermit_proxy.settings import load_settings
from hermit_proxy.upstream.adding import Addition, addition, quoted

NEW = ["a.example.org:443", "[2001:db8::1]:443"]
LAYOUTS = {
    "no file": (None, "to ", 4),
    "nothing in it": ("# mine\n", "to ", 4),
    "other keys": ("observers: 1\nlimits:\n  time: 3h\n", "at the end of ", 4),
    "another key in it": ("observers: 1\nupstream:\n    # why\n    trust: ca.pem\n", "below :2", 3),
    "a list": ("upstream:\n  allow:\n    - old.example.org   # why\n    # more\n  trust: ca.pem\n", "below :3", 2),
    "a list under its key": ("upstream:\n  allow:\n  - 10.0.0.0/8\n  - old.example.org\nobservers: 1\n", "below :4", 2),
    "brackets": ("upstream:\n  allow: [old.example.org]\n", "in the brackets at :2", 1),
    "empty brackets": ("upstream:\n  allow: []\n", "in the brackets at :2", 1),
    "braces": ("observers: 1\nupstream: {trust: ca.pem}\n", "in the braces at :2", 1),
    "all in braces": ("{upstream: {allow: [old.example.org]}}", "in the brackets at :1", 1),
}


def applied(text: str, told: Addition, file: Path) -> str:
    """Do what a person would do who reads it."""
    lines = text.splitlines()
    if told.where.startswith("in the "):
        close = "]" if "brackets" in told.where else "}"
        before, _, after = text.rpartition(close)
        comma = "" if before.rstrip().endswith(("[", "{")) else ", "
        return f"{before}{comma}{told.lines[0]}{close}{after}"
    if found := re.fullmatch(rf"below {re.escape(str(file))}:(\d+)", told.where):
        at = int(found.group(1))
        return "\n".join([*lines[:at], *told.lines, *lines[at:]]) + "\n"
    assert told.where in {f"at the end of {file}", f"to {file}"}
    return "\n".join([*lines, *told.lines]) + "\n"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_added_opens_it_and_all_else_stays(layout: str, tmp_path: Path) -> None:
    text, where, lines = LAYOUTS[layout]
    file = tmp_path / "config.yaml"
    (tmp_path / "ca.pem").touch()
    if text is not None:
        file.write_text(text)
    before = load_settings(file, {}) if text else None
    told = addition(file, NEW, {})
    assert told.where.replace(str(file), "") == where
    assert len(told.lines) == lines
    file.write_text(applied(text or "", told, file))
    after = load_settings(file, {})
    old = before.upstream_allow if before else ()
    assert after.upstream_allow == (*old, *NEW)
    assert before is None or (after.upstream_trust, after.limits) == (before.upstream_trust, before.limits)


@pytest.mark.parametrize("item", ["yes", "null", "123:45", "[2001:db8::1]:443", "a.example.org:443", "192.0.2.1"])
def test_an_item_is_the_text_that_it_was(item: str) -> None:
    assert yaml.safe_load(f"[{quoted(item)}]") == [item]


def test_remarks_are_comments(tmp_path: Path) -> None:
    told = addition(tmp_path / "config.yaml", NEW, {NEW[0]: "not asked yet"})
    assert told.lines[2:] == ("    - a.example.org:443    # not asked yet", '    - "[2001:db8::1]:443"')


@pytest.mark.parametrize("text", ["a: [", "\xff", "- x"])
def test_a_file_that_says_nothing_sensible_gets_the_whole_block(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode("latin-1"))
    assert addition(file, NEW[:1], {}).lines == ("upstream:", "  allow:", "    - a.example.org:443")
