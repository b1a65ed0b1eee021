"""Is `hermit store fill`: gets what a snapshot needs and the store lacks, and tells what upstream answers now."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from hermit_cli.output import print_json, say
from hermit_cli.place import Place
from hermit_cli.runs import run_folder, sweep
from hermit_cli.snapshot_show import entry_data
from hermit_cli.snapshot_verify import verdicts_on
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.errors import ExitCode
from hermit_proxy.fill import Different, FillReport, fill
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.tree import read_tree


async def fill_place(place: Place, rules: Path, *, as_json: bool) -> ExitCode:
    """Confirm what is unobserved, missing or corrupt; NOT_HERMETIC where some of it stays so."""
    entries = read_tree(place.network)
    with place.store() as store:
        wanted = [verdict.entry for verdict in verdicts_on(entries, store, place)]
    if wanted and not as_json:
        say(f"asking for {counted(len(wanted), 'entry')} under {rules}")
    report = await _fetch(place, rules, wanted) if wanted else FillReport()
    if as_json:
        print_json(_data(report) | {"snapshot": str(place.network), "entries": len(entries), "asked": len(wanted)})
    else:
        _tell(place, len(entries), report)
    return ExitCode.NOT_HERMETIC if report.differing or report.failed else ExitCode.DONE


async def _fetch(place: Place, rules: Path, wanted: list[Entry]) -> FillReport:
    proxy = place.settings.proxy(rules, place.network, place.pool, (time.time(),))
    sweep(os.environ)
    with run_folder(os.environ) as rundir:
        # A folder below, so that no log stays: to other commands the last run is the user's own.
        return await fill(proxy, rundir / "fill", wanted)


def only_headers(different: Different) -> bool:
    """Tell whether upstream answers with the same content, and the entry merely says less or other of its headers."""
    one, other = different.entry, different.found
    return (one.status, one.sha256, one.stand_in) == (other.status, other.sha256, other.stand_in)


def _tell(place: Place, total: int, report: FillReport) -> None:
    if not (report.confirmed or report.differing or report.failed):
        tell(f"{place.network}: {counted(total, 'entry')}, nothing to fetch")
        return
    tell(f"{place.network}: {counted(len(report.confirmed), 'entry')} confirmed and in the store")
    headers = [different for different in report.differing if only_headers(different)]
    changed = [different for different in report.differing if not only_headers(different)]
    sections = (
        ("UPSTREAM ANSWERS DIFFERENTLY", [_row(d.entry, f"{_answer(d.entry)} -> {_answer(d.found)}") for d in changed]),
        ("same content, other headers than the entry says", [_row(d.entry, "") for d in headers]),
        ("not fetched", [_row(failure.entry, failure.reason) for failure in report.failed]),
    )
    for title, rows in sections:
        if rows:
            tell(f"\n{title} ({len(rows)})")
            tell("\n".join(aligned(rows)))
    if report.differing:
        tell("\nnext: hermit run --mode record -- COMMAND records what upstream answers now; then read the difference")
    elif report.failed:
        tell("\nnext: mend what is named, and fill again; what cannot be fetched alone is recorded by a new run")


def _row(entry: Entry, told: str) -> tuple[str, str, str]:
    return entry.method, entry.url, told


def _answer(entry: Entry) -> str:
    return f"{entry.status} sha256:{entry.sha256[:12]}" if entry.sha256 else str(entry.status)


def _data(report: FillReport) -> dict[str, Any]:
    return {
        "confirmed": [entry_data(entry) for entry in report.confirmed],
        "differing": [
            {"entry": entry_data(d.entry), "found": entry_data(d.found), "only_headers": only_headers(d)}
            for d in report.differing
        ],
        "failed": [{"entry": entry_data(failure.entry), "reason": failure.reason} for failure in report.failed],
    }
