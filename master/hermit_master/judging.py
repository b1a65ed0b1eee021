"""Gathers the facts that decide about a build from what a forge told and what the operator set."""

from __future__ import annotations

from hermit_master.hooks.events import PullRequest, Push
from hermit_master.mode import Cause, Facts, Kind
from hermit_master.names import Login
from hermit_master.settings.repository import Repository


def facts_of(event: Push | PullRequest, repository: Repository, *, own: bool, cause: Cause = Cause.HOOK) -> Facts:
    """Gather them; `own` is what the table of Hermit's commits says of the event's commit.

    A branch that either the settings or the forge call the default one is it: the other may be out of date, and
    nothing is committed to a default branch.
    """
    if isinstance(event, PullRequest):
        return Facts(Kind.PULL_REQUEST, cause, outside=True, own=own, records=repository.record)
    default = event.kind is Kind.BRANCH and event.ref in {repository.branch, event.default}
    return Facts(event.kind, cause, default=default, own=own, records=repository.record)


def is_trusted(sender: Login | None, repository: Repository) -> bool:
    """Tell whether an operator trusts an account with a repository; nobody is trusted by being unknown."""
    return sender is not None and sender in repository.trusted
