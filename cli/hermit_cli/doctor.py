"""Is `hermit doctor`: tries what a run needs on this machine, and names the command that mends what is missing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from hermit_cli import output
from hermit_cli.findings import Finding, Level
from hermit_proxy.errors import ExitCode

_STYLES = {Level.OK: "good", Level.WARN: "warn", Level.FAIL: "bad"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command's options."""
    text = "Try what runs need on this machine, and name the command that mends what is missing."
    parser = subparsers.add_parser("doctor", help="what this machine can do", description=text, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one object for programs")


def main(args: argparse.Namespace) -> int:
    """Examine the machine; the exit code is 4 where something fails that every run needs."""
    from hermit_cli.examine import examine  # noqa: PLC0415  every other command starts faster without it

    findings: list[Finding] = []
    for finding in examine(os.environ):
        findings.append(finding)
        if not args.json:
            _say(finding)
    code = verdict(findings)
    if args.json:
        checks = [{"name": f.name, "level": f.level.value, "detail": f.detail, "mend": f.mend} for f in findings]
        output.print_json({"exit_code": int(code), "checks": checks})
    elif code is ExitCode.DONE:
        output.say("This machine can record and replay.")
    else:
        output.say("Mend what fails, then run `hermit doctor` again.")
    return int(code)


def verdict(findings: Iterable[Finding]) -> ExitCode:
    """Choose the exit code: warnings are no failure."""
    return ExitCode.MACHINE if any(finding.level is Level.FAIL for finding in findings) else ExitCode.DONE


def _say(finding: Finding) -> None:
    output.say_styled(f"{finding.level.value:<5}{finding.name}: {finding.detail}", _STYLES[finding.level])
    if finding.mend:
        output.say(f"     {finding.mend}")
