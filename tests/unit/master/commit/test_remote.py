"""A forge's git: leases hold, odd names stay names, and the token is seen by the forge alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hermit_master.commit import remote as module
from hermit_master.commit.remote import Remote
from hermit_master.names import Branch, Sha, parse_branch
from hermit_master.settings.values import Secret
from hermit_proxy.git import GitError
from tests.support.forgerepo import ForgeRepo
from tests.support.gitserver import GitServer
from tests.support.origin import Asked, Origin, Response, plain_origin
from tests.support.repository import git

TOPIC = parse_branch("topic")
TOKEN = "to/ken:with@signs%and'quotes"
ODD = [
    "$(touch ran)".replace(" ", "${IFS}"),
    "`touch>ran`",
    "a;touch;ran",
    "a|b&c",
    "'\"",
    "%s%n",
    "#1",
    "heads/topic",
    "HEAD",
    "a" * 40,
    "ünï-中",
    "x=y,z",
    "!x",
    "{a,b}",
    "<>",
]


@pytest.fixture
def local(forge: ForgeRepo) -> Remote:
    return Remote(forge.url)


def test_a_tip_is_told_and_of_that_branch_only(forge: ForgeRepo, local: Remote) -> None:
    commit = forge.push("topic")
    git(forge.bare, "update-ref", "refs/heads/refs/heads/gone", commit)
    git(forge.bare, "update-ref", "refs/tags/gone", commit)
    assert local.tip(forge.mirror, TOPIC) == commit
    assert local.tip(forge.mirror, parse_branch("gone")) is None


def test_a_push_counts_only_while_the_lease_holds(forge: ForgeRepo, local: Remote) -> None:
    first = forge.push("topic")
    second = forge.push("other")
    third = forge.push("third")
    local.push(forge.mirror, second, TOPIC, first)
    assert forge.tip("topic") == second
    with pytest.raises(GitError):
        local.push(forge.mirror, third, TOPIC, first)
    with pytest.raises(GitError):
        local.push(forge.mirror, third, TOPIC, None)
    assert forge.tip("topic") == second
    local.push(forge.mirror, third, parse_branch("new"), None)
    assert forge.tip("new") == third
    with pytest.raises(GitError):
        local.push(forge.mirror, third, parse_branch("nowhere"), first)
    assert forge.tip("nowhere") == ""


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_a_name_and_nothing_else(forge: ForgeRepo, local: Remote, name: str, tmp_path: Path) -> None:
    branch = parse_branch(name)
    commit = forge.push("other")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert local.tip(forge.mirror, branch) is None
    local.push(forge.mirror, commit, branch, None)
    assert local.tip(forge.mirror, branch) == commit
    refs = git(forge.bare, "for-each-ref", "--format=%(refname)", "refs/heads").split("\n")
    assert sorted(refs) == sorted({"refs/heads/main", "refs/heads/topic", "refs/heads/other", f"refs/heads/{name}"})
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("url", ["ext::sh -c touch% ran", "fd::0", "nowhere://host/path"])
def test_other_ways_to_a_repository_are_not_taken(forge: ForgeRepo, url: str, tmp_path: Path) -> None:
    with pytest.raises(GitError):
        Remote(url).tip(forge.mirror, TOPIC)
    with pytest.raises(GitError):
        Remote(url).push(forge.mirror, forge.push("topic"), TOPIC, None)
    assert not list(tmp_path.rglob("ran"))


def test_a_hook_of_the_mirror_is_not_run(forge: ForgeRepo, local: Remote, tmp_path: Path) -> None:
    commit = forge.push("other")
    hook = forge.mirror / "hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    hook.chmod(0o755)
    local.push(forge.mirror, commit, parse_branch("new"), None)
    assert not (tmp_path / "ran").exists()


class Guarded:
    """Is a forge over HTTP that wants the token."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self.origin = origin
        self.server = GitServer(origin, folder)
        self.tree = self.server.create("project")
        self.bare = folder / "project.git"
        git(self.bare, "config", "http.receivepack", "true")
        self.seen: list[str] = []
        origin.route("/git/*", self._answer)
        self.elsewhere: str | None = None

    @property
    def url(self) -> str:
        return self.origin.url("127.0.0.1", "/git/project.git")

    def _answer(self, asked: Asked) -> Response:
        if self.elsewhere is not None:
            return Response(b"", 302, {"location": self.elsewhere + asked.target})
        sent = asked.headers.get("authorization", "")
        self.seen.append(sent)
        if sent != "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode():
            return Response(b"", 401, {"www-authenticate": 'Basic realm="forge"'})
        return self.server._answer(asked)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with plain_origin() as origin:
        yield Guarded(origin, tmp_path / "git")


def remote(url: str, token: str = TOKEN) -> Remote:
    return Remote(url, Secret(Path("token"), token.encode()))


def mirrored(guarded: Guarded, forge: ForgeRepo) -> Sha:
    git(forge.mirror, "fetch", "-q", str(guarded.bare), "main")
    return Sha(git(forge.mirror, "rev-parse", "FETCH_HEAD"))


def test_the_token_opens_the_forge_and_stands_in_no_command(
    guarded: Guarded, forge: ForgeRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = mirrored(guarded, forge)
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    # git's own account of every process that it starts, with all arguments.
    (home / ".gitconfig").write_text(f"[trace2]\n\teventTarget = {tmp_path}/trace\n\tenvVars = PATH,GIT_CONFIG_COUNT\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(module, "TemporaryDirectory", partial(TemporaryDirectory, dir=scratch))
    remote(guarded.url).push(forge.mirror, commit, TOPIC, None)
    assert git(guarded.bare, "rev-parse", "refs/heads/topic") == commit
    assert guarded.seen[0] == ""
    trace = (tmp_path / "trace").read_text()
    assert "credential-store" in trace
    assert "to/ken" not in trace
    assert "to%2Fken" not in trace
    assert list(scratch.iterdir()) == []


def test_a_token_that_is_not_taken_is_in_no_message(guarded: Guarded, forge: ForgeRepo) -> None:
    with pytest.raises(GitError) as caught:
        remote(guarded.url, "another-token-here").tip(forge.mirror, TOPIC)
    assert "another-token" not in str(caught.value)
    with pytest.raises(GitError):
        Remote(guarded.url).tip(forge.mirror, TOPIC)


def test_a_token_goes_nowhere_else(guarded: Guarded, forge: ForgeRepo) -> None:
    with plain_origin() as other:
        asked: list[str] = []

        def answer(request: Asked) -> Response:
            asked.append(request.headers.get("authorization", ""))
            return Response(b"", 401, {"www-authenticate": 'Basic realm="other"'})

        other.route("/git/*", answer)
        guarded.elsewhere = other.url("127.0.0.1", "")
        with pytest.raises(GitError):
            remote(guarded.url).tip(forge.mirror, Branch("main"))
        assert asked == []
