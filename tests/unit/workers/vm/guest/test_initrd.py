"""Makes what boots a tree, and looks at it as the kernel will."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hermit_workers.image.errors import ImageError
from hermit_workers.vm.guest import initrd
from hermit_workers.vm.guest.initrd import make_boot

SCRIPTS = sorted(Path(initrd.__file__).parent.glob("*.sh"))


def test_the_same_tree_gives_the_same_bytes(image: Path) -> None:
    boot = make_boot(image)
    assert boot == make_boot(image)
    assert boot.kernel == b"kernel"
    assert b"virtio_ring.ko\nvirtio.ko\nvirtio_pci.ko\n" in boot.initrd
    for script in SCRIPTS:
        assert script.read_bytes() in boot.initrd


def test_a_tree_without_busybox_names_what_makes_a_whole_one(image: Path) -> None:
    (image / "usr/bin/busybox").unlink()
    with pytest.raises(ImageError, match="has no /bin/busybox") as caught:
        make_boot(image)
    assert "hermit image build --guest" in str(caught.value.hint)


def test_a_busybox_that_needs_libraries_is_refused(image: Path) -> None:
    (image / "usr/bin/busybox").write_bytes(b"\x7fELF\0/lib64/ld-linux-x86-64.so.2\0")
    with pytest.raises(ImageError, match="needs libraries") as caught:
        make_boot(image)
    assert "hermit image build --guest" in str(caught.value.hint)


def test_own_parts_hold_all_that_is_not_of_the_tree(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = initrd.own_parts()
    for script in SCRIPTS:
        assert script.read_bytes() in own
    monkeypatch.setattr(initrd, "NEEDED", ("virtio_pci",))
    assert initrd.own_parts() != own
    assert own not in make_boot(image).initrd


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_shell_reads_the_guests_scripts(script: Path) -> None:
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_both_scripts() -> None:
    assert [path.name for path in SCRIPTS] == ["init.sh", "initramfs.sh"]
