"""Images are found by the beginning of their digest, and by the project's lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.image_find import find_image, pinned_digest
from hermit_proxy.errors import UsageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.making import lock_path
from tests.support.recorded import hermit
from tests.support.smallimages import add_image
from tests.unit.cli.imagecase import image, library, lock

__all__ = ["image", "library"]


@pytest.mark.parametrize("length", [6, 12, 64])
@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_an_image_is_found_by_some_digits(library: Library, image: Image, prefix: str, length: int) -> None:
    add_image(library, "another")
    assert find_image(library, prefix + image.digest.removeprefix("sha256:")[:length]) == image


@pytest.mark.parametrize("text", ["abc", "xyzxyz", "", "../../etc", "000000"])
@pytest.mark.usefixtures("image")
def test_a_digest_that_names_no_image_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "verify", text or " ") == 2
    assert "hermit image list" in capsys.readouterr().err


def test_two_images_that_begin_alike_are_told(library: Library, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "images", lambda _: [image, image])
    with pytest.raises(UsageError, match="2 images begin with"):
        find_image(library, image.digest[:20])


def test_the_project_says_what_it_pins(image: Image) -> None:
    assert pinned_digest() is None
    lock(image)
    assert pinned_digest() == image.digest


@pytest.mark.usefixtures("image")
def test_a_lock_with_a_mistake_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lock_path(Path.cwd()).parent.mkdir()
    lock_path(Path.cwd()).write_text("image: x\ndigest: y\n")
    assert hermit("image", "list") == 2
    assert "image.lock:2: expected digest" in capsys.readouterr().err
