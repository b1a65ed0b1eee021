"""`hermit image` lists images and moves them, and says what to do where it cannot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermit_workers.image.guest import guest_lock, pin_guest, pinned_guest
from hermit_workers.image.library import Image, Library
from tests.support.recorded import hermit
from tests.unit.cli.imagecase import add_guest, image, library, lock, output

__all__ = ["image", "library"]


def test_list_tells_what_is_here_and_what_is_pinned_and_missing(
    image: Image, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(image)
    assert hermit("image", "list") == 0
    assert "pinned here" in capsys.readouterr().out
    assert hermit("image", "list", "--json") == 0
    assert [(one["digest"], one["pinned"]) for one in output(capsys)["images"]] == [(image.digest, True)]
    asyncio.run(library.remove(image.folder))
    assert hermit("image", "list") == 0
    assert f"not here: {image.digest}" in capsys.readouterr().out


def test_an_image_goes_to_another_library_by_a_file(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(image)
    assert hermit("image", "export", image.digest[:14], "x.tar") == 0
    assert "hermit image import x.tar" in capsys.readouterr().out
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    assert hermit("image", "import", "x.tar", "--json") == 0
    assert output(capsys)["digest"] == image.digest
    assert hermit("image", "verify") == 0


def test_an_import_must_know_what_it_wants(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "export", image.digest, "x.tar") == 0
    assert hermit("image", "import", "x.tar") == 2
    assert "--digest" in capsys.readouterr().err
    assert hermit("image", "import", "x.tar", "--digest", "sha256:" + "0" * 64) == 2
    assert hermit("image", "import", "x.tar", "--digest", image.digest) == 0
    assert hermit("image", "import", "none.tar", "--digest", image.digest) == 2


def test_list_tells_which_image_boots_vms_and_where_it_is_missing(
    image: Image, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = add_guest(library)
    pin_guest(library, guest)
    assert hermit("image", "list") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.endswith("boots VMs"))
    assert guest.digest.removeprefix("sha256:")[:12] in line
    assert hermit("image", "list", "--json") == 0
    assert {one["digest"]: one["guest"] for one in output(capsys)["images"]} == {
        image.digest: False,
        guest.digest: True,
    }
    asyncio.run(library.remove(guest.folder))
    assert hermit("image", "list") == 0
    assert f"not here: {guest.digest}, which boots VMs    (hermit image build --guest)" in capsys.readouterr().out


def test_a_guest_image_goes_to_another_library_and_boots_vms_there(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = add_guest(library)
    pin_guest(library, guest)
    assert hermit("image", "export", guest.digest, "x.tar") == 0
    assert f"hermit image import --guest --digest {guest.digest} x.tar" in capsys.readouterr().out
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    other = Library(tmp_path / "other/hermit/images")
    assert hermit("image", "import", "--guest", "x.tar") == 2
    assert "nothing says which image" in capsys.readouterr().err
    assert hermit("image", "import", "--guest", "--digest", guest.digest, "x.tar") == 0
    assert pinned_guest(other) == guest.digest
    assert hermit("image", "verify") == 0
    assert guest_lock(other).read_bytes() == guest_lock(library).read_bytes()
