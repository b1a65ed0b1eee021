"""Is `hermit build`: the project's spec, run as CI runs it, in a throw-away tree whose only wire is the proxy."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermit_cli import interrupts, output, runs
from hermit_cli.project import Project, find_project
from hermit_proxy.errors import ExitCode, UsageError
from hermit_proxy.run.spawning import Spawned, spawned

if TYPE_CHECKING:  # a wrong command line should not pay for the rest
    from hermit_cli.build.order import Order
    from hermit_cli.build.report import BuildReport
    from hermit_steps.plan import Plan
    from hermit_workers.source.worktree import Source

_DESCRIPTION = """\
Build a project as CI does: its spec (.hermit/build.yaml, or the script .hermit/build) is run in a throw-away Debian
tree whose only wire leads to a proxy. Record what it fetches under the project's rules, or replay the snapshot and
refuse everything else. Uncommitted changes are built, too; what git ignores is not. With --json stdout has one object
at the end."""

_MODE_HELP = "auto (the default) is hermetic where there is a snapshot, else record"
_REFRESH_HELP = "record, and ask upstream for what the snapshot has, too (ALLOW is taken as REFRESH)"
_KEEP_HELP = "keep what a failed step leaves, for hermit shell"
_CELL_HELP = "where it runs: sandbox (the default), or vm, a machine of its own (experimental); settings: cell"
_NOT_KEPT = "--keep keeps what a sandbox leaves, and a VM leaves nothing"
_LAST_LINES = 40


@dataclass(frozen=True, slots=True)
class Options:
    """Is the command line after its defaults: what a build works on.

    `given` are its own words for the project. `cell` None leaves it to the settings. `out` is None where the build is
    a part, which has no artifacts.
    """

    project: Project
    given: tuple[str, ...]
    mode: str
    cell: str | None
    step: str | None
    keep: bool
    out: Path | None
    log: Path | None
    quiet: bool
    json: bool
    refresh: bool

    @property
    def silent(self) -> bool:
        """Tell whether output of steps is shown only where one fails."""
        return self.quiet or self.json


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command's options."""
    parser = subparsers.add_parser(
        "build",
        help="build a project as CI does, behind the proxy",
        description=_DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="the project (default: where you are)")
    parser.add_argument("--mode", choices=("record", "hermetic", "auto"), default="auto", help=_MODE_HELP)
    parser.add_argument("--refresh", action="store_true", help=_REFRESH_HELP)
    parser.add_argument("--cell", choices=("sandbox", "vm"), help=_CELL_HELP)
    parser.add_argument("--step", metavar="N", help="stop after this step, told by number or name")
    parser.add_argument("--keep", action="store_true", help=_KEEP_HELP)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where artifacts go (default: .hermit/out)")
    parser.add_argument("--json", action="store_true", help="print one object for programs")
    parser.add_argument("--log", type=Path, metavar="FILE", help="copy the log of requests there")
    parser.add_argument("--quiet", action="store_true", help="tell refusals and failures only")


def main(args: argparse.Namespace) -> int:
    """Build it and give the exit code."""
    options = read_options(args)
    runs.sweep(os.environ)
    with (
        interrupts.raised() as signals,
        runs.run_folder(os.environ) as rundir,
        # First of all: it imports for as long as we do, and two can at a time.
        spawned(options.mode, rundir, os.environ) as proxy,
    ):
        options, source, plan = _looked_at(options)
        report = _build(options, _order(options, source, plan, rundir), proxy, signals)
        network = str(options.project.network.resolve())
        runs.write_result(rundir, {"snapshot": network, **report.result()})
    if options.json:
        output.print_json(report.to_json())
    elif not options.quiet or report.exit_code is not ExitCode.DONE:
        report.say()
    return int(report.exit_code)


def _looked_at(options: Options) -> tuple[Options, Source, Plan]:
    """Look at the project and tell what is built; raise UsageError before anything is."""
    from hermit_workers.artifacts import check_folder  # noqa: PLC0415  see above

    if options.out is not None:
        check_folder(options.out)
    source, plan = look_at(options.project)
    if options.step is not None:
        whole, plan = plan, plan.upto(options.step)
        if plan is not whole:
            options = replace(options, out=None)
    if plan.artifacts and options.out is not None:
        _check_writable(options.out)
    if not options.silent:
        from hermit_cli.build.report import say_beginning  # noqa: PLC0415  see above

        say_beginning(options.mode, source, plan)
    return options, source, plan


