"""The library gives whole images or none, keeps what is in use, and sweeps what a crash left."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermit_workers.image import library as module
from hermit_workers.image import tree
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import DESCRIPTION, IMPORTED, Library, read_description
from tests.support.smallimages import SOURCES, add_image, architecture, mapped

RECIPE = f"sha256:{'a' * 64}"


@pytest.fixture
def library() -> Library:
    return Library.of(os.environ)


def names(library: Library) -> list[str]:
    return sorted(os.listdir(library.folder))


def test_the_library_is_in_the_users_data_folder() -> None:
    assert Library.of({"XDG_DATA_HOME": "/data"}).folder == Path("/data/hermit/images")
    assert Library.of({"HOME": "/home/u"}).folder == Path("/home/u/.local/share/hermit/images")
    assert Library.of({"HOME": "/home/u", "XDG_DATA_HOME": "x"}).folder == Path("/home/u/.local/share/hermit/images")


def test_an_image_is_found_by_digest_and_by_recipe(library: Library) -> None:
    image = add_image(library)
    assert library.get(image.digest) == library.find(RECIPE, architecture()) == image
    assert library.images() == [image]
    assert library.find(RECIPE, "other") is None
    assert library.get("sha256:" + "0" * 64) is None
    assert (image.root / "etc" / "content").read_text() == "x"
    assert (image.packages, image.folder.name) == (1, image.digest.removeprefix("sha256:"))
    assert library.sources(image.folder)[1] == SOURCES
    assert json.loads(image.bill.read_bytes())["components"][0]["name"] == "hello"


def test_the_newest_image_of_a_recipe_is_given(library: Library) -> None:
    old, new = add_image(library, "old", made=1), add_image(library, "new", made=2)
    assert library.images() == [new, old]
    assert library.find(RECIPE, architecture()) == new


def test_the_same_image_a_second_time_changes_nothing(library: Library) -> None:
    image = add_image(library)
    before = (image.folder / DESCRIPTION).stat().st_ino
    assert add_image(library) == image
    assert (image.folder / DESCRIPTION).stat().st_ino == before
    assert names(library) == [image.folder.name]


def test_making_an_image_again_is_remembered_though_the_same_one_stays(library: Library) -> None:
    image = add_image(library)
    os.utime(image.folder / DESCRIPTION, (1, 1))
    assert library.last_made(image) == 1
    add_image(library)
    assert library.last_made(image) > 1


def test_an_image_is_on_the_disk_before_it_has_its_name(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[bool, int]] = []

    def write_out(folder: Path) -> None:
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        written.append(((folder / DESCRIPTION).exists(), files))
        assert library.images() == []

    monkeypatch.setattr(module, "thd_write_out", write_out)
    image = add_image(library)
    whole = sum(1 for path in image.folder.rglob("*") if path.is_file())
    assert written == [(True, whole)]


def test_a_disk_that_does_not_take_an_image_leaves_none(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise ImageError("the disk does not take the image")

    monkeypatch.setattr(module, "thd_write_out", fail)
    with pytest.raises(ImageError, match="does not take"):
        add_image(library)
    assert names(library) == []


DAMAGES = {
    "a file's content": "printf y >root/etc/content && touch -d @1700000000 root/etc/content",
    "a file that is gone": "rm root/etc/shadow && touch -d @1700000000 root/etc",
    "all of the tree": "rm -rf root/*",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_making_an_image_again_replaces_one_whose_tree_is_damaged(library: Library, what: str) -> None:
    image = add_image(library)
    mapped(DAMAGES[what], image.folder)
    assert add_image(library) == image
    assert asyncio.run(tree.pack(image.folder)).digest == image.digest
    assert names(library) == [image.folder.name]


def test_a_damaged_image_that_a_build_uses_is_not_replaced_and_that_is_told(library: Library) -> None:
    image = add_image(library)
    mapped("rm root/etc/shadow", image.folder)
    with library.use(image), pytest.raises(ImageError, match="damaged, and a build uses it"):
        add_image(library)


def test_an_imported_image_is_only_for_who_names_it_by_digest(library: Library) -> None:
    """Its file says what recipe it is of, and a file may say anything."""
    own, foreign = add_image(library, "own", made=1), add_image(library, "foreign", made=2)
    (foreign.folder / IMPORTED).touch()
    assert library.find(RECIPE, architecture()) == own
    assert library.get(foreign.digest) == foreign
    assert library.images() == [foreign, own]
    asyncio.run(library.remove(own.folder))
    assert library.find(RECIPE, architecture()) is None


def test_an_imported_image_that_is_made_here_too_is_this_machines_own(library: Library) -> None:
    image = add_image(library)
    (image.folder / IMPORTED).touch()
    with library.use(image):
        assert add_image(library).imported
    assert not add_image(library).imported


def test_making_an_image_again_gives_an_older_one_its_list_of_files(library: Library) -> None:
    image = add_image(library)
    image.files.unlink()
    assert add_image(library).files.exists()
    assert names(library) == [image.folder.name]


def test_an_image_from_before_there_was_a_digest_of_content_is_one(library: Library) -> None:
    image = add_image(library)
    assert image.content.startswith("sha256:")
    fields = json.loads((image.folder / DESCRIPTION).read_text())
    del fields["content"]
    (image.folder / DESCRIPTION).write_text(json.dumps(fields))
    assert [found.content for found in library.images()] == [""]


def test_an_empty_library_is_none(library: Library) -> None:
    assert (library.images(), library.broken(), library.find(RECIPE, "amd64")) == ([], [], None)


def test_an_image_in_use_is_not_removed(library: Library) -> None:
    image = add_image(library)
    with library.use(image) as root, library.use(image):
        assert root == image.root
        assert not asyncio.run(library.remove(image.folder))
        assert library.get(image.digest) == image
    assert asyncio.run(library.remove(image.folder))
    assert names(library) == []
    assert not asyncio.run(library.remove(image.folder))


def test_an_image_that_another_process_uses_stays_until_that_is_gone(library: Library) -> None:
    image = add_image(library)
    script = (
        "import sys; from pathlib import Path; from hermit_workers.image.library import Library\n"
        "library = Library(Path(sys.argv[1]))\n"
        "with library.use(library.get(sys.argv[2])): print(flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(library.folder), image.digest]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        assert not asyncio.run(library.remove(image.folder))
        user.kill()
        user.wait()
        assert asyncio.run(library.remove(image.folder))


def test_an_image_that_is_gone_cannot_be_used(library: Library) -> None:
    image = add_image(library)
    asyncio.run(library.remove(image.folder))
    with pytest.raises(ImageError, match="is being removed"), library.use(image):
        pytest.fail("it is gone")


def test_using_an_image_is_remembered(library: Library) -> None:
    image = add_image(library)
    os.utime(image.folder, (1, 1))
    assert library.last_used(image) == 1
    with library.use(image):
        pass
    assert library.last_used(image) > 1


def test_what_a_making_leaves_goes_however_it_ends(library: Library) -> None:
    async def fail() -> None:
        async with library.workshop() as folder:
            (folder / "x").write_text("")
            mine.append(folder)
            raise KeyboardInterrupt

    mine: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(fail())
    assert not mine[0].exists()
    assert names(library) == []


def test_a_sweep_removes_what_a_killed_process_left_and_nothing_that_is_at_work(library: Library) -> None:
    image = add_image(library)
    for name in (".new-0123456789abcdef", ".gone-0123456789abcdef"):
        (library.folder / name).mkdir()
        mapped("mkdir -m 0700 inner && touch inner/x && chown -R 5:5 inner", library.folder / name)

    async def sweep() -> None:
        async with library.workshop() as folder:
            await library.sweep()
            assert names(library) == sorted([image.folder.name, folder.name])

    asyncio.run(sweep())
    assert names(library) == [image.folder.name]


def test_a_library_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def enter() -> None:
        async with Library(tmp_path / "file" / "images").workshop():
            pytest.fail("there is no such folder")

    with pytest.raises(ImageError, match="cannot write to"):
        asyncio.run(enter())


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"digest": 1}', '{"name": "x", "digest": "sha256:1", "sources": {}}', "[" * 100_000],
)
def test_a_description_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not describe an image"):
        read_description(content.encode(), tmp_path)


def test_a_broken_image_is_named_and_left_out_of_the_others(library: Library) -> None:
    good, bad, foreign = add_image(library, "good"), add_image(library, "bad"), add_image(library, "foreign")
    (bad.folder / DESCRIPTION).write_text("{")
    (foreign.folder / DESCRIPTION).write_bytes((good.folder / DESCRIPTION).read_bytes())
    assert library.images() == [good]
    assert library.broken() == sorted([bad.folder, foreign.folder])
    with pytest.raises(ImageError):
        library.get(bad.digest)


def test_what_is_no_digest_is_no_path(library: Library) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        library.get("sha256:../../x")


@pytest.mark.parametrize("damage", ["nothing left", "no description", "a description cut short"])
def test_making_an_image_again_replaces_what_is_left_of_it(library: Library, damage: str) -> None:
    image = add_image(library)
    description = image.folder / DESCRIPTION
    if damage == "nothing left":
        mapped("rm -rf root", image.folder)
        shutil.rmtree(image.folder)
        image.folder.mkdir()
    elif damage == "no description":
        description.unlink()
    else:
        description.write_bytes(description.read_bytes()[:50])
    with pytest.raises(ImageError) as caught:
        library.get(image.digest)
    assert "hermit image gc" in str(caught.value.hint)
    assert add_image(library) == image
    assert (image.root / "etc" / "content").read_text() == "x"
    assert names(library) == [image.folder.name]
