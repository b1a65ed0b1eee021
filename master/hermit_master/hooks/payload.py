"""Reads payloads of GitHub and Gitea, which took over GitHub's: one push or pull request becomes one typed event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hermit_master.hooks.events import Commit, Event, Ignored, PullRequest, Push
from hermit_master.hooks.fields import BadPayloadError, Fields
from hermit_master.mode import Kind
from hermit_master.names import (
    BadNameError,
    Branch,
    Login,
    Project,
    Tag,
    parse_branch,
    parse_login,
    parse_sha,
    parse_tag,
)

_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_SKIP = re.compile(r"\[ *(?:skip *ci|ci *skip|no *ci) *\]", re.IGNORECASE)
# GitHub says `synchronize`, Gitea `synchronized`.
_NEW_HEAD = frozenset({"opened", "reopened", "synchronize", "synchronized"})
_MAX_AUTHOR = 255
_MAX_LINK = 255
_MAX_MESSAGE = 10_000
_LINK = re.compile(r"https?://[!-~]+")


def read_event(name: str, payload: Mapping[str, Any], project: Project) -> Event:
    """Read the payload of an event; raise BadPayloadError for one that is not as described, or another project's."""
    if name not in {"push", "pull_request"}:
        return Ignored(f"{name} asks for no build")
    fields = Fields(payload)
    repository = fields.inner("repository")
    told = repository.text("full_name")
    if told.lower() != project.lower():
        raise BadPayloadError("the hook of one repository told of another")
    default = repository.named("default_branch", parse_branch)
    return _push(fields, default) if name == "push" else _pull_request(fields, default)


def _push(fields: Fields, default: Branch) -> Event:
    ref = fields.text("ref")
    after = fields.text("after")
    if fields.flag("deleted") or (after and not after.strip("0")):
        return Ignored("a branch or tag was deleted")
    if not ref.startswith((_BRANCH, _TAG)):
        return Ignored("neither a branch nor a tag")
    kind = Kind.BRANCH if ref.startswith(_BRANCH) else Kind.TAG
    # Gitea leaves the commit out for some tags.
    commit = (
        _commit(fields.inner("head_commit")) if "head_commit" in fields else Commit(fields.named("after", parse_sha))
    )
    # What an annotated tag has after the push is an object of its own.
    if kind is Kind.BRANCH and fields.named("after", parse_sha) != commit.sha:
        raise BadPayloadError("expected head_commit.id as `after` says")
    if _SKIP.search(commit.message):
        return Ignored("its message says to skip it")
    name: Branch | Tag
    if kind is Kind.BRANCH:
        name = fields.named("ref", lambda text: parse_branch(text.removeprefix(_BRANCH)))
    else:
        name = fields.named("ref", lambda text: parse_tag(text.removeprefix(_TAG)))
    return Push(name, kind, commit, default, _sender(fields))


def _pull_request(fields: Fields, default: Branch) -> Event:
    action = fields.text("action")
    if action not in _NEW_HEAD:
        return Ignored("a pull request without a new commit")
    request = fields.inner("pull_request")
    head, base = request.inner("head"), request.inner("base")
    home = base.inner("repo").text("full_name").lower()
    if home != fields.inner("repository").text("full_name").lower():
        raise BadPayloadError("expected pull_request.base.repo as `repository` says")
    # A head without a repository is one whose fork was deleted.
    if "repo" in head and head.inner("repo").text("full_name").lower() == home:
        return Ignored("its branch is of this repository, and built when it is pushed")
    commit = Commit(
        head.named("sha", parse_sha),
        author=_sender(fields) or "",
        message=request.shown("title", _MAX_MESSAGE),
        time=request.time("updated_at"),
        link=_link(request.shown("html_url", _MAX_LINK)),
    )
    return PullRequest(fields.number("number"), base.named("ref", parse_branch), commit, default, _sender(fields))


def _commit(fields: Fields) -> Commit:
    author = fields.inner("author") if "author" in fields else Fields({})
    name, email = author.shown("name", _MAX_AUTHOR), author.shown("email", _MAX_AUTHOR)
    return Commit(
        fields.named("id", parse_sha),
        fields.named("tree_id", parse_sha) if "tree_id" in fields else None,
        f"{name} <{email}>"[:_MAX_AUTHOR].replace("\n", " "),
        fields.shown("message", _MAX_MESSAGE),
        fields.time("timestamp"),
        _link(fields.shown("url", _MAX_LINK + 1)),
    )


def _sender(fields: Fields) -> Login | None:
    """Give whom the forge names; a name that is no account's is nobody's, and trusted by nobody."""
    if "sender" not in fields:
        return None
    try:
        return parse_login(fields.inner("sender").text("login"))
    except BadNameError:
        return None


def _link(text: str) -> str:
    """Give a link that a page may have: never `javascript:`, never cut."""
    return text if len(text) <= _MAX_LINK and _LINK.fullmatch(text) else ""
