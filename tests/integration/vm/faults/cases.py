"""Is the table of faults of a VM: where its life is, what hits it, and what is said then; see docs/faults.md."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

from tests.integration.faults.cases import Case, Fault, Stage

BOOTING = Stage("booting", "", "the guest's kernel has said its first word")
ATTACHED = Stage("attached", "", "the agent has greeted, and nothing has run")
RUNNING = Stage("running a step", "", "the step sleeps")
TAKING = Stage("taking the artifacts", "", "the guest sends 3 GiB of holes")
DESTROYING = Stage("being destroyed", "", "at once: nothing holds it up")

PARTS = ("QEMU", "libvirtd", "virtlogd", "holder", "first")
_QEMU = "QEMU was killed, or has crashed"
_HOST = "the libvirtd that runs it was killed, or has ended"


def _parts(stage: Stage) -> list[Case]:
    if stage is DESTROYING:
        return [Case(stage, part, SIGKILL, 0, "") for part in PARTS]
    return [Case(stage, part, SIGKILL, 4, _QEMU if part == "QEMU" else _HOST) for part in PARTS]


CASES: list[Case] = [
    *(case for stage in (BOOTING, ATTACHED, RUNNING, TAKING, DESTROYING) for case in _parts(stage)),
    Case(RUNNING, "QEMU", SIGTERM, 4, "somebody on this machine has ended QEMU"),
]
# The whole of `hermit build --cell vm`.
BUILD_CASES: list[Case] = [
    *(
        case
        for stage in (BOOTING, RUNNING)
        for case in (
            Case(stage, "hermit", SIGKILL, 137, ""),
            Case(stage, "hermit", SIGTERM, 1, "interrupted by SIGTERM"),
            Case(stage, "proxy", SIGKILL, 4, "the proxy was killed by SIGKILL"),
        )
    ),
]
# What CI runs: `script/test --all` runs the rest.
_ALWAYS = {(BOOTING, "QEMU", SIGKILL), (RUNNING, "libvirtd", SIGKILL)}


def is_long(case: Case) -> bool:
    """Tell whether a case waits for the long tests."""
    return (case.stage, case.victim, case.signal) not in _ALWAYS


# What a build's own root does to its machine, in a step: the script, what is said, or nothing where the step goes on.
_OFF = "the guest has switched it off, or has crashed"
_REBOOT = "syscall(169, 0xfee1dead, 672274793, 0x1234567)"
_INSIDE = [
    ("it kills the agent, which is process 1", "kill -9 1; kill -9 -1; echo still here", "still here"),
    ("it asks for a reboot (reboot(2))", f"perl -e '{_REBOOT}'; echo still here", "still here"),
    ("it has the kernel reboot (sysrq b)", "echo b >/proc/sysrq-trigger; sleep 1000", _OFF),
    ("it has the kernel switch off (sysrq o)", "echo o >/proc/sysrq-trigger; sleep 1000", _OFF),
    ("it has the kernel crash (sysrq c)", "echo c >/proc/sysrq-trigger; sleep 1000", "Kernel panic"),
]
INSIDE = {what: (script, says) for what, script, says in _INSIDE}

_FAULTS = [
    ("no QEMU", "QEMU cannot be started", 4, "libvirt makes no VMs here", "a_libvirt_that_refuses"),
    ("no virsh", "a program is missing", 4, "virsh is not installed", "a_program_that_is_missing"),
    ("no room", "no room for the VM's disks", 4, "make room", "a_disk_without_room_for_the_disks_of_a_vm"),
    (
        "no such memory",
        "a VM has more memory than the machine",
        4,
        "Cannot allocate memory",
        "a_vm_with_more_memory_than_there_is",
    ),
    (
        "memory beside",
        "QEMU takes more memory than it may",
        1,
        "and what runs it more than",
        "a_qemu_that_takes_more_than_it_may",
    ),
    (
        "disk full",
        "the host's disk has less than 1 GiB left in the middle of a build",
        1,
        "and a build leaves it 1 GiB",
        "a_disk_that_fills_in_the_middle_of_a_build",
    ),
    (
        "disk full at once",
        "the host's disk is full before anybody has looked",
        4,
        "this machine has no room on its disk for what it writes",
        "a_disk_that_is_full_at_once",
    ),
    ("wire cut", "the VM's tap is deleted", 4, "the VM's agent has gone", "a_wire_that_is_cut"),
    ("kernel cut", "half of the kernel is missing", 4, "its console is silent", "an_image_that_does_not_boot"),
    ("initrd cut", "half of the initrd is missing", 4, "Kernel panic", "an_image_that_does_not_boot"),
    ("image cut", "half of the image's disk is missing", 4, "failed: ", "an_image_that_does_not_boot"),
]
FAULTS = {name: Fault(what, code, says, f"test_{test}") for name, what, code, says, test in _FAULTS}
