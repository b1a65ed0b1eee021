"""Hermit's own guest image is made of real packages, made again without network, and boots an unchanged image."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermit_proxy.snapshot.tree import read_tree
from hermit_workers.cell import CellError, Limits
from hermit_workers.image.guest import guest_recipe, pinned_guest
from hermit_workers.image.library import Image, Library
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from hermit_workers.vm import bootfolder
from hermit_workers.vm.boot import boot_folders, make_bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from tests.support.hermit import UNPLUGGED, need_namespaces
from tests.support.registries import apt_registry, apt_sources

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(1100)]

CLOCK = 1_600_000_000
SPEC = """\
image: debian-12
steps:
  - run: uname -r >kernel; ls -A /boot /lib/modules >modules 2>&1 || true; cp /etc/os-release os
    network: none
artifacts: [kernel, modules, os]
"""
PURL = re.compile(r"pkg:deb/debian/[A-Za-z0-9%.~-]+@[^?]+\?arch=(amd64|all)")
_TIMEOUT = 1000
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class User:
    """Is somebody whose VMs boot from a guest image of their own; `made` is what the making printed."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        return {**os.environ, **own, "NO_COLOR": "1"}

    @property
    def library(self) -> Library:
        return Library.of(self.environment)

    @property
    def guest(self) -> Image:
        found = self.library.get(str(pinned_guest(self.library)))
        assert found is not None
        return found

    def run(self, *words: str, expect: int = 0, unplugged: bool = False) -> subprocess.CompletedProcess[str]:
        command = [*(UNPLUGGED if unplugged else []), sys.executable, "-m", "hermit_cli.main", *words]
        done = subprocess.run(
            command,
            cwd=self.folder / "project",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == expect, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done

    def artifact(self, name: str) -> str:
        return (self.folder / "project/.hermit/out" / name).read_text()


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Record a project over the stock image in a VM, on a machine that has neither image yet."""
    need_namespaces()
    if os.geteuid() != 0:
        pytest.skip("VMs here need root")
    user = User(tmp_path_factory.mktemp("guest"))
    allow = [item for source in apt_sources() for item in apt_registry(source).allow]
    settings = user.folder / "config/hermit/config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(yaml.safe_dump({"upstream": {"allow": allow}} if allow else {"observers": 1}))
    (user.folder / "project/.hermit").mkdir(parents=True)
    (user.folder / "project/.hermit/build.yaml").write_text(SPEC)
    done = user.run("build", "--cell", "vm", "--mode", "hermetic", expect=2)
    assert "hermit image build debian-12" in done.stderr
    done = user.run("build", "--cell", "vm", "--mode", "record")
    assert "  vm: making hermit-guest, whose kernel boots every VM: once" in done.stderr
    return user


def test_the_guest_images_kernel_boots_the_stock_image_as_it_is(user: User) -> None:
    (version,) = (path.name for path in (user.guest.root / "lib/modules").iterdir())
    assert user.artifact("kernel").strip() == version
    assert "vmlinuz" not in user.artifact("modules")
    assert "cannot access '/lib/modules'" in user.artifact("modules")
    assert "bookworm" in user.artifact("os")
    lock = yaml.safe_load((user.folder / "project/.hermit/image.lock").read_text())
    assert lock["image"] == "debian-12"
    assert user.guest.digest not in (lock["digest"], *(path.name for path in (user.folder / "project").rglob("*")))


def test_its_packages_are_listed_as_cyclonedx_wants_it(user: User) -> None:
    bill: dict[str, Any] = json.loads(user.guest.bill.read_bytes())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert bill["metadata"]["component"]["version"] == user.guest.digest
    for component in bill["components"]:
        assert component["type"] == "library"
        assert component["name"]
        assert component["version"]
        assert PURL.fullmatch(component["purl"]), component
    names = {component["name"] for component in bill["components"]}
    assert set(guest_recipe().packages) <= names
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references) == user.guest.packages


def test_its_record_is_whole_and_names_only_the_archives(user: User) -> None:
    entries = list(read_tree(user.guest.network))
    uris = tuple(source.uri for source in apt_sources())
    assert len(entries) > user.guest.packages
    assert [entry.url for entry in entries if not entry.url.startswith(uris)] == []


def test_a_truncated_kernel_of_it_boots_nothing_and_it_is_made_again_from_its_record_unplugged(user: User) -> None:
    """What has booted goes before, because it is used without a look at the tree."""
    guest = user.guest
    (version,) = (path.name for path in (guest.root / "lib/modules").iterdir())
    asyncio.run(run_mapped(["truncate", "-s", "4096", f"root/boot/vmlinuz-{version}"], folder=guest.folder))
    for folder in bootfolder.folders(boot_folders(user.environment)):
        assert bootfolder.thd_remove(folder)
    done = user.run("build", "--cell", "vm", "--mode", "hermetic", expect=4)
    assert f"./boot/vmlinuz-{version}: content" in done.stderr
    assert "hermit image build --guest --rebuild" in done.stderr
    assert f"{guest.digest}  CHANGED" in user.run("image", "verify", expect=4).stdout
    shown = json.loads(user.run("image", "build", "--guest", "--rebuild", "--json", unplugged=True).stdout)
    assert (shown["same"], shown["rebuilt"]) == (True, guest.digest)
    assert shown["replayed"] == shown["requests"]
    assert "CHANGED" not in user.run("image", "verify").stdout


def test_a_replay_needs_no_network_and_mends_what_was_truncated(user: User) -> None:
    user.run("build", "--cell", "vm", "--mode", "hermetic", unplugged=True)
    kernel = user.artifact("kernel")
    (folder,) = bootfolder.folders(boot_folders(user.environment))
    os.truncate(folder / "image", 10 * _MIB)
    assert f"{folder}  CHANGED" in user.run("image", "verify", expect=4).stdout
    done = user.run("build", "--cell", "vm", "--mode", "hermetic", unplugged=True)
    assert f"image has {10 * _MIB} bytes" in done.stderr
    assert ": it is made anew" in done.stderr
    assert user.artifact("kernel") == kernel
    assert "CHANGED" not in user.run("image", "verify").stdout


def test_a_disk_that_is_none_under_its_old_size_and_time_ends_the_boot_with_a_reason(image: Path, place: Path) -> None:
    """No use of a disk reads all of it, so this is seen by the guest alone."""

    async def scenario() -> None:
        boots = await make_bootable(image, "sha256:test", 100 * _MIB, CLOCK, place / "boot")
        disk = boots.folder / "image"
        status = disk.stat()
        with disk.open("r+b") as file:
            file.write(bytes(_MIB))
        os.utime(disk, ns=(status.st_atime_ns, status.st_mtime_ns))
        limits, shape = Limits(memory=512 * _MIB, disk=256 * _MIB), Shape("qemu", 1, CLOCK)
        cell = VmCell(boots, limits, shape, Places(place / "cell", image / "cache", place))
        try:
            with pytest.raises(CellError, match="failed: the image cannot be mounted"):
                await cell.start()
        finally:
            await cell.destroy()
        assert "other bytes" in str(bootfolder.damage(boots.folder, thorough=True))

    asyncio.run(scenario())
