"""Proposes the fewest rules that admit what a recording was refused, never wider than one host."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from hermit_proxy.recorder.signatures import secret_parameters
from hermit_proxy.request.target import INTERNAL_HOST, BadTargetError, Target, parse_url
from hermit_proxy.rules.file import Action, Query, Rules
from hermit_proxy.rules.pattern import compile_pattern
from hermit_proxy.run.events import Outcome, RequestEvent

# More folders than this at the top of a host are one rule for the host.
_MAX_FOLDERS = 4
# What Target.path_as_slashes reads as a slash.
_ENCODED = re.compile(r"%(?:25)*(?:2F|5C)")
_ENCODED_RUN = re.compile(rf"/*(?:{_ENCODED.pattern}/*)+")
# What lies below a package's name in registries of npm and in module proxies of Go: one package leads to the next.
# (`/-/` alone is also in the paths of forges, where a folder is somebody's: `/me/project/-/archive/v1/x.tar.gz`.)
_OF_PACKAGE = re.compile(r"/(?:-/[^/]+\.tgz|@latest)\Z|/@v/")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True, slots=True)
class SuggestedRule:
    """Is one rule to paste; `requests` counts the refused ones that it admits.

    `above` is the index of the rule that it has to stand above, because that one matches already; None: anywhere.
    """

    pattern: str
    methods: tuple[str, ...]
    query: Query
    requests: int
    above: int | None = None

    @property
    def first(self) -> bool:
        """Tell whether it has to stand above a rule that is there."""
        return self.above is not None

    def to_yaml(self) -> str:
        """Give the rule as an item of `rules:`."""
        quoted = self.pattern.replace("'", "''")
        lines = [f"  - pattern: '{quoted}'", "    action: ALLOW", f"    method: [{', '.join(self.methods)}]"]
        if self.query == "ignore":
            lines.append("    query: ignore")
        elif self.query != "keep":
            names = ", ".join("'" + name.replace("'", "''") + "'" for name in self.query)
            lines.append(f"    query: [{names}]")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Refused:
    method: str
    target: Target
    above: int | None


def suggest(events: Iterable[RequestEvent], rules: Rules) -> list[SuggestedRule]:
    """Group what was refused for want of a rule by host, then by folder; what a rule rejects stays rejected."""
    groups: dict[tuple[str, bool], list[_Refused]] = defaultdict(list)
    for event in events:
        refused = _wanted(event, rules)
        if refused is not None:
            groups[refused.target.authority, refused.above is not None].append(refused)
    return [
        _rule(authority, expression, members)
        for (authority, _), refused in sorted(groups.items())
        for expression, members in _clusters(authority, refused)
    ]


def _comment(rule: SuggestedRule) -> str:
    return f"  # {rule.requests} request{'s' if rule.requests > 1 else ''}"


def with_comment(rule: SuggestedRule) -> str:
    """Give the rule as an item of `rules:`, with how many requests were refused for want of it."""
    return f"{_comment(rule)}\n{rule.to_yaml()}"


def as_yaml(suggested: Iterable[SuggestedRule]) -> str:
    """Give a whole rules file, or what to add to one."""
    ordered = sorted(suggested, key=lambda rule: not rule.first)
    parts = ["rules:\n"]
    for rule in ordered:
        place = "; has to stand above the rules that are there" if rule.first else ""
        parts.append(f"{_comment(rule)}{place}\n{rule.to_yaml()}")
    return "".join(parts) if ordered else ""


def _wanted(event: RequestEvent, rules: Rules) -> _Refused | None:
    if event.outcome is not Outcome.REFUSED:
        return None
    try:
        target = parse_url(event.url)
    except BadTargetError:
        return None
    found = rules.match(event.method, target), rules.match_decoded(event.method, target)
    if target.host == INTERNAL_HOST or any(rule is not None and rule.action is Action.REJECT for rule in found):
        return None
    if found == (None, None):
        return _Refused(event.method, target, None)
    key_query = found[0].key_url(target).partition("?")[2] if found[0] is not None else None
    if found[0] is not found[1] or secret_parameters(key_query):
        # No higher than it must: what a rule further up rejects stays rejected.
        matching = {id(rule) for rule in found if rule is not None}
        return _Refused(event.method, target, next(i for i, rule in enumerate(rules.rules) if id(rule) in matching))
    return None


def _clusters(authority: str, refused: list[_Refused]) -> list[tuple[str, list[_Refused]]]:
    """Cut one host's requests into few groups, each with the expression for its paths.

    They are one group where more than a few folders are asked, or where the folders are packages: a rule for each of
    those would have to be written anew with every dependency.
    """
    by_folder: dict[str, list[_Refused]] = defaultdict(list)
    for one in refused:
        by_folder[one.target.path_as_slashes.split("/")[1]].append(one)
    at_top = {one.target.path for one in refused if one.target.path.count("/") == 1}
    packages = len(at_top) > 1 or any(_OF_PACKAGE.search(one.target.path) for one in refused)
    if len(by_folder) > (1 if packages else _MAX_FOLDERS):
        return [("/.*", refused)]
    return [(_expression(authority, members), members) for _, members in sorted(by_folder.items())]


def _expression(authority: str, members: list[_Refused]) -> str:
    """Give the one path, or the deepest folder that all paths are in."""
    paths = sorted({one.target.path for one in members})
    split = [path.split("/") for path in paths]
    if len(paths) == 1:
        exact = _escape(paths[0])
        if _fits(authority + exact):
            return exact
    shared = len(split[0]) - 1
    while any(segments[:shared] != split[0][:shared] or len(segments) <= shared for segments in split):
        shared -= 1
    while not _fits(authority + (folder := _escape("/".join([*split[0][:shared], ""])) + ".*")):
        shared -= 1
    return folder


def _fits(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
    except ValueError:
        return False
    return True


def _escape(path: str) -> str:
    # A rule has to say the same of both readings of an encoded slash, and to the second a run of slashes is one.
    return _ENCODED_RUN.sub(_either, _META.sub(r"\\\g<0>", path))


def _either(found: re.Match[str]) -> str:
    run = found.group()
    spellings = sorted(set(_ENCODED.findall(run)))
    either = "|".join(["/", *spellings])
    if run in spellings:
        return f"({either})"
    return f"/({either})*" if run.startswith("/") else f"({either})+"


def _rule(authority: str, expression: str, members: list[_Refused]) -> SuggestedRule:
    methods = {one.method for one in members}
    # Who may have the body may have its length.
    methods |= {"HEAD"} if "GET" in methods else set()
    above = min((one.above for one in members if one.above is not None), default=None)
    return SuggestedRule(authority + expression, tuple(sorted(methods)), _query(members), len(members), above)


def _query(members: list[_Refused]) -> Query:
    """Leave out of the key what looks like a credential, and keep everything else."""
    if not any(secret_parameters(one.target.query) for one in members):
        return "keep"
    names: set[str] = set()
    for one in members:
        secret = secret_parameters(one.target.query)
        for part in (one.target.query or "").split("&"):
            name = unquote_plus(part.partition("=")[0])
            if name and name not in secret:
                names.add(name)
    return tuple(sorted(names)) or "ignore"
