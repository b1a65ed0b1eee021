"""Makes cells of either kind, as far as no machine has to boot; tests/integration/vm boots them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.settings import VmSettings
from hermit_workers.cell import CellError, Limits
from hermit_workers.image.errors import ImageError
from hermit_workers.image.guest import guest_recipe, pin_guest
from hermit_workers.image.library import Image, Library
from hermit_workers.making import Say, Wish, check_cell, make_cell, room_for
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.vm.boot import INITRD, KERNEL, Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from hermit_workers.vm.kvm import Verdict
from tests.support.smallimages import add_image
from tests.unit.workers.vm.guest.conftest import VERSION
from tests.unit.workers.vm.guest.conftest import image as bootable

__all__ = ["bootable"]

_SANDBOX_ONLY = """\
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace as Some
import hermit_cli.build.command, hermit_cli.build.conductor
from hermit_workers.cell import Limits
from hermit_workers.making import check_cell, make_cell
check_cell("sandbox")
some = Some(kind="sandbox", folder=Path("/nowhere"), limits=Limits())
asyncio.run(make_cell(some, Some(root=Path("/nowhere")), print))
print(*(name for name in sys.modules if name.startswith("hermit_workers.vm")))
"""


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    """Give a VM whose Hermit's folders are below the test's."""
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    return Wish("vm", Mode.RECORD, tmp_path / "cell", Limits(), (), VmSettings(), environ)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image("debian-12", "sha256:i", "sha256:r", "amd64", 0, 1, 1, tmp_path / "image")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Shape, Places]]:
    """Have the machine neither tried nor made, and the user be no root; give what VMs were made of."""
    seen: list[tuple[Shape, Places]] = []

    guest = add_image(Library.of(os.environ), name="hermit-guest")

    async def ensured(mode: Mode, *, environ: Mapping[str, str], progress: Say) -> Image:
        assert "XDG_CACHE_HOME" in environ
        progress(f"a guest image for {mode.value}")
        return guest

    async def boots(image: Image, found: Image, cache: Path, _say: Say) -> Bootable:
        assert (image.digest, found) == ("sha256:i", guest)
        return Bootable(cache / "one")

    async def choose(wanted: str, kernel: Path, initrd: Path, *, cache: Path) -> Verdict:
        assert (wanted, kernel.name, initrd.name, cache.name) == ("auto", KERNEL, INITRD, "kvm.json")
        return Verdict("qemu", "there is no KVM")

    init = VmCell.__init__

    def remembered(cell: VmCell, image: Bootable, limits: Limits, shape: Shape, places: Places) -> None:
        seen.append((shape, places))
        init(cell, image, limits, shape, places)

    monkeypatch.setattr("hermit_workers.image.guest.ensure_guest", ensured)
    monkeypatch.setattr("hermit_workers.vm.boot.boot_image", boots)
    monkeypatch.setattr("hermit_workers.vm.kvm.choose", choose)
    monkeypatch.setattr(VmCell, "__init__", remembered)
    as_user(monkeypatch)
    return seen


def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a folder of this test's user count as the own one of somebody who is not root."""
    user, lstat = 1234, Path.lstat

    def told(path: Path) -> os.stat_result:
        found = list(lstat(path))
        found[4] = user if found[4] == real else found[4]
        return os.stat_result(found)

    real = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("os.getuid", lambda: user)
    monkeypatch.setattr(Path, "lstat", told)


