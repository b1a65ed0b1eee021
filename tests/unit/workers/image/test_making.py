"""A build gets the image that is pinned; only a recording pins another, and one process makes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode
from hermit_workers.image import making
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import ImageLock, read_lock, write_lock
from hermit_workers.image.making import ensure_image, lock_path, pin, turn
from hermit_workers.image.recipe import Recipe, load_recipe
from tests.support.smallimages import add_image, architecture


@pytest.fixture
def library() -> Library:
    return Library.of(os.environ)


@pytest.fixture
def made(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a small image made where a real one would take half a minute; give what was made."""
    made: list[str] = []

    async def make(recipe: Recipe, *, environ: Mapping[str, str], progress: making.Progress) -> Image:
        assert environ is os.environ
        progress("making")
        made.append(recipe.name)
        content = f"made {len(made)}"
        return await asyncio.to_thread(
            add_image, library, content, name=recipe.name, recipe=recipe.digest.removeprefix("sha256:")
        )

    monkeypatch.setattr(making, "make_image", make)
    return made


def ensure(root: Path, mode: Mode, ref: str = "debian-12") -> Image:
    return asyncio.run(ensure_image(ref, root, mode, environ=os.environ))


def test_a_first_recording_makes_and_pins_an_image_which_later_builds_take(tmp_path: Path, made: list[str]) -> None:
    image = ensure(tmp_path, Mode.RECORD)
    lock = read_lock(lock_path(tmp_path))
    assert lock == pin(load_recipe("debian-12", tmp_path), image)
    assert ensure(tmp_path, Mode.HERMETIC) == ensure(tmp_path, Mode.RECORD) == image
    assert made == ["debian-12"]


def test_another_project_takes_the_image_that_is_there(tmp_path: Path, made: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert ensure(tmp_path / "a", Mode.RECORD) == ensure(tmp_path / "b", Mode.RECORD)
    assert lock_path(tmp_path / "b").exists()
    assert made == ["debian-12"]


def test_a_hermetic_build_without_a_lock_says_what_to_run(tmp_path: Path, made: list[str]) -> None:
    with pytest.raises(HermitError, match="no image is pinned") as caught:
        ensure(tmp_path, Mode.HERMETIC)
    assert (caught.value.exit_code, str(caught.value.hint)[:28]) == (ExitCode.USAGE, "hermit image build debian-12")
    assert made == []
    assert not lock_path(tmp_path).exists()


CHANGES = {
    "another image": ({"image": "other.yaml"}, "asks for debian-12"),
    "a recipe that has changed": ({"recipe": "sha256:" + "0" * 64}, "has changed since"),
    "another machine": ({"architecture": "riscv64"}, "an image for riscv64"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_lock_that_does_not_fit_stops_a_hermetic_build_and_is_renewed_by_a_recording(
    tmp_path: Path, made: list[str], what: str
) -> None:
    fields, told = CHANGES[what]
    image = ensure(tmp_path, Mode.RECORD)
    right = read_lock(lock_path(tmp_path))
    assert right is not None
    write_lock(lock_path(tmp_path), ImageLock(**{**{f: getattr(right, f) for f in right.__slots__}, **fields}))
    with pytest.raises(HermitError, match=told) as caught:
        ensure(tmp_path, Mode.HERMETIC)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "hermit image build" in str(caught.value.hint)
    assert ensure(tmp_path, Mode.RECORD) == image
    assert read_lock(lock_path(tmp_path)) == right
    assert made == ["debian-12"]


def test_a_pinned_image_that_is_not_here_stops_a_hermetic_build_only(
    tmp_path: Path, made: list[str], library: Library
) -> None:
    image = ensure(tmp_path, Mode.RECORD)
    asyncio.run(library.remove(image.folder))
    with pytest.raises(HermitError, match="is not on this machine") as caught:
        ensure(tmp_path, Mode.HERMETIC)
    assert caught.value.exit_code == ExitCode.MACHINE
    assert "import" in str(caught.value.hint)
    again = ensure(tmp_path, Mode.RECORD)
    assert again.digest != image.digest
    assert len(made) == 2


def test_a_making_that_fails_pins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    async def fail(*_: object, **__: object) -> Image:
        raise HermitError("no archive")

    monkeypatch.setattr(making, "make_image", fail)
    with pytest.raises(HermitError, match="no archive"):
        ensure(tmp_path, Mode.RECORD)
    assert not lock_path(tmp_path).exists()
    assert os.listdir(library.folder) == []


def test_of_two_at_once_the_second_waits_and_takes_what_the_first_made(tmp_path: Path, made: list[str]) -> None:
    lines: list[str] = []

    async def both() -> list[Image]:
        roots = [tmp_path / "a", tmp_path / "b"]
        for root in roots:
            root.mkdir()
        work = [
            ensure_image("debian-12", root, Mode.RECORD, environ=os.environ, progress=lines.append) for root in roots
        ]
        return list(await asyncio.gather(*work))

    first, second = asyncio.run(both())
    assert first == second
    assert made == ["debian-12"]
    assert "waiting for another hermit that makes this image" in lines


def test_a_turn_leaves_nothing_and_a_dead_processes_turn_is_taken(tmp_path: Path, library: Library) -> None:
    recipe = load_recipe("debian-12", tmp_path)
    library.folder.mkdir(parents=True)
    (library.folder / f".turn-{recipe.digest.removeprefix('sha256:')[:16]}").write_text("")

    async def take() -> None:
        async with turn(library, recipe, lambda _: None):
            pass

    asyncio.run(take())
    assert os.listdir(library.folder) == []


@pytest.mark.usefixtures("made")
def test_the_architecture_is_dpkgs(tmp_path: Path) -> None:
    assert ensure(tmp_path, Mode.RECORD).architecture == architecture()
