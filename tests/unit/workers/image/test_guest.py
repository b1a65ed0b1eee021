"""VMs boot from one image of the user's: made by a recording that finds none, and never by a hermetic build."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, InputError
from hermit_proxy.policy import Mode
from hermit_workers.image import guest, making
from hermit_workers.image.errors import ImageError
from hermit_workers.image.guest import ensure_guest, guest_lock, guest_recipe, pin_guest, pinned_guest, verify_guest
from hermit_workers.image.library import DESCRIPTION, Image, Library
from hermit_workers.image.lock import read_lock, write_lock
from hermit_workers.image.moving import DamagedImageError
from hermit_workers.image.recipe import Recipe, stock_names
from tests.support.smallimages import add_image, mapped


@pytest.fixture
def library() -> Library:
    return Library.of(os.environ)


@pytest.fixture
def made(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a small image made where a real one would take minutes; give what was made."""
    made: list[str] = []

    async def make(recipe: Recipe, *, environ: Mapping[str, str], progress: making.Progress) -> Image:
        assert environ is os.environ
        progress("unpacking them")
        made.append(recipe.name)
        digits = recipe.digest.removeprefix("sha256:")
        return await asyncio.to_thread(add_image, library, f"made {len(made)}", name=recipe.name, recipe=digits)

    monkeypatch.setattr(making, "make_image", make)
    return made


def ensure(mode: Mode, said: list[str] | None = None) -> Image:
    return asyncio.run(ensure_guest(mode, environ=os.environ, progress=([] if said is None else said).append))


def change_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have another version of Hermit, whose guest image has one package more."""
    recipe = guest_recipe()
    monkeypatch.setattr(guest, "guest_recipe", lambda: replace(recipe, packages=(*recipe.packages, "zutils")))


def test_its_recipe_has_packages_alone_and_no_project_can_name_it() -> None:
    recipe = guest_recipe()
    assert (recipe.files, recipe.commands) == ((), ())
    boots = {"linux-image-cloud-amd64", "busybox-static", "kmod"}
    assert {*boots, "buildah", "crun", "fuse-overlayfs", "git", "ca-certificates"} == set(recipe.packages)
    assert recipe.name not in stock_names()


def test_the_first_recording_makes_it_and_says_so_and_all_later_builds_take_it(made: list[str]) -> None:
    said: list[str] = []
    image = ensure(Mode.RECORD, said)
    assert said == ["making hermit-guest, whose kernel boots every VM: once, in a minute or two", "unpacking them"]
    assert ensure(Mode.RECORD, said) == ensure(Mode.HERMETIC, said) == image
    assert (made, len(said)) == (["hermit-guest"], 2)


def test_it_is_pinned_beside_the_images_with_a_word_for_who_reads_it(library: Library, made: list[str]) -> None:
    assert pinned_guest(library) is None
    image = ensure(Mode.RECORD)
    assert pinned_guest(library) == image.digest
    assert guest_lock(library).parent == library.folder
    text = guest_lock(library).read_text()
    assert "hermit image build --guest" in text
    assert "Commit" not in text
    assert library.images() == [image]
    assert len(made) == 1


def test_one_that_is_there_and_not_pinned_is_taken(library: Library, made: list[str]) -> None:
    there = add_image(library, recipe=guest_recipe().digest.removeprefix("sha256:"))
    said: list[str] = []
    assert ensure(Mode.RECORD, said) == there
    assert (made, said, pinned_guest(library)) == ([], [], there.digest)


def test_a_hermetic_build_without_one_says_what_to_run(made: list[str]) -> None:
    with pytest.raises(ImageError, match="there is no guest image") as caught:
        ensure(Mode.HERMETIC)
    assert caught.value.exit_code is ExitCode.MACHINE
    for command in ("hermit image build --guest", "hermit image import --guest"):
        assert command in str(caught.value.hint)
    assert made == []


def test_one_that_is_gone_is_made_by_a_recording_and_told_by_a_hermetic_build(
    library: Library, made: list[str]
) -> None:
    first = ensure(Mode.RECORD)
    asyncio.run(library.remove(first.folder))
    with pytest.raises(ImageError, match=f"{first.digest} is not here"):
        ensure(Mode.HERMETIC)
    second = ensure(Mode.RECORD)
    assert pinned_guest(library) == second.digest != first.digest
    assert len(made) == 2


def test_of_a_newer_hermit_a_recording_makes_another_and_a_hermetic_build_goes_on_with_the_older(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = ensure(Mode.RECORD)
    change_recipe(monkeypatch)
    assert ensure(Mode.HERMETIC) == older
    newer = ensure(Mode.RECORD)
    assert newer != older
    assert ensure(Mode.HERMETIC) == newer
    assert len(made) == 2


def test_one_for_another_kind_of_machine_is_none(library: Library, made: list[str]) -> None:
    ensure(Mode.RECORD)
    lock = read_lock(guest_lock(library))
    assert lock is not None
    write_lock(guest_lock(library), replace(lock, architecture="arm64"))
    with pytest.raises(ImageError, match="is not here"):
        ensure(Mode.HERMETIC)
    assert len(made) == 1


def test_one_with_the_wrong_digest_is_told(made: list[str]) -> None:
    image = ensure(Mode.RECORD)
    path = image.folder / DESCRIPTION
    path.write_text(path.read_text().replace(image.digest, "sha256:" + "0" * 64))
    with pytest.raises(ImageError, match="says that it is sha256:0000") as caught:
        ensure(Mode.HERMETIC)
    assert "hermit image gc" in str(caught.value.hint)
    assert len(made) == 1


def test_a_pin_that_cannot_be_read_names_the_command_that_writes_it_anew(library: Library, made: list[str]) -> None:
    image = ensure(Mode.RECORD)
    guest_lock(library).write_text("image: hermit-guest\n")
    with pytest.raises(InputError) as caught:
        ensure(Mode.HERMETIC)
    assert "hermit image build --guest writes it anew" in str(caught.value.hint)
    assert pin_guest(library, image)
    assert ensure(Mode.HERMETIC) == image
    assert len(made) == 1


@pytest.mark.parametrize(
    ("damage", "told"),
    [("printf x >root/etc/content", "./etc/content: content"), ("rm -r root/tmp", "./tmp: missing")],
)
def test_a_damaged_one_names_the_file_and_what_mends_it(
    library: Library, made: list[str], damage: str, told: str
) -> None:
    image = ensure(Mode.RECORD)
    asyncio.run(verify_guest(image))
    mapped(damage, image.folder)
    with pytest.raises(DamagedImageError, match=told) as caught:
        asyncio.run(verify_guest(image))
    assert "hermit image build --guest --rebuild " in str(caught.value.hint)
    assert Path(library.folder) == image.folder.parent
    assert len(made) == 1
