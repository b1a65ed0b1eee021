"""Holds names that strangers choose to what can do no harm: branches, commits, repositories, people, deliveries."""

from __future__ import annotations

import re
from typing import NewType

from hermit_proxy.closedyaml.file import excerpt

Branch = NewType("Branch", str)
Tag = NewType("Tag", str)
Sha = NewType("Sha", str)
RepositoryId = NewType("RepositoryId", str)
Project = NewType("Project", str)
Login = NewType("Login", str)
DeliveryId = NewType("DeliveryId", str)

# Below 255, which is what Buildbot's tables and file systems hold, with room for `refs/heads/` and `.lock`.
_MAX_REF = 200
_MAX_PROJECT = 200
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What git refuses in a ref (git-check-ref-format(1)), a name that a command would take for an option, and one that
# would look like another kind of ref.
_UNFIT = re.compile(r"^@$|^-|^refs/|^/|/$|//|\.\.|[ ~^:?*\[\\]|@\{|\.$|(?:^|/)\.|\.lock(?:/|$)")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PART = re.compile(r"\.?[A-Za-z0-9_][A-Za-z0-9._-]*")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?:\[bot\])?")
_DELIVERY = re.compile(r"[A-Za-z0-9-]{1,64}")


class BadNameError(ValueError):
    """Is raised for a name that is not taken; the message is printable whatever the name."""


def parse_branch(text: str) -> Branch:
    """Take a branch's name as git takes it, if every character can be seen; raise BadNameError.

    Signs that a shell knows (`$`, `;`, quotes) are taken: they are legal, and no name of ours meets a shell.
    """
    return Branch(_ref(text, "branch"))


def parse_tag(text: str) -> Tag:
    """Take a tag's name by the same rules; raise BadNameError."""
    return Tag(_ref(text, "tag"))


def _ref(text: str, what: str) -> str:
    if not text or not text.isprintable() or _UNFIT.search(text) or len(text.encode()) > _MAX_REF:
        raise BadNameError(f"no name of a {what}: {excerpt(text)}")
    return text


def branch_ref(branch: Branch) -> str:
    """Give the full ref, which git takes for nothing else."""
    return f"refs/heads/{branch}"


def parse_sha(text: str) -> Sha:
    """Take the full digest of an object of git's in lower case (SHA-1 or SHA-256); raise BadNameError."""
    if not _SHA.fullmatch(text) or not text.strip("0"):
        raise BadNameError(f"no commit: {excerpt(text)}")
    return Sha(text)


def parse_repository_id(text: str) -> RepositoryId:
    """Take Hermit's own name of a repository: a file's name and a part of URLs; raise BadNameError."""
    if not _ID.fullmatch(text) or ".." in text or text.endswith("."):
        wanted = "small letters, digits, `.`, `_` and `-`, at most 64"
        raise BadNameError(f"expected a repository's name as {wanted}; found {excerpt(text)}")
    return RepositoryId(text)


def parse_project(text: str) -> Project:
    """Take the forge's name of a repository, `owner/name` or deeper; raise BadNameError."""
    parts = text.split("/")
    fit = all(_PART.fullmatch(part) and not part.endswith((".", ".git")) and ".." not in part for part in parts)
    if not fit or len(parts) == 1 or len(text) > _MAX_PROJECT:
        raise BadNameError(f"expected the forge's name of a repository as `owner/name`; found {excerpt(text)}")
    return Project(text)


def parse_login(text: str) -> Login:
    """Take the name of an account, in small letters (forges compare them so); raise BadNameError."""
    if not _LOGIN.fullmatch(text):
        raise BadNameError(f"no name of an account: {excerpt(text)}")
    return Login(text.lower())


def parse_delivery(text: str) -> DeliveryId:
    """Take the forge's name of a delivery, which a second attempt has too; raise BadNameError."""
    if not _DELIVERY.fullmatch(text):
        raise BadNameError(f"no name of a delivery: {excerpt(text)}")
    return DeliveryId(text)