def read_options(args: argparse.Namespace) -> Options:
    """Check the command line against what is there; raise UsageError."""
    folder = args.path or Path.cwd()
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="hermit build [PATH]")
    project = find_project(folder)
    mode = args.mode
    if args.keep and args.cell == "vm":
        raise UsageError(_NOT_KEPT, hint="leave one of them out")
    if args.refresh and mode == "hermetic":
        raise UsageError("--refresh asks upstream, and --mode hermetic never does", hint="leave one of them out")
    if mode == "auto":
        mode = "hermetic" if project.is_recorded and not args.refresh else "record"
    out = (args.out or project.hermit_dir / "out").absolute()
    runs.check_copy(args.log)
    return Options(
        project=project,
        given=(str(args.path),) if args.path else (),
        mode=mode,
        cell=args.cell,
        step=args.step,
        keep=args.keep,
        out=out,
        log=args.log and args.log.absolute(),
        quiet=args.quiet,
        json=args.json,
        refresh=args.refresh,
    )


def _check_writable(out: Path) -> None:
    """Raise UsageError before a long build where nothing could be written after it."""
    there = next(folder for folder in (out, *out.parents) if folder.exists())
    if not os.access(there.parent if there == out else there, os.W_OK):
        raise UsageError(f"artifacts cannot be written to {out}", hint="--out DIR takes them elsewhere")


def look_at(project: Project) -> tuple[Source, Plan]:
    """Read a project's spec and find its source; raise UsageError for mistakes in either."""
    from hermit_steps.finding import find_spec  # noqa: PLC0415  see above
    from hermit_steps.plan import Facts, plan  # noqa: PLC0415  see above
    from hermit_workers.source.worktree import find_source  # noqa: PLC0415  see above

    spec = find_spec(project.root)
    source = find_source(project.root)
    head = source.head
    facts = Facts(
        project=source.top.name,
        epoch=source.epoch,
        commit=head.commit if head else "",
        branch=head.branch if head else "",
        repo_url=head.url if head else "",
        below=source.below,
    )
    return source, plan(spec, facts)


def _build(options: Options, order: Order, proxy: Spawned, signals: interrupts.Interrupts) -> BuildReport:
    from hermit_cli.build.beforehand import check_rules  # noqa: PLC0415  see above
    from hermit_cli.build.conductor import conduct  # noqa: PLC0415  see above
    from hermit_cli.build.outcome import Outcome  # noqa: PLC0415  see above
    from hermit_proxy.policy import Mode  # noqa: PLC0415  see above
    from hermit_proxy.snapshot.tree import read_tree  # noqa: PLC0415  see above
    from hermit_workers.making import check_cell  # noqa: PLC0415  see above

    check_cell(order.cell)
    old = None
    if order.mode is Mode.RECORD:
        check_rules(order.proxy)
        old = read_tree(options.project.network)
        asks = any(step.network == "proxy" for step in order.plan.steps)
        if asks and not options.project.rules.exists() and not options.quiet:
            output.say_styled(f"hermit: there is no {options.project.rules}, so every request will be refused", "warn")
    began = time.monotonic()
    try:
        built = conduct(order, proxy, signals)
    finally:
        log = runs.keep_log(order.rundir, options.log)
        signals.again()  # what came at the loop's very end is said here
    outcome = Outcome(order, built, time.monotonic() - began, log)
    if options.silent and (built.status or built.failure):
        _say_last_lines(built.last_lines)
    if old is not None and built.good:
        outcome = outcome.recorded_over(old, options.project.network, refresh=options.refresh)
    return outcome.report(options.given)


def _order(options: Options, source: Source, plan: Plan, rundir: Path) -> Order:
    from hermit_cli.build.kept import Kept  # noqa: PLC0415  see above
    from hermit_cli.build.limits import limits_for, told_of_limits  # noqa: PLC0415  see above
    from hermit_cli.build.order import Order  # noqa: PLC0415  see above
    from hermit_cli.proxying import proxy_settings  # noqa: PLC0415  see above
    from hermit_proxy.policy import Mode  # noqa: PLC0415  see above
    from hermit_proxy.settings import load_settings  # noqa: PLC0415  see above
    from hermit_workers.limits import usual  # noqa: PLC0415  see above

    project = options.project
    settings = load_settings(None, os.environ)
    cell = options.cell or settings.cell
    if options.keep and cell != "sandbox":
        raise UsageError(f"{_NOT_KEPT}; `cell` in your settings asks for one", hint="add: --cell sandbox")
    for note in [] if options.silent else told_of_limits(plan.limits, settings.limits):
        output.say_styled(f"  {note}", "warn")
    return Order(
        mode=Mode(options.mode),
        cell=cell,
        proxy=proxy_settings(project, settings, rules=project.rules, network=project.network, refresh=options.refresh),
        rundir=rundir,
        project=project.root,
        source=source,
        plan=plan,
        limits=limits_for(plan.limits, settings.limits, usual(cell, settings.vm)),
        out=options.out,
        kept=Kept.of(project, os.environ),
        keep=options.keep,
        environment=dict(os.environ),
        quiet=options.silent,
        vm=settings.vm,
    )


def _say_last_lines(text: str) -> None:
    lines = text.splitlines()
    for line in lines[-_LAST_LINES:]:
        output.say(f"  {line}")
