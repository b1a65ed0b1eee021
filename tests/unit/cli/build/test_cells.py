"""Makes cells of either kind, as far as no machine has to boot; tests/integration/vm boots them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_cli.build.cells import check_cell, make_cell
from hermit_cli.build.kept import Kept
from hermit_cli.build.order import Order
from hermit_cli.build.source import Source
from hermit_cli.main import main
from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.settings import ProxySettings
from hermit_steps.plan import Facts, plan
from hermit_steps.spec import Run, Spec, Step
from hermit_workers.cell import CellError, Limits
from hermit_workers.image.library import Image
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.vm.boot import INITRD, KERNEL, Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from hermit_workers.vm.kvm import Verdict
from tests.unit.workers.vm.guest.conftest import VERSION
from tests.unit.workers.vm.guest.conftest import image as bootable

__all__ = ["bootable"]

_SANDBOX_ONLY = """\
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace as Some
import hermit_cli.build.command, hermit_cli.build.conductor
from hermit_cli.build.cells import check_cell, make_cell
from hermit_workers.cell import Limits
check_cell("sandbox")
asyncio.run(make_cell(Some(cell="sandbox", rundir=Path("/nowhere"), limits=Limits()), Some(root=Path("/nowhere"))))
print(*(name for name in sys.modules if name.startswith("hermit_workers.vm")))
"""


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """Give a build in a VM whose Hermit's folders are below the test's."""
    return Order(
        mode=Mode.RECORD,
        cell="vm",
        proxy=ProxySettings(tmp_path / "rules.yaml", tmp_path / "network", str(tmp_path / "store"), "pool"),
        rundir=tmp_path / "run",
        project=tmp_path,
        source=Source(tmp_path, Path(), ()),
        plan=plan(Spec("debian-12", (Step("make", Run("make"), "none"),)), Facts("p", 0)),
        limits=Limits(),
        out=None,
        kept=Kept(tmp_path / "kept"),
        keep=False,
        environment={"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")},
        quiet=True,
    )


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image("debian-12", "sha256:i", "sha256:r", "amd64", 0, 1, 1, tmp_path / "image")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Shape, Places]]:
    """Have the machine neither tried nor made, and the user be no root; give what VMs were made of."""
    seen: list[tuple[Shape, Places]] = []

    async def boots(_image: Path, _digest: str, _size: int, _epoch: int, cache: Path) -> Bootable:
        return Bootable(cache / "one")

    async def choose(wanted: str, kernel: Path, initrd: Path, *, cache: Path) -> Verdict:
        assert (wanted, kernel.name, initrd.name, cache.name) == ("auto", KERNEL, INITRD, "kvm.json")
        return Verdict("qemu", "there is no KVM")

    init = VmCell.__init__

    def remembered(cell: VmCell, image: Bootable, limits: Limits, shape: Shape, places: Places) -> None:
        seen.append((shape, places))
        init(cell, image, limits, shape, places)

    monkeypatch.setattr("hermit_workers.vm.boot.make_bootable", boots)
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


def test_a_sandbox_is_a_sandbox_and_imports_nothing_of_vms(order: Order, image: Image) -> None:
    assert isinstance(asyncio.run(make_cell(replace(order, cell="sandbox"), image)), SandboxCell)
    done = subprocess.run([sys.executable, "-c", _SANDBOX_ONLY], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(("mode", "then"), [(Mode.HERMETIC, True), (Mode.RECORD, False)])
def test_a_vm_has_the_time_of_what_it_replays_and_else_the_hosts(
    order: Order, image: Image, made: list[tuple[Shape, Places]], mode: Mode, then: bool
) -> None:
    asyncio.run(make_cell(replace(order, mode=mode, proxy=replace(order.proxy, clock=(1_600_000_000.5,))), image))
    asyncio.run(make_cell(replace(order, mode=mode), image))
    first, without_a_recording = (shape.clock for shape, _ in made)
    assert first == 1_600_000_000 if then else first > 1_700_000_000
    assert without_a_recording > 1_700_000_000


def test_a_vm_has_its_files_in_hermits_folders(
    order: Order, image: Image, made: list[tuple[Shape, Places]], tmp_path: Path
) -> None:
    assert isinstance(asyncio.run(make_cell(order, image)), VmCell)
    ((shape, places),) = made
    assert (shape.kind, shape.processors) == ("qemu", 2)
    sockets = tmp_path / "runtime/hermit"
    assert places == Places(tmp_path / "run/cell", tmp_path / "cache/hermit/vm/libvirt", sockets)
    assert sockets.stat().st_mode & 0o777 == 0o700


def test_a_relative_folder_for_the_cache_is_none(
    order: Order, image: Image, made: list[tuple[Shape, Places]], tmp_path: Path
) -> None:
    environment = {**order.environment, "XDG_CACHE_HOME": "cache", "HOME": str(tmp_path / "home")}
    asyncio.run(make_cell(replace(order, environment=environment), image))
    assert made[0][1].cache == tmp_path / "home/.cache/hermit/vm/libvirt"


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
    order: Order, image: Image, tmp_path: Path, lay: Callable[[Path], None]
) -> None:
    try:
        lay(tmp_path / "runtime/hermit")
    except PermissionError:
        pytest.skip("only root gives a folder away")
    with pytest.raises(CellError, match=r"/runtime/hermit (is no folder|cannot be made)") as caught:
        asyncio.run(make_cell(order, image))
    assert "XDG_RUNTIME_DIR" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("boot", "an image for VMs has one kernel; this one has none"),
        (f"usr/lib/modules/{VERSION}/modules.dep", "the image has no /lib/modules/"),
        (f"usr/lib/modules/{VERSION}/kernel/fs/overlayfs/overlay.ko", "the image has no /lib/modules/"),
        ("usr/bin/busybox", "the image has no /bin/busybox"),
    ],
)
def test_an_image_that_does_not_boot_is_its_recipes_mistake_and_names_the_packages(
    order: Order, bootable: Path, lacking: str, said: str
) -> None:
    (bootable / lacking).rename(bootable / "away")
    image = Image("debian-12", "sha256:i", "sha256:r", "amd64", 0, 1, 1, bootable.parent)
    with pytest.raises(HermitError, match=said) as caught:
        asyncio.run(make_cell(order, image))
    assert caught.value.exit_code is ExitCode.USAGE
    words = ["busybox-static", "recipe", "hermit image build"]
    for word in words if "busybox" in lacking else ["linux-image-cloud-amd64", *words]:
        assert word in str(caught.value.hint)


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


def test_what_a_vm_needs_and_a_sandbox_does_not_is_asked_for_before_an_image_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(*_: object, **_options: object) -> None:
        raise AssertionError("an image is made")

    monkeypatch.setattr("hermit_workers.image.making.make_image", make)
    monkeypatch.setattr("hermit_workers.vm.layout.PATH", str(tmp_path))
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make}]\n")
    assert main(["build", "--cell", "vm"]) == 4
    said = capsys.readouterr().err
    assert "libvirtd is not installed, and VMs need it" in said
    assert LIBVIRT in said
