"""The installer sees programs and one folder, runs on the proxy, and a replay accepts what has expired."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_workers.image import tree
from hermit_workers.image.installer import WORK, Job, bwrap_options, installer, prepare
from hermit_workers.image.recipe import Recipe
from hermit_workers.image.running import runner
from hermit_workers.image.sources import Sources, Suite

# Those of capabilities(7) that a cell's root has.
NINE = 0x800400FB
SYS_ADMIN, SETPCAP = 1 << 21, 1 << 8
SOURCES = Sources((Suite("http://mirror.example.org/debian/", "bookworm"),), (Path("/etc/hosts"),))


def job(folder: Path, *, hermetic: bool = False) -> Job:
    return Job(Recipe("debian-12", "bookworm", ("git", "make")), SOURCES, folder, hermetic, "amd64")


def test_the_packages_and_archives_are_those_of_the_job(tmp_path: Path) -> None:
    words = installer(job(tmp_path))
    assert "--include=git,make" in words
    assert "--architectures=amd64" in words
    assert "--keyring=/image/setup/keys-0" in words


@pytest.mark.parametrize(("hermetic", "accepted"), [(True, True), (False, False)])
def test_only_a_replay_accepts_expired_release_files(tmp_path: Path, hermetic: bool, accepted: bool) -> None:
    words = installer(job(tmp_path, hermetic=hermetic))
    assert ('--aptopt=Acquire::Check-Valid-Until "false"' in words) is accepted


def test_nothing_of_a_persons_is_shown() -> None:
    words = bwrap_options()
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
    files = {path.name: path for path in (folder / "setup").iterdir() if path.is_file()}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}
    assert files["keys-0"].read_bytes() == Path("/etc/hosts").read_bytes()
    assert files["sources.list"].read_text() == "deb http://mirror.example.org/debian/ bookworm main\n"
    assert files["releases"].read_text() == "http://mirror.example.org/debian/dists/bookworm/InRelease\n"
    assert b"BEGIN CERTIFICATE" in files["bundle.crt"].read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder as the installer gets it, with an empty tree."""
    path = tmp_path / "image"
    path.mkdir(mode=0o755)
    prepare(job(path), RunCA.create())
    asyncio.run(tree.make_root(path))
    return path


def said(folder: Path, script: str) -> list[str]:
    """Run a script of the host where the installer runs."""
    lines: list[str] = []

    async def main() -> None:
        async with runner(folder) as running:
            status, _ = await running.run(bwrap_options(), ["sh", "-euc", script], lines.append)
            assert status == 0, lines

    asyncio.run(main())
    return lines


STATUS = "sed -n 's/^\\(CapEff\\|CapPrm\\|CapBnd\\|Seccomp\\|NoNewPrivs\\):\\t *//p' /proc/self/status"


def test_the_installer_has_the_filter_of_a_cell_and_may_mount_besides(folder: Path) -> None:
    permitted, effective, bounding, no_new, seccomp = said(folder, STATUS)
    assert {int(number, 16) for number in (permitted, effective)} == {NINE | SYS_ADMIN | SETPCAP}
    assert int(bounding, 16) >= NINE
    assert (no_new, seccomp) == ("1", "2")


def test_what_runs_in_the_tree_has_the_capabilities_of_a_cells_root(folder: Path) -> None:
    """apt-get and chroot(1) are what mmdebstrap, and tidying up, start the tree's own programs by."""
    found = said(folder, f"chroot / /bin/sh -c '{STATUS.replace(chr(39), chr(34))}'")
    assert {int(number, 16) for number in found[:3]} == {NINE}
    assert found[3:] == ["1", "2"]
    where = said(folder, "for name in apt-get chroot; do command -v $name; done")
    assert where == ["/image/setup/bin/apt-get", "/image/setup/bin/chroot"]
    assert said(folder, "apt-get --version")[0].startswith("apt ")


def test_the_tree_cannot_change_what_the_installer_is_told_to_do(folder: Path) -> None:
    assert said(folder, "echo x >setup/bin/chroot || rm -r setup || mv setup other || echo no 2>/dev/null")[-1] == "no"
