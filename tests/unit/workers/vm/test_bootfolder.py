"""What VMs boot from is told where it is not as it was made, and stays as long as somebody uses it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_workers.vm import bootfolder
from hermit_workers.vm.bootfolder import damage, folders, read_record, thd_hold, thd_record, thd_remove, turn

NAME = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "boot" / NAME
    folder.mkdir(parents=True)
    for name in ("kernel", "initrd", "image"):
        (folder / name).write_bytes(name.encode() * 1000)
    thd_record(folder, "sha256:i", "sha256:g")
    return folder


def test_what_was_made_is_written_down_and_whole(folder: Path) -> None:
    record = read_record(folder)
    assert record is not None
    assert (record.image, record.guest) == ("sha256:i", "sha256:g")
    assert {name: file.size for name, file in record.files.items()} == {"kernel": 6000, "initrd": 6000, "image": 5000}
    assert damage(folder) is None
    assert damage(folder, thorough=True) is None


def _truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, 10)


def _flip(name: str) -> Callable[[Path], None]:
    """Change a byte and leave size and time as they were."""

    def change(folder: Path) -> None:
        status = (folder / name).stat()
        with (folder / name).open("r+b") as file:
            file.write(b"X")
        os.utime(folder / name, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "boot.json").write_text(text)

    return change


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a short kernel": (_truncate("kernel"), "kernel has 10 bytes, and was made with 6000"),
    "a short initrd": (_truncate("initrd"), "initrd has 10 bytes, and was made with 6000"),
    "a short disk": (_truncate("image"), "image has 10 bytes, and was made with 5000"),
    "another kernel": (_flip("kernel"), "kernel has other bytes"),
    "another initrd": (_flip("initrd"), "initrd has other bytes"),
    "a disk that was written to": (lambda folder: os.utime(folder / "image"), "image was changed after it was made"),
    "no kernel": (_remove("kernel"), "kernel cannot be read: No such file"),
    "no disk": (_remove("image"), "image cannot be read: No such file"),
    "no record": (_remove("boot.json"), "boot.json does not say what was made"),
    "half a record": (_write('{"image": '), "boot.json does not say"),
    "another record": (_write('{"image": "a", "guest": "b", "files": {"kernel": {"size": 1}}}'), "does not say"),
    "a record that is too deep": (_write("[" * 100_000), "does not say"),
}


@pytest.mark.parametrize(("change", "told"), DAMAGE.values(), ids=DAMAGE.keys())
def test_each_use_sees_damage_and_names_the_file(folder: Path, change: Callable[[Path], None], told: str) -> None:
    change(folder)
    assert told in str(damage(folder))


def test_a_disk_that_differs_in_a_byte_alone_is_seen_by_who_reads_all_of_it(folder: Path) -> None:
    _flip("image")(folder)
    assert damage(folder) is None
    assert "image has other bytes" in str(damage(folder, thorough=True))


def test_only_folders_with_a_name_of_theirs_count(folder: Path) -> None:
    for other in (f".{NAME}.01234567", "mine", NAME[:-1]):
        (folder.parent / other).mkdir()
    assert folders(folder.parent) == [folder]
    assert folders(folder.parent / "nowhere") == []


def test_a_size_is_what_the_disk_gives(folder: Path) -> None:
    os.truncate(folder / "image", 1 << 30)
    assert 0 < bootfolder.size(folder) < 1 << 20


def test_who_holds_a_folder_keeps_it_and_many_may(folder: Path) -> None:
    held = [thd_hold(folder), thd_hold(folder)]
    for descriptor in held:
        assert descriptor is not None
        assert not thd_remove(folder)
        assert folder.exists()
        os.close(descriptor)
    assert thd_remove(folder)
    assert thd_remove(folder)
    assert thd_hold(folder) is None
    assert list(folder.parent.iterdir()) == []


def test_a_folder_counts_as_used_unless_it_is_only_looked_at(folder: Path) -> None:
    os.utime(folder, (0, 0))
    for use, moved in ((False, False), (True, True)):
        held = thd_hold(folder, use=use)
        assert held is not None
        os.close(held)
        assert (folder.stat().st_mtime > 0) is moved


def test_one_makes_at_a_time_and_sweeps_what_killed_ones_left(folder: Path) -> None:
    cache = folder.parent
    left = cache / f".{NAME}.89abcdef"
    left.mkdir()
    (left / "image").write_bytes(b"half")
    foreign = cache / ".mine.89abcdef"
    foreign.mkdir()
    second: list[bool] = []

    def try_it() -> None:
        with turn(cache) as alone:
            second.append(alone)

    with turn(cache) as alone:
        assert alone
        assert (left.exists(), foreign.exists(), folder.exists()) == (False, True, True)
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    try_it()
    assert second == [False, True]
