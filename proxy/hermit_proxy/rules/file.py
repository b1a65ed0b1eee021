"""Reads `.hermit/rules.yaml` and finds the rule for a request: which requests a recording build may make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_plus

from hermit_proxy.closedyaml.file import Node, Scalar, excerpt, load
from hermit_proxy.closedyaml.reader import Reader, did_you_mean
from hermit_proxy.request.target import DEFAULT_PORTS, INTERNAL_HOST, Target
from hermit_proxy.rules.pattern import Pattern, compile_pattern

MAX_RULES = 2000
# RE2 is linear, and this is its factor: a rules file must not cost a request more than seconds at the very worst.
MAX_PROGRAM = 100_000
_METHOD = re.compile(r"[A-Z]{1,32}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEYS = (
    "pattern", "action", "method", "query", "scheme", "max_size", "fold_redirect", "min_age", "credential",
)  # fmt: skip
_CACHED_PATH = 1024


class Action(Enum):
    """Is what a rule says of the requests that it matches; the names are those of the first Hermit."""

    REJECT = "REJECT"
    LOCKED = "LOCKED"
    ALLOW = "ALLOW"
    REFRESH = "REFRESH"
    NO_STORE = "NO_STORE"


Query = Literal["keep", "ignore"] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Is one rule.

    `methods` None means every method. `query` says which parameters are part of the request key: all of them, none,
    or those named. `max_size` counts bytes of a response's body, `min_age` seconds since its publication. `credential`
    is a name that the operator binds to a secret. `line` is where the rule stands in its file.
    """

    pattern: Pattern
    action: Action
    methods: frozenset[str] | None = None
    query: Query = "keep"
    scheme: str | None = None
    max_size: int | None = None
    fold_redirect: bool = False
    min_age: float | None = None
    credential: str | None = None
    line: int = 0

    def key_url(self, target: Target) -> str:
        """Give the URL that the request's key has: without the query parameters that this rule leaves out."""
        if self.query == "keep" or target.query is None:
            return target.url
        names = () if self.query == "ignore" else self.query
        kept = [part for part in target.query.split("&") if unquote_plus(part.partition("=")[0]) in names]
        bare = target.url[: -len(target.query) - 1]
        return f"{bare}?{'&'.join(kept)}" if kept else bare

    def admits(self, method: str, target: Target, path: str) -> bool:
        """Tell whether the rule is about this method and target, its path spelled so."""
        return (
            (self.methods is None or method in self.methods)
            and (self.scheme is None or self.scheme == target.scheme)
            and self.pattern.matches(target, path)
        )


class Rules:
    """Holds a project's rules in their order; the first match wins, and without a match nothing is admitted.

    `source` is the file, None where there is none; `note` says so to a person.
    """

    def __init__(self, rules: Iterable[Rule] = (), *, source: Path | None = None, note: str | None = None) -> None:
        """Take rules in the order of the file."""
        self.rules = tuple(rules)
        self.source = source
        self.note = note
        self._find_cached = lru_cache(maxsize=4096)(self._find)

    def __repr__(self) -> str:
        """Name the file and the number of rules."""
        return f"Rules({len(self.rules)} rules, source={str(self.source)!r})"

    def match(self, method: str, target: Target) -> Rule | None:
        """Find the first rule about a request, its path read as it is sent."""
        return self._match(method, target, target.path)

    def match_decoded(self, method: str, target: Target) -> Rule | None:
        """Find the first rule about a request, `%2F` in its path read as a slash (see docs/decisions)."""
        return self._match(method, target, target.path_as_slashes)

    def _match(self, method: str, target: Target, path: str) -> Rule | None:
        # The proxy itself answers there; a rule must not send such a request elsewhere.
        if target.host == INTERNAL_HOST:
            return None
        find = self._find_cached if len(path) <= _CACHED_PATH else self._find
        return find(method, target.scheme, target.host, target.port, path)

    def _find(self, method: str, scheme: str, host: str, port: int, path: str) -> Rule | None:
        target = Target(scheme, host, port, path, None)
        return next((rule for rule in self.rules if rule.admits(method, target, path)), None)


