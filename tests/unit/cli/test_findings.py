"""Checks how a doctor's findings become an exit code."""

from __future__ import annotations

import pytest

from hermit_cli.doctor import verdict
from hermit_cli.findings import Finding, fail, ok, warn
from hermit_proxy.errors import ExitCode


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], ExitCode.DONE),
        ([ok("a", "")], ExitCode.DONE),
        ([ok("a", ""), warn("b", "", "mend")], ExitCode.DONE),
        ([warn("b", ""), fail("c", "", "mend")], ExitCode.MACHINE),
    ],
)
def test_only_what_every_run_needs_fails_the_machine(findings: list[Finding], code: ExitCode) -> None:
    assert verdict(findings) is code
