"""The folder is one value: read whole or refused whole, replaced at one instant, and never a way out of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError, InputError
from hermit_proxy.snapshot import recorded, swap
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.format import dump
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_files, read_tree, write_tree, wrong_name

ONE = Entry("GET", "https://one.example.org/a", 404)
TWO = Entry("GET", "https://two.example.org:8443/a", 404)
SIX = Entry("GET", "http://[2001:db8::1]/a", 404)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    folder = tmp_path / ".hermit" / "network"
    write_tree(folder, Snapshot([ONE, TWO]), time=1_700_000_000)
    return folder


def state(network: Path) -> dict[str, tuple[bytes, int, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in network.iterdir()}


def test_a_folder_that_is_not_there_is_an_empty_snapshot(tmp_path: Path) -> None:
    assert len(read_tree(tmp_path / "network")) == 0


def test_what_is_written_is_read_and_nothing_else_is_left(network: Path) -> None:
    write_tree(network, Snapshot([ONE, TWO, SIX]))
    assert set(read_tree(network)) == {ONE, TWO, SIX}
    assert sorted(os.listdir(network)) == ["ip6+2001-db8--1.yaml", "one.example.org.yaml", "two.example.org+8443.yaml"]
    assert sorted(os.listdir(network.parent)) == ["network", "recorded"]


def test_the_same_snapshot_touches_no_file(network: Path) -> None:
    before, inode = state(network), network.stat().st_ino
    assert write_tree(network, Snapshot([TWO, ONE]), time=1_800_000_000) is False
    assert state(network) == before
    assert network.stat().st_ino == inode
    assert recorded.read(network.parent) == 1_700_000_000


def test_entries_that_a_cut_off_recording_left_without_a_time_get_that_of_the_next(network: Path) -> None:
    (network.parent / "recorded").unlink()
    before = state(network)
    assert write_tree(network, Snapshot([ONE, TWO])) is False  # nothing was recorded: a migration, say
    assert recorded.read(network.parent) is None
    assert write_tree(network, Snapshot([ONE, TWO]), time=1_800_000_000) is False  # no entry differs
    assert recorded.read(network.parent) == 1_800_000_000
    assert state(network) == before
    assert write_tree(network, Snapshot([ONE, TWO]), time=1_900_000_000) is False
    assert recorded.read(network.parent) == 1_800_000_000


def test_a_first_recording_that_is_cut_off_before_its_time_is_mended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".hermit" / "network"

    def cut(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(recorded, "write", cut)
        with pytest.raises(OSError, match="power cut"):
            write_tree(folder, Snapshot([ONE]), time=1_700_000_000)
    assert set(read_tree(folder)) == {ONE}
    assert recorded.read(folder.parent) is None
    write_tree(folder, Snapshot([ONE]), time=1_700_000_001)
    assert recorded.read(folder.parent) == 1_700_000_001


def test_a_change_rewrites_the_files_it_is_in_and_the_time(network: Path) -> None:
    before = state(network)
    changed = Entry("GET", TWO.url, 410)
    assert write_tree(network, Snapshot([ONE, changed]), time=1_800_000_000.9) is True
    after = state(network)
    assert after["one.example.org.yaml"] == before["one.example.org.yaml"]
    assert after["two.example.org+8443.yaml"][0] == dump([changed])
    assert (network.parent / "recorded").read_text() == "2027-01-15T08:00:00Z\n"


def test_a_host_that_is_gone_loses_its_file(network: Path) -> None:
    assert write_tree(network, Snapshot([TWO])) is True
    assert os.listdir(network) == ["two.example.org+8443.yaml"]
    assert write_tree(network, Snapshot()) is True
    assert os.listdir(network) == []


def test_a_hand_laid_out_file_keeps_its_bytes_while_it_says_the_same(network: Path) -> None:
    path = network / "one.example.org.yaml"
    path.write_text("# why\nentries:\n- {status: 404, request: GET https://one.example.org/a}\nversion: 2\n")
    text = path.read_bytes()
    assert write_tree(network, Snapshot([ONE, TWO]), time=1_800_000_000) is False
    assert path.read_bytes() == text
    assert write_tree(network, Snapshot([ONE, Entry("GET", ONE.url + "b", 404), TWO])) is True
    assert path.read_bytes() != text


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        ".gitattributes",
        ".yaml",
        "..yaml",
        "...yaml",
        "-.yaml",
        "One.example.org.yaml",
        "one.example.org.yml",
        "one.example.org",
        "one.example.org..yaml",
        "one..example.org.yaml",
        "one.example.org:8443.yaml",
        "one.example.org+.yaml",
        "one.example.org+0.yaml",
        "one.example.org+080.yaml",
        "one.example.org+99999.yaml",
        "one.example.org+1+2.yaml",
        "127.1.yaml",
        "0x7f000001.yaml",
        "ip6+.yaml",
        "ip6+zz.yaml",
        "ip6+2001-DB8--1.yaml",
        "ip6+--ffff-127.0.0.1.yaml",
        "a b.yaml",
        "a%2fb.yaml",
        "a\\b.yaml",
        "a\nb.yaml",
        "\xe9.yaml",
        "one.example.org.yaml\n",
    ],
)
def test_a_file_that_is_named_after_no_host_is_refused_and_not_swept_away(network: Path, name: str) -> None:
    (network / name).write_bytes(b"version: 2\nentries: []\n")
    with pytest.raises(InputError) as caught:
        read_tree(network)
    assert [m.path.name for m in caught.value.mistakes] == [name]
    assert "expected files named <host>.yaml" in caught.value.mistakes[0].message
    with pytest.raises(InputError):
        write_tree(network, Snapshot())
    assert (network / name).exists()


@pytest.mark.parametrize(
    "name",
    ["../one.example.org.yaml", "/etc/passwd", "a/b.yaml", "https://one.example.org.yaml", "..", "", "\x00.yaml"],
)
def test_a_name_that_is_a_path_is_refused_where_files_come_from_a_commit(name: str) -> None:
    assert wrong_name(name) is not None
    with pytest.raises(InputError):
        read_files({name: dump([])}, Path(".hermit/network"))


def test_the_mistakes_of_all_files_are_told(network: Path) -> None:
    (network / "one.example.org.yaml").write_text("version: 2\nentries: 7\n")
    (network / "two.example.org+8443.yaml").write_text("version: 3\nentries: []\n")
    with pytest.raises(InputError) as caught:
        read_tree(network)
    assert [(m.path.name, m.line) for m in caught.value.mistakes] == [
        ("one.example.org.yaml", 2),
        ("two.example.org+8443.yaml", 1),
    ]


@pytest.mark.timeout(20)
def test_links_pipes_and_folders_in_the_place_of_files_are_refused(network: Path, tmp_path: Path) -> None:
    outside = tmp_path / "one.example.org.yaml"
    outside.write_bytes(dump([ONE]))
    victim = network / "one.example.org.yaml"
    victim.unlink()
    for number, make in enumerate((lambda: victim.symlink_to(outside), lambda: os.mkfifo(victim), victim.mkdir)):
        make()
        with pytest.raises(InputError, match=r"one\.example\.org\.yaml: expected a (readable|regular) file"):
            read_tree(network)
        victim.rename(tmp_path / f"seen-{number}")
    assert set(read_tree(network)) == {TWO}


def test_a_folder_that_is_a_link_is_refused(network: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(network)
    with pytest.raises(InputError, match="link"):
        read_tree(tmp_path / "link")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".hermit").symlink_to(network.parent)
    with pytest.raises(InputError, match="link"):
        write_tree(tmp_path / "project" / ".hermit" / "network", Snapshot())
    assert set(read_tree(network)) == {ONE, TWO}


def test_links_that_a_project_brings_along_are_not_written_through(network: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    for name in (".network.new~", ".network.old~"):
        (network.parent / name).symlink_to(outside)
    (network.parent / ".recorded~").symlink_to(outside / "precious")
    write_tree(network, Snapshot([ONE]), time=1_800_000_000)
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_text() == "x"
    assert set(read_tree(network)) == {ONE}


def test_a_snapshot_that_changed_since_it_was_read_is_not_overwritten(network: Path) -> None:
    base = read_tree(network)
    write_tree(network, Snapshot([TWO]))
    with pytest.raises(HermitError, match="has changed since") as caught:
        write_tree(network, Snapshot([ONE]), base=base)
    assert caught.value.hint
    assert set(read_tree(network)) == {TWO}
    write_tree(network, Snapshot([ONE]), base=read_tree(network))
    assert set(read_tree(network)) == {ONE}


@pytest.mark.parametrize("step", ["_write", "_linked", "_sync", "_exchange"])
def test_a_failure_at_any_step_leaves_the_old_files(network: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(network)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(swap, step, full)
        with pytest.raises(OSError, match="No space"):
            write_tree(network, Snapshot([ONE, Entry("GET", TWO.url, 410)]))
    assert state(network) == before
    assert sorted(os.listdir(network.parent)) == ["network", "recorded"]
    assert write_tree(network, Snapshot([ONE])) is True


def test_an_entry_that_cannot_be_written_leaves_the_old_files(network: Path) -> None:
    before = state(network)
    with pytest.raises(ValueError, match="never recorded"):
        write_tree(network, Snapshot([Entry("GET", ONE.url, 503)]))
    assert state(network) == before


def test_what_is_no_file_and_what_does_not_parse_is_told_at_once(network: Path) -> None:
    (network / "one.example.org.yaml").write_text("version: 2\nentries: 1\n")
    (network / "five.example.org.yaml").mkdir()
    with pytest.raises(InputError) as caught:
        read_tree(network)
    told = [(mistake.path.name, mistake.line) for mistake in caught.value.mistakes]
    assert told == [("five.example.org.yaml", None), ("one.example.org.yaml", 2)]
