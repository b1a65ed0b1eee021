"""`hermit image verify` and `gc` look at images and at what VMs boot from, and keep what is in use."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from hermit_workers.image.guest import pin_guest
from hermit_workers.image.library import DESCRIPTION, Image, Library
from hermit_workers.vm import bootfolder
from hermit_workers.vm.boot import boot_folders
from tests.support.recorded import hermit
from tests.support.smallimages import add_image, mapped
from tests.unit.cli.imagecase import add_guest, image, library, lock, output

__all__ = ["image", "library"]

DAY = 86400


def boot(name: str, image: str, guest: str) -> Path:
    """Lay out what VMs boot from."""
    folder = boot_folders(os.environ) / (name * 32)
    folder.mkdir(parents=True)
    for file in ("kernel", "initrd", "image"):
        (folder / file).write_bytes(file.encode())
    bootfolder.thd_record(folder, image, guest)
    return folder


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


def test_a_guest_image_that_has_changed_says_how_it_is_mended(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = add_guest(library)
    pin_guest(library, guest)
    mapped("printf x >root/etc/content", guest.folder)
    assert hermit("image", "verify") == 4
    assert "next: hermit image build --guest --rebuild " in capsys.readouterr().out


def test_verify_reads_what_vms_boot_from_to_the_last_byte(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = boot("a", image.digest, image.digest), boot("b", image.digest, image.digest)
    status = (bad / "image").stat()
    (bad / "image").write_bytes(b"imago")
    os.utime(bad / "image", ns=(status.st_atime_ns, status.st_mtime_ns))
    used = (bad.stat().st_mtime_ns, good.stat().st_mtime_ns)
    assert hermit("image", "verify") == 4
    told = capsys.readouterr().out
    assert f"{good}  right" in told
    assert f"{bad}  CHANGED" in told
    assert f"\n{bad / 'image'} has other bytes than it was made with\n  next: rm -r {bad}" in told
    assert hermit("image", "verify", "--json") == 4
    assert list(output(capsys)["boot"]) == [str(bad)]
    assert hermit("image", "verify", image.digest) == 0
    assert (bad.stat().st_mtime_ns, good.stat().st_mtime_ns) == used


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


def test_gc_keeps_the_guest_image_that_vms_boot_from(library: Library) -> None:
    old, guest = add_guest(library, "old"), add_guest(library, "guest")
    pin_guest(library, guest)
    for one in (old, guest):
        age(one, 400)
    assert hermit("image", "gc") == 0
    assert [one.digest for one in library.images()] == [guest.digest]


def test_gc_removes_what_vms_booted_from_long_ago_or_from_images_that_are_gone(
    library: Library, image: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    guest, gone = add_guest(library), "sha256:" + "0" * 64
    pin_guest(library, guest)
    fresh, old = boot("a", image.digest, guest.digest), boot("b", image.digest, guest.digest)
    without_image, without_guest = boot("c", gone, guest.digest), boot("d", image.digest, gone)
    unreadable = boot("e", image.digest, guest.digest)
    (unreadable / "boot.json").write_text("{")
    os.utime(old, (0, 0))
    left = fresh.with_name(f".{fresh.name}.01234567")
    left.mkdir()
    foreign = fresh.with_name("mine")
    foreign.mkdir()
    going = [old, without_image, without_guest, unreadable]
    assert hermit("image", "gc", "--dry-run", "--json") == 0
    assert output(capsys)["boot"]["removed"] == [str(folder) for folder in going]
    assert all(folder.exists() for folder in (*going, left))
    assert hermit("image", "gc") == 0
    assert "4 folders that VMs booted from removed (" in capsys.readouterr().out
    assert sorted(path for path in fresh.parent.iterdir() if path.is_dir()) == [fresh, foreign]


def test_gc_keeps_what_a_vm_runs_from(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    folder = boot("a", "sha256:" + "0" * 64, image.digest)
    held = bootfolder.thd_hold(folder)
    assert held is not None
    assert hermit("image", "gc", "--keep", "0") == 0
    assert folder.exists()
    assert "booted from" not in capsys.readouterr().out
    os.close(held)
    assert hermit("image", "gc", "--keep", "0", "--json") == 0
    assert output(capsys)["boot"]["removed"] == [str(folder)]
    assert not folder.exists()
