"""Tests how URLs become patterns of rules, and that logins stay out of them."""

from __future__ import annotations

import pytest

from hermit_cli.init.urls import site, urls_in
from hermit_proxy.rules.pattern import compile_pattern


@pytest.mark.parametrize(
    ("url", "authority", "wide", "narrow"),
    [
        ("https://a.example.org/x/y.git", "a.example.org", "a.example.org/.*", r"a.example.org/x/y\.git/.*"),
        ("https://a.example.org", "a.example.org", "a.example.org/.*", "a.example.org/.*"),
        ("https://A.example.org:443/x/", "a.example.org", "a.example.org/.*", "a.example.org/x/.*"),
        ("http://a.example.org:8080/x", "a.example.org:8080", "a.example.org:8080/.*", "a.example.org:8080/x/.*"),
        ("sparse+https://a.example.org/i/", "a.example.org", "a.example.org/.*", "a.example.org/i/.*"),
        ("git+https://a.example.org/i?x=1", "a.example.org", "a.example.org/.*", "a.example.org/i/.*"),
        ("https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443", "[2001:db8::1]:8443/.*", "[2001:db8::1]:8443/x/.*"),
        # What no rule can say of a path is left to the host's rule.
        ("https://a.example.org/%2f/x", "a.example.org", "a.example.org/.*", "a.example.org/.*"),
    ],
)
def test_a_url_becomes_a_pattern_of_its_host_or_of_what_is_below_it(
    url: str, authority: str, wide: str, narrow: str
) -> None:
    where = site(url)
    assert where is not None
    assert where.authority == authority
    assert (where.pattern(narrow=False), where.pattern(narrow=True)) == (wide, narrow)
    compile_pattern(wide)
    compile_pattern(narrow)


def test_a_login_is_noticed_and_never_in_what_is_given() -> None:
    where = site("https://user:hunter2@a.example.org/simple/")
    assert where is not None
    assert where.login
    assert "hunter2" not in f"{where} {where.url} {where.pattern(narrow=True)}"
    assert where.url == "https://a.example.org/simple/"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "git@a.example.org:x/y.git",
        "ssh://a.example.org/x",
        "file:///x",
        "https://",
        "https://[x/",
        "https://a b/",
        "https://a.example.org:99999/",
        "https://${host}/x",
        "https://*/x",
    ],
)
def test_what_no_rule_can_be_about_is_none(url: str) -> None:
    assert site(url) is None


def test_urls_are_found_in_a_text_each_once() -> None:
    text = 'a "https://a.example.org/x", (http://b.example.org/y) https://a.example.org/x\nGIT git@c:x'
    assert urls_in(text) == ["https://a.example.org/x", "http://b.example.org/y"]
