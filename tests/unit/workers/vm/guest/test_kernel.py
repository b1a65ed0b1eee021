"""Finds kernels in trees, some of them made by somebody who wants the host's files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_workers.image.errors import ImageError
from hermit_workers.vm.guest.kernel import NEEDED, find_kernel

VERSION = "6.1.0-9-cloud-amd64"
MODULES = f"usr/lib/modules/{VERSION}"


def test_each_module_comes_after_what_it_needs_and_what_is_built_in_is_left_out(image: Path) -> None:
    kernel = find_kernel(image)
    names = [module.name for module in kernel.modules]
    assert names == [
        *("virtio_ring.ko", "virtio.ko", "virtio_pci.ko", "virtio_blk.ko", "virtio_net.ko", "virtio-rng.ko"),
        "overlay.ko",
    ]
    assert "ext4" in NEEDED
    assert kernel.version == VERSION
    assert kernel.image == b"kernel"


def test_a_packed_module_comes_unpacked(image: Path) -> None:
    assert {module.name: module.content for module in find_kernel(image).modules}["virtio_blk.ko"] == b"virtio_blk.ko"


def _rename(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / old).rename(root / new)

    return change


def _write(path: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).write_bytes(content)

    return change


def _remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no kernel": (_remove(f"boot/vmlinuz-{VERSION}"), "has one kernel; this one has none"),
    "no boot": (_rename("boot", "toob"), "has one kernel; this one has none"),
    "two kernels": (_write("boot/vmlinuz-9", b""), "one kernel; this one has '6.1.0-9-cloud-amd64', '9'"),
    "a hostile version": (_rename(f"boot/vmlinuz-{VERSION}", "boot/vmlinuz-\x1b[2J"), "this one has '\\\\x1b"),
    "no list of dependencies": (_remove(f"{MODULES}/modules.dep"), f"no /lib/modules/{VERSION}/modules.dep"),
    "no list of what is built in": (_remove(f"{MODULES}/modules.builtin"), "modules.builtin"),
    "a module that is nowhere": (_write(f"{MODULES}/modules.dep", b"a.ko:\n"), "no module virtio_pci"),
    "a file that is missing": (_remove(f"{MODULES}/kernel/fs/overlayfs/overlay.ko"), "no /lib/modules/.*/overlay.ko"),
    "damage": (_write(f"{MODULES}/kernel/drivers/block/virtio_blk.ko.xz", b"no"), "virtio_blk.ko.xz .*is damaged"),
    "too large a kernel": (_write(f"boot/vmlinuz-{VERSION}", b"\0" * (16 << 20)), "is too large"),
}


@pytest.mark.parametrize(("change", "message"), CASES.values(), ids=CASES.keys())
def test_what_is_missing_is_named(image: Path, change: Callable[[Path], None], message: str) -> None:
    change(image)
    with pytest.raises(ImageError, match=message):
        find_kernel(image)


def test_no_link_of_the_tree_leads_out_of_it(image: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"the host's")
    kernel = image / "boot" / f"vmlinuz-{VERSION}"
    kernel.unlink()
    kernel.symlink_to(tmp_path / "secret")
    with pytest.raises(ImageError, match=f"no /boot/vmlinuz-{VERSION}"):
        find_kernel(image)
    kernel.unlink()
    kernel.symlink_to(os.path.relpath("/etc/hostname", "/boot"))
    with pytest.raises(ImageError, match="no /boot"):
        find_kernel(image)


def test_dependencies_that_lead_up_are_not_followed(image: Path) -> None:
    path = image / MODULES / "modules.dep"
    path.write_text(path.read_text().replace("kernel/fs/overlayfs/overlay.ko", "../../../../../etc/overlay.ko"))
    with pytest.raises(ImageError, match="no module overlay"):
        find_kernel(image)
