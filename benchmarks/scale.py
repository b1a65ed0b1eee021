"""Measures what a snapshot costs as it grows: start and memory of a replayer, lookups, the commands that read it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import client
import contenders
import madeup
import measure
import plot

from hermit_proxy.policy import Mode, Replay, decide
from hermit_proxy.recording import write_snapshot
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import load_rules
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree, write_tree
from hermit_proxy.store.evidence import PoolEvidence
from hermit_proxy.store.files import FileStore

HERE = Path(__file__).resolve().parent
HERMIT = HERE.parent / ".venv" / "bin" / "hermit"
SIZES, QUICK = (100, 10_000, 200_000), (100, 2_000)
_LOOKUPS, _FIRST = 20_000, 1_000
_HOST = "registry-0.example.org"


@dataclass(frozen=True)
class Place:
    """Is a made-up project of one size: its entries, and where it stands."""

    folder: Path
    made: list[Entry]

    @property
    def network(self) -> Path:
        """Name the snapshot's folder."""
        return self.folder / "project/.hermit/network"

    @property
    def other(self) -> Path:
        """Name the folder of a snapshot in which two of 100 entries differ."""
        return self.folder / "other/network"

    @property
    def store(self) -> Path:
        """Name the store."""
        return self.folder / "store"

    @property
    def settings(self) -> ProxySettings:
        """Give what a proxy is started with."""
        return ProxySettings(self.folder / "project/.hermit/rules.yaml", self.network, str(self.store), madeup.POOL)

    def hermit(self, *words: str) -> float:
        """Run a command of `hermit` in the project and give its seconds."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        environment |= {"XDG_CONFIG_HOME": str(self.folder / "config")}
        command = [str(HERMIT), *words]
        return measure.run(
            ["sh", "-c", 'cd "$0" && "$@" > /dev/null', str(self.folder / "project"), *command], environment
        ).seconds


@dataclass(frozen=True)
class Row:
    """Is what one size costs: seconds where nothing else is said, medians of the rounds.

    `read` is reading the snapshot alone, in this process; `ready` from spawning a replayer until it can answer and
    `first` until it has answered. `now` and `most` are its memory in MB (PSS, VmHWM). `find` and `decision` are
    microseconds of processor time, `rate` requests a second of 1,000 entries, each asked for the first time (None where
    there are fewer). The rest are commands: verify, diff against a snapshot with two of 100 entries changed, and
    writing that one at the end of a recording.
    """

    entries: int
    size: int
    read: float
    ready: float
    first: float
    now: float
    most: float
    find: float
    decision: float
    rate: float | None
    verify: float
    diff: float
    write: float


def prepare(folder: Path, count: int) -> Place:
    """Write a project with so many entries, and another snapshot to compare with."""
    place = Place(folder, list(madeup.entries(count)))
    place.network.parent.mkdir(parents=True)
    (place.network.parent / "rules.yaml").write_text('rules:\n  - {pattern: ".*/.*", action: ALLOW}\n')
    config = folder / "config/hermit/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"pool: {madeup.POOL}\nstore: {place.store}\n")
    madeup.write(place.network, place.store, place.made)
    new = list(madeup.changed(place.made))
    write_tree(place.other, Snapshot(new))
    madeup.write_log(folder / "log", place.made, new)
    return place


async def replayer(place: Place, program: Path) -> tuple[float, float, float, float, float]:
    """Start a replayer; give the seconds until it was ready and had answered, its memory, requests a second."""
    paths = place.folder / "paths"
    asked = [entry for entry in place.made if entry.status == 200 and urlsplit(entry.url).hostname == _HOST]  # noqa: PLR2004  what the client takes for an answer
    chosen = random.Random(2).sample(asked, min(_FIRST, len(asked)))  # noqa: S311  the same in each run
    paths.write_text("".join(f"{urlsplit(entry.url).path}\n" for entry in chosen))
    asks = client.Client(program, f"https://{_HOST}:443", paths)
    async with contenders.hermit(place.settings) as one:
        await asyncio.to_thread(asks.closed, one, connections=1, requests=1)
        first = time.perf_counter() - one.begun
        now, most = contenders.proportional(one.process), contenders.resident(one.process)
        answers = await asyncio.to_thread(asks.closed, one, connections=8, requests=len(chosen))
        return one.started, first, now, most, answers.rate


def find(place: Place, snapshot: Snapshot) -> float:
    """Give the microseconds of processor time that finding an entry takes, all of them in random order."""
    requests = asked(place, place.made)
    if any(snapshot.find(request) is None for request in requests):
        raise RuntimeError("an entry of the snapshot was not found")
    begin = time.process_time()
    for request in requests:
        snapshot.find(request)
    return (time.process_time() - begin) / _LOOKUPS * 1e6


def decision(place: Place, snapshot: Snapshot) -> float:
    """Give the same for the whole decision: rules, entry, observation. It is of 100 requests whatever the size is.

    Rules remember what they said of the last few thousand URLs, which is none of the snapshot's merits.
    """
    rules = load_rules(place.settings.rules)
    store = FileStore(place.store)
    evidence = PoolEvidence(store, madeup.POOL)
    requests = asked(place, random.Random(4).sample(place.made, SIZES[0]))  # noqa: S311  the same in each run
    if not all(isinstance(decide(request, rules, snapshot, evidence, Mode.HERMETIC), Replay) for request in requests):
        raise RuntimeError("a request is not answered")
    begin = time.process_time()
    for request in requests:
        decide(request, rules, snapshot, evidence, Mode.HERMETIC)
    spent = time.process_time() - begin
    store.close()
    return spent / _LOOKUPS * 1e6


def asked(place: Place, of: list[Entry]) -> list[Request]:
    """Make many requests for some entries in random order."""
    numbers = random.Random(len(place.made))  # noqa: S311  the same in each run
    chosen = [numbers.choice(of) for _ in range(_LOOKUPS)]
    return [Request(entry.method, parse_url(entry.url), dict(entry.vary)) for entry in chosen]


def written(place: Place, old: Snapshot) -> float:
    """Give the seconds that the end of a recording takes to write the other snapshot over a copy of this one."""
    copy = place.folder / "copy/network"
    shutil.copytree(place.network, copy)
    begin = time.perf_counter()
    write_snapshot(
        copy,
        old,
        place.folder / "log",
        store_url=str(place.store),
        pool=madeup.POOL,
        keep_unused=False,
        environ=os.environ,
    )
    seconds = time.perf_counter() - begin
    shutil.rmtree(copy.parent)
    return seconds


def measured(place: Place, program: Path, rounds: int) -> Row:
    """Measure one size."""
    read = []
    for _ in range(rounds):
        begin = time.perf_counter()
        snapshot = read_tree(place.network)
        read.append(time.perf_counter() - begin)
    runs = [asyncio.run(replayer(place, program)) for _ in range(rounds)]
    ready, first, now, most, rate = (statistics.median(run[which] for run in runs) for which in range(5))
    return Row(
        entries=len(place.made),
        size=sum(file.stat().st_size for file in place.network.iterdir()),
        read=statistics.median(read),
        ready=ready,
        first=first,
        now=now,
        most=most,
        find=statistics.median(find(place, snapshot) for _ in range(rounds)),
        decision=statistics.median(decision(place, snapshot) for _ in range(rounds)),
        rate=rate if len(place.made) > _FIRST else None,
        verify=place.hermit("snapshot", "verify"),
        diff=place.hermit("snapshot", "diff", str(place.network), str(place.other)),
        write=written(place, snapshot),
    )


def each(row: Row, least: Row) -> float:
    """Give the bytes of memory that an entry takes, beyond those of the smallest snapshot's proxy."""
    return (row.now - least.now) * 1e6 / (row.entries - least.entries) if row is not least else 0.0


