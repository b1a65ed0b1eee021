"""Rules: the first match decides, the keys mean what docs/rules.md says, and every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_proxy.errors import ExitCode, InputError
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import MAX_RULES, Action, Rule, Rules, load_rules
from hermit_proxy.rules.pattern import compile_pattern


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(tmp_path: Path, text: str) -> Rules:
    return load_rules(write(tmp_path, text))


def one(tmp_path: Path, keys: str) -> Rule:
    (rule,) = read(tmp_path, f"rules:\n- {{pattern: example.org/.*, action: ALLOW, {keys}}}\n").rules
    return rule


V1_RULES = """\
rules:
- pattern: "auth.example.org/.*"
  action: NO_STORE
- pattern: "registry-1.example.org/v2/library/debian/.*"
  action: ALLOW
- pattern: "mirror.example.org/debian.*/InRelease"
  action: REFRESH
- pattern: "mirror.example.org/debian.*"
  action: ALLOW
"""


@pytest.mark.parametrize(
    ("url", "action"),
    [
        ("https://auth.example.org/token?service=x", Action.NO_STORE),
        ("https://registry-1.example.org/v2/library/debian/manifests/sid", Action.ALLOW),
        ("http://mirror.example.org/debian-security/dists/sid/InRelease", Action.REFRESH),
        ("http://mirror.example.org/debian/dists/sid/InRelease/x", Action.ALLOW),
        ("http://mirror.example.org/debian", Action.ALLOW),
        ("https://auth-example.org/token", None),
        ("https://attacker.example/auth.example.org/x", None),
    ],
)
def test_rules_of_the_first_hermit_are_read_and_the_first_match_wins(
    tmp_path: Path, url: str, action: Action | None
) -> None:
    rule = read(tmp_path, V1_RULES).match("GET", parse_url(url))
    assert (rule and rule.action) is action


def test_files_of_the_first_hermit_load() -> None:
    fixtures = sorted((Path(__file__).parents[3] / "fixtures" / "hermit-v1").glob("*/rules.yaml"))
    assert len(fixtures) == 3
    for path in fixtures:
        rules = load_rules(path)
        assert [rule.action.name for rule in rules.rules] == ["NO_STORE", "ALLOW", "REFRESH", "ALLOW"]
        assert rules.source == path


def test_a_rule_has_every_key(tmp_path: Path) -> None:
    rule = one(
        tmp_path,
        "method: [GET, HEAD], query: [page, q], scheme: https, max_size: 10 MB, fold_redirect: true, min_age: 3d, "
        "credential: index",
    )
    assert rule == Rule(
        compile_pattern("example.org/.*"),
        Action.ALLOW,
        frozenset({"GET", "HEAD"}),
        ("page", "q"),
        "https",
        10_000_000,
        fold_redirect=True,
        min_age=3 * 86400.0,
        credential="index",
        line=2,
    )


def test_a_rule_without_more_keys_restricts_nothing_more(tmp_path: Path) -> None:
    (rule,) = read(tmp_path, "rules: [{pattern: example.org/.*, action: LOCKED}]").rules
    assert rule == Rule(compile_pattern("example.org/.*"), Action.LOCKED, line=1)
    for method in ("GET", "POST", "PROPFIND"):
        assert rule.admits(method, parse_url("http://example.org/x"), "/x")


def test_method_and_scheme_restrict(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        "rules:\n"
        "- {pattern: example.org/.*, action: ALLOW, method: GET}\n"
        "- {pattern: example.org/.*, action: REFRESH, method: [POST, PUT], scheme: https}\n",
    )
    https, http = parse_url("https://example.org/x"), parse_url("http://example.org/x")
    found = {
        (method, target.scheme): (rule.action if (rule := rules.match(method, target)) else None)
        for method in ("GET", "HEAD", "POST")
        for target in (https, http)
    }
    assert found == {
        ("GET", "https"): Action.ALLOW,
        ("GET", "http"): Action.ALLOW,
        ("HEAD", "https"): None,
        ("HEAD", "http"): None,
        ("POST", "https"): Action.REFRESH,
        ("POST", "http"): None,
    }


@pytest.mark.parametrize(
    ("query", "asked", "key"),
    [
        ("keep", "?a=1&b=2", "?a=1&b=2"),
        ("keep", "?", "?"),
        ("keep", "", ""),
        ("ignore", "?a=1&b=2", ""),
        ("ignore", "?", ""),
        ("ignore", "", ""),
        ("[a]", "?a=1&b=2&a=3", "?a=1&a=3"),
        ("[a]", "?b=2", ""),
        ("[a, b]", "?b=2&a=1", "?b=2&a=1"),
        ("[a]", "?a", "?a"),
        ("[a]", "?", ""),
        ("[a]", "?x=a&aa=1", ""),
        ("['a b']", "?a%20b=1&a+b=2&ab=3", "?a%20b=1&a+b=2"),
        ("[gnore]", "?gnore=1&ignore=2", "?gnore=1"),
    ],
)
def test_the_query_says_which_parameters_make_the_key(tmp_path: Path, query: str, asked: str, key: str) -> None:
    rule = one(tmp_path, f"query: {query}")
    assert rule.key_url(parse_url(f"https://example.org/x{asked}")) == f"https://example.org/x{key}"


def test_without_a_file_nothing_is_admitted_and_that_is_said(tmp_path: Path) -> None:
    rules = load_rules(tmp_path / "rules.yaml")
    assert rules.rules == ()
    assert rules.source is None
    assert rules.note is not None
    assert "does not exist: without rules every request is refused" in rules.note
    assert rules.match("GET", parse_url("https://example.org/")) is None


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_admits_nothing_and_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    rules = load_rules(path)
    assert rules.rules == ()
    assert rules.note == f"{path} is empty: without rules every request is refused"


def test_an_empty_list_admits_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "rules: []").match("GET", parse_url("https://example.org/")) is None


def test_a_dangling_link_is_a_mistake_and_not_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="cannot be read"):
        load_rules(path)


def test_no_rule_admits_the_proxy_itself() -> None:
    rules = Rules([Rule(compile_pattern(".*/.*"), Action.ALLOW), Rule(compile_pattern(".*:.*/.*"), Action.ALLOW)])
    for url in ("http://hermit.internal/x", "https://hermit.internal:8443/", "http://HERMIT.internal./"):
        assert rules.match("GET", parse_url(url)) is None
        assert rules.match_decoded("GET", parse_url(url)) is None
    assert rules.match("GET", parse_url("http://hermit.internal.example.org/")) is not None


def test_both_readings_of_an_encoded_slash_are_told_apart() -> None:
    inner, outer = (
        Rule(compile_pattern("example.org/a/.*"), Action.REJECT),
        Rule(compile_pattern("example.org/.*"), Action.ALLOW),
    )
    rules = Rules([inner, outer])
    hidden, plain = parse_url("https://example.org/a%2Fb"), parse_url("https://example.org/c%2Fb")
    assert (rules.match("GET", hidden), rules.match_decoded("GET", hidden)) == (outer, inner)
    assert rules.match("GET", plain) is rules.match_decoded("GET", plain) is outer


@pytest.mark.parametrize("length", [10, 2000])
def test_matches_are_the_same_object_each_time(length: int) -> None:
    rules = Rules([Rule(compile_pattern("example.org/.*"), Action.ALLOW)])
    target = parse_url("https://example.org/" + "x" * length)
    assert rules.match("GET", target) is rules.match("GET", target) is rules.match_decoded("GET", target)


def test_two_sets_of_rules_share_no_memory_of_matches() -> None:
    target = parse_url("https://example.org/")
    assert Rules().match("GET", target) is None
    assert Rules([Rule(compile_pattern("example.org/.*"), Action.ALLOW)]).match("GET", target) is not None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[]", 1, "expected a rules file as a mapping (`key: value`), found a list"),
        ("rule: []", 1, "unknown key 'rule' in a rules file; did you mean `rules`?"),
        ("{}", 1, "a rules file needs the key `rules`"),
        ("rules: yes", 1, "expected rules as a list, found 'yes'"),
        ("rules: {pattern: x}", 1, "expected rules as a list, found a mapping"),
        ("rules:\n", 1, "expected rules as a list, found nothing"),
        ("rules:\n- x\n", 2, "expected a rule as a mapping"),
        ("rules:\n- action: ALLOW\n", 2, "a rule needs the key `pattern`"),
        ("rules:\n- pattern: example.org/x\n", 2, "a rule needs the key `action`"),
        ("rules:\n- pattern: example.org/x\n  action: ALOW\n", 3, "found 'ALOW'; did you mean `ALLOW`?"),
        ("rules:\n- pattern: example.org/x\n  action: nostore\n", 3, "did you mean `NO_STORE`?"),
        ("rules:\n- pattern: example.org/x\n  action: PERMIT\n", 3, "REJECT, LOCKED, ALLOW, REFRESH, NO_STORE"),
        ("rules:\n- pattern: example.org/x\n  action: [ALLOW]\n", 3, "found a list"),
        ("rules:\n- pattern: [a]\n  action: ALLOW\n", 2, "expected pattern as a text, found a list"),
        ("rules:\n- pattern: example.org/(\n  action: ALLOW\n", 2, "pattern 'example.org/(': not a regular expression"),
        ("rules:\n- pattern: example.org\n  action: ALLOW\n", 2, "no path"),
        ("rules:\n- pattern: a/b\n  patern: c\n  action: ALLOW\n", 3, "did you mean `pattern`?"),
        ("rules:\n- pattern: a/b\n  pattern: c\n  action: ALLOW\n", 3, "a second time (first: line 2)"),
        ("rules:\n- &x {pattern: a/b, action: ALLOW}\n- *x\n", 2, "an anchor"),
        ("rules:\n- {pattern: a/b, action: ALLOW}\n- *x\n", 3, "an alias"),
        ("rules:\n\t- {pattern: a/b, action: ALLOW}\n", 2, "a tab"),
        ("rules: [{pattern: a/b, action: ALLOW, method: get}]", 1, "another method in capitals; found 'get'"),
        ("rules: [{pattern: a/b, action: ALLOW, method: GTE}]", 1, "did you mean `GET`?"),
        ("rules: [{pattern: a/b, action: ALLOW, method: CONNECT}]", 1, "found 'CONNECT'"),
        ("rules: [{pattern: a/b, action: ALLOW, method: []}]", 1, "found an empty list"),
        ("rules: [{pattern: a/b, action: ALLOW, query: drop}]", 1, "one of keep, ignore"),
        ("rules: [{pattern: a/b, action: ALLOW, query: []}]", 1, "found an empty list"),
        ("rules: [{pattern: a/b, action: ALLOW, query: {a: b}}]", 1, "found a mapping"),
        ("rules: [{pattern: a/b, action: ALLOW, scheme: ftp}]", 1, "one of http, https"),
        ("rules: [{pattern: a/b, action: ALLOW, max_size: big}]", 1, "max_size as a size"),
        ("rules: [{pattern: a/b, action: ALLOW, fold_redirect: 'true'}]", 1, "found 'true' in quotes"),
        ("rules: [{pattern: a/b, action: ALLOW, min_age: 3 days}]", 1, "min_age as a time"),
        ("rules: [{pattern: a/b, action: ALLOW, credential: ../x}]", 1, "credential as a name"),
        ("rules: [{pattern: a/b, action: ALLOW, credential: x, scheme: http}]", 1, "https only"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_expectation(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_rules(path)
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "rules:\n- {pattern: a, action: ALLOW}\n- {pattern: a/b, action: X}\n- {patern: a/b, action: ALLOW}\n"
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert [mistake.line for mistake in caught.value.mistakes] == [2, 3, 4, 4]


def test_a_10_mb_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"rules:\n" + b"- {pattern: a/b, action: ALLOW}\n" * 320_000)
    with pytest.raises(InputError, match=r"rules\.yaml: larger than the 1,048,576 bytes"):
        load_rules(path)


def test_too_many_rules_are_refused(tmp_path: Path) -> None:
    line = "- {pattern: a/b, action: ALLOW}\n"
    assert len(read(tmp_path, "rules:\n" + line * MAX_RULES).rules) == MAX_RULES
    with pytest.raises(InputError, match=f"rules.yaml:{MAX_RULES + 2}: more than {MAX_RULES} rules"):
        read(tmp_path, "rules:\n" + line * (MAX_RULES + 1))


def test_patterns_that_are_large_together_are_refused(tmp_path: Path) -> None:
    line = "- {pattern: 'a/x{1000}', action: ALLOW}\n"
    assert len(read(tmp_path, "rules:\n" + line * 90).rules) == 90
    with pytest.raises(InputError, match="too large together"):
        read(tmp_path, "rules:\n" + line * 110)


WORDS = st.sampled_from(
    [
        *(
            "pattern",
            "action",
            "rules",
            "method",
            "query",
            "ALLOW",
            "REJECT",
            "a.b/.*",
            "a.b/x",
            ".*/.*",
            "GET",
            "keep",
        ),
        *(
            "[",
            "(",
            "ignore",
            "https",
            "max_size",
            "10 MB",
            "min_age",
            "3d",
            "credential",
            "x",
            "true",
            "null",
            "",
            "1",
        ),
    ]
)
VALUES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
)
RULES = st.fixed_dictionaries(
    {"pattern": st.sampled_from(["a.b/.*", ".*/x", "a.b:8443/.*", "("]) | VALUES, "action": WORDS},
    optional=dict.fromkeys(("method", "query", "scheme", "max_size", "fold_redirect", "min_age", "pattren"), VALUES),
)
FILES = st.fixed_dictionaries({"rules": st.lists(RULES, max_size=3)}) | VALUES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES)
def test_any_file_is_read_as_the_grammar_says_or_refused(tmp_path: Path, value: object) -> None:
    path = write(tmp_path, yaml.safe_dump(value, sort_keys=False))
    try:
        rules = load_rules(path)
    except InputError:
        return
    assert isinstance(value, dict)
    assert set(value) == {"rules"}
    assert [rule.action.name for rule in rules.rules] == [item["action"] for item in value["rules"]]
    assert [rule.pattern.text for rule in rules.rules] == [item["pattern"] for item in value["rules"]]
    assert not any("pattren" in item for item in value["rules"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_octets_crash_it(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError):
        load_rules(write(tmp_path, b"rules:\n- " + data + b"\n  action: NOT_AN_ACTION\n"))


@given(
    st.lists(st.sampled_from(["a.b/.*", "a.b/x.*", "c.b/.*", ".*/y", "a.b/x/y"]), max_size=4),
    st.sampled_from(["a.b", "c.b", "axb"]),
    st.sampled_from(["/x", "/x/y", "/y", "/x%2Fy", "/"]),
)
def test_the_first_rule_that_matches_is_found(patterns: list[str], host: str, path: str) -> None:
    rules = Rules(Rule(compile_pattern(text), Action.ALLOW, line=n) for n, text in enumerate(patterns))
    target = parse_url(f"https://{host}{path}")
    expected = next((rule for rule in rules.rules if rule.pattern.matches(target, target.path)), None)
    assert rules.match("GET", target) is expected
