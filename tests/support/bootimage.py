"""Makes a small image that boots: Debian's cloud kernel as this machine's apt has it, and a few of its own programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from hermit_workers.sandbox.namespaces.mapped import run_mapped

NEEDED = (
    "libvirtd",
    "virtlogd",
    "virsh",
    "qemu-system-x86_64",
    "nft",
    "depmod",
    "busybox",
    "dpkg-deb",
    "perl",
    "setpriv",
    "prlimit",
    "ldd",
)
_SEARCH = os.defpath + ":/usr/sbin:/sbin"
_FETCH = """
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
apt-get -qq download "$package"
dpkg-deb --fsys-tarfile ./linux-image-*.deb >kernel.tar
"""
_TREE = """
mkdir -p root/bin root/usr/lib root/etc root/dev root/proc root/sys root/run root/tmp root/build
ln -s usr/lib root/lib
tar -x -f kernel.tar -C root --keep-directory-symlink ./boot ./lib/modules
cp "$1" root/bin/busybox
# What the agent and a cell's commands need of an image, which every Debian has.
mkdir -p root/usr/bin root/usr/lib64 root/dev/pts root/home/build
ln -s usr/lib64 root/lib64
for program in perl dash tar head od tr find xargs cat setpriv prlimit id grep date hostname ls stat sleep ln; do
    path=$(PATH=/usr/bin:/usr/sbin command -v "$program")
    for file in "$path" $(ldd "$path" | grep -o '/[^ )]*'); do
        mkdir -p "root$(dirname "$file")"
        cp -L "$file" "root$file"
    done
done
base=$(perl -e 'print grep { m{/perl-base$} } @INC')
cp -r "$base" "root$base"
ln -s ../usr/bin/dash root/bin/sh
printf 'root:x:0:0::/root:/bin/sh\nbuild:x:1000:1000::/home/build:/bin/sh\n' >root/etc/passwd
printf 'root:x:0:\nbuild:x:1000:\n' >root/etc/group
depmod -b root "$(ls root/lib/modules)"
printf 'the image' >root/etc/image
chown 1000:1000 root/build
"""


class NoImageError(Exception):
    """Is raised where this machine makes no such image, with what is missing."""


def make(folder: Path) -> None:
    """Make the tree `root` in a folder, which is opened to QEMU's user; raise NoImageError."""
    missing = [name for name in NEEDED if shutil.which(name, path=_SEARCH) is None]
    if missing or os.geteuid() != 0:
        raise NoImageError(f"VMs here need root, and {', '.join(missing) or 'nothing else'}")
    folder.chmod(0o711)
    fetched = subprocess.run(["sh", "-euc", _FETCH], cwd=folder, capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise NoImageError(f"no kernel by apt: {fetched.stderr[-200:]}")
    words = ["sh", "-euc", _TREE, "sh", str(shutil.which("busybox", path=_SEARCH))]
    (folder / "root").mkdir()
    asyncio.run(run_mapped(["chown", "0:0", "root"], folder=folder))
    if status := asyncio.run(run_mapped(words, folder=folder, environment={"PATH": _SEARCH})):
        raise NoImageError(f"the tree was not made: {status}")
    (folder / "kernel.tar").unlink()


def size(folder: Path) -> int:
    """Give about how many bytes the tree has."""
    return sum(path.lstat().st_size for path in (folder / "root").rglob("*"))
