"""A recipe's files and commands are put into a tree by the tree's own programs, as root of a cell and no more."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import ExitCode
from hermit_workers.image.dressing import CommandError, archive, bwrap_options, dress
from hermit_workers.image.errors import ImageError
from hermit_workers.image.recipe import Recipe, RecipeFile
from hermit_workers.sandbox.bwrap import CAPABILITIES
from tests.support.sandbox import image
from tests.support.smallimages import mapped

X = RecipeFile(PurePosixPath("/etc/deep/x"), b"1", executable=False)
Y = RecipeFile(PurePosixPath("/opt/y"), b"22", executable=True)
# The numbers are those of capabilities(7).
NINE = 0x800400FB
SEEN = "cat /proc/self/status >/seen; for name in /*; do echo $name; done >>/seen"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an image's folder whose tree has programs to run."""
    path = tmp_path / "image"
    path.mkdir(mode=0o755)
    mapped('cp -a "$1" root', path, str(image()))
    return path


def dressed(folder: Path, *commands: str, files: tuple[RecipeFile, ...] = ()) -> list[str]:
    lines: list[str] = []
    recipe = Recipe("image.yaml", "bookworm", (), files, commands)
    asyncio.run(dress(recipe, folder, 7, lines.append))
    return lines


def seen(folder: Path) -> tuple[dict[str, str], set[str]]:
    lines = (folder / "root" / "seen").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return fields, {line for line in lines if line.startswith("/")}


def test_files_are_packed_as_they_shall_be() -> None:
    one, two = io.BytesIO(), io.BytesIO()
    archive((X, Y), 7, one)
    archive((X, Y), 7, two)
    assert one.getvalue() == two.getvalue()
    with tarfile.open(fileobj=io.BytesIO(one.getvalue())) as packed:
        found = [(m.name, m.mode, m.uid, m.gid, m.mtime, m.size) for m in packed]
    assert found == [("etc/deep/x", 0o644, 0, 0, 7, 1), ("opt/y", 0o755, 0, 0, 7, 2)]


def test_files_are_roots_and_of_one_time(folder: Path) -> None:
    dressed(folder, files=(X, Y))
    root = folder / "root"
    found = [(root / "etc/deep/x").stat(), (root / "opt/y").stat()]
    assert [status.st_mode & 0o7777 for status in found] == [0o644, 0o755]
    assert {status.st_uid for status in found} == {root.stat().st_uid}
    assert {status.st_mtime for status in found} == {7}
    assert (root / "etc/deep").stat().st_mode & 0o7777 == 0o755
    assert (root / "opt/y").read_bytes() == b"22"


def test_a_link_of_the_tree_leads_no_file_out_of_it(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    mapped('ln -s "$1" root/opt', folder, str(outside))
    with pytest.raises(ImageError, match="cannot be put into the tree"):
        dressed(folder, files=(Y,))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("what", ["the tree's tar", "a command"])
def test_what_runs_of_the_tree_has_the_filter_and_the_capabilities_of_a_cell(folder: Path, what: str) -> None:
    assert NINE.bit_count() == len(CAPABILITIES)
    if what == "a command":
        dressed(folder, SEEN)
    else:
        mapped('printf "%s" "$1" >tar && chmod 755 tar && mv tar root/usr/bin/tar', folder, f"#!/bin/sh\n{SEEN}\n")
        dressed(folder, files=(X,))
    status, names = seen(folder)
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {NINE}
    assert names >= {"/etc", "/usr"}
    assert not names & {"/setup", "/image", "/work"}


def test_a_tar_that_fails_is_told_with_its_words(folder: Path) -> None:
    mapped('printf "%s" "$1" >root/usr/bin/tar', folder, "#!/bin/sh\necho no such thing >&2; exit 7\n")
    with pytest.raises(ImageError, match="no such thing"):
        dressed(folder, files=(X,))


def test_a_command_that_fails_is_the_recipes_doing(folder: Path) -> None:
    with pytest.raises(CommandError, match="ended with status 3:\n  why") as caught:
        dressed(folder, "echo why; exit 3")
    assert caught.value.exit_code == ExitCode.FAILED


def test_commands_run_in_order_and_their_lines_are_told(folder: Path) -> None:
    assert dressed(folder, "echo one", "echo two")[1::2] == ["  one", "  two"]


def test_the_clock_of_a_command_is_the_images() -> None:
    words = bwrap_options(7)
    at = words.index("SOURCE_DATE_EPOCH")
    assert words[at - 1 : at + 2] == ["--setenv", "SOURCE_DATE_EPOCH", "7"]
    assert {"--seccomp", "--unshare-pid", "--clearenv"} <= set(words)
