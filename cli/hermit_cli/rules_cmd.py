"""Is `hermit rules`: says what is wrong with a rules file, and which rules a recording is missing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hermit_cli.output import print_json, say
from hermit_cli.place import Place, find_place, read_run
from hermit_cli.rules_file import add_rules
from hermit_cli.shadow import shadowed
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.credentials.file import load_bindings
from hermit_proxy.errors import ExitCode, InputError, Mistake, UsageError
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.check import lost_matches
from hermit_proxy.rules.file import Rules, load_rules
from hermit_proxy.rules.suggest import SuggestedRule, as_yaml, suggest
from hermit_proxy.run.events import Outcome
from hermit_proxy.snapshot.tree import read_tree


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser("rules", help="check the rules, or have missing ones suggested", allow_abbrev=False)
    commands = parser.add_subparsers(dest="rules_command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", help="print one object for programs")
    check = commands.add_parser("check", parents=[common], help="tell every mistake with its line")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: .hermit/rules.yaml")
    check.set_defaults(rules_main=_check)
    suggested = commands.add_parser(
        "suggest", parents=[common], help="the fewest rules that admit what a recording was refused"
    )
    suggested.add_argument("--log", metavar="LOG", help="a file or the id of a run (default: the project's last run)")
    suggested.add_argument("--rules", type=Path, metavar="FILE", help="default: .hermit/rules.yaml")
    suggested.add_argument("--write", action="store_true", help="add them to the rules file, its own text kept")
    suggested.set_defaults(rules_main=_suggest)


def main(args: argparse.Namespace) -> int:
    """Run the command that was asked for and give its exit code."""
    return int(args.rules_main(args))


def _check(args: argparse.Namespace) -> int:
    place = find_place()
    path = args.file or place.project.rules
    if not path.is_file():
        raise UsageError(f"there is no rules file {path}", hint="after a recording: hermit rules suggest --write")
    try:
        rules = load_rules(path)
        mistakes = load_bindings(place.settings.credentials).check(rules)
    except InputError as error:
        rules, mistakes = Rules(), list(error.mistakes)
    warnings = [] if mistakes else _warnings(path, rules, place)
    if args.json:
        shown = {"mistakes": [_data(m) for m in mistakes], "warnings": [_data(w) for w in warnings]}
        print_json({"rules": str(path), "count": len(rules.rules), **shown})
    else:
        for told in (*mistakes, *warnings):
            tell(str(told))
        tell(_verdict(path, rules, mistakes, warnings))
    return int(ExitCode.USAGE if mistakes else ExitCode.DONE)


def _warnings(path: Path, rules: Rules, place: Place) -> list[Mistake]:
    """List what is no mistake, but hardly what the author meant."""
    found = [Mistake(path, hidden.rule.line, str(hidden)) for hidden in shadowed(rules)]
    targets = [parse_url(entry.url) for entry in read_tree(place.network)]
    # Entries of the first Hermit stand there for both schemes; once is enough to tell.
    found += [Mistake(path, lost.rule.line, str(lost)) for lost in lost_matches(rules, targets)]
    return sorted(found, key=lambda mistake: mistake.line or 0)


def _verdict(path: Path, rules: Rules, mistakes: list[Mistake], warnings: list[Mistake]) -> str:
    if mistakes:
        return f"\n{path}: {counted(len(mistakes), 'mistake')}; until they are mended every request is refused"
    told = f"{path}: {counted(len(rules.rules), 'rule')}, no mistake"
    return f"\n{told}, {counted(len(warnings), 'warning')}" if warnings else told


def _data(mistake: Mistake) -> dict[str, Any]:
    return {"path": str(mistake.path), "line": mistake.line, "message": mistake.message}


def _suggest(args: argparse.Namespace) -> int:
    place = find_place()
    path = args.rules or place.project.rules
    log, events = read_run(args.log, place)
    present = load_rules(path)
    rules = suggest(events, present)
    refused = sum(event.outcome is Outcome.REFUSED for event in events)
    if args.write and rules:
        add_rules(path, rules)
    if args.json:
        shown = {"log": str(log), "refused": refused, "rules": [_rule_data(rule) for rule in rules]}
        print_json(shown | {"yaml": as_yaml(rules), "written": str(path) if args.write and rules else None})
        return int(ExitCode.DONE)
    if not rules:
        why = f"refused {counted(refused, 'request')}, none for want of a rule" if refused else "was refused nothing"
        say(f"{log}: this run {why}")
        return int(ExitCode.DONE)
    admitted = sum(rule.requests for rule in rules)
    if args.write:
        _tell_written(path, rules, new=not present.rules)
        return int(ExitCode.DONE)
    # The rules alone go to stdout, so that they can be sent into a file.
    say(f"{log}: {counted(len(rules), 'rule')} would admit {admitted} of {counted(refused, 'refused request')}")
    sys.stdout.write(as_yaml(rules))
    if present.rules:
        say(f"next: read them, put those that you want under `rules:` in {path} (--write adds all), then --mode record")
    else:
        say(f"next: read them, save those that you want as {path} (--write does), record with --mode record")
    return int(ExitCode.DONE)


def _tell_written(path: Path, rules: list[SuggestedRule], *, new: bool) -> None:
    above = sum(rule.first for rule in rules)
    told = f"{'wrote' if new else 'added'} {counted(len(rules), 'rule')} {'as' if new else 'to'} {path}"
    tell(f"{told}, {above} of them above rules that matched already" if above else told)
    tell("\n".join(aligned([(rule.pattern, counted(rule.requests, "refused request")) for rule in rules])))
    tell("next: read them, take out what the build should not reach, record with --mode record")


def _rule_data(rule: SuggestedRule) -> dict[str, Any]:
    query = rule.query if isinstance(rule.query, str) else list(rule.query)
    return {
        "pattern": rule.pattern,
        "action": "ALLOW",
        "method": list(rule.methods),
        "query": query,
        "requests": rule.requests,
        "first": rule.first,
    }