def table(rows: list[Row], rounds: int) -> str:
    """Give the figures as Markdown."""
    lines = [
        f"| | {' | '.join(f'{row.entries:,} entries' for row in rows)} | aim |",
        f"|---{'|---:' * len(rows)}|---|",
    ]
    figures: list[tuple[str, Callable[[Row], str], str]] = [
        ("the snapshot's files", lambda row: f"{row.size / 1e6:.1f} MB", ""),
        ("reading them alone", lambda row: f"{row.read:.2f} s", ""),
        ("start until a replayer can answer", lambda row: f"{row.ready:.2f} s", "a few seconds"),
        ("start to first answer", lambda row: f"{row.first:.2f} s", ""),
        ("its memory then (PSS)", lambda row: f"{row.now:.0f} MB", ""),
        ("most memory until then (VmHWM)", lambda row: f"{row.most:.0f} MB", ""),
        ("memory of an entry", lambda row: f"{each(row, rows[0]):,.0f} B" if row is not rows[0] else "", "1,000 B"),
        ("processor time of finding an entry, all in random order", lambda row: f"{row.find:.1f} µs", "the same"),
        ("processor time of a decision, 100 requests", lambda row: f"{row.decision:.1f} µs", "the same"),
        (
            "answers for the first time, 8 connections",
            lambda row: f"{row.rate:,.0f} /s" if row.rate else "",
            "the same",
        ),
        ("`hermit snapshot verify` (hashes all bodies), once", lambda row: f"{row.verify:.2f} s", ""),
        ("`hermit snapshot diff`, 2 of 100 entries differ", lambda row: f"{row.diff:.2f} s", ""),
        ("writing such a change after a recording, once", lambda row: f"{row.write:.2f} s", ""),
    ]
    lines += [f"| {what} | {' | '.join(tell(row) for row in rows)} | {aim} |" for what, tell, aim in figures]
    return "\n".join(lines) + f"\n\nMedians of {rounds} rounds of one run. Machine: {measure.machine()}.\n"


