"""Measures the wire: memory for a huge body, speed of recording a large one, cost of a run that asks for nothing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import measure
import origin
import plot

HERE = Path(__file__).resolve().parent
HERMIT = HERE.parent / ".venv" / "bin" / "hermit"
MITMDUMP = HERE.parent / ".venv" / "bin" / "mitmdump"
MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """Is one row of the table: what was measured, against what, and the aim beside it."""

    what: str
    value: float
    unit: str
    against: str
    ratio: float | None
    aim: str


@dataclass(frozen=True)
class Bench:
    """Is where a measurement happens: folders, origin, and the environment that Hermit runs in."""

    folder: Path
    origin: origin.Origin
    rounds: int

    def environment(self) -> dict[str, str]:
        """Give an environment with nothing of the user's but PATH."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"} | {
            f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")
        }

    def prepare(self) -> None:
        """Write rules and the user's settings."""
        config = self.folder / "config" / "hermit"
        config.mkdir(parents=True)
        (config / "config.yaml").write_text(
            f"upstream:\n  allow: ['127.0.0.1:{self.origin.port}']\n  trust: {self.origin.certificate}\n"
        )
        project = self.folder / "project" / ".hermit"
        project.mkdir(parents=True)
        (project / "rules.yaml").write_text(
            f'rules:\n  - pattern: "127.0.0.1:{self.origin.port}/.*"\n    action: ALLOW\n'
        )

    def hermit(self, mode: str, *command: str) -> measure.Run:
        """Run a command behind Hermit in the project; for a recording the snapshot and the store are emptied first."""
        project = self.folder / "project"
        if mode == "record":
            shutil.rmtree(project / ".hermit" / "network", ignore_errors=True)
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        rest = ["--rules", str(project / ".hermit/rules.yaml"), "--snapshot", str(project / ".hermit/network")]
        return measure.run([str(HERMIT), "run", "--mode", mode, *rest, "--", *command], self.environment())

    def curl(self, name: str, *more: str) -> list[str]:
        """Give the command that fetches a file and notes the transfer's own seconds."""
        note = self.folder / "seconds"
        return [
            "sh",
            "-c",
            'curl -fsS --noproxy "" -o /dev/null -w "%{time_total}" "$@" > "$0"',
            str(note),
            *more,
            f"{self.origin.url}/{name}",
        ]

    def transfer(self, run: measure.Run) -> measure.Run:
        """Replace a run's wall seconds by the transfer's own."""
        return measure.Run(float((self.folder / "seconds").read_text()), run.proxy_mib)


def memory(bench: Bench, mib: int) -> list[Figure]:
    """Record and replay one body of `mib` MiB, and tell the highest memory of the proxy."""
    _file(bench.origin.files / "huge", mib)
    figures = []
    for mode in ("record", "hermetic"):
        run = bench.hermit(mode, *bench.curl("huge"))
        what = f"memory of a proxy that {'records' if mode == 'record' else 'replays'} a {mib} MiB body"
        figures.append(Figure(what, run.proxy_mib, "MiB", "", None, "150 MB"))
    return figures


