"""Patterns: host and path apart, whole, a dot in a host is a dot, and nothing a stranger writes hangs the proxy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request.target import BadTargetError, parse_url
from hermit_proxy.rules.pattern import MAX_LENGTH, compile_pattern, unanchored_v1_match


def matches(pattern: str, url: str) -> bool:
    target = parse_url(url)
    return compile_pattern(pattern).matches(target, target.path)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("auth.example.org/.*", "https://auth.example.org/token?a=b"),
        ("auth.example.org/.*", "http://auth.example.org/"),
        ("auth.example.org/.*", "http://auth.example.org:80/"),
        (r"auth\.example\.org/.*", "https://auth.example.org/"),
        ("AUTH.Example.org/.*", "https://auth.example.org/"),
        ("^auth.example.org/.*$", "https://auth.example.org/x"),
        (".*/.*", "https://anything.example.org/x"),
        (".*.example.org/.*", "https://a.b.example.org/x"),
        (".+example.org/x", "https://a.example.org/x"),
        ("a.?b.org/x", "https://ab.org/x"),
        ("a.{2}b.org/x", "https://axyb.org/x"),
        ("(a|b).example.org/.*", "https://b.example.org/"),
        ("(?:a|b).example.org/.*", "https://b.example.org/"),
        ("(?:a|b).example.org:(?:80|81)/.*", "https://b.example.org:81/"),
        ("[ab].example.org/.*", "https://b.example.org/"),
        ("[^/]*.example.org/.*", "https://b.example.org/"),
        (r"mirror\d+.example.org/.*", "https://mirror12.example.org/"),
        (r"a\-b.example.org/.*", "https://a-b.example.org/"),
        ("example.org:8080/.*", "http://example.org:8080/"),
        (r"example.org\:8080/.*", "http://example.org:8080/"),
        ("example.org:443/.*", "https://example.org/"),
        ("example.org:(443|8443)/.*", "https://example.org:8443/"),
        ("example.org:[0-9]+/.*", "https://example.org:8443/"),
        ("example.org:.*/.*", "https://example.org:8443/"),
        (r"example.org:\d+/.*", "https://example.org/"),
        ("192.0.2.7/.*", "https://192.0.2.7/x"),
        ("[2001:db8::1]/.*", "https://[2001:db8::1]/x"),
        ("[2001:DB8:0::1]:8443/.*", "https://[2001:db8::1]:8443/x"),
        (r"\[2001:db8::1\]/.*", "https://[2001:db8::1]/x"),
        ("example.org/a(b|c)/[0-9]+", "https://example.org/ac/12"),
        (r"example.org\/x", "https://example.org/x"),
        ("example.org/@scope(/|%2F).*", "https://example.org/@scope%2fname"),
        ("example.org/a.b", "https://example.org/axb"),
        ("example.org/(?i)README", "https://example.org/readme"),
        ("example.org/%C3%A9", "https://example.org/%c3%a9"),
        ("example.org/x[]a]", "https://example.org/xa"),
    ],
)
def test_a_pattern_admits(pattern: str, url: str) -> None:
    assert matches(pattern, url)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("auth.example.org/.*", "https://auth-example.org/token"),
        ("auth.example.org/.*", "https://authxexample.org/"),
        ("auth.example.org/.*", "https://auth.example.org.attacker.example/"),
        ("auth.example.org/.*", "https://xauth.example.org/"),
        ("auth.example.org/.*", "https://attacker.example/auth.example.org/"),
        ("example.org.*/x", "https://example.org/a/x"),
        (".*.example.org/x", "https://attacker.example/a.example.org/x"),
        ("example.org/.*", "https://example.org:8443/"),
        ("example.org/.*", "https://example.org:80/"),
        ("example.org.*/.*", "https://example.org:8443/"),
        (".*/.*", "https://example.org:8443/"),
        ("[^/]*/.*", "https://example.org:8443/"),
        (r"[\x00-\xff]*/.*", "https://example.org:8443/"),
        ("example.org:8080/.*", "http://example.org:8081/"),
        ("example.org:8080/.*", "http://example.org/"),
        ("example.org:80.0/.*", "http://example.org:8010/"),
        (".*/.*", "https://example.org:80/"),
        ("example.org/a", "https://example.org/ab"),
        ("example.org/a", "https://example.org/xa"),
        ("example.org/a/.*", "https://example.org/a/../b"),
        ("example.org/x", "https://example.org/X"),
        ("example.org/$", "https://example.org/x"),
    ],
)
def test_a_pattern_does_not_admit_a_neighbour(pattern: str, url: str) -> None:
    assert not matches(pattern, url)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "no path"),
        ("example.org", "host.example.org/.*"),
        (".*", "no path"),
        ("/x", "no host"),
        ("^/x", "no host"),
        ("https://example.org/.*", "`scheme: https`"),
        ("https?://example.org/.*", "`scheme: https`"),
        ("(https?://)?example.org/.*", "`scheme: https`"),
        ("a.example.org/x|b.example.org/y", "`|` at position 16 outside of a group"),
        ("a|b.example.org/.*", "write two rules, or `(a|b)`"),
        ("example.org(/a|/b)", "slash at position 13 in a group"),
        ("example.org(:8080)?/.*", "a port in a group"),
        ("example.org:/.*", "a colon without a port"),
        ("example.org:http/.*", "`h` at position 1 has no meaning in a port"),
        ("(?i)example.org/.*", "hosts are compared in lower case"),
        ("(?P<x>a).example.org/.*", "hosts are compared in lower case"),
        (r"\Qexample.org\E/.*", r"`\Q` at position 1"),
        (r"\S+.example.org/.*", r"`\S` at position 1 has no meaning in a host"),
        ("user@example.org/.*", "not a host name"),
        ("exa mple.org/.*", "character ' ' at position 4"),
        ("example.org/é", "'é' at position 13"),
        ("example.org/\n", "position 13"),
        ("bücher.example/.*", "'ü'"),
        ("example..org/.*", "no request has such a host"),
        ("-example.org/.*", "no request has such a host"),
        ("127.1/.*", "no request has such a host"),
        ("hermit.internal/.*", "the proxy itself"),
        ("Hermit.internal:80/.*", "the proxy itself"),
        (r"example.org/x\?a=b", "`query: ignore`"),
        ("example.org/x#y", "a pattern ends before the query"),
        (r"example.org/\Qx\E", "is not understood"),
        ("example.org/%2fx", "write `%2F`"),
        ("example.org/%41", "write `A`"),
        ("example.org/%2e", r"write `\.`"),
        ("example.org/(", "missing )"),
        ("example.org/[", "missing ]"),
        ("example.org/a**", "bad repetition"),
        ("*.example.org/a", "no argument for repetition"),
        (r"example.org/(a)\1", "invalid escape"),
        ("example.org/(?=a)", "RE2"),
        ("example.org/(x{1000}){1000}", "invalid repetition"),
        ("example.org/x{1001}", "invalid repetition"),
        ("example.org/" + "x" * MAX_LENGTH, f"at most {MAX_LENGTH} characters"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_with_words(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        compile_pattern(pattern)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("example.org/.*", "example.org"),
        (r"example\.org:8080/.*", "example.org"),
        ("[::1]/.*", "::1"),
        (".*.example.org/.*", None),
        ("(a|b).example.org/.*", None),
    ],
)
def test_a_pattern_knows_when_it_names_one_host(pattern: str, host: str | None) -> None:
    assert compile_pattern(pattern).literal_host == host


def test_a_pattern_knows_what_it_costs() -> None:
    small, large = compile_pattern("example.org/x"), compile_pattern("(a|b).example.org:80/x{1000}")
    assert 0 < small.size < 20
    assert 1000 < large.size < 1200


def test_patterns_are_equal_by_their_text() -> None:
    assert compile_pattern("a.example.org/x") == compile_pattern("a.example.org/x")
    assert compile_pattern("a.example.org/x") != compile_pattern("a.example.org/y")


@pytest.mark.parametrize("expression", ["(x+x+)+y", "(x*)*y", "(x|x)*y", "(.*)*(.*)*(.*)*y", "(x?){1000}y"])
def test_no_expression_backtracks(expression: str) -> None:
    # A backtracking engine needs longer than the suite's time limit for each of these.
    path = "/" + "x" * 16_000
    assert not compile_pattern(f"example.org/{expression}").matches(parse_url("https://example.org/"), path)


def test_the_first_hermit_matched_anywhere() -> None:
    assert unanchored_v1_match("example.org/a", "www-example.org/a/b")
    assert unanchored_v1_match("example.org", "example.org/a/b")
    assert not unanchored_v1_match("example.org/b", "example.org/a")
    assert not unanchored_v1_match("(", "example.org/a")


EXPRESSION = st.text("ab.*+?()[]{}|\\/:^$-01%2F,d@!~#é\n\t &'\"", max_size=24)
URL = st.builds(
    "https://{}{}/{}".format,
    st.sampled_from(["a.b", "b.a.b", "a-b.b", "ab", "[::1]", "10.0.0.1", "a.b.", "b1.a"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    st.text("ab./%2F-", max_size=12),
)


@given(EXPRESSION, URL)
def test_no_text_crashes_it(text: str, url: str) -> None:
    try:
        pattern = compile_pattern(text)
    except ValueError:
        return
    try:
        target = parse_url(url)
    except BadTargetError:
        return
    assert pattern.matches(target, target.path) in {True, False}


@given(st.text("ab.*+?()[]|\\-0", max_size=12), st.text("ab.*+?()[]|\\-0/", max_size=12), URL)
def test_a_pattern_without_a_port_admits_none_but_the_schemes_own(host: str, path: str, url: str) -> None:
    try:
        pattern, target = compile_pattern(f"{host}/{path}"), parse_url(url)
    except ValueError:
        return
    assert target.port == 443 or not pattern.matches(target, target.path)


@given(
    st.lists(st.text("ab0-", min_size=1, max_size=4), min_size=1, max_size=3).map(".".join),
    st.lists(st.text("ab0-", min_size=1, max_size=4), min_size=1, max_size=3).map(".".join),
)
def test_a_literal_host_admits_itself_and_no_other(written: str, asked: str) -> None:
    try:
        pattern, target = compile_pattern(f"{written}/.*"), parse_url(f"https://{asked}/")
    except ValueError:
        return
    assert pattern.matches(target, "/") is (written == asked)
