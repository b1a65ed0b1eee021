"""Holds the section on VMs of docs/faults.md to the tests: every line of it is a case that runs."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL

from tests.integration.faults.cases import Stage
from tests.integration.vm.faults import cases, page, test_builds_hit, test_hit, test_missing


def test_every_case_is_run_by_the_test_that_the_page_names() -> None:
    for run, listed in (
        (test_hit.test_a_vm_that_is_hit, cases.CASES),
        (test_builds_hit.test_a_build_in_a_vm_that_is_hit, cases.BUILD_CASES),
    ):
        (mark,) = (mark for mark in getattr(run, "pytestmark", ()) if mark.name == "parametrize")
        ids = [case.id for case in listed]
        assert [parameters.id for parameters in mark.args[1]] == ids
        assert len(set(ids)) == len(ids)
        assert all(f"{run.__name__}[{one}]" in page.section() for one in ids)


def test_every_part_is_killed_at_every_stage_and_ci_kills_some() -> None:
    stages = {value for value in vars(cases).values() if isinstance(value, Stage)}
    killed = {(case.stage, case.victim) for case in cases.CASES if case.signal is SIGKILL}
    assert killed == {(stage, part) for stage in stages for part in cases.PARTS}
    assert [case for case in cases.CASES if not cases.is_long(case)]


def test_every_fault_is_asserted_by_its_name() -> None:
    source = Path(test_missing.__file__).read_text()
    for name, fault in cases.FAULTS.items():
        assert f'"{name}"' in source
        assert f"def {fault.test}(" in source
