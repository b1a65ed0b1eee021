"""Bindings: a credential goes to its host, path and methods, over https, and nowhere else."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hermit_proxy.credentials.bindings import Binding, Bindings, CredentialError
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule, Rules
from hermit_proxy.rules.pattern import compile_pattern

SECRET = "made-up-token-123"
BINDING = Binding(
    name="index",
    host="index.example.org",
    port=443,
    path="/simple",
    methods=frozenset({"GET", "HEAD"}),
    header="Authorization",
    value=f"Bearer {SECRET}",
    secret=SECRET.encode(),
    secret_file=Path("/etc/token"),
    line=2,
)
BINDINGS = Bindings({"index": BINDING}, path=Path("credentials.yaml"))
RULE = Rule(compile_pattern(".*/.*"), Action.ALLOW, credential="index", line=7)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://index.example.org/simple"),
        ("GET", "https://index.example.org/simple/"),
        ("HEAD", "https://index.example.org:443/simple/foo/?x=y"),
        ("GET", "https://INDEX.example.org./simple/foo%2Fbar"),
    ],
)
def test_a_credential_goes_where_it_is_bound(method: str, url: str) -> None:
    assert BINDINGS.header_for(RULE, method, parse_url(url)) == ("Authorization", f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("method", "url", "words"),
    [
        ("GET", "http://index.example.org/simple", "https only"),
        ("GET", "http://index.example.org:443/simple", "https only"),
        ("GET", "https://index.example.org:8443/simple", "bound to index.example.org:443"),
        ("GET", "https://attacker.example/simple", "bound to index.example.org:443"),
        ("GET", "https://index.example.org.attacker.example/simple", "bound to index.example.org:443"),
        ("GET", "https://a.index.example.org/simple", "bound to index.example.org:443"),
        ("GET", "https://index.example.org/", "bound to the path /simple"),
        ("GET", "https://index.example.org/simpleton", "bound to the path /simple"),
        ("GET", "https://index.example.org/simple/../other", "bound to the path /simple"),
        ("GET", "https://index.example.org/Simple/", "bound to the path /simple"),
        ("GET", "https://index.example.org/x/simple/", "bound to the path /simple"),
        ("GET", "https://index.example.org/%2Fsimple/", "bound to the path /simple"),
        ("GET", "https://index.example.org/simple%2Fx", "bound to the path /simple"),
        ("POST", "https://index.example.org/simple", "bound to the methods GET, HEAD"),
        ("PUT", "https://index.example.org/simple", "bound to the methods GET, HEAD"),
    ],
)
def test_a_credential_goes_nowhere_else(method: str, url: str, words: str) -> None:
    with pytest.raises(CredentialError) as caught:
        BINDINGS.header_for(RULE, method, parse_url(url))
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", [None, "other"])
def test_a_name_that_is_not_bound_is_an_error(name: str | None) -> None:
    rule = Rule(compile_pattern(".*/.*"), Action.ALLOW, credential=name)
    with pytest.raises(CredentialError, match="not bound"):
        BINDINGS.header_for(rule, "GET", parse_url("https://index.example.org/simple"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (RULE, None),
        (Rule(compile_pattern("other.example.org/.*"), Action.ALLOW), None),
        (Rule(compile_pattern("index.example.org/.*"), Action.ALLOW, credential="index"), None),
        (Rule(compile_pattern("index.example.org:443/.*"), Action.ALLOW, credential="index"), None),
        (
            Rule(compile_pattern("index.example.org/.*"), Action.ALLOW, credential="other", line=3),
            "`other` is not bound",
        ),
        (Rule(compile_pattern("evil.example.org/.*"), Action.ALLOW, credential="index", line=3), "does not match"),
        (Rule(compile_pattern("index.example.org:80/.*"), Action.ALLOW, credential="index", line=3), "does not match"),
        (
            Rule(
                compile_pattern("index.example.org/.*"), Action.ALLOW, frozenset({"POST"}), credential="index", line=3
            ),
            "bound to other methods (GET, HEAD)",
        ),
    ],
)
def test_rules_are_checked_against_the_bindings(rule: Rule, words: str | None) -> None:
    mistakes = BINDINGS.check(Rules([rule], source=Path("rules.yaml")))
    if words is None:
        assert mistakes == []
    else:
        assert [str(mistake).startswith("rules.yaml:3: ") for mistake in mistakes] == [True]
        assert words in mistakes[0].message


def test_without_bindings_a_rule_that_names_one_is_a_mistake() -> None:
    (mistake,) = Bindings().check(Rules([RULE]))
    assert str(mistake) == "rules:7: the credential `index` is not bound on this machine"
    assert not Bindings()
    assert BINDINGS


def test_no_repr_shows_the_secret() -> None:
    for shown in (repr(BINDING), str(BINDING), repr(BINDINGS), str(BINDINGS), repr(BINDINGS.scanner())):
        assert SECRET not in shown
    assert repr(BINDINGS) == "Bindings(['index'])"


def test_all_spellings_of_secret_and_header_are_known() -> None:
    pair = base64.b64encode(f"user:{SECRET}".encode())
    basic = Bindings(
        {
            "b": Binding(
                "b",
                "h",
                443,
                "/",
                frozenset(),
                "Authorization",
                f"Basic {pair.decode()}",
                SECRET.encode(),
                Path("f"),
                1,
            )
        }
    )
    for bindings in (BINDINGS, basic):
        assert SECRET.encode() in bindings.secrets()
        assert bindings.leaks(b"x" + pair)
        assert bindings.leaks(b"x-token: " + SECRET.encode())
        assert not bindings.leaks(b"nothing")
    assert pair in basic.secrets()
    assert BINDINGS.secret_files() == (Path("/etc/token"),)