def recording(bench: Bench, mib: int) -> list[Figure]:
    """Record one body of `mib` MiB over TLS, beside curl straight and curl through a plain streaming mitmdump."""
    _file(bench.origin.files / "large", mib)
    port = origin.free_port()
    confdir = bench.folder / "mitm"
    mitmdump = subprocess.Popen(
        [
            MITMDUMP, "-q", "--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={confdir}",
            "--set", "stream_large_bodies=1", "--set", f"ssl_verify_upstream_trusted_ca={bench.origin.certificate}",
        ],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    trust = ["--cacert", str(bench.origin.certificate)]
    mitm = ["--proxy", f"http://127.0.0.1:{port}", "--cacert", str(confdir / "mitmproxy-ca-cert.pem")]
    try:
        origin.wait(port)
        plain = bench.environment()
        runs = measure.in_turn(
            {
                "straight": lambda: bench.transfer(measure.run(bench.curl("large", *trust), plain)),
                "mitmdump": lambda: bench.transfer(measure.run(bench.curl("large", *mitm), plain)),
                "record": lambda: bench.transfer(bench.hermit("record", *bench.curl("large"))),
                "hermetic": lambda: bench.transfer(bench.hermit("hermetic", *bench.curl("large"))),
            },
            bench.rounds,
        )
    finally:
        mitmdump.terminate()
        mitmdump.wait()
    seconds = {name: measure.median(results) for name, results in runs.items()}
    against = f"straight: {seconds['straight']:.2f} s"
    aims = {"straight": "", "mitmdump": "", "record": "1.5 s", "hermetic": ""}
    names = {
        "straight": f"{mib} MiB over TLS, straight",
        "mitmdump": f"{mib} MiB over TLS, through mitmdump that streams and keeps nothing",
        "record": f"{mib} MiB over TLS, recorded",
        "hermetic": f"{mib} MiB over TLS, replayed",
    }
    return [
        Figure(names[name], seconds[name], "s", against, seconds[name] / seconds["straight"], aims[name])
        for name in names
    ]


def start(bench: Bench) -> list[Figure]:
    """Run `true` behind Hermit and in bubblewrap alone."""
    bench.hermit("record", *bench.curl("small"))
    sandbox = ["bwrap", "--unshare-all", "--dev-bind", "/", "/", "--proc", "/proc", "true"]
    runs = measure.in_turn(
        {
            "bubblewrap": lambda: measure.run(sandbox, bench.environment()),
            "hermetic": lambda: bench.hermit("hermetic", "true"),
            "record": lambda: bench.hermit("record", "true"),
        },
        bench.rounds * 2 + 1,
    )
    base = measure.median(runs["bubblewrap"])
    return [
        Figure(f"`hermit run --mode {mode} -- true` beyond bubblewrap itself", measure.median(runs[mode]) - base, "s",
               f"bubblewrap: {base:.3f} s", None, "0.6 s" if mode == "hermetic" else "")
        for mode in ("hermetic", "record")
    ]  # fmt: skip


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, once; nothing is written")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name, origin.nginx(Path(name) / "nginx") as served:
        bench = Bench(Path(name), served, 1 if quick else 5)
        bench.prepare()
        (served.files / "small").write_bytes(b"small\n")
        figures = memory(bench, 200 if quick else 2048) + recording(bench, 50 if quick else 512) + start(bench)
    document = {"machine": measure.machine(), "time": int(time.time()), "rounds": bench.rounds}
    document["figures"] = [asdict(figure) for figure in figures]
    text = table(figures, measure.machine())
    sys.stdout.write(text)
    if not quick:
        results = HERE / "results"
        results.mkdir(exist_ok=True)
        (results / "wire.json").write_text(json.dumps(document, indent=2) + "\n")
        (results / "wire.md").write_text(text)
        seconds = [
            (f.what.replace("MiB over TLS, ", "MiB, ").replace("`", ""), f.value) for f in figures if f.unit == "s"
        ]
        (results / "wire.svg").write_text(plot.bars("Seconds, median (less is better)", seconds, "s"))
    return 0


def table(figures: list[Figure], machine: str) -> str:
    """Give the figures as Markdown."""
    rows = ["| what | measured | ratio to straight | aim |", "|---|---|---|---|"]
    for figure in figures:
        value = f"{figure.value:.0f} {figure.unit}" if figure.unit == "MiB" else f"{figure.value:.2f} {figure.unit}"
        rows.append(f"| {figure.what} | {value} | {f'{figure.ratio:.1f}' if figure.ratio else ''} | {figure.aim} |")
    return "\n".join(rows) + f"\n\nMedians of one run. Machine: {machine}.\n"


def _file(path: Path, mib: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for index in range(mib):
            file.write(index.to_bytes(8, "big") + block[8:])


if __name__ == "__main__":
    sys.exit(main())