def picture(rows: list[Row]) -> str:
    """Draw what grows and what does not, as SVG."""
    drawn: list[tuple[str, Callable[[Row], float], str, float | None]] = [
        ("start until a replayer can answer", lambda row: row.ready, "{:.2f} s", None),
        ("memory of an entry", lambda row: each(row, rows[0]), "{:,.0f} B", 1000.0),
        ("processor time of finding an entry", lambda row: row.find, "{:.1f} µs", None),
        ("writing a change after a recording", lambda row: row.write, "{:.2f} s", None),
    ]
    panels = []
    for what, take, words, aim in drawn:
        values = [(f"{row.entries:,}", take(row), words.format(take(row))) for row in reversed(rows)]
        panels.append(plot.Panel(what, "by entries of the snapshot; less is better", values, aim))
    return plot.panels("What a snapshot costs as it grows", panels)


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 and 2,000 entries, once; nothing is written")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name:
        program = client.build(Path(name))
        rows = []
        for count in QUICK if quick else SIZES:
            rows.append(measured(prepare(Path(name) / str(count), count), program, rounds))
            sys.stderr.write(f"{rows[-1]}\n")
        tell(rows, rounds, keep=not quick)  # now: to remove 400,000 files takes a while
    return 0


def tell(rows: list[Row], rounds: int, *, keep: bool) -> None:
    """Print the figures, and write them beside this file to keep them."""
    text = table(rows, rounds)
    sys.stdout.write(text)
    sys.stdout.flush()
    if keep:
        results = HERE / "results"
        document = {"machine": measure.machine(), "time": int(time.time()), "rounds": rounds}
        document |= {"sizes": [asdict(row) for row in rows]}
        (results / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
        (results / "scale.md").write_text(text)
        (results / "scale.svg").write_text(picture(rows))


if __name__ == "__main__":
    sys.exit(main())
