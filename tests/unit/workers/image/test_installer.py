"""The installer sees programs and one folder, runs on the proxy, and a replay accepts what has expired."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_workers.image.installer import WORK, Job, bwrap_arguments, installer, prepare
from hermit_workers.image.recipe import Recipe
from hermit_workers.image.sources import Sources, Suite

SOURCES = Sources((Suite("http://mirror.example.org/debian/", "bookworm"),), (Path("/etc/hosts"),))


def job(folder: Path, *, hermetic: bool = False) -> Job:
    return Job(Recipe("debian-12", "bookworm", ("git", "make")), SOURCES, folder, hermetic, "amd64")


def test_the_packages_and_archives_are_those_of_the_job(tmp_path: Path) -> None:
    words = installer(job(tmp_path))
    assert "--include=git,make" in words
    assert "--architectures=amd64" in words
    assert "--keyring=/etc/hosts" in words


@pytest.mark.parametrize(("hermetic", "accepted"), [(True, True), (False, False)])
def test_only_a_replay_accepts_expired_release_files(tmp_path: Path, hermetic: bool, accepted: bool) -> None:
    words = installer(job(tmp_path, hermetic=hermetic))
    assert ('--aptopt=Acquire::Check-Valid-Until "false"' in words) is accepted


def test_nothing_of_a_persons_is_shown(tmp_path: Path) -> None:
    words = bwrap_arguments(job(tmp_path))
    sources = [words[at + 1] for at, word in enumerate(words) if word.startswith("--ro-bind")]
    for path in ("/", "/home", "/root", "/run", "/etc", "/var", "/tmp", "/etc/shadow", "/proc", "/sys"):  # noqa: S108  not used
        assert path not in sources
    bound = [words[at + 2] for at, word in enumerate(words) if word == "--bind"]
    assert bound == [WORK]
    assert "--clearenv" in words
    assert "--unshare-pid" in words


def test_the_files_for_the_installer_can_be_read_by_another_user(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir(mode=0o700)
    prepare(job(folder), RunCA.create())
    assert folder.stat().st_mode & 0o777 == 0o755
    files = {path.name: path for path in (folder / "setup").iterdir()}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}
    assert files["sources.list"].read_text() == "deb http://mirror.example.org/debian/ bookworm main\n"
    assert files["releases"].read_text() == "http://mirror.example.org/debian/dists/bookworm/InRelease\n"
    assert b"BEGIN CERTIFICATE" in files["bundle.crt"].read_bytes()
