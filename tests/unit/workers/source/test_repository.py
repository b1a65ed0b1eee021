"""Asks git about repositories, as far as test_source.py and test_gitfolder.py do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_workers.source.repository import Repository, Tracked
from tests.support.repository import git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a").write_text("a\n")
    git(tmp_path, "add", "-A")
    found = Repository.around(tmp_path / "sub")
    assert found is not None
    return found


def test_a_folder_finds_the_work_tree_around_it(repository: Repository, tmp_path: Path) -> None:
    assert repository.top == tmp_path


def test_where_there_is_no_repository_git_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Repository.around(tmp_path) is None


def test_without_git_a_repository_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HermitError, match="git is not installed") as told:
        Repository.around(tmp_path)
    assert (told.value.exit_code, told.value.hint) == (ExitCode.MACHINE, "apt-get install git")


def test_its_settings_are_read_and_its_filters_turned_off(repository: Repository) -> None:
    git(repository.top, "config", "remote.origin.url", "https://example.org/a.git")
    git(repository.top, "config", "--add", "remote.origin.url", "two\nlines")
    git(repository.top, "config", "filter.a.b.smudge", "evil")
    with (repository.top / ".git/config").open("a") as config:
        config.write("[core]\n\tbare\n[core]\n\tbare = false\n[x]\n\tflag\n")
    found = Repository.around(repository.top)
    assert found is not None
    assert {name: found.settings[name] for name in ("remote.origin.url", "x.flag")} == {
        "remote.origin.url": "two\nlines",
        "x.flag": "",
    }
    assert {name: value for name, value in found.without_filters().items() if name.startswith("filter.a.b.")} == {
        "filter.a.b.clean": "",
        "filter.a.b.smudge": "",
        "filter.a.b.process": "",
        "filter.a.b.required": "false",
    }


def test_the_index_is_read(repository: Repository) -> None:
    oid = "78981922613b2afb6025042ff6bd878ac1994e85"
    assert list(repository.index()) == [Tracked(0o100644, oid, 0, "sub/a")]


def test_a_pack_is_written_without_writing_into_the_repository(repository: Repository, tmp_path: Path) -> None:
    git(repository.top, "commit", "-qm", "one")
    before = {path: path.stat().st_mtime_ns for path in (repository.top / ".git").rglob("*")}
    objects = tmp_path / "new/objects"
    repository.pack([repository.line("rev-parse", "HEAD")], objects)
    assert {path.suffix for path in (objects / "pack").iterdir()} >= {".pack", ".idx"}
    assert {path: path.stat().st_mtime_ns for path in (repository.top / ".git").rglob("*")} == before


def test_a_partial_clone_that_lacks_something_is_told_and_one_made_whole_is_fine(tmp_path: Path) -> None:
    home, clone = tmp_path / "home", tmp_path / "clone"
    home.mkdir()
    git(home, "init", "-q")
    git(home, "config", "uploadpack.allowFilter", "true")
    for text in ("one", "two"):
        (home / "a").write_text(text)
        git(home, "add", "a")
        git(home, "commit", "-qm", text)
    git(tmp_path, "clone", "-q", "--filter=blob:none", home.as_uri(), str(clone))
    found = Repository.around(clone)
    assert found is not None
    with pytest.raises(UsageError, match=r"a partial clone that lacks 1 object") as told:
        found.check_whole("HEAD")
    assert told.value.hint is not None
    git(clone, *told.value.hint.partition("    ")[0].split()[1:])
    found.check_whole("HEAD")


def test_the_history_is_counted_as_it_is_packed(repository: Repository) -> None:
    assert repository.packed() == 0
    (repository.top / "b").write_bytes(os.urandom(100_000))
    git(repository.top, "add", "b")
    git(repository.top, "commit", "-qm", "one")
    git(repository.top, "gc", "-q")
    assert 100_000 <= repository.packed() < 110_000
