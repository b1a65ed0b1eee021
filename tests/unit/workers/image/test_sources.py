"""Sources: apt itself says where packages are, only Debian's own suites count, and the proxy admits nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import load_rules
from hermit_workers.image import sources as module
from hermit_workers.image.sources import KEYRING, Sources, SourcesError, Suite, find_sources, own_file

OWN = """\
Types: deb
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates trixie
Components: main contrib
Signed-By: {keyring}

Types: deb deb-src
URIs: https://mirror.example.org:8443/debian+security/
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "mirror.gpg"
    path.write_bytes(b"keys")
    return path


def write_own(text: str) -> Path:
    path = own_file("bookworm", os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def found(keyring: Path) -> Sources:
    write_own(OWN.format(keyring=keyring))
    return find_sources("bookworm", os.environ)


def test_the_users_own_file_is_read_by_apt_itself(found: Sources, keyring: Path) -> None:
    plain, secure = "http://mirror.example.org/debian/", "https://mirror.example.org:8443/debian+security/"
    assert set(found.suites) == {
        Suite(plain, "bookworm"),
        Suite(plain, "bookworm-updates"),
        Suite(secure, "bookworm-security"),
    }
    assert found.keyrings[0] == keyring


def test_sources_survive_their_own_text(found: Sources) -> None:
    assert Sources.from_json(found.to_json()) == found


def test_what_the_image_keeps_does_not_name_a_keyring_of_this_host(found: Sources, keyring: Path) -> None:
    text = found.deb822()
    assert f"Signed-By: {KEYRING}\n" in text
    assert str(keyring) not in text
    assert "URIs: http://mirror.example.org/debian/\nSuites: bookworm bookworm-updates\n" in text


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("http://mirror.example.org/debian/dists/bookworm/InRelease", True),
        ("https://mirror.example.org:8443/debian+security/pool/x.deb", True),
        ("https://mirror.example.org/debian+security/pool/x.deb", False),
        ("https://mirror.example.org:8443/debiannsecurity/x.deb", False),
        ("http://mirror.example.org/other/x.deb", False),
        ("http://mirror-example.org/debian/x.deb", False),
        ("http://example.org/debian/x.deb", False),
    ],
)
def test_the_rules_admit_the_archives_and_nothing_else(
    found: Sources, tmp_path: Path, url: str, admitted: bool
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(found.rules())
    assert (load_rules(path).match("GET", parse_url(url)) is not None) is admitted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Types: deb\nURIs: http://mirror.example.org/debian\nSuites: trixie\nComponents: main\n", "no archive"),
        ("Types: deb\nURIs: http://u:p@mirror.example.org/debian\nSuites: bookworm\nComponents: main\n", "password"),
        ("Types: nonsense\n", "apt cannot read its sources"),
    ],
)
def test_sources_that_are_of_no_use_are_told_with_the_file(text: str, told: str) -> None:
    path = write_own(text)
    with pytest.raises(SourcesError, match=told) as caught:
        find_sources("bookworm", os.environ)
    assert str(path) in f"{caught.value}{caught.value.hint}"
    assert "u:p" not in str(caught.value)


MACHINE = """\
http://a.example.org/debian/|bookworm|Debian|main|/etc/apt/sources.list:1
http://a.example.org/debian/|bookworm|Debian|contrib|/etc/apt/sources.list:1
http://a.example.org/debian/|bookworm-backports|Debian|main|/etc/apt/sources.list:2
http://other.example.org/|bookworm|Other|main|/etc/apt/sources.list:3
cdrom://a/|bookworm|Debian|main|/etc/apt/sources.list:4
"""


def test_of_the_machines_own_sources_only_debians_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = tmp_path / "sources.list"
    listing.write_text("deb [arch=amd64 signed-by=/nowhere.gpg] http://a.example.org/debian bookworm main\n")
    said = MACHINE.replace("/etc/apt/sources.list", str(listing))
    monkeypatch.setattr(module, "_apt", lambda *_: said)
    assert find_sources("bookworm", os.environ).suites == (Suite("http://a.example.org/debian/", "bookworm"),)


def test_a_machine_that_knows_no_such_release_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_apt", lambda *_: "")
    with pytest.raises(SourcesError) as caught:
        find_sources("bookworm", os.environ)
    assert "apt-get update" in str(caught.value.hint)
    assert str(own_file("bookworm", os.environ)) in str(caught.value.hint)


def test_a_machine_without_apt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourcesError, match="apt is not installed"):
        find_sources("bookworm", os.environ)
