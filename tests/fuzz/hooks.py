"""Fuzzes what forges deliver: a body that somebody signed is a typed event or a refusal, and Python's reader agrees."""

from __future__ import annotations

import json
import re

from hermit_master.hooks.change import change_of
from hermit_master.hooks.delivery import GITEA, GITHUB, RefusedDeliveryError, open_delivery
from hermit_master.hooks.events import Ignored, PullRequest, Push
from hermit_master.hooks.fields import BadPayloadError
from hermit_master.hooks.payload import read_event
from hermit_master.judging import facts_of
from hermit_master.mode import Destination, decide
from hermit_proxy.policy import Mode
from tests.fuzz.case import Case, attempt
from tests.support.deliveries import PROJECT, REPOSITORY, SECRET, encoded, pull_request, push, signed

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LINK = re.compile(r"(?:https?://[!-~]*)?")
# What git takes in no ref (git-check-ref-format(1)).
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[./]$")


def hook(data: bytes) -> bool:
    """Deliver octets behind a first one that says which forge and event: signed they are read, else they are not."""
    names = GITEA if data[:1].islower() else GITHUB
    event = "push" if data[:1].lower() == b"p" else "pull_request"
    body = data[1:]
    forged = signed(body, event, names=names, secret=b"another-secret-here")
    assert attempt(lambda: open_delivery(names, forged, SECRET), RefusedDeliveryError) is None
    opened = attempt(lambda: open_delivery(names, signed(body, event, names=names), SECRET), RefusedDeliveryError)
    if opened is None:
        return False
    assert opened.payload == json.loads(body)
    found = attempt(lambda: read_event(opened.event, opened.payload, REPOSITORY.project), BadPayloadError)
    if found is None or isinstance(found, Ignored):
        return found is not None
    assert opened.payload["repository"]["full_name"].lower() == PROJECT
    change = change_of(found, REPOSITORY, opened.delivery)
    json.dumps(change).encode()
    assert _SHA.fullmatch(change["revision"])
    assert _LINK.fullmatch(change["revlink"])
    assert not _NO_REF.search(change["branch"])
    assert not change["branch"].startswith("-")
    assert all(text.isprintable() for text in (change["author"], change["comments"].replace("\n", "")))
    _check_mode(found, opened.payload["repository"]["default_branch"])
    return True


def _check_mode(event: Push | PullRequest, default: str) -> None:
    """Nothing of a payload makes Hermit commit to a default branch, or record what comes from outside."""
    decision = decide(facts_of(event, REPOSITORY, own=False))
    if isinstance(event, PullRequest) or event.ref in {default, REPOSITORY.branch}:
        assert decision.mode is Mode.HERMETIC
    if decision.destination is not Destination.NOWHERE:
        assert isinstance(event, Push)
        assert decision.mode is Mode.RECORD


CASES = (
    Case(
        "hook",
        hook,
        [
            b"P" + encoded(push()),
            b"p" + encoded(push("refs/heads/main")),
            b"P" + encoded(push("refs/heads/a/../b")),
            b"P" + encoded(push("refs/tags/v1.0", head_commit=None)),
            b"P" + encoded(push(deleted=True, after="0" * 40)),
            b"R" + encoded(pull_request()),
            b"r" + encoded(pull_request(None, action="synchronized")),
            b"R" + encoded(pull_request(PROJECT)),
            b'P{"a": [1.5e3, "\\ud83d\\ude00", null, true]}',
        ],
        (
            *(b"refs/heads/", b"refs/tags/", b"refs/pull/1/head", b"../", b"..", b".lock", b"@{", b"//", b"--x"),
            *(
                b"null",
                b"true",
                b"{}",
                b"[]",
                b'"',
                b"\\u0000",
                b"\\ud800",
                b"\\u202e",
                b"\\n",
                b"NaN",
                b"1e999",
                b"-1",
            ),
            *(
                b"0" * 40,
                b"a" * 40,
                b"a" * 64,
                b"[skip ci]",
                b"javascript:",
                b"https://",
                b'"deleted": true, ',
                b"\xff",
            ),
            *(
                b"main",
                b"topic",
                b"org/project",
                b"opened",
                b"synchronize",
                b'"head_commit": null, ',
                b"[[[[[[[[",
                b"{",
            ),
            *(b'"repo": null', b"$(id)", b"`", b"%00", b" "),
        ),
        3000,
    ),
)
