"""Where a snapshot goes: its branch while nobody else has pushed, a branch of Hermit's own for the default one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hermit_master.commit.own import OwnCommits
from hermit_master.commit.remote import Remote
from hermit_master.commit.snapshot import Committer, Moved, Occupied, Pushed, Recording, Unchanged
from hermit_master.names import Sha, parse_branch, parse_login, parse_repository_id
from hermit_master.settings.master import Author
from hermit_proxy.git import GitError
from tests.support.forgerepo import ForgeRepo
from tests.support.repository import git
from tests.support.transactions import Transactions, at_once

T = TypeVar("T")
MAIN, TOPIC, OURS = parse_branch("main"), parse_branch("topic"), parse_branch("hermit/record/main")
REPOSITORY, ALICE = parse_repository_id("project"), parse_login("alice")
FILES = {"network/registry.example.org.yaml": b"- one\n"}


class Bench:
    """Is a committer whose threads a test can look into: `before` is called ahead of every push."""

    def __init__(self, forge: ForgeRepo, folder: Path) -> None:
        self.forge, self.database = forge, folder / "state.sqlite"
        self.before: Callable[[], object] = lambda: None
        self.own = OwnCommits(Transactions(self.database))
        at_once(self.own.create())
        author = Author("Record Keeper", "hermit@example.org")
        self.committer = Committer(forge.mirror, Remote(forge.url), author, self.own, self._run)

    async def _run(self, function: Callable[..., T], /, *arguments: object) -> T:
        if getattr(function, "__name__", "") == "push":
            self.before()
        return function(*arguments)

    def commit(self, recording: Recording) -> Any:
        return at_once(self.committer.commit(recording, "Record the network"))

    def is_own(self, commit: str) -> bool:
        return at_once(self.own.has(REPOSITORY, Sha(commit)))


@pytest.fixture
def bench(forge: ForgeRepo, tmp_path: Path) -> Bench:
    return Bench(forge, tmp_path)


def recording(commit: Sha, branch: str = "topic", files: dict[str, bytes] | None = None) -> Recording:
    return Recording(REPOSITORY, parse_branch(branch), commit, MAIN, ALICE, FILES if files is None else files)


def test_a_snapshot_is_committed_to_the_branch_that_was_recorded(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    outcome = bench.commit(recording(recorded))
    tip = bench.forge.tip("topic")
    assert outcome == Pushed(TOPIC, Sha(tip))
    assert git(bench.forge.bare, "rev-parse", f"{tip}^") == recorded
    assert bench.forge.show(tip, ".hermit/network/registry.example.org.yaml") == "- one"
    assert bench.is_own(tip)
    assert not bench.is_own(recorded)
    assert at_once(bench.own.sender(REPOSITORY, Sha(tip))) == ALICE


def test_the_commit_is_in_the_table_before_anybody_can_hear_of_it(bench: Bench, tmp_path: Path) -> None:
    hook = bench.forge.bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ncp {bench.database} {tmp_path}/at-the-push.sqlite\n")
    hook.chmod(0o755)
    outcome = bench.commit(recording(bench.forge.push("topic")))
    # somebody's own push in between has run the hook as well; Hermit's was the last
    with sqlite3.connect(tmp_path / "at-the-push.sqlite") as then:
        assert then.execute('SELECT "commit" FROM hermit_commits').fetchall() == [(outcome.commit,)]


def test_what_cannot_be_entered_is_not_pushed(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    with sqlite3.connect(bench.database) as database:
        database.execute("DROP TABLE hermit_commits")
    with pytest.raises(Exception, match="no such table"):
        bench.commit(recording(recorded))
    assert bench.forge.tip("topic") == recorded


def test_a_recording_of_a_branch_that_has_moved_is_dropped(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    newer = bench.forge.push("topic")
    assert bench.commit(recording(recorded)) == Moved(TOPIC, newer)
    assert bench.forge.tip("topic") == newer


def test_a_branch_that_moves_at_the_last_moment_keeps_what_was_pushed(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    newer: list[Sha] = []
    bench.before = lambda: newer.append(bench.forge.push("topic"))
    outcome = bench.commit(recording(recorded))
    assert outcome == Moved(TOPIC, newer[0])
    assert bench.forge.tip("topic") == newer[0]


def test_a_branch_that_was_set_back_keeps_where_it_is(bench: Bench) -> None:
    first = bench.forge.push("topic")
    recorded = bench.forge.push("topic")
    git(bench.forge.bare, "update-ref", "refs/heads/topic", first)
    assert bench.commit(recording(recorded)) == Moved(TOPIC, first)
    assert bench.forge.tip("topic") == first


@pytest.mark.parametrize("late", [False, True])
def test_a_branch_that_is_gone_stays_gone(bench: Bench, late: bool) -> None:
    recorded = bench.forge.push("topic")

    def delete() -> None:
        git(bench.forge.bare, "update-ref", "-d", "refs/heads/topic")

    if late:
        bench.before = delete
    else:
        delete()
    assert bench.commit(recording(recorded)) == Moved(TOPIC, None)
    assert bench.forge.tip("topic") == ""


def test_nothing_new_is_no_commit(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    outcome = bench.commit(recording(recorded))
    again = replace(recording(recorded), commit=outcome.commit)
    assert bench.commit(again) == Unchanged()
    assert bench.forge.tip("topic") == outcome.commit


def test_a_crash_after_the_push_makes_no_second_commit(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    first = bench.commit(recording(recorded))
    assert bench.commit(recording(recorded)) == first
    assert bench.forge.tip("topic") == first.commit


def test_a_refusal_of_the_forges_is_told_and_changes_nothing(bench: Bench) -> None:
    recorded = bench.forge.push("topic")
    hook = bench.forge.bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho the branch is protected\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitError, match="the branch is protected"):
        bench.commit(recording(recorded))
    assert bench.forge.tip("topic") == recorded


def test_the_default_branch_is_never_pushed_to(bench: Bench) -> None:
    recorded = bench.forge.push("main")
    outcome = bench.commit(recording(recorded, "main"))
    assert outcome == Pushed(OURS, Sha(bench.forge.tip("hermit/record/main")))
    assert bench.forge.tip("main") == recorded
    assert bench.is_own(outcome.commit)


def test_the_next_night_renews_what_hermit_proposed(bench: Bench) -> None:
    bench.commit(recording(bench.forge.push("main"), "main"))
    again = bench.forge.push("main")
    outcome = bench.commit(recording(again, "main", {"recorded": b"later\n"}))
    assert outcome == Pushed(OURS, Sha(bench.forge.tip("hermit/record/main")))
    assert git(bench.forge.bare, "rev-parse", f"{outcome.commit}^") == again
    assert bench.commit(recording(again, "main", {"recorded": b"later\n"})) == outcome


def test_what_somebody_else_has_put_there_stays(bench: Bench) -> None:
    bench.commit(recording(bench.forge.push("main"), "main"))
    theirs = bench.forge.push("hermit/record/main", force=True)
    recorded = bench.forge.push("main")
    assert bench.commit(recording(recorded, "main")) == Occupied(OURS, theirs)
    assert bench.forge.tip("hermit/record/main") == theirs


def test_what_somebody_else_puts_there_at_the_last_moment_stays(bench: Bench) -> None:
    recorded = bench.forge.push("main")
    theirs: list[Sha] = []
    bench.before = lambda: theirs.append(bench.forge.push("hermit/record/main"))
    assert bench.commit(recording(recorded, "main")) == Moved(OURS, theirs[0])
    assert bench.forge.tip("hermit/record/main") == theirs[0]
