"""Events: where a forge keeps the head of a pull request."""

from __future__ import annotations

from hermit_master.hooks.events import Commit, PullRequest
from hermit_master.names import parse_branch, parse_sha


def test_the_head_of_a_pull_request_has_a_ref_in_the_bases_repository() -> None:
    main = parse_branch("main")
    assert PullRequest(7, main, Commit(parse_sha("a" * 40)), main).ref == "refs/pull/7/head"
