"""Snapshot commits as objects: the snapshot and nothing else changes, and no hook or filter has a part in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_master.commit.objects import CommitError, make_commit
from hermit_master.names import Sha
from hermit_master.settings.master import Author
from tests.support.forgerepo import ForgeRepo
from tests.support.repository import git

AUTHOR = Author("Record Keeper", "hermit@example.org")
FILES = {
    "network/registry.example.org.yaml": b"- one\r\n\xff\n",
    "network/[::1]:8443.yaml": b"- two\n",
    "recorded": b"2026-11-21T00:00:00Z\n",
}


def made(forge: ForgeRepo, parent: Sha, files: dict[str, bytes] | None = None) -> Sha:
    found = make_commit(forge.mirror, parent, FILES if files is None else files, AUTHOR, "Record\n")
    assert found is not None
    return found


def test_a_commit_has_the_snapshot_beside_all_that_was_there(forge: ForgeRepo) -> None:
    (forge.tree / ".hermit").mkdir()
    (forge.tree / ".hermit/rules.yaml").write_text("rules: []\n")
    (forge.tree / "tool").write_text("#!/bin/sh\n")
    (forge.tree / "tool").chmod(0o755)
    (forge.tree / "link").symlink_to("/etc/passwd")
    (forge.tree / "ü\n").write_text("an odd name")
    parent = forge.push("topic")
    commit = made(forge, parent)
    changed = git(forge.mirror, "diff-tree", "-r", "--name-status", "-z", parent, commit).split("\0")
    assert changed[:-1] == [
        *("A", ".hermit/network/[::1]:8443.yaml"),
        *("A", ".hermit/network/registry.example.org.yaml"),
        *("A", ".hermit/recorded"),
    ]
    assert git(forge.mirror, "fsck", "--strict", "--no-dangling") == ""
    for name, content in FILES.items():
        held = git(forge.mirror, "rev-parse", f"{commit}:.hermit/{name}")
        assert int(git(forge.mirror, "cat-file", "-s", held)) == len(content)


def test_what_was_not_used_is_pruned_and_the_rest_of_the_folder_stays(forge: ForgeRepo) -> None:
    (forge.tree / ".hermit/network").mkdir(parents=True)
    (forge.tree / ".hermit/network/old.example.org.yaml").write_text("- old\n")
    (forge.tree / ".hermit/image.lock").write_text("an image\n")
    (forge.tree / ".hermit/build.yaml").write_text("a spec\n")
    parent = forge.push("topic")
    commit = made(forge, parent, {"network/new.example.org.yaml": b"- new\n"})
    assert forge.paths(commit, bare=forge.mirror) == [
        ".hermit/build.yaml",
        ".hermit/image.lock",
        ".hermit/network/new.example.org.yaml",
        "README",
    ]
    emptied = made(forge, parent, {})
    assert ".hermit/image.lock" in forge.paths(emptied, bare=forge.mirror)
    renewed = made(forge, parent, {"image.lock": b"another\n"})
    assert git(forge.mirror, "show", f"{renewed}:.hermit/image.lock") == "another"


def test_a_snapshot_that_is_there_already_makes_no_commit(forge: ForgeRepo) -> None:
    parent = forge.push("topic")
    commit = made(forge, parent)
    assert make_commit(forge.mirror, commit, FILES, AUTHOR, "Record") is None
    assert make_commit(forge.mirror, parent, {}, AUTHOR, "Record") is None


def test_the_same_recording_is_the_same_commit_whoever_makes_it(
    forge: ForgeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = forge.push("topic")
    first = made(forge, parent)
    for name, value in {
        "GIT_AUTHOR_NAME": "Mallory",
        "GIT_COMMITTER_DATE": "@1 +0900",
        "GIT_DIR": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "GIT_WORK_TREE": "/",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "broken",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    git_settings = forge.mirror / "config"
    git_settings.write_text(git_settings.read_text() + "[i18n]\ncommitEncoding = latin1\n[commit]\ngpgSign = true\n")
    assert made(forge, parent) == first
    monkeypatch.undo()
    seen = git(forge.mirror, "show", "-s", "--format=%an <%ae>|%cn <%ce>|%at|%ct|%P|%B", first)
    when = git(forge.mirror, "show", "-s", "--format=%ct", parent)
    who = "Record Keeper <hermit@example.org>"
    assert seen == f"{who}|{who}|{when}|{when}|{parent}|Record"


def test_nothing_that_the_repository_brings_along_is_run(forge: ForgeRepo, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    trap.chmod(0o755)
    attributes = "* filter=evil text eol=crlf ident\n.hermit/** working-tree-encoding=utf-16\n"
    (forge.tree / ".gitattributes").write_text(attributes)
    parent = forge.push("topic")
    for name in ("pre-commit", "post-commit", "commit-msg", "reference-transaction", "post-index-change", "pre-push"):
        hook = forge.mirror / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(trap.read_text())
        hook.chmod(0o755)
    for key in ("filter.evil.clean", "filter.evil.process", "core.fsmonitor", "gpg.program", "core.editor"):
        git(forge.mirror, "config", key, str(trap))
    git(forge.mirror, "config", "filter.evil.required", "true")
    git(forge.mirror, "config", "core.autocrlf", "true")
    (forge.mirror / "info").mkdir(exist_ok=True)
    (forge.mirror / "info/attributes").write_text("* filter=evil\n")
    commit = made(forge, parent)
    assert not (tmp_path / "ran").exists()
    blob = git(forge.mirror, "rev-parse", f"{commit}:.hermit/network/registry.example.org.yaml")
    assert int(git(forge.mirror, "cat-file", "-s", blob)) == len(FILES["network/registry.example.org.yaml"])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "network",
        "network/",
        "network/.git.yaml",
        "network/../rules.yaml",
        "network/a/b.yaml",
        "network/a",
        "network/a\n.yaml",
        "network/\u202ea.yaml",
        "network/" + "a" * 251 + ".yaml",
        "rules.yaml",
        "build",
        "../README",
        "/recorded",
        "recorded\n",
        "./recorded",
        ".hermit/recorded",
    ],
)
def test_a_recording_writes_its_own_files_only(forge: ForgeRepo, name: str) -> None:
    with pytest.raises(CommitError, match="a recording writes no file"):
        make_commit(forge.mirror, forge.push("topic"), {name: b""}, AUTHOR, "Record")


@pytest.mark.parametrize("link", [True, False])
def test_where_the_folder_is_none_nothing_is_written(forge: ForgeRepo, link: bool) -> None:
    if link:
        (forge.tree / ".hermit").symlink_to("/etc")
    else:
        (forge.tree / ".hermit").write_text("a file\n")
    with pytest.raises(CommitError, match="is no folder") as caught:
        made(forge, forge.push("topic"))
    assert caught.value.hint is not None


def test_a_link_in_the_place_of_the_network_is_replaced_and_not_followed(forge: ForgeRepo) -> None:
    (forge.tree / ".hermit").mkdir()
    (forge.tree / ".hermit/network").symlink_to("../README")
    (forge.tree / ".hermit/recorded").mkdir()
    (forge.tree / ".hermit/recorded/a").write_text("a folder where a file belongs\n")
    commit = made(forge, forge.push("topic"))
    assert forge.paths(commit, bare=forge.mirror)[-1] == "README"
    assert git(forge.mirror, "show", f"{commit}:README") == "a project"
    assert git(forge.mirror, "ls-tree", "-d", "--name-only", f"{commit}:.hermit") == "network"


def test_submodules_stay_as_they_are(forge: ForgeRepo) -> None:
    git(forge.tree, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},sub")
    git(forge.tree, "commit", "-q", "-m", "a submodule")
    parent = git(forge.tree, "rev-parse", "HEAD")
    git(forge.tree, "push", "-q", "origin", "HEAD:refs/heads/topic")
    git(forge.mirror, "fetch", "-q", str(forge.bare), "+refs/heads/*:refs/heads/*")
    commit = made(forge, Sha(parent))
    assert f"160000 commit {'a' * 40}\tsub" in git(forge.mirror, "ls-tree", commit)
