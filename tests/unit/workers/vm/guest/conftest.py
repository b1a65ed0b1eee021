"""Makes trees that look like an image for VMs, as far as what boots one looks."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

VERSION = "6.1.0-9-cloud-amd64"
_DEPENDS = """\
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/fs/overlayfs/overlay.ko:
kernel/fs/unwanted.ko:
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Give a tree with a kernel whose modules contain their own paths, and a busybox."""
    root = tmp_path / "root"
    modules = root / "usr/lib/modules" / VERSION
    for line in _DEPENDS.splitlines():
        path = modules / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.name.removesuffix(".xz").encode()
        path.write_bytes(lzma.compress(content) if path.suffix == ".xz" else content)
    (modules / "modules.dep").write_text(_DEPENDS)
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/fs/jbd2/jbd2.ko\n")
    for name in ("boot", "usr/bin", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"kernel")
    (root / "usr/bin/busybox").write_bytes(b"\x7fELF static")
    (root / "lib").symlink_to("usr/lib")
    (root / "bin").symlink_to("usr/bin")
    return root