def load_rules(path: Path) -> Rules:
    """Read a rules file; raise InputError with every mistake. Where there are none, `note` says why."""
    if not path.exists() and not path.is_symlink():
        return Rules(note=f"{path} does not exist: without rules every request is refused")
    node = load(path)
    if isinstance(node, Scalar) and node.nothing:
        # As `hermit rules suggest > rules.yaml` finds it: the shell has emptied the file before the command starts.
        return Rules(source=path, note=f"{path} is empty: without rules every request is refused")
    reader = Reader(path)
    root = reader.expect_mapping(node, ("rules",), "a rules file", required=("rules",))
    items = reader.expect_list(root.get("rules"), "rules")
    if len(items) > MAX_RULES:
        reader.mistake(items[MAX_RULES], f"more than {MAX_RULES} rules")
        reader.finish()
    rules = list(_read_rules(reader, items))
    reader.finish()
    return Rules(rules, source=path)


def _read_rules(reader: Reader, items: tuple[Node, ...]) -> Iterator[Rule]:
    size = 0
    for item in items:
        rule = _read_rule(reader, item)
        if rule is not None:
            size += rule.pattern.size
            yield rule
        if size > MAX_PROGRAM:
            reader.mistake(item, "the patterns up to here are too large together; `x{1000}` counts as a thousand")
            return


def _read_rule(reader: Reader, node: Node) -> Rule | None:
    fields = reader.expect_mapping(node, _KEYS, "a rule", required=("pattern", "action"))
    pattern = _read_pattern(reader, fields.get("pattern"))
    action = reader.expect_enum(fields.get("action"), "action", [action.name for action in Action])
    methods = _read_methods(reader, fields.get("method"))
    query = _read_query(reader, fields.get("query"))
    scheme = reader.expect_enum(fields.get("scheme"), "scheme", tuple(DEFAULT_PORTS))
    max_size = reader.expect_size(fields.get("max_size"), "max_size")
    fold = reader.expect_bool(fields.get("fold_redirect"), "fold_redirect")
    min_age = reader.expect_duration(fields.get("min_age"), "min_age")
    credential = _read_credential(reader, fields.get("credential"))
    if credential is not None and scheme == "http":
        reader.mistake(fields["credential"], "a credential goes over https only, and this rule says `scheme: http`")
    if pattern is None or action is None:
        return None
    return Rule(
        pattern, Action(action), methods, query, scheme, max_size, fold or False, min_age, credential, node.line
    )


def _read_pattern(reader: Reader, node: Node | None) -> Pattern | None:
    text = reader.expect_str(node, "pattern")
    if text is None:
        return None
    try:
        return compile_pattern(text)
    except ValueError as error:
        reader.mistake(node, f"pattern {excerpt(text)}: {error}")
        return None


def _read_methods(reader: Reader, node: Node | None) -> frozenset[str] | None:
    methods = reader.expect_strs(node, "method")
    for method in methods or ():
        if not _METHOD.fullmatch(method) or method == "CONNECT":
            reader.mistake(node, f"expected method as GET or another method in capitals; found {excerpt(method)}")
        elif method not in _METHODS and "did you mean" in (meant := did_you_mean(method, _METHODS)):
            reader.mistake(node, f"unknown method {excerpt(method)}{meant}")
    return None if methods is None else frozenset(methods)


def _read_query(reader: Reader, node: Node | None) -> Query:
    if node is None:
        return "keep"
    if not isinstance(node, Scalar):
        names = reader.expect_strs(node, "query as keep, ignore or a list of parameter names")
        return names or ()
    return "ignore" if reader.expect_enum(node, "query", ("keep", "ignore")) == "ignore" else "keep"


def _read_credential(reader: Reader, node: Node | None) -> str | None:
    name = reader.expect_str(node, "credential")
    if name is not None and not _NAME.fullmatch(name):
        reader.mistake(node, f"expected credential as a name of letters, digits, `.`, `_`, `-`; found {excerpt(name)}")
        return None
    return name
