"""Is `hermit snapshot migrate` and `prune`: rewrites the record without recording anything."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hermit_cli.output import print_json
from hermit_cli.place import Place, find_place, read_run
from hermit_cli.runs import results
from hermit_cli.snapshot_show import entry_data
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.errors import ExitCode, UsageError
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import migrate_tree, read_tree, write_tree
from hermit_proxy.snapshot.update import updated


def migrate(args: argparse.Namespace) -> int:
    """Rewrite the files of the first Hermit; the rest stays byte for byte."""
    place = find_place(args.snapshot)
    names = migrate_tree(place.network, scheme=args.scheme)
    if args.json:
        print_json({"snapshot": str(place.network), "migrated": list(names), "scheme": args.scheme})
    elif not names:
        tell(f"{place.network}: no file of the first Hermit is left")
    else:
        tell(f"{place.network}: rewrote {counted(len(names), 'file')} as entries of {args.scheme}")
        tell()
        tell("\n".join(aligned([(name,) for name in names])))
        tell()
        tell("next: hermit store fill confirms what nobody has observed yet, then git add .hermit/network")
    return int(ExitCode.DONE)


def prune(args: argparse.Namespace) -> int:
    """Drop the entries that a run did not use; nothing is added and nothing else changes."""
    place = find_place(args.snapshot)
    log, events = read_run(args.log or str(last_good_log(place)), place)
    old = read_tree(place.network)
    dropped = updated(old, events).pruned
    if len(dropped) == len(old) and dropped:
        message = f"{log} used nothing of {place.network}: pruning by it would drop all of {counted(len(old), 'entry')}"
        raise UsageError(message, hint="name the log of a run of this project: --log FILE")
    if dropped and not args.dry_run:
        gone = set(dropped)
        write_tree(place.network, Snapshot(entry for entry in old if entry not in gone), base=old)
    if args.json:
        dropped_data = [entry_data(entry) for entry in dropped]
        kept = len(old) - len(dropped)
        print_json({"log": str(log), "dropped": dropped_data, "kept": kept, "dry_run": args.dry_run})
        return int(ExitCode.DONE)
    verb = "would drop" if args.dry_run else "dropped"
    tell(f"{place.network}: {verb} {len(dropped)} of {counted(len(old), 'entry')}, by {log}")
    if dropped:
        tell()
        tell("\n".join(aligned([(entry.method, entry.url) for entry in dropped])))
        tell()
        tell("next: hermit snapshot diff shows what is left to commit; hermit store gc frees the bodies")
    return int(ExitCode.DONE)


def last_good_log(place: Place) -> Path:
    """Find the log of the last run that succeeded with this snapshot; raise UsageError where none is known.

    A failed run has not used what comes after its failure, and another project's log says nothing here.
    """
    for log, fields in results(os.environ):
        same = fields.get("snapshot") == str(place.network.resolve())
        if same and fields.get("exit_code") == int(ExitCode.DONE):
            return log
    raise UsageError(
        f"no successful run with {place.network} is remembered",
        hint="hermit run -- COMMAND, and prune again; or vouch for a log: hermit snapshot prune --log FILE",
    )
