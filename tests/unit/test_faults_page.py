"""Holds docs/faults.md to the tests: every line of it is a case that runs, and every case is a line of it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from tests.integration.faults import buildcases, cases, table

FOLDER = Path(cases.__file__).parent


def test_the_page_is_the_one_that_the_cases_make() -> None:
    assert table.TABLE.read_text() == table.render(), "python -m tests.integration.faults.table writes it anew"


def test_every_case_is_run_once_by_the_test_that_the_page_names() -> None:
    from tests.integration.faults import test_builds_killed, test_killed  # noqa: PLC0415  not to be collected here

    named: dict[tuple[ModuleType, str], list[str]] = {}
    for case in cases.CASES:
        named.setdefault((test_killed, table.test_of(case.stage)), []).append(case.id)
    for case in buildcases.BUILD_CASES:
        named.setdefault((test_builds_killed, table.build_test_of(case.stage)), []).append(case.id)
    for (module, test), ids in named.items():
        (mark,) = (mark for mark in getattr(module, test).pytestmark if mark.name == "parametrize")
        assert [parameters.id for parameters in mark.args[1]] == ids
        assert len(set(ids)) == len(ids)


def test_every_fault_is_asserted_in_the_test_that_the_page_names() -> None:
    for module, faults in (("test_machine.py", cases.FAULTS), ("test_builds_machine.py", buildcases.BUILD_FAULTS)):
        source = (FOLDER / module).read_text()
        tests = dict(re.findall(r"^def (test_\w+)\((.*?)(?=^def |\Z)", source, re.MULTILINE | re.DOTALL))
        for name, fault in faults.items():
            assert f'"{name}"' in tests[fault.test]


def test_every_stage_of_a_build_is_hit_and_ci_hits_every_victim() -> None:
    stages = {value for value in vars(buildcases).values() if isinstance(value, cases.Stage)}
    for stage in stages:
        hit = {case.signal.name for case in buildcases.BUILD_CASES if (case.stage, case.victim) == (stage, "hermit")}
        assert {"SIGKILL", "SIGTERM"} <= hit
    victims = {case.victim for case in buildcases.BUILD_CASES}
    assert {case.victim for case in buildcases.BUILD_CASES if not buildcases.is_long(case)} == victims


def test_every_stage_is_hit_at_its_proxy_and_at_hermit() -> None:
    stages = {value for value in vars(cases).values() if isinstance(value, cases.Stage)}
    hit = {(case.stage, case.victim, case.signal.name) for case in cases.CASES}
    for stage in stages:
        for signal in ("SIGKILL", "SIGTERM", "SIGINT"):
            assert (stage, "hermit", signal) in hit
        alone = stage in {cases.WRITING, cases.REPORTING}
        assert alone or (stage, "proxy", "SIGKILL") in hit
