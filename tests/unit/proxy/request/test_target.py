"""Attacks the normaliser: whatever a client sends has one spelling, and none that leaves the admitted folder."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request import target as target_module
from hermit_proxy.request.target import (
    BadTargetError,
    Target,
    host_file_name,
    parse_authority,
    parse_host,
    parse_target,
    parse_url,
)

HOST = "registry.example.org"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Registry.Example.ORG", "registry.example.org"),
        ("registry.example.org.", "registry.example.org"),
        ("_dmarc.example.org", "_dmarc.example.org"),
        ("xn--bcher-kva.example.org", "xn--bcher-kva.example.org"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1.", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("[::]", "::"),
        ("1.2.3.4.example.org", "1.2.3.4.example.org"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "example..org",
        "example.org..",
        ".example.org",
        "-a.example.org",
        "a-.example.org",
        "a" * 64 + ".example.org",
        "a." * 130 + "org",
        "../etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "a\x00b",
        "a\nb",
        "example.org\n",
        "exämple.org",
        "\u212aernel.example.org",  # KELVIN SIGN, `k` in lower case
        "\uff11\uff12\uff17.0.0.1",  # full-width digits
        "\u0661.\u0662.\u0663.\u0664",  # Arabic digits
        "a%2eexample.org",
        "a@example.org",
        "a+b.example.org",
        "*.example.org",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0x",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.256",
        "127.0.0.1.5",
        "example.123",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[" + ":" * 100_000 + "]",
    ],
)
def test_a_host_without_a_single_meaning_is_refused(text: str) -> None:
    with pytest.raises(BadTargetError) as caught:
        parse_host(text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("example.org:8443", None, ("example.org", 8443)),
        ("example.org", 443, ("example.org", 443)),
        ("example.org:", 443, ("example.org", 443)),
        ("[2001:db8::1]:8443", None, ("2001:db8::1", 8443)),
        ("[2001:db8::1]", 443, ("2001:db8::1", 443)),
    ],
)
def test_an_authority_is_split(text: str, default: int | None, expected: tuple[str, int]) -> None:
    assert parse_authority(text, default_port=default) == expected


@pytest.mark.parametrize(
    "text",
    [
        "example.org",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "example.org:-1",
        "example.org:+1",
        "example.org: 1",
        "example.org:1 ",
        "example.org:1_0",
        "example.org:\u0661",
        "example.org:443:443",
        "example.org:443@evil.example.org:443",
        "[::1]443",
        "[::1]x:443",
        "[::1]:",
        ":443",
        "",
    ],
)
def test_an_authority_of_a_connect_request_needs_host_and_port(text: str) -> None:
    with pytest.raises(BadTargetError):
        parse_authority(text, default_port=None)


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a//b", "/a/b"),
        ("//evil.example.org/x", "/evil.example.org/x"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e%2e", "/"),
        ("/%41%7e%2D", "/A~-"),
        ("/a%2fb", "/a%2Fb"),
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/a%20b", "/a%20b"),
        ("/100%", "/100%25"),
        ("/a%zz", "/a%25zz"),
        ("/%%341", "/%2541"),
        ("/caf\xe9", "/caf%E9"),
        ('/a"<>^`{|}b', "/a%22%3C%3E%5E%60%7B%7C%7Db"),
        ("/a;b=c/d", "/a;b=c/d"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a?", "/a?"),
        ("/a?b=../..//c", "/a?b=../..//c"),
        ("/a?%41=%2f", "/a?A=%2F"),
        ("/a?b?c", "/a?b?c"),
    ],
)
def test_a_path_has_one_spelling(sent: str, normal: str) -> None:
    found = parse_target("https", HOST, 443, sent)
    assert found.request_target == normal
    assert parse_target("https", HOST, 443, found.request_target) == found


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "*",
        "a",
        "?a",
        "http://example.org/",
        "/a b",
        "/a\tb",
        "/a\r\nHost: evil.example.org",
        "/a\x00",
        "/a%00",
        "/a%0d%0aHost:%20evil.example.org",
        "/a%7f",
        "/a#b",
        "/a\\..\\b",
        "/a?b c",
        "/a?b%0a",
        "/a?b#c",
        "/a/%252e%252e/b",
        "/a/%25252e%25252e/b",
        "/a/..%2fb",
        "/a/..%2Fb",
        "/a%2f..%2fb",
        "/a/..%5cb",
        "/a%5c..%5cb",
        "/a/..;/b",
        "/a/..;x=y/b",
        "/a/..%3b/b",
        "/a/.%252e/b",
        "/a/%2e%2e%252fb",
        "/a/%c0%ae%c0%ae/b",
        "/a/..%c0%afb",
        "/a/%25c0%25ae./b",
        "/a/\u2025/b",
        "/\ud800",
        "/" + "a" * 16384,
        "/" + "é" * 16000,  # too long once it is escaped
    ],
)
def test_a_path_without_a_single_safe_meaning_is_refused(sent: str) -> None:
    with pytest.raises(BadTargetError) as caught:
        parse_target("https", HOST, 443, sent)
    assert len(str(caught.value)) < 1000


def test_a_long_chain_of_escapes_is_refused_after_a_few_layers() -> None:
    passes = 0

    def counting(octets: bytes) -> bytes:
        nonlocal passes
        passes += 1
        return unquote_to_bytes(octets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_module, "unquote_to_bytes", counting)
        with pytest.raises(BadTargetError, match="behind escapes"):
            parse_target("https", HOST, 443, "/%" + "25" * 8000)
    assert passes <= 8


def test_long_targets_do_not_stay_in_memory() -> None:
    target_module._parse_cached.cache_clear()
    before = target_module._parse_cached.cache_info().currsize
    for number in range(50):
        parse_target("https", HOST, 443, f"/{number}/" + "a" * 10_000)
    assert target_module._parse_cached.cache_info().currsize == before
    parse_target("https", HOST, 443, "/short-and-new-to-the-cache")
    assert target_module._parse_cached.cache_info().currsize == before + 1


def test_a_secret_in_a_query_or_before_a_host_is_not_in_the_message() -> None:
    for attempt in (
        lambda: parse_target("https", HOST, 443, "/a?token=hunter2 x"),
        lambda: parse_target("https", HOST, 443, "/a/%252e./b?token=hunter2"),
        lambda: parse_target("https", HOST, 443, "x?token=hunter2"),
        lambda: parse_target("https", HOST, 443, "/?token=hunter2" + "x" * 20_000),
        lambda: parse_target("https", HOST, 443, "/a?hunter2\u1234"),
        lambda: parse_url("ftp://user:hunter2@example.org/"),
        lambda: parse_url("https://user:hunter2@example.org/"),
        lambda: parse_authority("hunter2@example.org", default_port=443),
    ):
        with pytest.raises(BadTargetError) as caught:
            attempt()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/a/b", "/a/b"),
        ("/a%2Fb", "/a/b"),
        ("/a/%2Fb", "/a/b"),
        ("/a%252Fb", "/a/b"),
        ("/a%252fb", "/a/b"),
        ("/a%5Cb", "/a/b"),
        ("/a%2F%2F%2Fb", "/a/b"),
        ("/a%20b", "/a%20b"),
    ],
)
def test_an_encoded_slash_can_be_read_as_one(path: str, read: str) -> None:
    assert parse_target("https", HOST, 443, path).path_as_slashes == read


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://EXAMPLE.org", "https://example.org/"),
        ("HTTPS://example.org:443/a", "https://example.org/a"),
        ("http://example.org:443/a", "http://example.org:443/a"),
        ("http://example.org:80?b", "http://example.org/?b"),
        ("https://[2001:DB8::1]:8443/a?b#".rstrip("#"), "https://[2001:db8::1]:8443/a?b"),
        ("https://example.org./a", "https://example.org/a"),
        ("https://example.org:/a", "https://example.org/a"),
    ],
)
def test_a_url_has_one_spelling(url: str, normal: str) -> None:
    assert parse_url(url).url == normal
    assert parse_url(normal).url == normal


@pytest.mark.parametrize(
    "url",
    [
        "example.org/a",
        "//example.org/a",
        "ftp://example.org/",
        "file:///etc/passwd",
        " https://example.org/",
        "https:/example.org/",
        "https:///a",
        "https://user@example.org/",
        "https://good.example.org\\@evil.example.org/",
        "https://good.example.org#@evil.example.org/",
        "https://example.org/a#b",
        "https://example.org/\u00e9\u20ac",
        "https://[::1/",
    ],
)
def test_a_url_that_is_something_else_is_refused(url: str) -> None:
    with pytest.raises(BadTargetError):
        parse_url(url)


def test_another_scheme_is_refused_before_it_becomes_a_key() -> None:
    with pytest.raises(BadTargetError):
        parse_target("ftp", HOST, 21, "/")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/", "example.org.yaml"),
        ("http://example.org/", "example.org.yaml"),
        ("https://example.org:80/", "example.org+80.yaml"),
        ("http://example.org:443/", "example.org+443.yaml"),
        ("https://[::1]/", "ip6+--1.yaml"),
        ("https://[::1]:8443/", "ip6+--1+8443.yaml"),
        ("https://recorded.yaml/", "recorded.yaml.yaml"),
    ],
)
def test_a_host_names_one_file(url: str, name: str) -> None:
    assert host_file_name(parse_url(url)) == name


octets = st.text(st.characters(max_codepoint=255), max_size=60)
tricky = st.lists(
    st.sampled_from(["/", ".", "..", "%2e", "%2F", "%5c", "%25", "%", ";", "\\", "a", "%c0%ae", "?", "//", "%00", "é"])
).map("".join)


@given(octets | tricky)
def test_normalising_twice_changes_nothing_and_no_reading_of_the_result_climbs(text: str) -> None:
    try:
        found = parse_target("https", HOST, 443, "/" + text)
    except BadTargetError:
        return
    assert parse_target("https", HOST, 443, found.request_target) == found
    assert parse_url(found.url) == found
    assert re.fullmatch(r"/[!-~]*", found.request_target)
    assert "//" not in found.path
    reading = found.path.encode()
    for _ in range(20):
        reading = unquote_to_bytes(reading)
        segments = re.split(rb"[/\\]", reading)
        assert not {b".", b".."} & {segment.partition(b";")[0] for segment in segments}


@given(st.text(max_size=80))
def test_any_text_is_a_safe_host_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except BadTargetError:
        return
    name = host_file_name(Target("https", host, 8443, "/", None))
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_.+-]*\.yaml", name)
    assert "/" not in name
    assert len(name) <= 255


@given(st.text(max_size=100) | st.text(max_size=100).map("https://".__add__))
def test_any_text_is_a_normal_url_or_refused(text: str) -> None:
    try:
        found = parse_url(text)
    except BadTargetError:
        return
    assert parse_url(found.url) == found
