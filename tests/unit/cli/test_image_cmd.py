"""`hermit image` makes, lists, checks, moves and removes images, and says what to do where it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.run.session import Counts
from hermit_workers.image import maker
from hermit_workers.image.library import DESCRIPTION, Image, Library
from hermit_workers.image.lock import read_lock, write_lock
from hermit_workers.image.maker import Rebuilt
from hermit_workers.image.making import lock_path, pin
from hermit_workers.image.recipe import Recipe, load_recipe
from tests.support.recorded import hermit
from tests.support.smallimages import add_image, mapped

DAY = 86400
A = "sha256:" + "a" * 64
PINS_OWN = f"image: image.yaml\nrecipe: {A}\ndigest: {A}\narchitecture: amd64\n"


@pytest.fixture
def library() -> Library:
    return Library.of(os.environ)


@pytest.fixture
def image(library: Library) -> Image:
    """Put the image of the stock recipe into the library."""
    return add_image(library, recipe=load_recipe("debian-12", Path.cwd()).digest.removeprefix("sha256:"))


def lock(image: Image, *, root: Path | None = None) -> Path:
    path = lock_path(root or Path.cwd())
    write_lock(path, pin(load_recipe("debian-12", Path.cwd()), image))
    return path


def output(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


@pytest.fixture
def made(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Have small images made at once where real ones take half a minute."""
    made: list[Recipe] = []

    async def make(recipe: Recipe, *, environ: Mapping[str, str], progress: Any) -> Image:
        assert environ is os.environ
        progress("unpacking them")
        made.append(recipe)
        digits = recipe.digest.removeprefix("sha256:")
        return await asyncio.to_thread(add_image, library, str(len(made)), name=recipe.name, recipe=digits)

    monkeypatch.setattr(maker, "make_image", make)
    return made


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


def test_verify_names_the_image_that_has_changed(
    image: Image, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    good = add_image(library, "good")
    assert hermit("image", "verify") == 0
    assert capsys.readouterr().out.count("  right  ") == 2
    mapped("chmod 0644 root/etc/shadow", image.folder)
    assert hermit("image", "verify") == 4
    told = capsys.readouterr().out
    assert f"{image.digest}  CHANGED" in told
    assert "\n  ./etc/shadow: mode 0644, was 0600\n" in told
    assert "next: " in told
    assert hermit("image", "verify", "--json") == 4
    shown = output(capsys)
    assert (shown["right"], list(shown["changed"])) == ([good.digest], [image.digest])
    assert "./etc/shadow: mode 0644, was 0600" in shown["changed"][image.digest]
    assert hermit("image", "verify", good.digest) == 0


def test_verify_names_what_cannot_be_read(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    (image.folder / DESCRIPTION).write_text("")
    assert hermit("image", "verify") == 4
    assert str(image.folder) in capsys.readouterr().out


def age(image: Image, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(image.folder, (then, then))


@pytest.mark.parametrize(
    ("days", "arguments", "stays"),
    [
        (29, [], True),
        (31, [], False),
        (2, ["--keep", "1"], False),
        (0, ["--keep", "0"], False),
        (31, ["--dry-run"], True),
    ],
)
def test_gc_removes_what_was_not_used_for_a_while(
    image: Image, capsys: pytest.CaptureFixture[str], days: float, arguments: list[str], stays: bool
) -> None:
    age(image, days)
    assert hermit("image", "gc", *arguments) == 0
    assert image.folder.exists() is stays
    told = capsys.readouterr().out
    assert (image.digest in told) is (not stays or "--dry-run" in arguments)


def test_gc_keeps_what_the_project_pins_and_what_a_build_uses(
    image: Image, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(image)
    used, unused = add_image(library, "used"), add_image(library, "unused")
    (unused.folder / DESCRIPTION).write_text("")
    with library.use(used):
        assert hermit("image", "gc", "--keep", "0", "--json") == 0
    shown = output(capsys)
    assert (shown["removed"], shown["in_use"]) == ([f"sha256:{unused.folder.name}"], [used.digest])
    assert library.images() == [i for i in library.images() if i.digest in {image.digest, used.digest}]
    assert not unused.folder.exists()


def test_gc_passes_over_what_another_gc_has_just_removed(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    age(image, 31)
    last_used = Library.last_used

    def gone(self: Library, found: Image) -> float:
        asyncio.run(self.remove(found.folder))
        return last_used(self, found)

    monkeypatch.setattr(Library, "last_used", gone)
    assert hermit("image", "gc") == 0


@pytest.mark.parametrize("days", ["", "-1", "1.5", "1d"])
def test_what_is_no_number_of_days_is_a_usage_error(days: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        hermit("image", "gc", f"--keep={days}")


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


@pytest.mark.parametrize("text", ["abc", "xyzxyz", "", "../../etc", "000000"])
@pytest.mark.usefixtures("image")
def test_a_digest_that_names_no_image_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("image", "verify", text or " ") == 2
    assert "hermit image list" in capsys.readouterr().err


@pytest.mark.usefixtures("image")
def test_a_lock_with_a_mistake_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lock_path(Path.cwd()).parent.mkdir()
    lock_path(Path.cwd()).write_text("image: x\ndigest: y\n")
    assert hermit("image", "list") == 2
    assert "image.lock:2: expected digest" in capsys.readouterr().err
