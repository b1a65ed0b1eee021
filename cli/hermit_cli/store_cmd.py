"""Is `hermit store`: counts and checks the bodies, gets those that are missing, frees those that nobody names."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from pathlib import Path
from typing import Any

from hermit_cli.output import bytes_as_text, print_json
from hermit_cli.place import Place, find_place
from hermit_cli.project import find_project
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.errors import ExitCode, UsageError
from hermit_proxy.store.body import StoreStats
from hermit_proxy.store.gc import GRACE, GcReport, PoolUnknownError, gc
from hermit_proxy.store.named import PoolRepository, SnapshotFolder
from hermit_proxy.store.verify import verify

Repositories = dict[str, list[PoolRepository | SnapshotFolder]]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser("store", help="count, check, fill and tidy the store of bodies", allow_abbrev=False)
    commands = parser.add_subparsers(dest="store_command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", help="print one object for programs")
    commands.add_parser("stats", parents=[common], help="count what is there").set_defaults(store_main=_stats)
    commands.add_parser("verify", parents=[common], help="hash every body again").set_defaults(store_main=_verify)
    fill = commands.add_parser("fill", parents=[common], help="fetch, compare and observe what a snapshot needs")
    fill.add_argument("--snapshot", type=Path, metavar="DIR", help="the snapshot's folder (.hermit/network)")
    fill.add_argument("--rules", type=Path, metavar="FILE", help="default: .hermit/rules.yaml")
    fill.set_defaults(store_main=_fill)
    collect = commands.add_parser("gc", parents=[common], help="delete what no branch and no tag names")
    collect.add_argument(
        "--repo", type=Path, action="append", default=[], metavar="PATH", help="another repository that uses the store"
    )
    collect.add_argument(
        "--forget", action="append", default=[], metavar="POOL", help="a pool whose repository is given up"
    )
    collect.add_argument(
        "--grace",
        type=_duration,
        default=GRACE,
        metavar="TIME",
        help="keep what is younger: 90s, 12h, 14d (the default)",
    )
    collect.add_argument("--dry-run", action="store_true", help="only tell what would be deleted")
    collect.set_defaults(store_main=_gc)


def main(args: argparse.Namespace) -> int:
    """Run the command that was asked for and give its exit code."""
    return int(args.store_main(args))


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a time as 90s, 30m, 12h, 14d or 2w; found {text!r}")
    return float(int(found[1]) * _SECONDS[found[2]])


def _stats(args: argparse.Namespace) -> int:
    place = find_place()
    with place.store() as store:
        stats = store.stats()
    if args.json:
        print_json(_stats_data(stats) | {"pool": place.pool})
        return int(ExitCode.DONE)
    for layer in (stats, *stats.layers):
        _tell_stats(layer)
    tell(f"this project's pool is {place.pool}")
    if stats.quarantined:
        tell("next: hermit store fill fetches again what was corrupt; hermit store gc removes the corrupt copies")
    return int(ExitCode.DONE)


def _tell_stats(stats: StoreStats) -> None:
    tell(stats.where)
    rows = [("bodies", str(stats.bodies)), ("size", bytes_as_text(stats.bytes))]
    rows += [(f"observed in {pool}", str(number)) for pool, number in sorted(stats.pools.items())]
    rows += [("corrupt, put aside", str(stats.quarantined)), ("unfinished", str(stats.unfinished))]
    tell("\n".join(aligned(rows, right=frozenset({1}))))
    tell()


def _stats_data(stats: StoreStats) -> dict[str, Any]:
    return {
        "where": stats.where,
        "bodies": stats.bodies,
        "bytes": stats.bytes,
        "pools": dict(stats.pools),
        "quarantined": stats.quarantined,
        "unfinished": stats.unfinished,
        "layers": [_stats_data(layer) for layer in stats.layers],
    }


def _verify(args: argparse.Namespace) -> int:
    place = find_place()
    with place.store() as store:
        report = verify(store)
        where = store.where
    if args.json:
        corrupt = [{"sha256": error.sha256, "where": error.where, "message": str(error)} for error in report.corrupt]
        print_json({"where": where, "good": report.bodies, "bytes": report.bytes, "corrupt": corrupt})
    else:
        good = f"{counted(report.bodies, 'body')} right ({bytes_as_text(report.bytes)})"
        tell(f"{where}: {good}, {len(report.corrupt)} corrupt")
        for error in report.corrupt:
            tell(f"  {error}")
        if report.corrupt:
            tell("next: they have been put aside and are not served; hermit store fill fetches them again")
    return int(ExitCode.MACHINE if report.corrupt else ExitCode.DONE)


def _fill(args: argparse.Namespace) -> int:
    # It brings the whole recorder along, which the other commands should not pay for.
    from hermit_cli.filling import fill_place  # noqa: PLC0415  see above

    place = find_place(args.snapshot)
    rules = args.rules or place.project.rules
    return int(asyncio.run(fill_place(place, rules.absolute(), as_json=args.json)))


def _gc(args: argparse.Namespace) -> int:
    place = find_place()
    repositories = _repositories(place, args.repo, args.forget)
    with place.store() as store:
        if store.where.startswith("/"):  # in a shared store the images of other machines count as well
            _add_images(repositories, place)
        try:
            report = gc(store, repositories, grace=args.grace, dry_run=args.dry_run)
        except PoolUnknownError as error:
            hint = "--repo PATH for each repository that still uses the store, --forget POOL for what is given up"
            raise UsageError(str(error), hint=hint) from error
        where = store.where
    if args.json:
        print_json(_gc_data(report) | {"where": where, "pools": sorted(repositories)})
    else:
        _tell_gc(where, report)
    return int(ExitCode.DONE)


def _add_images(repositories: Repositories, place: Place) -> None:
    """Count what the snapshots of this user's images name: `hermit image build --rebuild` needs it."""
    from hermit_workers.image.library import Library  # noqa: PLC0415  the other commands know no images
    from hermit_workers.image.maker import POOL  # noqa: PLC0415  see above

    images = [SnapshotFolder(image.network) for image in Library.of(os.environ).images()]
    repositories.setdefault(place.settings.pool or POOL, []).extend(images)


