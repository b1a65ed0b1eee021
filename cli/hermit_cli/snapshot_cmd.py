"""Is `hermit snapshot`: looks at the record, compares, checks and tidies it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hermit_cli import snapshot_show, snapshot_tidy, snapshot_verify
from hermit_cli.output import coloured, print_json
from hermit_cli.place import find_place, read_run
from hermit_cli.revision import read_side
from hermit_cli.table import counted, tell
from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_proxy.run.har import har
from hermit_proxy.snapshot import report
from hermit_proxy.snapshot.diff import diff
from hermit_proxy.snapshot.tree import read_tree


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser("snapshot", help="look at the record, check it, tidy it", allow_abbrev=False)
    commands = parser.add_subparsers(dest="snapshot_command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", help="print one object for programs")
    where = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    where.add_argument("--snapshot", type=Path, metavar="DIR", help="the snapshot's folder (.hermit/network)")
    log = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    log.add_argument(
        "--log", metavar="LOG", help="the log of a run: a file or the run's id (default: the project's last run)"
    )

    show = commands.add_parser("show", parents=[common, where], help="list hosts, or the entries of one")
    show.add_argument("host", nargs="?", metavar="HOST", help="list this host's entries")
    show.set_defaults(snapshot_main=snapshot_show.main)
    differ = commands.add_parser("diff", parents=[common], help="compare two snapshots: folders or git revisions")
    differ.add_argument("old", nargs="?", default="HEAD", metavar="A", help="folder or revision (default: HEAD)")
    differ.add_argument("new", nargs="?", metavar="B", help="folder or revision (default: the work tree)")
    differ.set_defaults(snapshot_main=_diff)
    verify = commands.add_parser("verify", parents=[common, where], help="check format, observations and bodies")
    verify.set_defaults(snapshot_main=snapshot_verify.main)
    migrate = commands.add_parser("migrate", parents=[common, where], help="rewrite files of the first Hermit")
    migrate.add_argument("--scheme", choices=("https", "http"), default="https", help="what the old files do not say")
    migrate.set_defaults(snapshot_main=snapshot_tidy.migrate)
    prune = commands.add_parser("prune", parents=[common, where, log], help="drop what the last good run did not use")
    prune.add_argument("--dry-run", action="store_true", help="only tell what would be dropped")
    prune.set_defaults(snapshot_main=snapshot_tidy.prune)
    export = commands.add_parser("export", parents=[common, log], help="write a run's log as a HAR file")
    export.add_argument("--har", required=True, metavar="FILE", help="the file to write (- for stdout)")
    export.set_defaults(snapshot_main=_export)


def main(args: argparse.Namespace) -> int:
    """Run the command that was asked for and give its exit code."""
    return int(args.snapshot_main(args))


def _diff(args: argparse.Namespace) -> int:
    place = find_place()
    new = read_side(args.new, place.project) if args.new is not None else read_tree(place.network)
    difference = diff(read_side(args.old, place.project), new)
    if args.json:
        print_json(report.as_json(difference) | {"differs": bool(difference)})
    else:
        sys.stdout.write(report.render(difference, colour=coloured(sys.stdout)))
        if difference.changed or difference.new_variants:
            tell()
            tell("next: look at each of these: an index may move, a released file under an unchanged URL may not")
    return int(ExitCode.DONE)


def _export(args: argparse.Namespace) -> int:
    if args.json and args.har == "-":
        raise UsageError("--json and --har - both want stdout", hint="name a file: --har run.har")
    log, events = read_run(args.log, find_place())
    document = har(events, version=_version())
    text = json.dumps(document, indent=1) + "\n"
    if args.har == "-":
        sys.stdout.write(text)
        return int(ExitCode.DONE)
    path = Path(args.har)
    _write(path, text)
    requests = len(document["log"]["entries"])
    if args.json:
        print_json({"har": str(path), "log": str(log), "requests": requests})
    else:
        tell(f"wrote {path}: {counted(requests, 'request')} of {log}")
        tell("next: open it in a browser's network view, or in any tool that reads HAR 1.2")
    return int(ExitCode.DONE)


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing that could be replaced
            path.write_text(text)
            return
        fresh = path.with_name(f".{path.name}.{os.getpid()}~")
        try:
            fresh.write_text(text)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise HermitError(f"{path} cannot be written: {error.strerror}") from error


def _version() -> str:
    try:
        return version("hermit-ci")
    except PackageNotFoundError:  # run from the sources, not installed
        return "0"