def test_a_sandbox_is_a_sandbox_and_imports_nothing_of_vms(wish: Wish, image: Image) -> None:
    assert isinstance(asyncio.run(make_cell(replace(wish, kind="sandbox"), image, print)), SandboxCell)
    done = subprocess.run([sys.executable, "-c", _SANDBOX_ONLY], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(("mode", "then"), [(Mode.HERMETIC, True), (Mode.RECORD, False)])
def test_a_vm_has_the_time_of_what_it_replays_and_else_the_hosts(
    wish: Wish, image: Image, made: list[tuple[Shape, Places]], mode: Mode, then: bool
) -> None:
    asyncio.run(make_cell(replace(wish, mode=mode, clock=(1_600_000_000.5,)), image, print))
    asyncio.run(make_cell(replace(wish, mode=mode), image, print))
    first, without_a_recording = (shape.clock for shape, _ in made)
    assert first == 1_600_000_000 if then else first > 1_700_000_000
    assert without_a_recording > 1_700_000_000


def test_a_vm_has_its_files_in_hermits_folders(
    wish: Wish, image: Image, made: list[tuple[Shape, Places]], tmp_path: Path
) -> None:
    assert isinstance(asyncio.run(make_cell(wish, image, print)), VmCell)
    ((shape, places),) = made
    assert (shape.kind, shape.processors) == ("qemu", 2)
    sockets = tmp_path / "runtime/hermit"
    assert places == Places(tmp_path / "cell", tmp_path / "cache/hermit/vm/libvirt", sockets)
    assert sockets.stat().st_mode & 0o777 == 0o700


def test_a_relative_folder_for_the_cache_is_none(
    wish: Wish, image: Image, made: list[tuple[Shape, Places]], tmp_path: Path
) -> None:
    environment = {**wish.environ, "XDG_CACHE_HOME": "cache", "HOME": str(tmp_path / "home")}
    asyncio.run(make_cell(replace(wish, environ=environment), image, print))
    assert made[0][1].cache == tmp_path / "home/.cache/hermit/vm/libvirt"


def test_the_settings_choose_the_kind_of_machine_and_its_processors(
    wish: Wish, image: Image, made: list[tuple[Shape, Places]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    said: list[str] = []

    async def choose(wanted: str, _kernel: Path, _initrd: Path, *, cache: Path) -> Verdict:
        asked.append(f"{wanted} {cache.name}")
        return Verdict("kvm", "it boots")

    monkeypatch.setattr("hermit_workers.vm.kvm.choose", choose)
    own = replace(wish, vm=VmSettings("kvm", 4), limits=Limits(memory=3 << 30))
    asyncio.run(make_cell(own, image, said.append))
    assert asked == ["kvm kvm.json"]
    assert (made[0][0].kind, made[0][0].processors) == ("kvm", 4)
    assert said[-1] == "booting a machine: 3 GiB of memory, 4 processors"


def test_a_vm_holds_its_memory_as_long_as_it_is_there_and_a_sandbox_holds_none(
    wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch)
    small = replace(wish, limits=Limits(memory=300 << 20))
    folder = tmp_path / "runtime/hermit/memory"

    async def held(one: Wish) -> list[str]:
        async with room_for(one, lambda _line: None):
            return [path.read_text().split()[1] for path in folder.glob("room-*")]

    assert asyncio.run(held(replace(small, kind="sandbox"))) == []
    assert not folder.exists()
    assert asyncio.run(held(small)) == [str(300 << 20)]
    assert list(folder.glob("room-*")) == []
    with pytest.raises(CellError, match="than the 256 MiB that your VMs may have"):
        asyncio.run(held(replace(small, vm=VmSettings(memory=256 << 20))))


def test_too_little_memory_for_a_machine_is_the_specs_mistake(wish: Wish) -> None:
    async def held() -> None:
        async with room_for(replace(wish, limits=Limits(memory=255 << 20)), lambda _line: None):
            raise AssertionError("it has room")

    with pytest.raises(HermitError, match=r"limits.memory is 255 MiB, and no machine boots") as caught:
        asyncio.run(held())
    assert caught.value.exit_code is ExitCode.USAGE


def _theirs(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, 4321, -1)


def _open(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def _link(folder: Path) -> None:
    folder.parent.mkdir()
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def _file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch()


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("lay", [_theirs, _open, _link, _file])
def test_sockets_lie_in_no_folder_that_somebody_else_has_a_hand_in(
    wish: Wish, image: Image, tmp_path: Path, lay: Callable[[Path], None]
) -> None:
    try:
        lay(tmp_path / "runtime/hermit")
    except PermissionError:
        pytest.skip("only root gives a folder away")
    with pytest.raises(CellError, match=r"/runtime/hermit (is no folder|cannot be made)") as caught:
        asyncio.run(make_cell(wish, image, print))
    assert "XDG_RUNTIME_DIR" in str(caught.value.hint)


def test_a_hermetic_build_in_a_vm_without_a_guest_image_says_what_makes_one(wish: Wish, image: Image) -> None:
    with pytest.raises(HermitError, match="there is no guest image") as caught:
        asyncio.run(make_cell(replace(wish, mode=Mode.HERMETIC), image, print))
    assert caught.value.exit_code is ExitCode.MACHINE
    assert "hermit image build --guest" in str(caught.value.hint)


@pytest.mark.parametrize(
    "lacking", ["boot", f"usr/lib/modules/{VERSION}/kernel/fs/overlayfs/overlay.ko", "usr/bin/busybox"]
)
def test_a_guest_image_that_does_not_boot_is_told_with_what_makes_another(
    wish: Wish, image: Image, bootable: Path, lacking: str
) -> None:
    (bootable / lacking).rename(bootable / "away")
    library = Library.of(os.environ)
    copied = f"cp -r {bootable}/* root"
    guest = add_image(library, recipe=guest_recipe().digest.removeprefix("sha256:"), more=copied)
    pin_guest(library, guest)
    image = add_image(library, "a project's")
    with pytest.raises(ImageError, match=r"guest image('s kernel)? has no|one kernel; this one has none") as caught:
        asyncio.run(make_cell(replace(wish, environ={**os.environ, **wish.environ}), image, print))
    assert "hermit image build --guest" in str(caught.value.hint)


PROGRAMS = ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64")
LIBVIRT = "apt-get install --no-install-recommends libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients"


@pytest.mark.parametrize(
    ("there", "user", "missing", "mend"),
    [
        ((), 0, "libvirtd", f"{LIBVIRT} qemu-system-x86"),
        (PROGRAMS[:-1], 1234, "qemu-system-x86_64", f"{LIBVIRT} qemu-system-x86"),
        (PROGRAMS, 0, "ip", "apt-get install iproute2"),
        ((*PROGRAMS, "ip"), 0, "nft", "apt-get install nftables"),
        (PROGRAMS, 1234, None, ""),
        ((*PROGRAMS, "ip", "nft"), 0, None, ""),
    ],
)
def test_a_program_that_a_vm_needs_is_named_with_what_installs_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    there: tuple[str, ...],
    user: int,
    missing: str | None,
    mend: str,
) -> None:
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr("hermit_workers.vm.layout.PATH", str(tmp_path))
    monkeypatch.setattr("hermit_workers.vm.link._PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: user)
    check_cell("sandbox")
    if missing is None:
        check_cell("vm")
        return
    with pytest.raises(CellError, match=f"^{missing} is not installed, and VMs need it$") as caught:
        check_cell("vm")
    assert mend in str(caught.value.hint)


def test_what_is_no_kind_of_cell_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of cell"):
        check_cell("jail")
