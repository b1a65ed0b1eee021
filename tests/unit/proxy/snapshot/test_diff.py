"""A reviewer must see new hosts, new versions and above all a changed answer under an unchanged URL."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from hermit_proxy.snapshot.diff import Change, diff
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.packages import Package
from hermit_proxy.snapshot.tree import migrate_tree, read_tree

FIXTURES = Path(__file__).parents[3] / "fixtures" / "hermit-v1"
ORIGIN = "https://mirror.example.org"


def entry(path: str, digit: str = "a", **fields: object) -> Entry:
    whole = Entry("GET", f"{ORIGIN}/{path}", 200, sha256=digit * 64, size=1)
    return replace(whole, **fields)  # type: ignore[arg-type]  # the tests name fields that exist


def test_the_same_snapshots_do_not_differ() -> None:
    one = Snapshot([entry("a"), entry("b")])
    assert not diff(one, Snapshot(one))
    assert not diff(Snapshot(), Snapshot())


def security(digest: str) -> str:
    return "debian.mirror.rafal.ca/debian-security/dists/bullseye-security/main/binary-amd64/by-hash/SHA256/" + digest


OLD_INDEX = "b084bf5c74fbd64dafdfb3f602102b9fde001997af1f748cbc5a014ca96974a7"
NEW_INDEX = "7cb0b4ca3ab2da80506ca0e3a60e6f5327f91e0ee51da32957f16f89389d1e70"
RELEASES = [
    "debian.mirror.rafal.ca/debian-security/dists/bullseye-security/InRelease",
    "debian.mirror.rafal.ca/debian/dists/bullseye-updates/InRelease",
]


def test_the_real_difference_of_two_old_recordings_is_told() -> None:
    old, new = (read_tree(FIXTURES / name / "network") for name in ("debian-bullseye-previous", "debian-bullseye"))
    found = diff(old, new)
    assert [change.new.url.partition("://")[2] for change in found.changed] == RELEASES
    assert [(c.old.sha256 or "")[:8] for c in found.changed] == ["aaa449b7", "e8384fe7"]
    assert [(c.new.sha256 or "")[:8] for c in found.changed] == ["5b857540", "2db9098e"]
    assert [e.url.partition("://")[2] for e in found.added] == [security(NEW_INDEX)]
    assert [e.url.partition("://")[2] for e in found.removed] == [security(OLD_INDEX)]
    assert found.added[0].sha256 == NEW_INDEX
    assert (found.new_hosts, found.gone_hosts, found.headers, found.new_versions, found.new_variants) == ((),) * 5


def test_an_old_recording_and_its_migration_do_not_differ(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "hermit-vm-kernel" / "network", tmp_path / "network")
    old = read_tree(tmp_path / "network")
    for scheme in ("http", "https"):
        network = tmp_path / scheme
        shutil.copytree(FIXTURES / "hermit-vm-kernel" / "network", network)
        migrate_tree(network, scheme=scheme)
        assert not diff(old, read_tree(network))
        assert not diff(read_tree(network), old)


def test_a_changed_digest_status_or_redirect_is_the_alarm() -> None:
    was = entry("a")
    moved = entry("a", sha256=None, size=None, status=302, headers=(("location", "/x"),))
    for before, after in (
        (was, entry("a", "b")),
        (was, entry("a", status=404, sha256=None, size=None)),
        (moved, replace(moved, headers=(("location", "/evil"),))),
    ):
        found = diff(Snapshot([before]), Snapshot([after]))
        assert found.changed == (Change(before, after),)
        assert (found.added, found.removed, found.headers) == ((), (), ())


def test_another_way_of_asking_or_another_scheme_does_not_hide_a_changed_answer() -> None:
    was = entry("a", vary=(("accept", "a/b"),))
    for after in (
        entry("a", "b"),
        entry("a", "b", vary=(("accept", "c/d"),)),
        entry("a", "b", url=f"http://{ORIGIN.partition('://')[2]}/a"),
    ):
        assert diff(Snapshot([was]), Snapshot([after])).changed == (Change(was, after),)


def test_the_same_answer_with_other_headers_or_another_way_of_asking_is_no_alarm() -> None:
    was = entry("a", headers=(("etag", '"1"'),))
    for after in (replace(was, headers=(("etag", '"2"'),)), replace(was, vary=(("accept", "a/b"),))):
        found = diff(Snapshot([was]), Snapshot([after]))
        assert found.headers == (Change(was, after),)
        assert found.changed == ()


def test_another_answer_beside_a_known_one_is_told_apart_from_a_new_request() -> None:
    was, beside = entry("a"), entry("a", "b", vary=(("accept", "a/b"),))
    found = diff(Snapshot([was]), Snapshot([was, beside, entry("new")]))
    assert found.new_variants == (beside,)
    assert set(found.added) == {beside, entry("new")}


def test_new_hosts_are_told_with_their_port() -> None:
    plain = Entry("GET", "https://evil.example.org:8443/a", 404)
    found = diff(Snapshot([entry("a")]), Snapshot([entry("a"), plain]))
    assert found.new_hosts == ("evil.example.org+8443",)
    assert diff(Snapshot([plain, entry("a")]), Snapshot([entry("a")])).gone_hosts == ("evil.example.org+8443",)


def test_a_new_version_of_a_known_package_is_told_even_from_another_host() -> None:
    known = Snapshot([entry("pool/foo_1.0_amd64.deb"), entry("pool/foo_0.9_amd64.deb")])
    newer = replace(entry("pool/foo_1.1_amd64.deb", "b"), url="https://other.example.org/pool/foo_1.1_amd64.deb")
    arch = entry("pool/foo_1.0_arm64.deb", "c")
    found = diff(known, Snapshot([newer, arch, entry("pool/bar_1.0_all.deb")]))
    assert [(v.package, v.known, v.entry) for v in found.new_versions] == [
        (Package("deb", "foo", "1.1"), ("0.9", "1.0"), newer)
    ]
