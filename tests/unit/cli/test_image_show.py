"""Images are told in columns to people and whole to programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.image_show import Progress, image_data, tell_images
from hermit_workers.image.library import Library
from tests.support.smallimages import add_image


def test_each_step_is_told_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 0.5, 75.0, 75.0])
    progress = Progress(clock=lambda: next(times))
    progress.begin("making x")
    progress("unpacking\x1b[2J")
    progress("done")
    assert capsys.readouterr().err.splitlines() == [
        "hermit image: making x",
        "    0.5 s  unpacking\\x1b[2J",
        "     1:15  done",
    ]
    assert progress.seconds == 75.0


def test_quiet_progress_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    progress.begin("making x")
    progress("unpacking")
    assert capsys.readouterr().err == ""


def test_the_pinned_image_is_marked_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    library = Library.of(os.environ)
    images = [add_image(library, "one", name="one"), add_image(library, "two", name="two", made=60)]
    tell_images(library, images, images[1].digest, images[0].digest)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(library.folder)
    assert lines[1].split() == ["IMAGE", "DIGEST", "AS", "OF", "LAST", "USED", "PACKAGES", "SIZE"]
    assert lines[2].endswith("boots VMs")
    assert lines[3].endswith("pinned here")
    assert ["two", images[1].digest[7:19], "1970-01-01", "00:01"] == lines[3].split()[:4]


def test_an_empty_library_says_what_makes_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    tell_images(Library(Path("/nowhere")), [], None, None)
    assert "hermit image build" in capsys.readouterr().out


def test_programs_get_the_whole_digest_and_the_folder() -> None:
    image = add_image(Library.of(os.environ))
    found = image_data(image)
    assert (found["digest"], found["folder"]) == (image.digest, str(image.folder))
