"""Fuzzes by coverage, one process a target, and prints what was tried: `tests/fuzz/run.py --seconds 60 replayer`.

Without names all targets run. An input that fails is kept, shown, and given back by `--input FILE TARGET`.
"""

from __future__ import annotations

import argparse
import importlib.util
import mmap
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/fuzzing.md"
TARGETS = (
    "yaml",
    "rules",
    "snapshot",
    "old-snapshot",
    "entry-url",
    "target",
    "pattern",
    "proposed-rule",
    "key",
    "event",
    "control",
    "body",
    "git",
    "head",
    "answer",
    "capture",
    "replayer",
    "recorder",
    "spec",
    "artifacts",
    "hook",
    "guest",
)
# Seconds after which one input counts as a hang.
HANG = 20
# How often a mutation knows of lines and words, beside libFuzzer's own.
_STRUCTURED = 0.6
# What libFuzzer says of its progress.
_PROGRESS = re.compile(r"^(#[0-9]+|INFO:|Done|MS:).*\n", re.MULTILINE)
_COUNTERS = struct.Struct("QQ")
_ROW = re.compile(r"^\| `(.+)` \| " + r" \| ".join([r"([0-9,]+)"] * 5) + r" \|$", re.MULTILINE)
_TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Run:
    """Is what became of one target: `finding` is the end of what the fuzzer said where it found something."""

    target: str
    inputs: int
    accepted: int
    seconds: float
    corpus: int
    finding: str | None

    def row(self) -> str:
        """Give a line of the table."""
        cells = (
            f"`{self.target}`",
            f"{self.inputs:,}",
            f"{self.accepted:,}",
            f"{self.corpus:,}",
            f"{self.seconds:.0f}",
            str(int(self.finding is not None)),
        )
        return f"| {' | '.join(cells)} |"


