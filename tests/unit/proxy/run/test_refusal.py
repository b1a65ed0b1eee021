"""Tests that a refusal tells the reader what would help, and that the rule it shows really does."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.policy import Mode, Reason, Refuse, Replay
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Rules, load_rules
from hermit_proxy.run import refusal
from hermit_proxy.snapshot.entry import Entry

URLS = [
    "https://x.example.org/simple/foo/",
    "https://x.example.org:8443/a.b+c(d)[e]$^*?x=1",
    "http://[2001:db8::7]:81/it's/%2F{y}|z",
    "https://192.0.2.7/",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_rule_that_is_shown_admits_the_request_and_not_its_neighbour(url: str, method: str, tmp_path: Path) -> None:
    target = parse_url(url)
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n  {refusal.rule_for(method, target)}\n")
    rules = load_rules(path)
    assert rules.match(method, target) is not None
    assert rules.match(method, parse_url(url.partition("?")[0] + "x")) is None
    assert rules.match("DELETE", target) is None or method == "GET"


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("mode", Mode)
def test_every_reason_has_a_hint(reason: Reason, mode: Mode) -> None:
    request = Request("GET", parse_url(URLS[0]))
    assert refusal.hint(Refuse(reason), request, mode=mode, rules=Rules(), step="build")


def test_the_hint_says_that_there_is_no_rules_file(tmp_path: Path) -> None:
    rules = load_rules(tmp_path / "none.yaml")
    told = refusal.hint(
        Refuse(Reason.NO_RULE), Request("GET", parse_url(URLS[0])), mode=Mode.RECORD, rules=rules, step=None
    )
    assert "none.yaml does not exist" in told


def test_the_hint_names_the_line_of_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text('rules:\n  - {pattern: "x.example.org/.*", action: LOCKED}\n')
    rules = load_rules(path)
    request = Request("GET", parse_url(URLS[0]))
    locked = refusal.hint(
        Refuse(Reason.NOT_RECORDED, rules.rules[0]), request, mode=Mode.RECORD, rules=rules, step=None
    )
    assert locked == f"ALLOW instead of LOCKED at {path}:2"


def test_what_was_not_refused_needs_no_help(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text('rules:\n  - {pattern: "x.example.org/.*", action: LOCKED}\n')
    rules = load_rules(path)
    decision = Replay(Entry("GET", URLS[0], 404), rules.rules[0])
    assert refusal.hint(decision, Request("GET", parse_url(URLS[0])), mode=Mode.RECORD, rules=rules, step=None) == ""


def test_the_text_has_request_reason_and_help() -> None:
    text = refusal.body("GET", "https://x.example.org/", "no rule admits it", "a rule").decode()
    assert text == "Hermit refused GET https://x.example.org/\nReason: no rule admits it.\nWhat helps: a rule\n"
    assert refusal.failure_body("GET", "u", "gone").startswith(b"Hermit could not answer GET u\n")
    assert len(refusal.body("GET", "x" * 20_000, "y")) < 2200
    assert refusal.body("GET", "\udcff", "y")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            "this rule in /home/me/my-project/.hermit/rules.yaml: - {pattern: 'a/b'}",
            "this rule in rules.yaml: - {pattern: 'a/b'}",
        ),
        ("/srv/x/.hermit/rules.yaml does not exist", "rules.yaml does not exist"),
        ("the store /srv/hermit/store lacks it", "the store store lacks it"),
        ("in /etc/hermit/config.yaml:\nupstream:\n  allow: [a:443]", "in config.yaml:\nupstream:\n  allow: [a:443]"),
        ("http://hermit.internal/ is asked", "http://hermit.internal/ is asked"),
        ("- {pattern: 'files.example.org/not/recorded'}", "- {pattern: 'files.example.org/not/recorded'}"),
        (r"- {pattern: 'files.example.org:80/a\.b/c'}", r"- {pattern: 'files.example.org:80/a\.b/c'}"),
    ],
)
def test_a_build_does_not_read_where_the_host_keeps_its_files(told: str, shown: str) -> None:
    assert refusal.body("GET", "http://a/srv/x", "no rule admits it", told).decode().endswith(f"What helps: {shown}\n")
    assert f"Reason: {shown}." in refusal.body("GET", "http://a/srv/x", told).decode()
