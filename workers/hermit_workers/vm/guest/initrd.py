"""Puts together what a VM boots from: the image's own kernel, and the few files that are there before its root is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.image.errors import ImageError
from hermit_workers.imagetree import read_inside
from hermit_workers.vm.guest.cpio import archive
from hermit_workers.vm.guest.kernel import Kernel, UnbootableError, find_kernel

_HERE = Path(__file__).parent
_BUSYBOX = PurePosixPath("/bin/busybox")
_INTERPRETER = b"/ld-linux"


@dataclass(frozen=True, slots=True)
class Boot:
    """Is what QEMU loads: the same image gives the same bytes."""

    kernel: bytes
    initrd: bytes


def make_boot(root: Path) -> Boot:
    """Make what boots an image's tree; raise ImageError with the package that the image lacks."""
    kernel = find_kernel(root)
    try:
        busybox = read_inside(root, _BUSYBOX)
    except OSError as error:
        raise ImageError(f"{_BUSYBOX} of the image cannot be read: {error.strerror}") from error
    hint = "name the package busybox-static in the image's recipe, then: hermit image build"
    if busybox is None:
        raise UnbootableError(f"the image has no {_BUSYBOX}, and a VM begins with it", hint=hint)
    if _INTERPRETER in busybox[: 1 << 12]:
        raise UnbootableError(
            f"the image's {_BUSYBOX} needs libraries, which are not there yet when it runs", hint=hint
        )
    return Boot(kernel.image, make_initrd(kernel, busybox))


def make_initrd(kernel: Kernel, busybox: bytes) -> bytes:
    """Give the archive that the kernel unpacks as its first root."""
    order = "".join(f"{module.name}\n" for module in kernel.modules)
    files = {f"modules/{module.name}": (0o644, module.content) for module in kernel.modules}
    files |= {
        "init": (0o755, (_HERE / "initramfs.sh").read_bytes()),
        "init2": (0o755, (_HERE / "init.sh").read_bytes()),
        "bin/busybox": (0o755, busybox),
        "modules.order": (0o644, order.encode()),
    }
    return archive(files)
