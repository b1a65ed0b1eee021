"""Recipes: what they say is closed, its digest covers all of it, and every mistake is told with its line."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

import hermit_workers
from hermit_proxy.errors import ExitCode, InputError, UsageError
from hermit_workers.image.recipe import STOCK, Recipe, load_recipe, stock_names

FULL = """\
base: debian-12
packages: [make, gcc]
files:
  /etc/hello: hello.txt
  /opt/run: sub/run.sh
commands:
  - echo one
  - echo two
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "hello.txt").write_text("hi\n")
    (tmp_path / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "sub" / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("hello.txt")
    (tmp_path / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def read(folder: Path, text: str) -> Recipe:
    (folder / "image.yaml").write_text(text)
    return load_recipe("image.yaml", folder)


def test_a_recipe_says_packages_files_and_commands(project: Path) -> None:
    recipe = read(project, FULL)
    stock = load_recipe("debian-12", project)
    assert recipe.release == stock.release == "bookworm"
    assert recipe.packages == tuple(sorted({*stock.packages, "make", "gcc"}))
    found = [(str(file.target), file.content, file.executable) for file in recipe.files]
    assert found == [("/etc/hello", b"hi\n", False), ("/opt/run", b"#!/bin/sh\n", True)]
    assert recipe.commands == ("echo one", "echo two")


def test_every_stock_recipe_can_be_read(project: Path) -> None:
    assert "debian-12" in stock_names()
    for name in stock_names():
        assert load_recipe(name, project).packages


def test_stock_recipes_are_installed_with_the_package() -> None:
    """A wheel has what is in the package's own folder (pyproject.toml) and nothing from beside it."""
    assert STOCK.is_relative_to(Path(hermit_workers.__file__).parent)


def test_the_order_of_packages_and_files_changes_no_digest(project: Path) -> None:
    other = FULL.replace("[make, gcc]", "[gcc, make]")
    other = other.replace(
        "  /etc/hello: hello.txt\n  /opt/run: sub/run.sh\n", "  /opt/run: sub/run.sh\n  /etc/hello: hello.txt\n"
    )
    assert other != FULL
    assert read(project, other).digest == read(project, FULL).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gcc", "g++"),
        ("/etc/hello", "/etc/hallo"),
        ("hello.txt", "sub/run.sh"),
        ("echo one", "echo eins"),
        ("  - echo one\n  - echo two\n", "  - echo two\n  - echo one\n"),
    ],
)
def test_whatever_a_recipe_says_changes_its_digest(project: Path, old: str, new: str) -> None:
    before = read(project, FULL).digest
    assert read(project, FULL.replace(old, new)).digest != before


def test_content_and_mode_of_a_file_change_the_digest(project: Path) -> None:
    before = read(project, FULL).digest
    (project / "hello.txt").write_text("ho\n")
    changed = read(project, FULL).digest
    (project / "hello.txt").chmod(0o755)
    assert len({before, changed, read(project, FULL).digest}) == 3


def test_the_name_of_a_recipe_is_not_in_its_digest(project: Path) -> None:
    (project / "other.yml").write_text(FULL)
    assert load_recipe("other.yml", project).digest == read(project, FULL).digest


