"""Suggested rules admit exactly what was refused and its neighbours in the folder, never another host."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule, Rules, load_rules
from hermit_proxy.rules.pattern import compile_pattern
from hermit_proxy.rules.suggest import SuggestedRule, as_yaml, suggest
from hermit_proxy.run.events import Outcome, RequestEvent


def refused(*requests: str) -> list[RequestEvent]:
    split = [request.split(" ") for request in requests]
    return [RequestEvent(0.0, method, url, Outcome.REFUSED, 403) for method, url in split]


def patterns(*urls: str) -> list[str]:
    return [rule.pattern for rule in suggest(refused(*(f"GET {url}" for url in urls)), Rules())]


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ((), []),
        (("https://example.org/a/b-1.0.tar.gz",), [r"example.org/a/b-1\.0\.tar\.gz"]),
        (("https://example.org/a/b", "https://example.org/a/b"), ["example.org/a/b"]),
        (("https://example.org/a/b", "https://example.org/a/c"), ["example.org/a/.*"]),
        (("https://example.org/a/bb", "https://example.org/a/bc"), ["example.org/a/.*"]),
        (("https://example.org/a/", "https://example.org/a/b/c"), ["example.org/a/.*"]),
        (("https://example.org/a/b/c/d", "https://example.org/a/b/e/f"), ["example.org/a/b/.*"]),
        (("https://example.org/a/b", "https://example.org/c/d"), ["example.org/a/b", "example.org/c/d"]),
        (tuple(f"https://example.org/{n}/x" for n in range(9)), ["example.org/.*"]),
        # Packages of a registry are one rule, repositories are not.
        (("https://example.org/debug", "https://example.org/ms"), ["example.org/.*"]),
        (("https://example.org/debug", "https://example.org/@scope%2Fname"), ["example.org/.*"]),
        (("https://example.org/debug/-/debug-4.tgz", "https://example.org/ms/-/ms-2.tgz"), ["example.org/.*"]),
        (
            ("https://example.org/me/a/-/archive/v1/a.tar.gz", "https://example.org/you/b/-/raw/main/x"),
            [r"example.org/me/a/-/archive/v1/a\.tar\.gz", "example.org/you/b/-/raw/main/x"],
        ),
        (("https://example.org/debug/-/debug-4.tgz",), [r"example.org/debug/-/debug-4\.tgz"]),
        (("https://example.org/a.org/m/@v/list", "https://example.org/b.org/n/@latest"), ["example.org/.*"]),
        (
            ("https://example.org/me/a.git/info/refs", "https://example.org/you/b/-x.tgz"),
            [r"example.org/me/a\.git/info/refs", r"example.org/you/b/-x\.tgz"],
        ),
        (("https://a.example.org/x", "https://b.example.org/x"), ["a.example.org/x", "b.example.org/x"]),
        (("https://example.org:8443/x", "https://example.org/x"), ["example.org/x", "example.org:8443/x"]),
        (("https://[2001:db8::1]:8443/x",), ["[2001:db8::1]:8443/x"]),
        (("https://example.org/@scope%2Fname",), ["example.org/@scope(/|%2F)name"]),
        (("https://example.org/a+b(c)$d^e{f}",), [r"example.org/a\+b\(c\)\$d%5Ee%7Bf%7D"]),
        (("https://example.org/a%2F%2Fb",), ["example.org/a(/|%2F)+b"]),
        (("https://example.org/%2Fb",), ["example.org/(/|%2F)*b"]),
        (("https://example.org/a%5C/%252Fb",), ["example.org/a(/|%252F|%5C)+b"]),
        (("https://example.org/",), ["example.org/"]),
        (("https://example.org/" + "x" * 3000,), ["example.org/.*"]),
        (("https://example.org/a/" + "x" * 3000,), ["example.org/a/.*"]),
        (("http://hermit.internal/x", "not-a-url"), []),
    ],
)
def test_requests_are_grouped_by_host_and_folder(urls: tuple[str, ...], expected: list[str]) -> None:
    assert patterns(*urls) == expected


def test_methods_are_those_that_were_used_and_head_with_get() -> None:
    events = refused("POST https://a.example.org/x", "GET https://b.example.org/x", "GET https://c.example.org/x.git/i")
    events += refused("POST https://c.example.org/x.git/git-upload-pack")
    assert [rule.methods for rule in suggest(events, Rules())] == [("POST",), ("GET", "HEAD"), ("GET", "HEAD", "POST")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?a=1", "keep"),
        ("?token=...", "ignore"),
        ("?a=1&token=...&b=2", ("a", "b")),
        ("?X-Amz-Signature=...", "ignore"),
    ],
)
def test_a_query_with_a_credential_is_suggested_without_it(query: str, expected: object) -> None:
    (rule,) = suggest(refused(f"GET https://example.org/x{query}"), Rules())
    assert rule.query == expected


def test_only_what_was_refused_for_want_of_a_rule_counts() -> None:
    rules = Rules(
        [
            Rule(compile_pattern("example.org/ads/.*"), Action.REJECT),
            Rule(compile_pattern("example.org/pool/.*"), Action.ALLOW),
        ]
    )
    passed = RequestEvent(0.0, "GET", "https://example.org/x", Outcome.PASSED, 200)
    events = refused("GET https://example.org/ads/1", "GET https://example.org/pool/1")
    assert suggest([*events, passed], rules) == []


def test_what_a_rule_admits_but_for_a_credential_is_suggested_above_it() -> None:
    rules = Rules([Rule(compile_pattern("example.org/.*"), Action.ALLOW)])
    (rule,) = suggest(refused("GET https://example.org/x?token=..."), rules)
    assert rule == SuggestedRule("example.org/x", ("GET", "HEAD"), "ignore", 1, above=0)
    assert "stand above" in as_yaml([rule])


def test_a_path_with_two_readings_is_suggested_above() -> None:
    rules = Rules([Rule(compile_pattern("example.org/a/.*"), Action.ALLOW)])
    (rule,) = suggest(refused("GET https://example.org/a%2Fb"), rules)
    assert (rule.pattern, rule.first) == ("example.org/a(/|%2F)b", True)
    rejecting = Rules([Rule(compile_pattern("example.org/a/.*"), Action.REJECT)])
    assert suggest(refused("GET https://example.org/a%2Fb"), rejecting) == []


def test_the_text_is_a_rules_file(tmp_path: Path) -> None:
    suggested = suggest(refused("GET https://example.org/it's/a?b=1&token=...", "POST https://example.org/x"), Rules())
    path = tmp_path / "rules.yaml"
    path.write_text(as_yaml(suggested))
    rules = load_rules(path).rules
    assert [(rule.pattern.text, rule.query) for rule in rules] == [
        ("example.org/it's/a", ("b",)),
        ("example.org/x", "keep"),
    ]
    assert as_yaml([]) == ""


URLS = st.builds(
    "https://{}.example{}/{}".format,
    st.sampled_from("ab"),
    st.sampled_from(["", ":8443"]),
    st.lists(st.sampled_from([*"ab/.+(?&=t'é ", "%2F", "%5C", "%252F", "%"]), max_size=10).map("".join),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(URLS, max_size=8))
def test_the_suggested_rules_admit_all_that_was_refused_and_no_other_host(tmp_path: Path, urls: list[str]) -> None:
    events = refused(*(f"GET {url.replace(' ', '+')}" for url in urls))
    suggested = suggest(events, Rules())
    path = tmp_path / "rules.yaml"
    path.write_text(as_yaml(suggested) or "rules: []")
    rules = load_rules(path)
    for event in events:
        try:
            target = parse_url(event.url)
        except ValueError:
            continue
        rule = rules.match("GET", target)
        assert rule is not None
        assert rules.match_decoded("GET", target) is not None
        assert rule.pattern.literal_host == target.host
    assert suggest(events, rules) == []
