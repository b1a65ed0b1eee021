"""The table of Hermit's own commits, in a real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hermit_master.commit.own import OwnCommits
from hermit_master.names import Sha, parse_login, parse_repository_id
from tests.support.transactions import Transactions, at_once

REPOSITORY, OTHER = parse_repository_id("project"), parse_repository_id("other")
ONE, TWO, RECORDED = Sha("a" * 40), Sha("b" * 64), Sha("c" * 40)
ALICE = parse_login("alice")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], OwnCommits]:
    return lambda: OwnCommits(Transactions(tmp_path / "state.sqlite"))


def test_a_commit_that_was_entered_is_hermits_and_no_other_is(opened: Callable[[], OwnCommits]) -> None:
    own = opened()
    at_once(own.create())
    at_once(own.create())
    assert not at_once(own.has(REPOSITORY, ONE))
    at_once(own.enter(REPOSITORY, ONE, RECORDED, ALICE))
    at_once(own.enter(REPOSITORY, TWO, RECORDED, None))
    later = opened()
    assert at_once(later.has(REPOSITORY, ONE))
    assert at_once(later.has(REPOSITORY, TWO))
    assert not at_once(later.has(REPOSITORY, RECORDED))
    assert not at_once(later.has(OTHER, ONE))
    assert at_once(later.sender(REPOSITORY, ONE)) == ALICE
    assert at_once(later.sender(REPOSITORY, TWO)) is None
    assert at_once(later.sender(OTHER, ONE)) is None


def test_entering_twice_keeps_the_first(opened: Callable[[], OwnCommits]) -> None:
    own = opened()
    at_once(own.create())
    at_once(own.enter(REPOSITORY, ONE, RECORDED, ALICE))
    at_once(own.enter(REPOSITORY, ONE, RECORDED, None))
    assert at_once(own.sender(REPOSITORY, ONE)) == ALICE


def test_what_cannot_be_entered_is_not_passed_over(opened: Callable[[], OwnCommits]) -> None:
    own: Any = opened()
    with pytest.raises(sa.exc.OperationalError):
        at_once(own.enter(REPOSITORY, ONE, RECORDED, ALICE))
