"""Gives docs/faults.md its section on VMs from the cases that the tests run; see tests/integration/faults/table.py."""

from __future__ import annotations

from tests.integration.faults.cases import Case, Fault
from tests.integration.vm.faults import cases

_HEAD = """
## VMs

What a VM's life is and what each failure leads to, in words: [lifecycle.md](lifecycle.md). Here is what the tests in
`tests/integration/vm/faults/` do to one real guest after the other. *QEMU* is the machine, *libvirtd* and *virtlogd*
run it, *holder* is the child of `hermit` that has made their namespaces, *first* the first process in them. A build
that loses any of them ends with exit code 4 and the last words of the guest's console; then no process is there any
more by descent, no namespace, mount, tap, control group or file. After a QEMU that was killed the next VM boots and
runs.

CI runs a few rows; `script/test --all` runs them all.

| stage | held by | victim | signal | what the user sees | exit code | test |
|---|---|---|---|---|---|---|
"""
_BUILDS = """
The whole of `hermit build --cell vm`. What a killed `hermit` leaves (a link with its namespace and tap, two folders of
libvirt's, the VM's disks, control groups) is gone after the next build.

| stage | held by | victim | signal | what the user sees | exit code | test |
|---|---|---|---|---|---|---|
"""
_INSIDE = """
What root of a step does to its machine:

| what it does | what the user sees | test |
|---|---|---|
"""
_FAULTS = """
What is missing, full or damaged:

| what happens | what the user sees | exit code | test |
|---|---|---|---|
"""
_MANY = """
`test_many.py` boots 50 in a row and 4 at once, and finds processes, namespaces, mounts, descriptors, control groups and
files as they were before.
"""
_FOLDER = "vm/faults/"


def section() -> str:
    """Give the text of the section."""
    inside = [
        f"| {what} | {says if says != 'still here' else 'nothing: the step goes on'} | "
        f"`{_FOLDER}test_hit.py::test_a_guests_root_that_ends_its_machine` |\n"
        for what, (_, says) in cases.INSIDE.items()
    ]
    hit = [_row(case, "test_hit.py::test_a_vm_that_is_hit") for case in cases.CASES]
    builds = [_row(case, "test_builds_hit.py::test_a_build_in_a_vm_that_is_hit") for case in cases.BUILD_CASES]
    faults = [_fault(fault) for fault in cases.FAULTS.values()]
    return "".join([_HEAD, *hit, _BUILDS, *builds, _INSIDE, *inside, _FAULTS, *faults, _MANY])


def _row(case: Case, test: str) -> str:
    stage = case.stage
    nothing = "`Killed`, by the shell" if case.code == 137 else "nothing"
    cells = (stage.name, stage.how, case.victim, case.signal.name, case.says or nothing, case.code)
    return f"| {' | '.join(map(str, cells))} | `{_FOLDER}{test}[{case.id}]` |\n"


def _fault(fault: Fault) -> str:
    return f"| {fault.what} | {fault.says} | {fault.code} | `{_FOLDER}test_missing.py::{fault.test}` |\n"
