"""Asks git about repositories that would run something, lead elsewhere, or belong to somebody else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy import git
from hermit_proxy.errors import HermitError
from tests.support import repository


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a repository with a staged file, a name for the list of objects to trip over, and a home of its own."""
    folder = tmp_path / 'a:b "c" \\d ü'
    folder.mkdir()
    repository.git(folder, "init", "-q")
    (folder / "a").write_text("a\n")
    repository.git(folder, "add", "a")
    return folder


def test_variables_of_gits_lead_nowhere_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    repository.git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    assert git.ask(folder, "ls-files") == b"a\n"


def test_a_monitor_of_the_repository_is_not_run(folder: Path, tmp_path: Path) -> None:
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    monitor.chmod(0o755)
    repository.git(folder, "config", "core.fsmonitor", str(monitor))
    git.ask(folder, "status")
    assert not (tmp_path / "ran").exists()


def test_settings_stand_before_those_of_the_repository(folder: Path) -> None:
    repository.git(folder, "config", "a.b=c.d", "theirs")
    assert git.ask(folder, "config", "a.b=c.d", settings={"a.b=c.d": "ours"}) == b"ours\n"


def test_what_is_written_lies_apart_from_what_is_read(folder: Path, tmp_path: Path) -> None:
    before = sorted((folder / ".git/objects").rglob("*"))
    oid = git.ask(folder, "rev-parse", ":a").strip().decode()
    ours = tmp_path / "objects"
    ours.mkdir()
    objects = ours, folder / ".git/objects"
    new = git.ask(folder, "hash-object", "-w", "--stdin", given=b"new", objects=objects).strip().decode()
    assert git.ask(folder, "cat-file", "blob", oid, objects=objects) == b"a\n"
    assert (ours / new[:2] / new[2:]).is_file()
    assert sorted((folder / ".git/objects").rglob("*")) == before


def test_what_git_says_is_in_the_error_and_nothing_where_a_line_will_do(folder: Path) -> None:
    with pytest.raises(git.GitError, match="git rev-parse in"):
        git.ask(folder, "rev-parse", "--verify", "HEAD")
    assert git.line(folder, "rev-parse", "--verify", "HEAD") == ""


@pytest.mark.parametrize("path", ["", "/nowhere", os.devnull])
def test_without_git_that_is_said(folder: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path)
    with pytest.raises(HermitError, match="git is not installed"):
        git.ask(folder, "status")
    assert git.line(folder, "status") == ""


def test_a_warning_is_a_failure_only_where_one_asks_for_that(folder: Path) -> None:
    (folder / ".git/refs/heads/broken").write_text("no digest\n")
    assert git.ask(folder, "for-each-ref") == b""
    with pytest.raises(git.GitError, match="broken ref"):
        git.ask(folder, "for-each-ref", strict=True)


def test_a_repository_that_git_refuses_is_told_with_gits_own_advice() -> None:
    said = git.GitError("fatal: dubious ownership\nTo add an exception, call:\n\n\tgit config --global --add x y")
    told = git.refused(said, "first: ")
    assert (str(told), told.hint) == ("first: fatal: dubious ownership", "git config --global --add x y")
    assert git.refused(git.GitError("no repository"), otherwise="look elsewhere").hint == "look elsewhere"


@pytest.fixture
def silent() -> Iterator[tuple[str, socket.socket]]:
    """Give the address of a repository whose server never says a word, and its socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield f"git://127.0.0.1:{server.getsockname()[1]}/a", server


def test_a_server_that_says_nothing_is_waited_for_as_long_as_the_leash_is(
    folder: Path, silent: tuple[str, socket.socket]
) -> None:
    with pytest.raises(git.GitError, match=r"not done after 0\.2 s"):
        git.ask(folder, "ls-remote", silent[0], leash=git.Leash(0.2))


def test_a_leash_that_is_pulled_ends_what_runs_and_what_would(folder: Path, silent: tuple[str, socket.socket]) -> None:
    leash = git.Leash(300)
    told: list[Exception] = []

    def ask() -> None:
        try:
            git.ask(folder, "ls-remote", silent[0], leash=leash)
        except git.GitError as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    connection, _ = silent[1].accept()
    with connection:
        connection.settimeout(60)
        leash.pull()
        asking.join(60)
        assert len(told) == 1
        while connection.recv(4096):  # what it had asked; then its helper is gone as well
            pass
    with pytest.raises(git.GitError):
        git.ask(folder, "ls-remote", silent[0], leash=leash)


def test_what_has_a_leash_gets_and_says_the_same(folder: Path) -> None:
    leash = git.Leash(60)
    assert git.ask(folder, "hash-object", "--stdin", given=b"x", leash=leash) == git.ask(
        folder, "hash-object", "--stdin", given=b"x"
    )
    with pytest.raises(git.GitError, match="single revision"):
        git.ask(folder, "rev-parse", "--verify", "nowhere", leash=leash)
