"""The file of credentials: private, closed, and never quoted in a message."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_proxy.credentials.file import Bindings, load_bindings
from hermit_proxy.errors import InputError
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule
from hermit_proxy.rules.pattern import compile_pattern

SECRET = "made-up-token-123"


def write(tmp_path: Path, keys: str, secret: bytes = SECRET.encode() + b"\n") -> Path:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_bytes(secret)
    path = tmp_path / "credentials.yaml"
    path.touch(mode=0o600)
    path.write_text(f"credentials:\n  index: {{{keys}}}\n")
    return path


GOOD = "host: index.example.org, path: /simple, secret_file: token, as: bearer"


def header(bindings: Bindings, url: str = "https://index.example.org/simple/x", method: str = "GET") -> tuple[str, str]:
    rule = Rule(compile_pattern(".*/.*"), Action.ALLOW, credential="index")
    return bindings.header_for(rule, method, parse_url(url))


@pytest.mark.parametrize(
    ("sent_as", "expected"),
    [
        ("bearer", ("Authorization", f"Bearer {SECRET}")),
        ("basic, user: build", ("Authorization", "Basic YnVpbGQ6bWFkZS11cC10b2tlbi0xMjM=")),
        ("header X-Api-Key", ("X-Api-Key", SECRET)),
    ],
)
def test_a_secret_is_sent_as_the_file_says(tmp_path: Path, sent_as: str, expected: tuple[str, str]) -> None:
    path = write(tmp_path, f"host: index.example.org, path: /simple, secret_file: token, as: {sent_as}")
    assert header(load_bindings(path)) == expected


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("index.example.org", "https://index.example.org/simple/"),
        ("https://index.example.org/", "https://index.example.org/simple/"),
        ("index.example.org:8443", "https://index.example.org:8443/simple/"),
        ("'[::1]:8443'", "https://[::1]:8443/simple/"),
    ],
)
def test_the_host_is_read_with_its_port(tmp_path: Path, host: str, url: str) -> None:
    path = write(tmp_path, f"host: {host}, path: /simple, secret_file: token, as: bearer")
    assert header(load_bindings(path), url)[1] == f"Bearer {SECRET}"


def test_methods_are_get_and_head_unless_said(tmp_path: Path) -> None:
    assert header(load_bindings(write(tmp_path, GOOD)), method="HEAD")
    with pytest.raises(Exception, match="bound to the methods GET, HEAD"):
        header(load_bindings(write(tmp_path, GOOD)), method="POST")
    assert header(load_bindings(write(tmp_path, GOOD + ", methods: [POST]")), method="POST")
    with pytest.raises(Exception, match="bound to the methods POST"):
        header(load_bindings(write(tmp_path, GOOD + ", methods: [POST]")))


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert not load_bindings(tmp_path / "absent")
    assert not load_bindings(None)


def test_the_secret_file_is_found_beside_the_file_or_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindings = load_bindings(write(tmp_path, GOOD))
    assert bindings.secret_files() == (tmp_path / "token",)
    assert bindings.path == tmp_path / "credentials.yaml"
    absolute = GOOD.replace("token", str(tmp_path / "token"))
    assert load_bindings(write(tmp_path, absolute)).secret_files() == (tmp_path / "token",)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_bindings(write(tmp_path, GOOD.replace("token", "~/token"))).secret_files() == (tmp_path / "token",)


@pytest.mark.parametrize("name", ["credentials.yaml", "token"])
def test_files_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, GOOD)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(InputError, match=rf"{name}: other users may read or write it \(mode 0644\); expected 0600"):
        load_bindings(path)


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"\n",
        b"short",
        b"1234567\n",
        b"two\nlines-of-it",
        b"with\rreturn-in-it",
        b"with\0nul-in-it",
        b" leading-space",
        b"trailing-space ",
        "nicht-äscii-".encode(),
        b"\xff\xfe-binary-secret",
        b"tab\tin-the-middle",
    ],
)
def test_a_secret_that_is_no_line_of_printable_ascii_is_refused_and_not_shown(tmp_path: Path, secret: bytes) -> None:
    with pytest.raises(InputError, match="one line of at least 8 printable ASCII characters") as caught:
        load_bindings(write(tmp_path, GOOD, secret))
    if secret.strip():
        assert secret.decode("latin-1").strip() not in str(caught.value)


def test_a_secret_file_that_is_huge_or_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than the 8,192 bytes"):
        load_bindings(write(tmp_path, GOOD, b"x" * 10_000))
    path = write(tmp_path, GOOD)
    (tmp_path / "token").unlink()
    with pytest.raises(InputError, match=r"token: cannot be read: No such file"):
        load_bindings(path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (GOOD.replace("host:", "hots:"), "unknown key 'hots' in the credential `index`; did you mean `host`?"),
        (GOOD.replace("host: index.example.org, ", ""), "needs the key `host`"),
        (GOOD.replace("path: /simple, ", ""), "needs the key `path`"),
        (GOOD.replace("secret_file: token, ", ""), "needs the key `secret_file`"),
        (GOOD.replace(", as: bearer", ""), "needs the key `as`"),
        (GOOD.replace("index.example.org", "http://index.example.org"), "over https only"),
        (GOOD.replace("index.example.org", "index.example.org/x"), "expected host as"),
        (GOOD.replace("index.example.org", "'*.example.org'"), "expected host as"),
        (GOOD.replace("index.example.org", "user@example.org"), "expected host as"),
        (GOOD.replace("/simple", "simple"), "expected path as the beginning of a URL's path"),
        (GOOD.replace("/simple", "/a/../b"), "expected path as the proxy sees it, '/b'"),
        (GOOD.replace("/simple", "/a%2e%2e"), "expected path as the proxy sees it, '/a..'"),
        (GOOD.replace("/simple", "/a?b=c"), "expected path as the proxy sees it, '/a'"),
        (GOOD.replace("bearer", "token"), "bearer, basic or `header NAME`; found 'token'"),
        (GOOD.replace("bearer", "header"), "bearer, basic or `header NAME`"),
        (GOOD.replace("bearer", "header Host"), "bearer, basic or `header NAME`"),
        (GOOD.replace("bearer", "header Content-Length"), "bearer, basic or `header NAME`"),
        (GOOD.replace("bearer", '"header X\\r\\nY"'), "bearer, basic or `header NAME`"),
        (GOOD.replace("bearer", "basic"), "`user` belongs to `as: basic`"),
        (GOOD + ", user: build", "`user` belongs to `as: basic`"),
        (GOOD.replace("bearer", "basic") + ", user: 'a:b'", "without a colon"),
        (GOOD.replace("bearer", "basic") + ', user: "a\\nb"', "printable ASCII"),
        (GOOD + ", methods: get", "methods in capitals"),
        (GOOD + ", methods: []", "found an empty list"),
        (GOOD.replace("secret_file: token", "secret_file: ~nobody-of-this-name/x"), "secret_file"),
        (GOOD.replace("token", '"a\\0b"'), "cannot be read"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, keys: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_bindings(write(tmp_path, keys))
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a credentials file as a mapping"),
        ("credential: {}", "did you mean `credentials`?"),
        ("credentials: []", "expected credentials as a mapping"),
        ("credentials: {../x: {}}", "expected a name"),
        ("credentials: {a: x}", "expected the credential `a` as a mapping"),
        ("credentials: {a: &x {}}", "an anchor"),
        ("credentials:\n  a: {}\n  a: {}\n", "second time"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, GOOD)
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_bindings(path)
    assert words in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab:{}[],'\"&*!?#-\n ", max_size=40))
def test_no_text_crashes_it(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, GOOD)
    path.write_text(f"credentials:\n  index:\n    host: {text}\n")
    with pytest.raises(InputError):
        load_bindings(path)
