"""Looks at a build's variables and files as its tools would."""

from __future__ import annotations

import configparser
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_proxy.toolvariables import RESERVED, is_reserved
from hermit_workers.buildview import Facts, build_environment, build_files
from hermit_workers.cellfiles import CellFile, CellLink, Entry, as_tar
from hermit_workers.environment import Wire, cell_environment

FACTS = Facts(1_700_000_000, "https://git.example.org/hello.git", "c0ffee", "main")
MAVEN = "{http://maven.apache.org/SETTINGS/1.0.0}"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Give the tree of an image with certificates."""
    root = tmp_path / "image"
    (root / "etc/ssl/certs").mkdir(parents=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"image's\n")
    return root


def by_path(entries: list[Entry]) -> dict[str, Entry]:
    found = {str(entry.path): entry for entry in entries}
    assert len(found) == len(entries), "a path twice"
    return found


def content(entries: list[Entry], path: str) -> bytes:
    entry = by_path(entries)[path]
    assert isinstance(entry, CellFile)
    return entry.content


def test_nothing_of_the_hosts_environment_is_in_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_environment(FACTS, Wire(), "build")
    for name in ("http_proxy", "LANG", "PATH", "HOME", "JAVA_TOOL_OPTIONS", "GIT_CONFIG_COUNT", "OWN", "TZ"):
        monkeypatch.setenv(name, "7")
    assert build_environment(FACTS, Wire(), "build") == before
    assert "7" not in before.values()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", "/home/build"),
        ("USER", "build"),
        ("LOGNAME", "build"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TZ", "UTC"),
        ("LC_ALL", "C.UTF-8"),
        ("LANG", "C.UTF-8"),
        ("SOURCE_DATE_EPOCH", "1700000000"),
        ("REPO_URL", "https://git.example.org/hello.git"),
        ("COMMIT", "c0ffee"),
        ("BRANCH", "main"),
        ("SECRET_PATH", "/run/hermit/secrets"),
        ("CI", "true"),
        ("HERMIT", "1"),
        ("TERM", "dumb"),
        ("PYTHONHASHSEED", "0"),
        ("no_proxy", "localhost,127.0.0.1,::1,hermit"),
    ],
)
def test_a_build_is_told_who_and_where_it_is(name: str, value: str) -> None:
    assert build_environment(FACTS, Wire(), "build")[name] == value


def test_root_differs_in_its_name_and_home_only() -> None:
    ordinary, root = build_environment(FACTS, Wire(), "build"), build_environment(FACTS, Wire(), "root")
    changed = {name: value for name, value in root.items() if ordinary.get(name) != value}
    assert changed == {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    assert ordinary.keys() == root.keys()


def test_a_build_has_all_that_a_command_of_hermit_run_gets_save_for_the_caches() -> None:
    run = cell_environment({}, Wire(keep_caches=True))
    build = build_environment(FACTS, Wire(), "build")
    assert {name for name in run if build.get(name) != run[name]} == {"no_proxy", "NO_PROXY", "GIT_CONFIG_COUNT"}
    assert not [value for value in build.values() if "/cache" in value]


def test_the_mode_changes_no_variable() -> None:
    assert build_environment(FACTS, Wire(hermetic=True), "build") == build_environment(FACTS, Wire(), "build")


def test_a_time_before_1970_is_1970() -> None:
    assert build_environment(replace(FACTS, epoch=-1), Wire(), "build")["SOURCE_DATE_EPOCH"] == "0"


def test_what_points_tools_to_the_proxy_is_reserved() -> None:
    """A new variable of the wire must be reserved or named here."""
    free = {
        *("CI", "DEBIAN_FRONTEND", "LANG", "LC_ALL", "PATH", "PERL_HASH_SEED", "PYTHONHASHSEED", "SOURCE_DATE_EPOCH"),
        *("TERM", "TZ", "PIP_DISABLE_PIP_VERSION_CHECK", "YARN_ENABLE_TELEMETRY", "npm_config_audit"),
        *("npm_config_fund", "npm_config_update_notifier"),
    }
    environment = build_environment(FACTS, Wire(), "build")
    assert {name for name in environment if not is_reserved(name)} == free
    assert environment.keys() >= RESERVED


def test_git_works_on_a_project_of_another_user(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "p"], check=True)
    os.chown(tmp_path / "p", 54321, 54321) if os.geteuid() == 0 else pytest.skip("only root can give a folder away")
    environment = build_environment(FACTS, Wire(), "root") | {"HOME": str(tmp_path)}
    command = ["git", "-C", str(tmp_path / "p"), "status"]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    environment["GIT_CONFIG_COUNT"] = "1"
    assert b"dubious" in subprocess.run(command, env=environment, capture_output=True, check=False).stderr


@pytest.mark.parametrize("own", [b"image's\n", None])
def test_the_bundles_are_the_images_with_the_ca(image: Path, own: bytes | None) -> None:
    if own is None:
        (image / "etc/ssl/certs/ca-certificates.crt").unlink()
    authority = RunCA.create()
    entries = list(build_files(image, authority, Wire()))
    expected = (own or b"") + authority.cert_pem
    assert content(entries, "/run/hermit/ca-bundle.crt") == expected
    assert content(entries, "/etc/ssl/certs/ca-certificates.crt") == expected


def test_the_ca_is_an_anchor_and_found_by_its_hash(image: Path, tmp_path: Path) -> None:
    authority = RunCA.create(run="20240101T000000-123456abcd")
    entries = list(build_files(image, authority, Wire()))
    assert content(entries, "/usr/local/share/ca-certificates/hermit.crt") == authority.cert_pem
    root = unpacked(entries, tmp_path / "cell")
    (root / "etc/ssl/certs/hermit.pem").unlink()  # its target is absolute, and means the cell's
    (root / "etc/ssl/certs/hermit.pem").write_bytes(authority.cert_pem)
    (tmp_path / "leaf.pem").write_bytes(authority.leaf("example.org"))
    command = ["openssl", "verify", "-no-CAfile", "-CApath", f"{root}/etc/ssl/certs", str(tmp_path / "leaf.pem")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    link = by_path(entries)["/etc/ssl/certs/hermit.pem"]
    assert link == CellLink(PurePosixPath("/etc/ssl/certs/hermit.pem"), "/usr/local/share/ca-certificates/hermit.crt")


def test_every_file_that_a_variable_names_is_there(image: Path, tmp_path: Path) -> None:
    root = unpacked(list(build_files(image, RunCA.create(), Wire())), tmp_path / "cell")
    environment = build_environment(FACTS, Wire(), "build")
    words = " ".join(environment.values()).replace("=", " ").split()
    named = {word for word in words if word.startswith("/run/hermit")}
    assert {"/run/hermit/ca.pem", "/run/hermit/ca.jks", "/run/hermit/maven", "/run/hermit/secrets"} <= named
    assert not [path for path in named if not (root / path[1:]).exists()]


def test_only_a_replay_turns_apts_dates_off(image: Path) -> None:
    texts = [
        content(list(build_files(image, RunCA.create(), Wire(hermetic=hermetic))), "/run/hermit/apt.conf")
        for hermetic in (False, True)
    ]
    assert [b"Check-Valid-Until" in text for text in texts] == [False, True]


def test_a_maven_in_the_image_keeps_its_mirrors(image: Path) -> None:
    mirror = "<mirror><id>m</id><mirrorOf>*</mirrorOf><url>https://mirror.example.org</url></mirror>"
    (image / "etc/maven").mkdir()
    (image / "etc/maven/settings.xml").write_text(
        f'<settings xmlns="{MAVEN[1:-1]}"><mirrors>{mirror}</mirrors></settings>'
    )
    (image / "usr/share/maven").mkdir(parents=True)
    (image / "usr/share/maven/conf").symlink_to("/etc/maven")
    assert maven_mirrors(image) == ["m"]


def test_a_maven_that_comes_later_refuses_plain_http_as_its_own_settings_do(image: Path) -> None:
    assert maven_mirrors(image) == ["maven-default-http-blocker"]


def maven_mirrors(image: Path) -> list[str | None]:
    root = ET.fromstring(content(list(build_files(image, RunCA.create(), Wire())), "/run/hermit/maven/settings.xml"))  # noqa: S314  what this very test had written
    assert [proxy.text for proxy in root.findall(f"{MAVEN}proxies/{MAVEN}proxy/{MAVEN}host")] == ["127.0.0.1"] * 2
    return [item.text for item in root.findall(f"{MAVEN}mirrors/{MAVEN}mirror/{MAVEN}id")]


def test_gradle_finds_the_proxy_in_the_home_of_either_user_and_may_write_there(image: Path) -> None:
    entries = by_path(list(build_files(image, RunCA.create(), Wire())))
    for home, uid in (("/home/build", 1000), ("/root", 0)):
        folder, file = entries[f"{home}/.gradle"], entries[f"{home}/.gradle/gradle.properties"]
        assert isinstance(file, CellFile)
        parser = configparser.ConfigParser(delimiters="=")
        parser.read_string("[all]\n" + file.content.decode())
        assert parser["all"]["systemProp.https.proxyHost"] == "127.0.0.1"
        assert parser["all"]["systemProp.https.proxyPort"] == "3128"
        assert {getattr(folder, "uid", None), file.uid, file.gid} == {uid}


def test_the_host_has_one_name_no_resolver_and_always_the_same_identity(image: Path) -> None:
    entries = list(build_files(image, RunCA.create(), Wire()))
    again = list(build_files(image, RunCA.create(), Wire()))
    assert content(entries, "/etc/hostname") == b"hermit\n"
    assert content(entries, "/etc/resolv.conf") == b""
    assert b"127.0.1.1 hermit\n" in content(entries, "/etc/hosts")
    assert len(content(entries, "/etc/machine-id")) == 33
    assert content(entries, "/etc/machine-id") == content(again, "/etc/machine-id")


def test_everything_but_gradles_home_belongs_to_root_and_may_be_read_by_all(image: Path) -> None:
    with as_tar(build_files(image, RunCA.create(), Wire()), 0) as file, tarfile.open(fileobj=file) as archive:
        for member in archive:
            assert member.issym() or member.mode & 0o444 == 0o444, member.name
            assert (member.uid == member.gid == 0) or member.name.startswith("home/build/.gradle"), member.name
            assert not member.mode & 0o022 or member.issym(), member.name


def unpacked(entries: list[Entry], root: Path) -> Path:
    with as_tar(entries, 0) as file, tarfile.open(fileobj=file) as archive:
        archive.extractall(root, filter="tar")
    return root
