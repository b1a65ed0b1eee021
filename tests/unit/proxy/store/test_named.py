"""What a repository names is read in full or not at all: a reader that passes over something deletes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.snapshot import format as file_format
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.named import PoolRepository, SnapshotFolder, SnapshotReader, SnapshotUnreadableError
from tests.support.repository import HOST, NETWORK, git


def entry(name: str) -> Entry:
    return Entry("GET", f"https://{HOST}/{name}", 200, sha256=name * 64, size=1)


def write(repo: Path, *names: str) -> None:
    folder = repo / NETWORK
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{HOST}.yaml").write_bytes(file_format.dump([entry(name) for name in names]))


def commit(repo: Path, *names: str) -> str:
    write(repo, *names)
    git(repo, "add", "-A")
    git(repo, "commit", "--allow-empty", "-qm", "x")
    return git(repo, "rev-parse", "HEAD")


def named(repo: Path) -> str:
    found = SnapshotReader().named(PoolRepository(repo))
    names = "".join(sorted(digest[0] for digest in found.bodies))
    assert found.entries == {entry(name).id for name in names}
    return names


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def test_an_empty_repository_names_nothing(repo: Path) -> None:
    assert named(repo) == ""


def test_branches_tags_stash_detached_heads_and_work_trees_all_count(repo: Path, tmp_path: Path) -> None:
    commit(repo, "a")
    git(repo, "checkout", "-q", "-b", "feature")
    commit(repo, "b")
    git(repo, "tag", "-a", "-m", "x", "v1")
    git(repo, "tag", "-a", "-m", "x", "v1-again", "v1")
    git(repo, "reset", "-q", "--hard", "HEAD~")
    commit(repo, "c")
    write(repo, "d")
    git(repo, "stash")
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    commit(tmp_path / "other", "e")
    write(tmp_path / "other", "f")
    git(repo, "checkout", "-q", "--detach", "main")
    write(repo, "0")
    assert named(repo) == "0abcdef"


def test_what_no_ref_stands_at_any_more_does_not_count(repo: Path) -> None:
    commit(repo, "a")
    commit(repo, "b")
    assert named(repo) == "b"


def test_a_bare_clone_and_a_clone_with_remote_branches_name_the_same(repo: Path, tmp_path: Path) -> None:
    commit(repo, "a")
    git(repo, "checkout", "-q", "-b", "other")
    commit(repo, "b")
    for name, option in (("bare", "--bare"), ("clone", "--no-checkout")):
        git(tmp_path, "clone", "-q", option, str(repo), name)
        assert named(tmp_path / name) == "ab"


def test_tags_of_files_and_folders_are_read_for_what_they_are(repo: Path) -> None:
    commit(repo, "a")
    git(repo, "tag", "tree", "HEAD^{tree}")
    git(repo, "tag", "blob", f"HEAD:{NETWORK}/{HOST}.yaml")
    write(repo, "b")
    assert named(repo) == "ab"


def test_files_of_the_first_hermit_count(repo: Path) -> None:
    fixture = Path(__file__).parents[3] / "fixtures" / "hermit-v1" / "debian-bullseye" / "network"
    if not fixture.is_dir():
        pytest.skip("the fixtures of the first Hermit are not here")
    folder = repo / NETWORK
    folder.mkdir(parents=True)
    for path in fixture.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    digests = {
        line.split()[1].strip('"')
        for path in fixture.iterdir()
        for line in path.read_text().splitlines()
        if line.strip().startswith("sha256:")
    }
    assert digests
    assert SnapshotReader().named(PoolRepository(repo)).bodies == digests


def test_a_snapshot_in_another_folder_is_read_there(repo: Path) -> None:
    (repo / "sub").mkdir()
    write(repo / "sub", "a")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    assert SnapshotReader().named(PoolRepository(repo, f"sub/{NETWORK}")).bodies == {"a" * 64}
    assert SnapshotReader().named(PoolRepository(repo)).bodies == set()


@pytest.mark.parametrize("fault", ["damaged", "foreign name", "link", "subfolder", "digest", "lfs"])
def test_a_snapshot_on_any_branch_that_cannot_be_read_is_an_error(repo: Path, fault: str) -> None:
    commit(repo, "a")
    git(repo, "checkout", "-q", "-b", "broken")
    path = repo / NETWORK / f"{HOST}.yaml"
    if fault == "damaged":
        path.write_bytes(path.read_bytes()[:-20])
    elif fault == "digest":
        path.write_bytes(path.read_bytes().replace(b"a" * 64, b"a" * 63))
    elif fault == "lfs":
        path.write_text("version https://git-lfs.example.org/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n")
    elif fault == "foreign name":
        (repo / NETWORK / "README").write_text("x")
    elif fault == "link":
        path.unlink()
        path.symlink_to("version: 2\nentries: []\n")  # Read as a file it would be an empty snapshot.
    else:
        (repo / NETWORK / "sub").mkdir()
        path.rename(repo / NETWORK / "sub" / path.name)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    git(repo, "checkout", "-q", "main")
    with pytest.raises(SnapshotUnreadableError, match="broken"):
        named(repo)


def test_a_work_tree_that_cannot_be_read_is_an_error(repo: Path) -> None:
    commit(repo, "a")
    (repo / NETWORK / f"{HOST}.yaml").write_text("half")
    with pytest.raises(SnapshotUnreadableError, match=HOST):
        named(repo)


def test_a_work_tree_that_a_killed_writer_left_without_its_folder_is_an_error(repo: Path) -> None:
    commit(repo, "a")
    (repo / NETWORK).rename(repo / ".hermit" / ".network.old~")
    with pytest.raises(SnapshotUnreadableError, match="half-written"):
        named(repo)


@pytest.mark.parametrize("fault", ["broken ref", "missing commit", "missing tree", "missing blob"])
def test_a_damaged_repository_is_an_error(repo: Path, fault: str) -> None:
    commit(repo, "a")
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, "b")
    side = git(repo, "rev-parse", "side")
    oids = {"commit": side, "tree": f"{side}:.hermit", "blob": f"{side}:{NETWORK}/{HOST}.yaml"}
    oid = git(repo, "rev-parse", oids.get(fault.rsplit(maxsplit=1)[-1], side))
    git(repo, "checkout", "-q", "main")
    if fault == "broken ref":
        (repo / ".git/refs/heads/side").write_text("rubbish\n")
    else:
        (repo / ".git/objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(SnapshotUnreadableError):
        named(repo)


def test_what_is_no_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnreadableError, match="git"):
        named(tmp_path)
    with pytest.raises(SnapshotUnreadableError):
        named(tmp_path / "missing")


def test_a_repository_cannot_run_programs_by_its_settings(repo: Path, tmp_path: Path) -> None:
    commit(repo, "a")
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "diff.external"):
        git(repo, "config", name, f"touch {tmp_path}/ran")
    assert named(repo) == "a"
    assert not (tmp_path / "ran").exists()


def test_the_callers_git_variables_do_not_point_it_elsewhere(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repo, "a")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert named(repo) == "a"


def test_a_reader_that_is_asked_again_sees_what_was_pushed_since(repo: Path) -> None:
    reader = SnapshotReader()
    commit(repo, "a")
    assert reader.named(PoolRepository(repo)).bodies == {"a" * 64}
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, "b")
    assert reader.named(PoolRepository(repo)).bodies == {"a" * 64, "b" * 64}


def test_a_snapshot_in_no_repository_names_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    found = SnapshotReader().named(SnapshotFolder(tmp_path / NETWORK))
    assert found.bodies == {"a" * 64, "b" * 64}
    assert found.entries == {entry("a").id, entry("b").id}


def test_a_snapshot_that_is_gone_names_nothing_by_accident(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnreadableError, match="there is no snapshot"):
        SnapshotReader().named(SnapshotFolder(tmp_path / "absent"))
