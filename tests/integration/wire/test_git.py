"""Proves what git needs of a replay: rows 1 to 5."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
from pathlib import Path

from tests.integration.wire.conftest import MakeHermit
from tests.support.gitserver import GitServer, git, recut_to
from tests.support.hermit import explain
from tests.support.origin import Origin
from tests.support.registries import rules_for
from tests.support.rows import row

HOST = "git.example.org"


@row(1, client="git")
def test_two_posts_to_one_url_get_each_its_own_answer(tls: Origin, make_hermit: MakeHermit, tmp_path: Path) -> None:
    GitServer(tls, tmp_path / "git").create("p")
    user = make_hermit(names=[HOST])
    clone = f"git clone -q {tls.url(HOST, '/git/p.git')} p; git -C p rev-parse HEAD; cat p/file.txt"
    recorded = user.record(clone)
    posts = [entry for entry in user.entries() if entry.method == "POST"]
    assert len(posts) == 2
    assert len({entry.url for entry in posts}) == 1
    assert len({entry.body for entry in posts}) == len({entry.sha256 for entry in posts}) == 2
    assert user.hermetic(clone).out == recorded.out


@row(2, client="git")
def test_a_compressed_request_is_the_same_request(tls: Origin, make_hermit: MakeHermit, tmp_path: Path) -> None:
    server = GitServer(tls, tmp_path / "git")
    tree = server.create("p")
    local = tmp_path / "local"
    subprocess.run(["git", "clone", "-q", tree, local], check=True, capture_output=True)
    for number in range(80):
        git("commit", "-q", "--allow-empty", "-m", f"local {number}", cwd=local, date=1_700_000_100 + number)
    server.commit(tree, "second", date=1_700_000_050)
    user = make_hermit(names=[HOST])
    url = tls.url(HOST, "/git/p.git")
    fetch = f"cp -r {local} p; git -C p fetch -q {url} main; git -C p rev-parse FETCH_HEAD"
    recorded = user.record(fetch)
    compressed = [asked for asked, _ in server.fetched if asked.headers.get("content-encoding") == "gzip"]
    assert compressed, "git has compressed no request, so this test shows nothing"
    assert user.hermetic(fetch).out == recorded.out

    (tmp_path / "body").write_bytes(gzip.decompress(compressed[0].body))
    post = (
        f"curl -sf --data-binary @{tmp_path / 'body'} -H 'Content-Type: application/x-git-upload-pack-request'"
        f" -H 'Accept: application/x-git-upload-pack-result' -H 'Git-Protocol: version=2'"
        f" -o answer {url}/git-upload-pack"
    )
    answer = (user.hermetic(post).work / "answer").read_bytes()
    assert hashlib.sha256(answer).hexdigest() in {entry.sha256 for entry in user.entries()}


@row(3, client="git")
def test_another_git_version_and_session_finds_the_recording(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    server = GitServer(tls, tmp_path / "git")
    server.create("p")
    git("-C", tmp_path / "git/p.git", "config", "transfer.advertiseSID", "true")
    user = make_hermit(names=[HOST])
    clone = f"git -c transfer.advertiseSID=true clone -q {tls.url(HOST, '/git/p.git')} p; cat p/file.txt"
    user.record(clone)
    sent = b"".join(asked.body for asked, _ in server.fetched)
    assert re.search(rb"agent=git/\d", sent), "the proxy has changed what goes upstream"
    assert b"session-id=" in sent
    assert user.hermetic(clone, env={"GIT_USER_AGENT": "git/99.9-of-another-image"}).out == "first\n"


@row(4, client="git")
def test_recording_again_changes_no_byte_though_the_packets_are_cut_otherwise(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    server = GitServer(tls, tmp_path / "git")
    server.create("p")
    user = make_hermit(names=[HOST], rules=rules_for([tls.authority(HOST)], "REFRESH"))
    clone = f"git clone -q --depth 1 {tls.url(HOST, '/git/p.git')} p; cat p/file.txt"
    user.record(clone)
    files = user.files()
    for size in (7, 40):
        server.recut = recut_to(size)
        user.record(clone)
        assert user.files() == files
    packs = {body for asked, body in server.fetched if b"command=fetch" in asked.body}
    assert len(packs) == 3, "the server has sent the same packets, so this test shows nothing"
    assert user.hermetic(clone).out == "first\n"


@row(5, client="git")
def test_refs_move_only_where_the_rule_says_refresh(tls: Origin, make_hermit: MakeHermit, tmp_path: Path) -> None:
    server = GitServer(tls, tmp_path / "git")
    tree = server.create("p")
    user = make_hermit(names=[HOST])
    clone = f"git clone -q {tls.url(HOST, '/git/p.git')} p; cat p/file.txt"
    user.record(clone)
    server.commit(tree, "second")
    assert user.record(clone).out == "first\n", "ALLOW prefers the snapshot"
    user.allow_only(rules_for([tls.authority(HOST)], "REFRESH"))
    assert user.record(clone).out == "second\n"
    assert user.hermetic(clone).out == "second\n"


@row(5, client="git")
def test_a_pack_for_somebody_who_has_commits_is_not_given_to_one_who_has_none(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    server = GitServer(tls, tmp_path / "git")
    tree = server.create("p")
    local = tmp_path / "local"
    subprocess.run(["git", "clone", "-q", tree, local], check=True, capture_output=True)
    server.commit(tree, "second")
    user = make_hermit(names=[HOST])
    fetch = f"git -C p fetch -q {tls.url(HOST, '/git/p.git')} main; git -C p show FETCH_HEAD:file.txt"
    user.record(f"cp -r {local} p; {fetch}")
    assert user.hermetic(f"cp -r {local} p; {fetch}").out == "second\n"
    empty = user.hermetic(f"git init -q p; {fetch}", expect=3)
    assert [event.status for event in empty.events if event.method == "POST"][-1] == 403, explain(empty)
