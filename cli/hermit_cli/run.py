"""Is `hermit run`: a command whose only wire is the proxy, with the project's rules and snapshot."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermit_cli import interrupts, output, runs
from hermit_cli.project import Project, find_project, has_snapshot
from hermit_proxy.errors import ExitCode, HermitError, UsageError

if TYPE_CHECKING:  # a wrong command line should not pay for the rest
    from hermit_cli.conduct import Ending, Plan
    from hermit_cli.summary import RunReport
    from hermit_proxy.settings import Settings
    from hermit_proxy.snapshot.model import Snapshot
    from hermit_proxy.snapshot.written import Recorded

_DESCRIPTION = """\
Run a command in a network namespace of its own, whose only wire leads to a proxy: record what it fetches under the
project's rules, or replay the snapshot and refuse everything else. Files stay yours. With --json the command's stdout
goes to stderr, and stdout has one object at the end."""


_MODE_HELP = "auto (the default) is hermetic where there is a snapshot, else record"
_REFRESH_HELP = "record, and ask upstream for what the snapshot has, too (ALLOW is taken as REFRESH)"
_CACHES_HELP = "let tools use your caches; what those answer is not recorded"


@dataclass(frozen=True, slots=True)
class Options:
    """Is the command line after its defaults: what a run works on."""

    project: Project
    mode: str
    rules: Path
    network: Path
    command: tuple[str, ...]
    log: Path | None
    keep_unused: bool
    keep_caches: bool
    quiet: bool
    json: bool
    refresh: bool = False

    @property
    def own(self) -> bool:
        """Tell whether the snapshot is the project's own."""
        return self.network.resolve() == self.project.network.resolve()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command's options."""
    parser = subparsers.add_parser(
        "run",
        help="run a command behind the proxy",
        description=_DESCRIPTION,
        allow_abbrev=False,
        usage="hermit run [options] -- COMMAND...",
    )
    parser.add_argument("--mode", choices=("record", "hermetic", "auto"), default="auto", help=_MODE_HELP)
    parser.add_argument("--refresh", action="store_true", help=_REFRESH_HELP)
    parser.add_argument("--rules", type=Path, metavar="FILE", help="instead of .hermit/rules.yaml")
    parser.add_argument("--snapshot", type=Path, metavar="DIR", help="instead of .hermit/network")
    parser.add_argument("--json", action="store_true", help="print one object for programs")
    parser.add_argument("--log", type=Path, metavar="FILE", help="copy the log of requests there")
    parser.add_argument("--keep-unused", action="store_true", help="keep entries that this run did not use")
    parser.add_argument("--keep-caches", action="store_true", help=_CACHES_HELP)
    parser.add_argument("--quiet", action="store_true", help="tell refusals and failures only")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...", help="what to run")


def main(args: argparse.Namespace) -> int:
    """Run it and give the exit code."""
    options = read_options(args, Path.cwd())
    runs.sweep(os.environ)
    with interrupts.raised() as signals, runs.run_folder(os.environ) as rundir:
        report = _run(options, rundir, signals)
        runs.write_result(rundir, {"snapshot": str(options.network.resolve()), **report.result()})
    if options.json:
        output.print_json(report.to_json())
    elif not options.quiet or report.exit_code is not ExitCode.DONE:
        report.say()
    return int(report.exit_code)


def read_options(args: argparse.Namespace, folder: Path) -> Options:
    """Check the command line against what is there; raise UsageError."""
    command = tuple(args.command[1:] if args.command[:1] == ["--"] else args.command)
    if not command:
        raise UsageError("there is no command to run", hint="hermit run -- COMMAND...")
    project = find_project(folder)
    if args.rules is not None and not args.rules.is_file():
        raise UsageError(f"there is no rules file {args.rules}")
    if args.snapshot is not None and args.snapshot.exists() and not args.snapshot.is_dir():
        raise UsageError(f"{args.snapshot} is no folder", hint="--snapshot takes a folder of <host>.yaml files")
    network = (args.snapshot or project.network).absolute()
    mode = args.mode
    if args.refresh and mode == "hermetic":
        raise UsageError("--refresh asks upstream, and --mode hermetic never does", hint="leave one of them out")
    if mode == "auto":
        there = project.is_recorded if network == project.network else has_snapshot(network)
        mode = "hermetic" if there and not args.refresh else "record"
    runs.check_copy(args.log)
    return Options(
        project=project,
        mode=mode,
        rules=(args.rules or project.rules).absolute(),
        network=network,
        command=command,
        log=args.log and args.log.absolute(),
        keep_unused=args.keep_unused,
        keep_caches=args.keep_caches,
        quiet=args.quiet,
        json=args.json,
        refresh=args.refresh,
    )


