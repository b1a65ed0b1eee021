"""Attacks of a build by what leaves it: artifacts that lead elsewhere, that are no files, too much, or badly named."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.store.open import open_store
from hermit_workers import artifacts
from hermit_workers.cell import Limits, Taken
from hermit_workers.sandbox.artifacts.patterns import PatternError, parse
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from tests.integration.hostile.bastion import fortress
from tests.integration.hostile.rows import attack
from tests.support.sandbox import sh

_FOLDER = PurePosixPath("/build/p")
_WHAT_IS_THERE = r"""
mkdir -p /build/p; cd /build/p; mkdir plain links kinds giant names screen hard
echo good > plain/good
ln -s /etc/passwd links/file; ln -s /etc links/folder
ln -s ../../../etc/passwd links/up; ln -s plain/good links/own
mkfifo kinds/pipe; perl -e 'use Socket; socket S, AF_UNIX, SOCK_STREAM, 0; bind S, sockaddr_un("kinds/socket")'
perl -e 'open F, ">", "giant/sparse"; truncate F, 1 << 30'
perl -e 'open F, ">", "giant/half"; truncate F, 3 << 20'; cp --sparse=always giant/half giant/half-again
echo 1 > names/-rf; echo 2 > names/--help; echo 3 > 'names/$(reboot)'; echo 4 > "names/a b;c"; echo 5 > 'names/*'
for n in '\n' '\r' '\033[2J' '\t' '\177' '\302\233' '\342\200\256' '\377' '\\';
do : > "screen/$(printf "x${n}y")"; done
ln /etc/shadow hard/shadow; echo x > hard/SHA256SUMS; echo y > hard/.gitignore
chmod 000 plain/good; chmod 4755 names/-rf
ln -s /build/elsewhere moved; mkdir /build/elsewhere; echo else > /build/elsewhere/file
"""


class Left:
    """Is a stopped cell's folder, driven from plain tests."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._cell = fortress(folder / "cell", Limits(artifacts=4 << 20))
        self.cell, _ = self._loop.run_until_complete(self._cell.__aenter__())
        done = self._loop.run_until_complete(sh(self.cell, _WHAT_IS_THERE, "root"))
        assert (done.status, done.output) == (0, "")
        self._loop.run_until_complete(self.cell.stop())

    def take(self, *patterns: str, folder: PurePosixPath = _FOLDER) -> list[Taken]:
        """Take artifacts."""
        return self._loop.run_until_complete(self.cell.take(folder, patterns))

    def texts(self, *patterns: str, folder: PurePosixPath = _FOLDER) -> dict[str, bytes]:
        """Take artifacts and read them."""
        found = {}
        for taken in self.take(*patterns, folder=folder):
            with open(taken.descriptor, "rb") as file:
                found[str(taken.path)] = file.read()
        return found

    def close(self) -> None:
        """Destroy the cell."""
        self._loop.run_until_complete(self._cell.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    made = Left(tmp_path_factory.mktemp("artifacts"))
    yield made
    made.close()


@attack("artifact-dots")
@pytest.mark.parametrize(
    "pattern", ["../../etc/passwd", "plain/../../elsewhere/file", "..", "./good", "/etc/passwd", "a//b", "*/../*"]
)
def test_an_artifacts_path_has_no_dots_and_no_root(left: Left, pattern: str) -> None:
    with pytest.raises(PatternError, match=r"nowhere|absolute"):
        parse(pattern)  # what the spec's reader asks
    with pytest.raises(HermitError):
        left.take(pattern)
    assert left.texts("plain/good") == {"plain/good": b"good\n"}  # the control, and it still gives


@attack("artifact-links")
@pytest.mark.parametrize(
    "pattern",
    ["links/file", "links/up", "links/own", "links/folder", "links/folder/passwd", "moved/file", "links/*"],
)
def test_an_artifact_is_no_link_and_lies_behind_none(left: Left, pattern: str) -> None:
    with pytest.raises(ArtifactError):
        left.take(pattern)


@attack("artifact-folder-link")
def test_the_projects_folder_itself_is_no_link(left: Left) -> None:
    with pytest.raises(ArtifactError, match="moved"):
        left.take("file", folder=PurePosixPath("/build/p/moved"))
    assert left.texts("file", folder=PurePosixPath("/build/elsewhere")) == {"file": b"else\n"}  # the control


@attack("artifact-kinds")
@pytest.mark.parametrize(("pattern", "said"), [("kinds/pipe", "a named pipe"), ("kinds/socket", "a socket")])
def test_an_artifact_is_no_pipe_socket_or_device(left: Left, pattern: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        left.take(pattern)


@attack("artifact-giants")
@pytest.mark.parametrize("patterns", [["giant/sparse"], ["giant/half*"]])
def test_a_hole_counts_as_what_it_reads_as(left: Left, patterns: list[str]) -> None:
    with pytest.raises(ArtifactError, match=r"of 4 MiB \(limits: artifacts\)"):
        left.take(*patterns)
    assert len(left.texts("giant/half")["giant/half"]) == 3 << 20  # the control


@attack("artifact-hard-links")
def test_a_hard_link_is_a_file_of_the_builds_own_tree_at_most(left: Left) -> None:
    assert left.texts("hard/shadow")["hard/shadow"].startswith(b"root::")  # the image's, which is no secret
    assert left.texts("hard/shadow")["hard/shadow"] != Path("/etc/hosts").read_bytes()


@attack("artifact-screen")
def test_an_artifacts_name_says_nothing_to_a_terminal_or_a_list(left: Left) -> None:
    # Each alone, by a pattern that fits no other.
    for character in ("?", "[!a-z]"):
        with pytest.raises(ArtifactError) as raised:
            left.take(f"screen/x{character}y")
        assert str(raised.value).isprintable()
    with pytest.raises(ArtifactError, match="characters that a list of files cannot carry"):
        left.take("screen/*")


@attack("artifact-options")
def test_names_like_options_and_scripts_are_names(left: Left, tmp_path: Path) -> None:
    kept = keep(left, tmp_path, "names/*")
    names = ("-rf", "--help", "$(reboot)", "a b;c", "*")
    assert {artifact.path for artifact in kept} == {f"names/{name}" for name in names}
    out = tmp_path / "out"
    # A setuid bit does not leave, nor an owner.
    assert (out / "names/-rf").stat().st_mode & 0o7777 == 0o755
    assert (out / "names/-rf").stat().st_uid == os.geteuid()
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (out / "names/-rf").write_text("changed")
    assert subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=out, capture_output=True, check=False).returncode


def keep(left: Left, folder: Path, *patterns: str, place: PurePosixPath = _FOLDER) -> tuple[artifacts.Artifact, ...]:
    """Take artifacts and keep them as `hermit build` does."""
    store = open_store(str(folder / "store"), environ=os.environ)
    try:
        return artifacts.keep(left.take(*patterns, folder=place), store, folder / "out", 0)
    finally:
        store.close()


@attack("artifact-own-names")
@pytest.mark.parametrize("name", ["SHA256SUMS", ".gitignore"])
def test_no_artifact_takes_the_place_of_hermits_own_files_beside_it(left: Left, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="Hermit's own file"):
        keep(left, tmp_path, name, place=_FOLDER / "hard")
    assert not (tmp_path / "out").exists()
    kept = keep(left, tmp_path, f"hard/{name}")  # the control: below a folder it is any name
    assert [artifact.path for artifact in kept] == [f"hard/{name}"]
    assert kept[0].sha256 == hashlib.sha256({"SHA256SUMS": b"x\n", ".gitignore": b"y\n"}[name]).hexdigest()
