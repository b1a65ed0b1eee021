"""Words a refusal for the person who reads the build's log: which request, why, and what would have it answered."""

from __future__ import annotations

import re

from hermit_proxy.policy import Decision, Mode, Reason, Refuse
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import Target
from hermit_proxy.rules.file import Rule, Rules

STATUS = 403
HEADERS = (("content-type", "text/plain; charset=utf-8"), ("x-hermit", "refused"))
FAILED_HEADERS = (("content-type", "text/plain; charset=utf-8"), ("x-hermit", "failed"))

_MAX_URL = 2000
# What means something else than itself in a pattern; in its host part dots are literal.
_SPECIAL = re.compile(r"[\\^$*+?{}\[\]|()]")
_RECORD, _RECORD_BUILD = "hermit run --mode record -- COMMAND", "hermit build --mode record"
_SPECIAL_IN_PATH = re.compile(r"[\\.^$*+?{}\[\]|()]")
# The place of a file on the host: all of an absolute path but its last name, where it is not a part of a URL.
_PLACE = re.compile(r"(?<![\w:/.~\\-])(?:/[^\s/:;,'\"]+)*/(?=[^\s/:;,'\"])")


def body(method: str, url: str, reason: str, hint: str | None = None) -> bytes:
    """Give the text that the client is answered with: three short paragraphs at most, ending with a new line.

    Of files on the host it tells the names alone: where they lie is no business of a build's, and would make what it
    sees depend on whose machine it runs on. The log has the whole paths.
    """
    shown = url if len(url) <= _MAX_URL else f"{url[:_MAX_URL]}..."
    lines = [f"Hermit refused {method} {shown}", f"Reason: {_PLACE.sub('', reason)}."]
    if hint:
        lines.append(f"What helps: {_PLACE.sub('', hint)}")
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def failure_body(method: str, url: str, reason: str, hint: str | None = None) -> bytes:
    """Give the text for a request that was admitted and could not be answered."""
    return body(method, url, reason, hint).replace(b"Hermit refused", b"Hermit could not answer", 1)


def rule_for(method: str, target: Target) -> str:
    """Give the narrowest rule that admits a request, as it goes into the rules file."""
    host = _SPECIAL.sub(r"\\\g<0>", target.authority)
    path = _SPECIAL_IN_PATH.sub(r"\\\g<0>", target.path)
    quoted = (host + path).replace("'", "''")
    extra = "" if method in {"GET", "HEAD"} else f", method: {method}"
    return f"- {{pattern: '{quoted}', action: ALLOW{extra}}}"


def hint(decision: Decision, request: Request, *, mode: Mode, rules: Rules, step: str | None) -> str:
    """Say which rule or command would have a refused request answered; empty where it was not refused."""
    if not isinstance(decision, Refuse):
        return ""
    where = str(rules.source) if rules.source is not None else ".hermit/rules.yaml"
    told = {
        Reason.REJECTED: f"the rule that rejects it is {_place(decision.rule, where)}",
        Reason.NO_RULE: _with_note(rules, f"this rule in {where}: {rule_for(request.method, request.target)}"),
        Reason.NOT_RECORDED: f"record again: {_RECORD_BUILD if step else _RECORD}",
        Reason.UNOBSERVED: "confirm the snapshot: hermit store fill",
        Reason.STEP_OFFLINE: f"`network: proxy` for the step {step!r}" if step else "ask for it within a step",
        Reason.AMBIGUOUS: f"rules in {where} that say the same of %2F and of a slash",
    }[decision.reason]
    if mode is Mode.RECORD and decision.reason is Reason.NOT_RECORDED:
        return f"ALLOW instead of LOCKED at {_place(decision.rule, where)}"
    return told


def _place(rule: Rule | None, where: str) -> str:
    return f"{where}:{rule.line}" if rule is not None and rule.line else where


def _with_note(rules: Rules, text: str) -> str:
    return f"{rules.note}; {text}" if rules.note else text
