"""Sets up one user of `hermit build --cell vm` over the small image that boots, and looks for what builds leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from hermit_workers.image import tree
from hermit_workers.image.bill import bill, installed_packages
from hermit_workers.image.library import BILL, DESCRIPTION, Image, Library, describe
from hermit_workers.image.maker import architecture
from hermit_workers.image.recipe import load_recipe
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from tests.integration.faults.bench import Site
from tests.integration.faults.buildbench import NAME, BuildBench, BuildRunning

HERE = Path("/run/hermit")
_EPOCH = 1_700_000_000
_SOURCES = {"suites": [{"uri": "http://mirror.example.org/debian/", "name": "bookworm"}], "keyrings": []}
# A build of these tests needs a shell with sockets beside what any guest has.
_TREE = """
cp -a "$1" root
for file in "$2" $(ldd "$2" | grep -o '/[^ )]*'); do
    [ -e "root$file" ] || { mkdir -p "root$(dirname "$file")"; cp -L "$file" "root$file"; }
done
ln -s ../usr/bin/bash root/bin/bash
mkdir -p root/var/lib/dpkg root/var/tmp root/root
printf 'Package: hello\\nStatus: install ok installed\\nVersion: 1\\nArchitecture: all\\n' >root/var/lib/dpkg/status
"""


class VmBuildBench(BuildBench):
    """Is one user whose builds run in VMs of 512 MiB."""

    def __init__(self, folder: Path, web: Site, library: Path, cache: Path) -> None:
        """Make the user; `cache` is shared by all, because making an image bootable is dear."""
        super().__init__(folder, web, library=library)
        self._cache = cache
        settings = yaml.safe_load(self.hermit.settings.read_text())
        settings["limits"] = {"memory": "512M", "disk": "256M"}
        self.hermit.settings.write_text(yaml.safe_dump(settings))

    def start(
        self,
        mode: str,
        *command: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        trace: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> BuildRunning:
        """Start `hermit build --cell vm` in the project's folder."""
        return super().start(
            mode,
            *command,
            prefix=prefix,
            env={"XDG_CACHE_HOME": str(self._cache), **(env or {})},
            stdout=stdout,
            stderr=stderr,
            trace=trace,
            options=("--cell", "vm", *options),
        )

    def console(self) -> str:
        """Give what machines that run have said on their consoles."""
        consoles = (self.folder / "state").glob("hermit/runs/*/cell/console")
        return "".join(path.read_text(errors="replace") for path in consoles)


def locked_by(process: int) -> list[Path]:
    """Name the links and folders of machines that a process holds (proc_locks(5))."""
    lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    inodes = {int(words[5].rpartition(":")[2]) for words in lines if words[1] == "FLOCK" and words[4] == str(process)}
    found = [*HERE.glob("links/hv*"), *HERE.glob("vm-*")]
    return [path for path in found if path.stat().st_ino in inodes]


def check_gone(machines: Sequence[Path]) -> None:
    """Fail where a link or a folder is left of machines, or a namespace or a tap of the same name."""
    names = {path.name for path in machines}
    for folder in (HERE, HERE / "links", Path("/run/netns"), Path("/sys/class/net")):
        assert names.isdisjoint(os.listdir(folder) if folder.exists() else ())


def make_library(folder: Path, root: Path) -> Path:
    """Make a library that has the tree `root` under the stock image's name, with a shell."""
    asyncio.run(_add(Library(folder), root))
    return folder


async def _add(library: Library, root: Path) -> None:
    recipe = load_recipe(NAME, library.folder)
    async with library.workshop() as workshop:
        place = workshop / "image"
        (place / "hermit/network").mkdir(parents=True)
        place.chmod(0o755)
        (place / "hermit/recorded").write_text("2023-11-14T22:13:20Z\n")
        words = ["sh", "-euc", _TREE, "sh", str(root), "/usr/bin/bash"]
        assert await run_mapped(words, folder=place) == 0
        await tree.clamp_times(place, _EPOCH)
        packed = await tree.pack(place)
        packages = installed_packages(place / "root")
        image = Image(NAME, packed.digest, recipe.digest, architecture(), _EPOCH, len(packages), packed.size, place)
        (place / BILL).write_bytes(bill(NAME, packed.digest, packages))
        (place / DESCRIPTION).write_bytes(describe(image, _SOURCES))
        await library.add(place)
