"""Attacks of a build on the kernel that it shares with the host: mounts, namespaces, calls, devices, /proc and /sys."""

from __future__ import annotations

from tests.integration.hostile import features
from tests.integration.hostile.bastion import barred
from tests.integration.hostile.rows import attack


@attack("build-mounts")
def test_a_build_mounts_nothing_by_the_old_calls_or_the_new_ones() -> None:
    barred("mount")


@attack("build-namespaces")
def test_a_build_makes_and_enters_no_namespace() -> None:
    barred("namespace")


@attack("build-calls")
def test_a_build_changes_no_clock_and_no_priority_and_stops_no_machine() -> None:
    barred("call")


@attack("build-names")
def test_a_build_keeps_the_name_that_its_cell_has() -> None:
    barred("name")


@attack("build-keyrings")
def test_a_build_reaches_no_keyring() -> None:
    barred("keyring")


@attack("build-io-uring")
def test_a_build_has_no_io_uring() -> None:
    barred("io_uring")


@attack("build-keystrokes")
def test_a_build_puts_no_keystrokes_into_a_terminal() -> None:
    barred("terminal")


@attack("build-devices")
def test_a_build_opens_makes_and_changes_no_device() -> None:
    barred("device")


@attack("build-chroot")
def test_a_build_leaves_its_root_by_no_change_of_root() -> None:
    barred("chroot")


@attack("build-proc")
def test_a_build_writes_to_no_setting_of_the_kernel() -> None:
    barred("kernel file")


@attack("build-kernel-memory")
def test_a_build_reads_nothing_of_the_kernels_memory() -> None:
    barred("kernel memory")


@attack("build-sys")
def test_a_build_sees_processors_in_sys_and_changes_nothing_there() -> None:
    barred("sys")


@attack("build-line-disciplines")
def test_a_build_gives_a_terminal_no_other_line_discipline() -> None:
    barred("discipline")


@attack("build-secret-memory")
def test_a_build_has_no_memory_that_is_in_no_account() -> None:
    barred("secret", needs=features.secret_memory)


@attack("build-handles")
def test_a_build_opens_no_namespace_of_the_host_by_its_handle() -> None:
    barred("handle", needs=features.namespace_handles)