def _run(options: Options, rundir: Path, signals: interrupts.Interrupts) -> RunReport:
    from hermit_cli.conduct import conduct  # noqa: PLC0415  see above
    from hermit_proxy.policy import Mode  # noqa: PLC0415  see above
    from hermit_proxy.settings import load_settings  # noqa: PLC0415  see above

    settings = load_settings(None, os.environ)
    old = None
    if Mode(options.mode) is Mode.RECORD:
        from hermit_proxy.snapshot.tree import read_tree  # noqa: PLC0415  only a recording writes

        # Before the command starts: it may change the very folder.
        old = read_tree(options.network)
        if not options.rules.exists() and not options.quiet:
            output.say_styled(f"hermit: there is no {options.rules}, so every request will be refused", "warn")
    plan = _plan(options, settings, rundir)
    began = time.monotonic()
    try:
        ending = conduct(plan, signals)
    finally:
        log = runs.keep_log(rundir, options.log)
        signals.again()  # what came at the loop's very end is said here
    seconds = time.monotonic() - began
    recorded = note = failure = None
    if old is not None and ending.good:
        from hermit_cli.summary import note_on_recording  # noqa: PLC0415  see above

        # What asked for nothing says nothing about what a build needs; and a first snapshot has something in it.
        nothing = not ending.counts["requests" if len(old) else "recorded"]
        note = note_on_recording(ending.counts, had=len(old) > 0, refresh=options.refresh)
        if log is not None and not nothing:
            try:
                recorded = _write(options, settings, plan, old)
            except interrupts.InterruptedRunError:
                raise
            except HermitError as error:  # how the command went is worth telling all the same
                failure = error
    return replace(_report(options, plan, ending, recorded, log, seconds, note), failure=failure)


def _plan(options: Options, settings: Settings, rundir: Path) -> Plan:
    from hermit_cli.conduct import Plan  # noqa: PLC0415  see above
    from hermit_cli.proxying import proxy_settings  # noqa: PLC0415  see above
    from hermit_proxy.policy import Mode  # noqa: PLC0415  see above

    network, rules = options.network, options.rules
    return Plan(
        mode=Mode(options.mode),
        proxy=proxy_settings(options.project, settings, rules=rules, network=network, refresh=options.refresh),
        rundir=rundir,
        folder=Path.cwd(),
        command=options.command,
        environment=dict(os.environ),
        keep_caches=options.keep_caches,
        quiet=options.quiet or options.json,
        stdout_to_stderr=options.json,
    )


def _write(options: Options, settings: Settings, plan: Plan, old: Snapshot) -> Recorded:
    from hermit_proxy.recording import write_snapshot  # noqa: PLC0415  only a recording writes

    return write_snapshot(
        options.network,
        old,
        plan.rundir / runs.LOG_NAME,
        store_url=settings.store,
        pool=plan.proxy.pool,
        keep_unused=options.keep_unused,
        environ=os.environ,
        # The time in .hermit is that of the project's own snapshot, whatever else lies beside it.
        timed=options.own or options.network.parent.resolve() != options.project.hermit_dir,
    )


def _report(  # noqa: PLR0913, PLR0917  what a run was and how it went
    options: Options,
    plan: Plan,
    ending: Ending,
    recorded: Recorded | None,
    log: Path | None,
    seconds: float,
    note: str | None,
) -> RunReport:
    from hermit_cli.summary import RunReport  # noqa: PLC0415  see above
    from hermit_proxy.run.events import read_log  # noqa: PLC0415  see above
    from hermit_proxy.run.troubles import troubles_of  # noqa: PLC0415  see above

    unanswered = ending.counts["refused"] or ending.counts["failed"]
    return RunReport(
        mode=plan.mode,
        command=plan.command,
        status=ending.status,
        seconds=seconds,
        counts=ending.counts,
        troubles=troubles_of(read_log(log)) if unanswered and log else (),
        log=log,
        signal=ending.signal,
        recorded=recorded,
        note=note,
        options=_elsewhere(options),
        own=options.own,
    )


def _elsewhere(options: Options) -> tuple[str, ...]:
    """Give the options that a next run needs to work on the same files."""
    rules = () if options.rules.resolve() == options.project.rules.resolve() else ("--rules", str(options.rules))
    return rules if options.own else ("--snapshot", str(options.network), *rules)