BAD = {
    "nothing": ("", 1, "expected a recipe as a mapping"),
    "a list": ("- base\n", 1, "expected a recipe as a mapping"),
    "no base": ("packages: [make]\n", 1, "needs the key `base`"),
    "an unknown key": ("base: debian-12\npackage: [make]\n", 2, "did you mean `packages`?"),
    "an unknown base": ("base: debian-21\n", 1, "did you mean `debian-12`?"),
    "a key twice": ("base: debian-12\nbase: debian-12\n", 2, "a second time"),
    "a tab": ("base: debian-12\npackages:\n\t- make\n", 3, "a tab"),
    "an alias": ("base: debian-12\npackages: *all\n", 2, "an alias"),
    "one package without brackets": ("base: debian-12\npackages: make\n", 2, "expected packages as a list"),
    "an option for a package": ("base: debian-12\npackages:\n- make\n- --option\n", 4, "expected a package's name"),
    "a package with a comma": ("base: debian-12\npackages: ['make,gcc']\n", 2, "expected a package's name"),
    "a package with a version": ("base: debian-12\npackages:\n- make=4\n", 3, "expected a package's name"),
    "a pattern of packages": ("base: debian-12\npackages: ['?essential']\n", 2, "expected a package's name"),
    "a package twice": ("base: debian-12\npackages:\n- make\n- make\n", 4, "first: line 3"),
    "an empty command": ("base: debian-12\ncommands:\n- ''\n", 3, "expected a command as a text"),
    "a mapping for a command": ("base: debian-12\ncommands:\n- run: x\n", 3, "expected a command as a text"),
    "a NUL in a command": ('base: debian-12\ncommands:\n- "a\\0b"\n', 3, "cannot hold a NUL"),
    "a list of files": ("base: debian-12\nfiles: [hello.txt]\n", 2, "expected files as a mapping"),
    "a relative target": ("base: debian-12\nfiles: {etc/x: hello.txt}\n", 2, "expected the full path"),
    "a target with dots": ("base: debian-12\nfiles: {/etc/../x: hello.txt}\n", 2, "expected the full path"),
    "a target that is the root": ("base: debian-12\nfiles: {/: hello.txt}\n", 2, "expected the full path"),
    "a target with two slashes": ("base: debian-12\nfiles: {//etc/x: hello.txt}\n", 2, "expected the full path"),
    "a target of the kernel's": ("base: debian-12\nfiles: {/proc/x: hello.txt}\n", 2, "cannot be in an image"),
    "a target that a cell covers": ("base: debian-12\nfiles: {/run/x: hello.txt}\n", 2, "cannot be in an image"),
    "a target below a file": (
        "base: debian-12\nfiles:\n  /etc/x: hello.txt\n  /etc/x/y: hello.txt\n", 4, "lies below /etc/x",
    ),
    "a file that is missing": ("base: debian-12\nfiles: {/etc/x: none.txt}\n", 2, "No such file"),
    "an absolute source": ("base: debian-12\nfiles: {/etc/x: /etc/passwd}\n", 2, "expected a path below"),
    "a source that leads out": ("base: debian-12\nfiles: {/etc/x: ../x}\n", 2, "expected a path below"),
    "a link": ("base: debian-12\nfiles: {/etc/x: link}\n", 2, "is a link"),
    "a link on the way": ("base: debian-12\nfiles: {/etc/x: out/passwd}\n", 2, "is a link"),
    "a folder": ("base: debian-12\nfiles: {/etc/x: sub}\n", 2, "is no file"),
    "a pipe": ("base: debian-12\nfiles: {/etc/x: pipe}\n", 2, "is no file"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_is_told_with_its_line(project: Path, what: str) -> None:
    text, line, expected = BAD[what]
    with pytest.raises(InputError) as caught:
        read(project, text)
    told = [(mistake.line, mistake.message) for mistake in caught.value.mistakes]
    assert any(found == line and expected in message for found, message in told), told
    assert all(mistake.path == project / "image.yaml" for mistake in caught.value.mistakes)
    assert caught.value.exit_code == ExitCode.USAGE


def test_all_mistakes_are_told_at_once(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(project, "base: x\npackages: [-a]\nfiles: {etc: hello.txt}\ncommands: 1\nmore: 1\n")
    assert [mistake.line for mistake in caught.value.mistakes] == [5, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("debian-21", "did you mean `debian-12`?"),
        ("fedora", "there is no image"),
        ("../image.yaml", "leads out of the project"),
        ("/etc/image.yaml", "leads out of the project"),
        ("none.yaml", "cannot be read"),
    ],
)
def test_an_image_that_is_not_there_is_told(project: Path, ref: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(ref, project)
    assert told in str(caught.value)


def test_a_file_may_not_be_larger_than_what_is_read(project: Path) -> None:
    with (project / "hello.txt").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(InputError, match="larger than"):
        read(project, FULL)


def test_targets_are_pure_paths(project: Path) -> None:
    assert read(project, FULL).files[0].target == PurePosixPath("/etc/hello")