def fuzz(target: str, folder: Path, *, seconds: int, inputs: int | None, corpus: Path | None = None) -> Run:
    """Run one target in a process of its own; `folder` gets its corpus, unless `corpus` is one to go on with."""
    home = (corpus or folder / "corpus") / target
    home.mkdir(parents=True, exist_ok=True)
    counters = folder / f"{target}.counters"
    counters.write_bytes(bytes(_COUNTERS.size))
    command = [
        sys.executable,
        "-P",
        __file__,
        "--child",
        str(counters),
        target,
        str(home),
        f"-max_total_time={seconds}",
    ]
    command += [f"-timeout={HANG}", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/{target}-", "-close_fd_mask=1"]
    if inputs is not None:
        command += [f"-runs={inputs}"]
    environment = os.environ | {"TMPDIR": str(folder)}  # libFuzzer leaves no time to clean up
    started = time.monotonic()
    done = subprocess.run(
        command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=environment
    )
    tried, accepted = _COUNTERS.unpack(counters.read_bytes())
    finding = _PROGRESS.sub("", done.stderr.decode(errors="replace"))[-6000:] if done.returncode else None
    return Run(target, tried, accepted, time.monotonic() - started, len(list(home.iterdir())), finding)


def table(runs: list[Run]) -> Iterator[str]:
    """Give the lines of the table, with the sums last."""
    yield "| target | inputs | accepted | kept for new paths | seconds | findings |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    yield from (run.row() for run in runs)
    total = [sum(run.inputs for run in runs), sum(run.accepted for run in runs), sum(run.corpus for run in runs)]
    found = sum(run.finding is not None for run in runs)
    yield f"| all | {total[0]:,} | {total[1]:,} | {total[2]:,} | {sum(run.seconds for run in runs):.0f} | {found} |"


def written(document: str, runs: list[Run]) -> str:
    """Put runs into the document's table; rows of other targets stay."""
    rows = {run.target: run for run in [*_read(document), *runs]}
    lines = table([rows[name] for name in sorted(rows, key=_order)])
    return _TABLE.sub(lambda _found: "\n".join(lines) + "\n", document)


def _read(document: str) -> Iterator[Run]:
    found = _TABLE.search(document)
    for target, *cells in _ROW.findall(found.group() if found else ""):
        tried, accepted, corpus, seconds, findings = (int(cell.replace(",", "")) for cell in cells)
        yield Run(target, tried, accepted, seconds, corpus, "an earlier one" if findings else None)


def _order(target: str) -> int:
    return TARGETS.index(target) if target in TARGETS else len(TARGETS)


def _child(counters: Path, target: str, arguments: list[str]) -> None:
    """Fuzz in this process, which libFuzzer ends; nothing runs after it, so what was tried is counted in a file."""
    import atheris  # noqa: PLC0415  only this process has use for it

    with atheris.instrument_imports(
        include=[
            "hermit_proxy",
            "hermit_steps",
            "hermit_workers.sandbox",
            "hermit_master",
            "hermit_workers.vm.protocol",
        ]
    ):
        from tests.fuzz.case import mutated  # noqa: PLC0415  as below
        from tests.fuzz.targets import CASES  # noqa: PLC0415  what is imported here is instrumented

    case = CASES[target]
    home = Path(arguments[0])
    for number, seed in enumerate(case.seeds):
        (home / f"seed-{number}").write_bytes(seed)
    words = home.parent / f"{target}.dict"
    words.write_text("".join('"{}"\n'.format("".join(f"\\x{octet:02x}" for octet in word)) for word in case.words))
    with counters.open("r+b") as file:
        counted = mmap.mmap(file.fileno(), _COUNTERS.size)
    tried = accepted = 0

    def _try(data: bytes) -> None:
        nonlocal tried, accepted
        tried += 1
        _COUNTERS.pack_into(counted, 0, tried, accepted)
        try:
            accepted += case.check(data)
        except Exception:
            traceback.print_exc()
            raise

    def _mutate(data: bytes, limit: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311  libFuzzer wants it repeatable
        if rng.random() < _STRUCTURED:
            data = data if rng.random() < _STRUCTURED else rng.choice(case.seeds)
            data = mutated(case, data, rng)
            return data[:limit] if rng.random() < _STRUCTURED else bytes(atheris.Mutate(data[:limit], limit))
        return bytes(atheris.Mutate(data, limit))

    limits = [f"-dict={words}", f"-max_len={case.max_length}", "-len_control=0"]
    atheris.Setup([sys.argv[0], *arguments, *limits], _try, custom_mutator=_mutate)
    atheris.Fuzz()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--inputs", type=int, help="for each target, within --seconds")
    parser.add_argument("--corpus", type=Path, help="a folder to begin with and to leave what is learnt in")
    parser.add_argument("--input", type=Path, help="try this one input and nothing else")
    parser.add_argument("--write", action="store_true", help="put the rows into the table of docs/fuzzing.md")
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return options


def main() -> int:
    """Run targets one after the other; 1 tells of findings, 4 that atheris is not installed."""
    options = _options()
    names = options.targets or TARGETS
    if options.input is not None:
        from tests.fuzz.targets import CASES  # noqa: PLC0415  the parent of a fuzzing run has no use for it

        print("accepted" if CASES[names[0]].check(options.input.read_bytes()) else "refused")
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing needs atheris: .venv/bin/pip install -c script/constraints.txt -e '.[fuzz]'", file=sys.stderr)
        return 4
    folder = Path(tempfile.mkdtemp(prefix="hermit-fuzz-"))
    corpus = options.corpus.resolve() if options.corpus is not None else None
    runs = []
    for name in names:
        run = fuzz(name, folder, seconds=options.seconds, inputs=options.inputs, corpus=corpus)
        print(
            f"{name:14} {run.inputs:>12,} inputs  {run.seconds:6.0f} s  {'FOUND' if run.finding else 'nothing'}",
            flush=True,
        )
        if run.finding:
            print(run.finding, f"the inputs: {folder}/{name}-*", sep="\n", flush=True)
        runs.append(run)
    print("\n".join(table(runs)))
    if options.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(), runs))
    found = any(run.finding for run in runs)
    if not found:
        shutil.rmtree(folder)
    return int(found)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--child"]:
        _child(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
