"""Repositories of the first Hermit must load, migrate and round-trip; their mistakes are told like all others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.errors import InputError
from hermit_proxy.snapshot import v1
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.tree import migrate_tree, read_tree, read_tree_files

FIXTURES = Path(__file__).parents[3] / "fixtures" / "hermit-v1"
PROJECTS = sorted(folder.name for folder in FIXTURES.iterdir())
PATH = Path("network/registry.example.org.yaml")
SHA, SHAKE = "ab" * 32, "cd" * 64

OLD = f"""\
registry.example.org/a/b.deb:
    responseCode: 200
    contentType: application/octet-stream
    contentLength: 12
    sha256: {SHA}
    shake256: {SHAKE}
? registry.example.org/a/long
:   responseCode: 200
    contentLength: 0
    sha256: {SHA}
"""


def test_the_fixtures_are_there() -> None:
    assert PROJECTS == ["debian-bullseye", "debian-bullseye-previous", "hermit-vm-kernel"]


@pytest.mark.parametrize("project", PROJECTS)
def test_an_old_project_loads_with_nothing_lost(project: str) -> None:
    network = FIXTURES / project / "network"
    expected = {
        (url, fields["responseCode"], fields["sha256"], fields["contentLength"], fields.get("contentType"))
        for path in network.iterdir()
        for url, fields in yaml.safe_load(path.read_text()).items()
    }
    assert expected
    for scheme in v1.SCHEMES:
        found = {
            (e.url.removeprefix(f"{scheme}://"), e.status, e.sha256, e.size, e.header("content-type"))
            for e in read_tree(network, v1_schemes=(scheme,))
        }
        assert found == expected
    assert len(read_tree(network)) == 2 * len(expected)


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("scheme", v1.SCHEMES)
def test_an_old_project_migrates_and_then_round_trips(project: str, scheme: str, tmp_path: Path) -> None:
    network = tmp_path / ".hermit" / "network"
    shutil.copytree(FIXTURES / project / "network", network)
    before = list(read_tree(network, v1_schemes=(scheme,)))
    names = sorted(path.name for path in network.iterdir())
    assert sorted(migrate_tree(network, scheme=scheme)) == names
    texts = {path.name: path.read_bytes() for path in network.iterdir()}
    assert sorted(texts) == names
    assert all(text.startswith(b"version: 2\n") for text in texts.values())
    assert list(read_tree(network)) == before
    assert migrate_tree(network) == ()
    assert {path.name: path.read_bytes() for path in network.iterdir()} == texts
    assert not (tmp_path / ".hermit" / "recorded").exists()


def test_a_tree_of_both_versions_is_read_and_only_the_old_file_migrated(tmp_path: Path) -> None:
    network = tmp_path / "network"
    network.mkdir()
    (network / "registry.example.org.yaml").write_text(OLD)
    new = network / "new.example.org.yaml"
    new.write_text("# by hand\nversion: 2\nentries:\n- {request: GET http://new.example.org/, status: 404}\n")
    kept = new.read_bytes()
    assert {name: len(found) for name, found in read_tree_files(network).items()} == {
        "new.example.org.yaml": 1,
        "registry.example.org.yaml": 4,
    }
    assert migrate_tree(network) == ("registry.example.org.yaml",)
    assert new.read_bytes() == kept


def test_old_entries_become_these_entries() -> None:
    headers = (("content-type", "application/octet-stream"),)
    assert v1.parse(OLD.encode(), PATH, schemes=("http",)) == [
        Entry("GET", "http://registry.example.org/a/b.deb", 200, sha256=SHA, size=12, headers=headers),
        Entry("GET", "http://registry.example.org/a/long", 200, sha256=SHA, size=0),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD.encode(), True),
        (b'"registry.example.org:5000/a": {}\n', True),
        (b"registry.example.org:5000/a:\n", True),
        (b"version: 2\nentries: []\n", False),
        (b"entries: []\nversion: 2\n", False),
        (b"version: 2\nregistry.example.org/a: {}\n", False),
        (b"", False),
        (b"{}\n", False),
    ],
)
def test_an_old_file_is_told_from_a_new_one(text: bytes, expected: bool) -> None:
    assert v1.is_v1(text) is expected


def old(key: str = "registry.example.org/a", **fields: object) -> str:
    told = {"responseCode": 200, "contentLength": 1, "sha256": SHA, **fields}
    return f"{key}:\n" + "".join(f"    {name}: {value}\n" for name, value in told.items() if value is not None)


def test_a_negative_answer_keeps_its_status_and_a_status_of_no_use_is_left_out() -> None:
    text = old(responseCode=404) + old("registry.example.org/b", responseCode=503)
    assert v1.parse(text.encode(), PATH, schemes=("https",)) == [Entry("GET", "https://registry.example.org/a", 404)]


def test_an_empty_content_type_is_none() -> None:
    assert v1.parse(old(contentType="").encode(), PATH)[0].headers == ()


def test_two_spellings_of_one_url_with_one_answer_are_one_entry() -> None:
    text = old() + old("registry.example.org/%61")
    assert len(v1.parse(text.encode(), PATH, schemes=("https",))) == 1


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (old() + old(), 5, "second time"),
        (old() + old("registry.example.org//a", contentLength=2), 5, "another spelling of line 1"),
        (old("other.example.org/a"), 1, "this file's host"),
        (old("../../etc/passwd"), 1, "expected host/path"),
        (old("registry.example.org/..%2fa"), 1, "dot segments"),
        (old(responseCode="ok"), 2, "whole number"),
        (old(responseCode=None), 2, "`responseCode`"),
        (old(sha256="../x"), 2, "64 lower-case hex"),
        (old(shake256="abc"), 5, "128 lower-case hex"),
        (old(extra=1), 5, "unknown key 'extra'"),
        (old(contentType="[a]"), 5, "text"),
        (old(contentType='"a\\nb"'), 2, "control characters"),
        (old().replace("    ", "\t"), 2, "tab"),
        (old(contentType="&a x"), 5, "anchor"),
        ("registry.example.org/a: 7\n", 1, "mapping"),
    ],
)
def test_a_bad_old_file_is_told_with_line_and_what_was_expected(text: str, line: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        v1.parse(text.encode(), PATH)
    assert any(m.line == line and expected in m.message and m.path == PATH for m in caught.value.mistakes), (
        caught.value.mistakes
    )


@given(st.binary(max_size=100), st.integers(0, len(OLD)))
def test_any_old_file_is_read_or_refused(put: bytes, at: int) -> None:
    for text in (put, OLD.encode()[:at] + put + OLD.encode()[at:]):
        try:
            v1.parse(text, PATH)
        except InputError as error:
            mistakes = error.mistakes
        else:
            continue
        assert mistakes


def test_a_file_full_of_mistakes_is_told_by_the_first_ones() -> None:
    text = "".join(old(f"registry.example.org/{n}", sha256="x") for n in range(5000))
    with pytest.raises(InputError) as caught:
        v1.parse(text.encode(), PATH)
    assert len(caught.value.mistakes) <= 50
