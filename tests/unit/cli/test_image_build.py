"""`hermit image build` makes images of projects and Hermit's own, pins them, and makes them again to compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.run.session import Counts
from hermit_workers.image import maker
from hermit_workers.image.guest import guest_lock, pin_guest, pinned_guest
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import read_lock
from hermit_workers.image.maker import Rebuilt
from hermit_workers.image.making import lock_path
from hermit_workers.image.recipe import Recipe
from tests.support.recorded import hermit
from tests.unit.cli.imagecase import add_guest, image, library, lock, made, output

__all__ = ["image", "library", "made"]

A = "sha256:" + "a" * 64
PINS_OWN = f"image: image.yaml\nrecipe: {A}\ndigest: {A}\narchitecture: amd64\n"


def test_build_makes_an_image_and_pins_it(made: list[Recipe], capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "build") == 0
    told = capsys.readouterr().err
    pinned = read_lock(lock_path(Path.cwd()))
    assert pinned is not None
    for part in ("making debian-12", "unpacking them", "made debian-12 in", pinned.digest, "image.lock", "commit it"):
        assert part in told
    assert [recipe.name for recipe in made] == ["debian-12"]


def test_build_makes_a_new_image_each_time(made: list[Recipe], capsys: pytest.CaptureFixture[str]) -> None:
    digests = set()
    for _ in range(2):
        assert hermit("image", "build", "--json") == 0
        digests.add(output(capsys)["digest"])
    assert len(digests) == len(made) == 2


@pytest.mark.parametrize(
    ("files", "arguments", "wanted"),
    [
        ({}, [], "debian-12"),
        ({"image.yaml": "base: debian-12\n"}, ["image.yaml"], "image.yaml"),
        (
            {"image.yaml": "base: debian-12\n", ".hermit/build.yaml": "image: image.yaml\nsteps: [{run: x}]\n"},
            [],
            "image.yaml",
        ),
        (
            {".hermit/build.yaml": "image: debian-12\nsteps: [{run: x}]\n", ".hermit/image.lock": "nonsense"},
            [],
            "debian-12",
        ),
        ({"image.yaml": "base: debian-12\n", ".hermit/image.lock": PINS_OWN}, [], "image.yaml"),
    ],
)
def test_the_image_is_the_one_that_is_named_or_the_projects(
    made: list[Recipe], files: dict[str, str], arguments: list[str], wanted: str
) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    assert hermit("image", "build", *arguments) == 0
    assert [recipe.name for recipe in made] == [wanted]


@pytest.mark.parametrize(
    ("text", "line"), [("base: x\n", 1), ("base: debian-12\npackages: [-x]\n", 2), ("base: debian-12\nfile: {}\n", 2)]
)
def test_a_recipe_with_a_mistake_is_told_with_file_and_line(
    text: str, line: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("image.yaml").write_text(text)
    assert hermit("image", "build", "image.yaml") == 2
    assert f"image.yaml:{line}: " in capsys.readouterr().err


@pytest.mark.parametrize(("same", "code"), [(True, 0), (False, 1)])
def test_rebuild_compares_the_digests(
    image: Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], same: bool, code: int
) -> None:
    async def rebuild(found: Image, *_: object, **__: object) -> Rebuilt:
        assert found == image
        counts = Counts(requests=3, replayed=3)
        return Rebuilt(image.digest, counts) if same else Rebuilt("sha256:" + "0" * 64, counts, ("./etc/now: content",))

    monkeypatch.setattr(maker, "rebuild_image", rebuild)
    lock(image)
    assert hermit("image", "build", "--rebuild") == code
    told = capsys.readouterr().err
    assert ("the same bytes" in told, "\n  ./etc/now: content\n" in told) == (same, not same)
    assert hermit("image", "build", "--rebuild", "--json") == code
    shown = output(capsys)
    assert (shown["same"], shown["digest"], shown["replayed"]) == (same, image.digest, 3)
    assert shown["changes"] == ([] if same else ["./etc/now: content"])


def test_rebuild_of_a_recipe_that_has_no_image_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "build", "--rebuild") == 2
    assert "hermit image build debian-12" in capsys.readouterr().err


def test_the_guest_image_is_pinned_beside_the_images_and_in_no_project(
    library: Library, made: list[Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("image", "build", "--guest") == 0
    told = capsys.readouterr().err
    (found,) = library.images()
    for part in (
        "making hermit-guest",
        found.digest,
        "guest.lock, which has changed: the next --cell vm boots from it",
    ):
        assert part in told
    assert pinned_guest(library) == found.digest
    assert [recipe.name for recipe in made] == ["hermit-guest"]
    assert os.listdir(Path.cwd()) == []
    assert hermit("image", "build", "--guest", "--json") == 0
    shown = output(capsys)
    assert (shown["lock"], shown["digest"]) == (str(guest_lock(library)), pinned_guest(library))
    assert shown["digest"] != found.digest


def test_the_guest_image_has_one_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "build", "--guest", "debian-12") == 2
    assert "--guest is Hermit's own image" in capsys.readouterr().err


def test_the_pinned_guest_image_is_made_again(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("image", "build", "--guest", "--rebuild") == 2
    assert "next: hermit image build --guest\n" in capsys.readouterr().err
    seen: list[str] = []

    async def rebuild(found: Image, recipe: Recipe, **_: object) -> Rebuilt:
        seen.extend((found.digest, recipe.name))
        return Rebuilt("sha256:" + "0" * 64, Counts())

    monkeypatch.setattr(maker, "rebuild_image", rebuild)
    one, _ = add_guest(library, "one"), add_guest(library, "two")
    pin_guest(library, one)
    assert hermit("image", "build", "--guest", "--rebuild") == 1
    assert seen == [one.digest, "hermit-guest"]
    assert "hermit image build --guest pins a new one" in capsys.readouterr().err
