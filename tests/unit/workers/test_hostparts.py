"""Asks which parts of /proc are the kernel's."""

from __future__ import annotations

from pathlib import Path

from hermit_workers.hostparts import guarded_proc


def test_the_kernels_parts_of_proc_are_guarded_and_processes_are_not() -> None:
    found = guarded_proc()
    assert Path("/proc/sys") in found
    assert Path("/proc/irq") in found
    assert not [path for path in found if path.name.isdigit() or path.name == "self"]
