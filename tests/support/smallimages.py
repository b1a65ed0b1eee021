"""Makes images of a few files: everything about the library that does not need a whole Debian."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from hermit_workers.image import tree
from hermit_workers.image.beside import describe_tree
from hermit_workers.image.library import Image, Library
from hermit_workers.sandbox.namespaces.mapped import run_mapped

EPOCH = 1_700_000_000
STATUS = """\
Package: hello
Status: install ok installed
Architecture: amd64
Version: 2.10-3+b1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
SOURCES = {"suites": [{"uri": "http://mirror.example.org/debian/", "name": "bookworm"}], "keyrings": []}
_TREE = """
umask 022
mkdir -p root/etc root/var/lib/dpkg root/home/build root/tmp
printf '%s' "$1" >root/etc/content
printf '%s' "$2" >root/var/lib/dpkg/status
ln root/etc/content root/etc/second-name
ln -s /etc/content root/etc/link
printf secret >root/etc/shadow
chmod 0600 root/etc/shadow
chown 1000:1000 root/home/build
chmod 1777 root/tmp
"""


def architecture() -> str:
    """Give Debian's name of this machine."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def mapped(script: str, folder: Path, *arguments: str) -> None:
    """Run a shell script as the mapped root."""
    assert asyncio.run(run_mapped(["sh", "-euc", script, "sh", *arguments], folder=folder)) == 0


def make_tree(folder: Path, content: str = "x") -> None:
    """Make a tree `root` with files of several owners, modes and kinds."""
    asyncio.run(tree.make_root(folder))
    mapped(_TREE, folder, content, STATUS)
    asyncio.run(tree.clamp_times(folder, EPOCH))


def add_image(
    library: Library,
    content: str = "x",
    *,
    name: str = "debian-12",
    recipe: str = "a" * 64,
    made: int = EPOCH,
    more: str = "",
) -> Image:
    """Put an image into a library; its digest follows from `content` and from what the script `more` adds."""

    async def stage() -> Image:
        async with library.workshop() as workshop:
            folder = workshop / "image"
            (folder / "hermit" / "network").mkdir(parents=True)
            folder.chmod(0o755)
            (folder / "hermit" / "recorded").write_text("2023-11-14T22:13:20Z\n")
            await tree.make_root(folder)
            assert await run_mapped(["sh", "-euc", _TREE + more, "sh", content, STATUS], folder=folder) == 0
            await tree.clamp_times(folder, EPOCH)
            image = Image(name, "", f"sha256:{recipe}", architecture(), made, packages=0, size=0, folder=folder)
            await describe_tree(image, SOURCES)
            return await library.add(folder)

    return asyncio.run(stage())
