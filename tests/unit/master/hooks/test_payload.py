"""Payloads: a push is its head, a pull request is a stranger's, and whatever else comes is an event or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_master.hooks.events import Commit, Event, Ignored, PullRequest, Push
from hermit_master.hooks.fields import BadPayloadError
from hermit_master.hooks.payload import read_event
from hermit_master.mode import Kind
from tests.support.deliveries import BEFORE, PROJECT, SHA, TREE, pull_request, push

NOBODY = "0" * 40


def read(payload: dict[str, Any], event: str = "push") -> Event:
    return read_event(event, payload, PROJECT)  # type: ignore[arg-type]  # the names are plain texts here


def head(**changed: Any) -> dict[str, Any]:
    return {"head_commit": {**push()["head_commit"], **changed}}


def test_a_push_is_one_event_about_its_head() -> None:
    commit = Commit(
        SHA,  # type: ignore[arg-type]  # the names are plain texts here
        TREE,  # type: ignore[arg-type]  # as above
        "Alice <alice@example.org>",
        "a change",
        1_557_933_641,
        f"https://forge.example.org/{PROJECT}/commit/{SHA}",
    )
    expected = Push("topic", Kind.BRANCH, commit, "main", "alice")  # type: ignore[arg-type]  # as above
    assert read(push()) == expected


def test_who_sent_it_is_whom_the_forge_names_and_not_an_author() -> None:
    forged = head(author={"name": "Maintainer", "email": "maintainer@example.org", "username": "maintainer"})
    found = read(push(**forged, pusher={"name": "maintainer"}, sender={"login": "renovate[bot]"}))
    assert isinstance(found, Push)
    assert found.sender == "renovate[bot]"


@pytest.mark.parametrize("sender", [{}, {"sender": None}, {"sender": {"login": "a b"}}])
def test_a_sender_without_an_accounts_name_is_nobody(sender: dict[str, Any]) -> None:
    payload = push()
    del payload["sender"]
    found = read({**payload, **sender})
    assert isinstance(found, Push)
    assert found.sender is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (push(deleted=True), "deleted"),
        (push(after=NOBODY, head_commit=None), "deleted"),
        (push("refs/tags/v1", deleted=True, after=NOBODY, head_commit=None), "deleted"),
        (push("refs/notes/commits"), "neither a branch nor a tag"),
        (push("refs/pull/7/head"), "neither a branch nor a tag"),
        (push("main"), "neither a branch nor a tag"),
        (push(message="words [skip ci]"), "skip"),
        (push(message="words\n\n[CI  skip]"), "skip"),
        (push(message="[ no ci ]"), "skip"),
        (push("refs/tags/v1", message="[skip ci]"), "skip"),
    ],
)
def test_what_asks_for_no_build_is_passed_over(payload: dict[str, Any], reason: str) -> None:
    found = read(payload)
    assert isinstance(found, Ignored)
    assert reason in found.reason


@pytest.mark.parametrize("message", ["skip ci", "[skip  me]", "[skip] [ci]", ""])
def test_only_the_words_in_brackets_skip(message: str) -> None:
    assert isinstance(read(push(message=message)), Push)


def test_an_earlier_commit_of_a_push_skips_nothing() -> None:
    commits = [{**push()["head_commit"], "id": BEFORE, "message": "[skip ci]"}, push()["head_commit"]]
    assert isinstance(read(push(commits=commits)), Push)


def test_a_tag_is_its_commit_even_where_it_is_an_object_of_its_own() -> None:
    found = read(push("refs/tags/v1.0", after=TREE))
    assert isinstance(found, Push)
    assert (found.kind, found.ref, found.commit.sha) == (Kind.TAG, "v1.0", SHA)


def test_a_head_that_the_forge_leaves_out_is_what_the_branch_has_now() -> None:
    found = read(push("refs/tags/v1.0", head_commit=None))
    assert isinstance(found, Push)
    assert found.commit == Commit(SHA)  # type: ignore[arg-type]  # the names are plain texts here


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (push("refs/heads/a..b"), "ref: no name of a branch"),
        (push("refs/heads/--upload-pack=x"), "ref: no name of a branch"),
        (push("refs/heads/"), "ref: no name of a branch"),
        (push("refs/heads/refs/pull/1/head"), "ref: no name of a branch"),
        (push("refs/tags/a b"), "ref: no name of a tag"),
        ({**push(), "ref": None}, "expected ref as a text"),
        (push(after=BEFORE), "as `after` says"),
        (push(after="HEAD"), "after: no commit"),
        (push(after=""), "after: no commit"),
        (push(**head(id="$(reboot)")), "head_commit.id: no commit"),
        (push(**head(tree_id="x")), "head_commit.tree_id: no commit"),
        (push(**head(author="x")), "expected head_commit.author as an object"),
        (push(head_commit=[]), "expected head_commit as an object"),
        (push(deleted="no"), "expected deleted as true or false"),
        (push(sender="alice"), "expected sender as an object"),
        (push(repository=None), "expected repository as an object"),
        (push(repository={"full_name": PROJECT}), "repository.default_branch"),
        (push(repository={"full_name": PROJECT, "default_branch": "-x"}), "repository.default_branch: no name"),
        (push(repository={"full_name": "org/other", "default_branch": "main"}), "told of another"),
    ],
)
def test_what_no_forge_would_send_is_refused(payload: dict[str, Any], told: str) -> None:
    with pytest.raises(BadPayloadError) as caught:
        read(payload)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


def test_forges_spell_a_repository_as_its_owner_does() -> None:
    repository = {"full_name": PROJECT.upper(), "default_branch": "main"}
    assert isinstance(read(push(repository=repository)), Push)


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("javascript:alert(1)", ""),
        ("https://forge.example.org/a b", ""),
        ("https://forge.example.org/" + "a" * 250, ""),
        ("https://forge.example.org/a", "https://forge.example.org/a"),
        (None, ""),
    ],
)
def test_a_link_is_one_of_the_web_or_none(link: str | None, shown: str) -> None:
    found = read(push(**head(url=link)))
    assert isinstance(found, Push)
    assert found.commit.link == shown


def test_texts_of_strangers_are_shown_without_their_tricks() -> None:
    found = read(push(**head(author={"name": "A\nB\x1b[2J", "email": "\u202e"}, message="one\ntwo\x1b]0;x\x07\ud800")))
    assert isinstance(found, Push)
    assert found.commit.author == "A B\ufffd[2J <\ufffd>"
    assert found.commit.message == "one\ntwo\ufffd]0;x\ufffd\ufffd"


@pytest.mark.parametrize("action", ["opened", "reopened", "synchronize", "synchronized"])
@pytest.mark.parametrize("home", ["stranger/project", None])
def test_a_pull_request_from_outside_is_one_event(action: str, home: str | None) -> None:
    found = read(pull_request(home, action=action), "pull_request")
    assert isinstance(found, PullRequest)
    assert (found.number, found.base, found.commit.sha, found.default) == (7, "main", SHA, "main")
    assert (found.ref, found.sender, found.commit.author) == ("refs/pull/7/head", "stranger", "stranger")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (pull_request(PROJECT), "built when it is pushed"),
        (pull_request(PROJECT.upper()), "built when it is pushed"),
        (pull_request(action="closed"), "without a new commit"),
        (pull_request(action="labeled"), "without a new commit"),
        (pull_request(action="edited"), "without a new commit"),
    ],
)
def test_a_pull_request_that_brings_nothing_new_is_passed_over(payload: dict[str, Any], reason: str) -> None:
    found = read(payload, "pull_request")
    assert isinstance(found, Ignored)
    assert reason in found.reason


def inside(**changed: Any) -> dict[str, Any]:
    return pull_request(pull_request={**pull_request()["pull_request"], **changed})


@pytest.mark.parametrize(
    "payload",
    [
        pull_request(number="7/../../heads/main"),
        pull_request(number=0),
        pull_request(pull_request=None),
        inside(head=None),
        inside(head={"sha": "main", "repo": None}),
        inside(head={"sha": SHA, "repo": "x"}),
        inside(base={"ref": "main", "repo": {"full_name": "stranger/project"}}),
        inside(base={"ref": "../x", "repo": {"full_name": PROJECT}}),
        pull_request(repository={"full_name": "stranger/project", "default_branch": "main"}),
    ],
)
def test_a_pull_request_that_no_forge_would_send_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(BadPayloadError):
        read(payload, "pull_request")


@pytest.mark.parametrize("event", ["ping", "issues", "installation", "workflow_run", "__init__"])
def test_other_events_ask_for_no_build(event: str) -> None:
    assert read({}, event) == Ignored(f"{event} asks for no build")


_VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just({}) | st.just([])
)
_PLACES = (
    *("ref", "after", "deleted", "head_commit", "repository", "sender", "action", "number", "pull_request", "head"),
    *("base", "repo", "sha", "id", "tree_id", "author", "message", "timestamp", "url", "full_name", "default_branch"),
    *("login", "name", "email", "title", "html_url", "updated_at"),
)


@given(st.sampled_from(["push", "pull_request"]), st.dictionaries(st.sampled_from(_PLACES), _VALUES, max_size=3))
def test_whatever_stands_in_a_payload_it_is_an_event_or_refused(event: str, changes: dict[str, Any]) -> None:
    def changed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: changes[name] if name in changes else changed(inner) for name, inner in value.items()}

    payload = changed(push() if event == "push" else pull_request())
    try:
        found = read(json.loads(json.dumps(payload)), event)
    except BadPayloadError as error:
        told = str(error)
    else:
        told = repr(found)
    assert told.isprintable()