def _repositories(place: Place, others: list[Path], forgotten: list[str]) -> Repositories:
    """Give the repositories of every pool; those of one pool, clones and work trees, count together."""
    found: Repositories = {pool: [] for pool in forgotten}
    for path in (place.project.root, *others):
        if not path.is_dir():
            raise UsageError(f"there is no repository at {path}")
        project = find_project(path)
        pool = place.settings.pool or project.pool()
        if pool in forgotten:
            raise UsageError(f"the pool {pool} is given up by --forget, and {project.root} uses it")
        top = _top(project.root)
        if not (top / ".git").exists():
            hint = "call it in the repository, and name the others that use the store: --repo PATH"
            raise UsageError(f"{path} is no git repository, and branches and tags say what is kept", hint=hint)
        network = (project.network).relative_to(top) if top in project.network.parents else Path(".hermit/network")
        found.setdefault(pool, []).append(PoolRepository(top, str(network)))
    return found


def _top(root: Path) -> Path:
    """Give the top of the work tree around a project, which may be one of its subfolders."""
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)


def _tell_gc(where: str, report: GcReport) -> None:
    verb = "would be deleted" if report.dry_run else "deleted"
    tell(f"{where}: {counted(report.deleted, 'body')} {verb} ({bytes_as_text(report.bytes)})")
    rows = [
        ("kept: a snapshot names them", str(report.kept)),
        ("kept: younger than the grace time", str(report.young)),
        (f"observations {verb}", str(report.observations)),
        (f"unfinished or corrupt files {verb}", str(report.swept)),
    ]
    tell("\n".join(aligned(rows, right=frozenset({1}))))
    if report.missing:
        tell(f"next: snapshots name {counted(len(report.missing), 'body')} that the store lacks: hermit store fill")


def _gc_data(report: GcReport) -> dict[str, Any]:
    return {
        "deleted": report.deleted,
        "bytes": report.bytes,
        "observations": report.observations,
        "swept": report.swept,
        "kept": report.kept,
        "young": report.young,
        "missing": sorted(report.missing),
        "dry_run": report.dry_run,
    }
