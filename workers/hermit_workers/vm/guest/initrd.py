"""Puts together what a VM boots from: a guest image's kernel, and the few files that are there before the root is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.image.errors import ImageError
from hermit_workers.imagetree import read_inside
from hermit_workers.vm.guest.cpio import archive
from hermit_workers.vm.guest.kernel import HINT, NEEDED, Kernel, find_kernel

_HERE = Path(__file__).parent
_BUSYBOX = PurePosixPath("/bin/busybox")
_INTERPRETER = b"/ld-linux"
_SCRIPTS = {"init": "initramfs.sh", "init2": "init.sh"}
# Count up where the same tree and scripts give another archive.
_FORM = b"1"


@dataclass(frozen=True, slots=True)
class Boot:
    """Is what QEMU loads: the same image gives the same bytes."""

    kernel: bytes
    initrd: bytes


def own_parts() -> bytes:
    """Give all that goes into an initrd and is not of a guest image's tree: where it differs, so does what boots."""
    return b"\0".join([_FORM, " ".join(NEEDED).encode(), *((_HERE / name).read_bytes() for name in _SCRIPTS.values())])


def make_boot(root: Path) -> Boot:
    """Make what boots from a guest image's tree; raise ImageError with what the tree lacks."""
    kernel = find_kernel(root)
    try:
        busybox = read_inside(root, _BUSYBOX)
    except OSError as error:
        raise ImageError(f"{_BUSYBOX} of the guest image cannot be read: {error.strerror}", hint=HINT) from error
    if busybox is None:
        raise ImageError(f"the guest image has no {_BUSYBOX}, and a VM begins with it", hint=HINT)
    if _INTERPRETER in busybox[: 1 << 12]:
        told = f"the guest image's {_BUSYBOX} needs libraries, which are not there yet when it runs"
        raise ImageError(told, hint=HINT)
    return Boot(kernel.image, make_initrd(kernel, busybox))


def make_initrd(kernel: Kernel, busybox: bytes) -> bytes:
    """Give the archive that the kernel unpacks as its first root."""
    order = "".join(f"{module.name}\n" for module in kernel.modules)
    files = {f"modules/{module.name}": (0o644, module.content) for module in kernel.modules}
    files |= {name: (0o755, (_HERE / script).read_bytes()) for name, script in _SCRIPTS.items()}
    files |= {"bin/busybox": (0o755, busybox), "modules.order": (0o644, order.encode())}
    return archive(files)
