"""Runs commands side by side and tells what they cost: seconds, and the memory of Hermit's own processes."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MODULES = ("hermit_proxy.recorder", "hermit_proxy.replayer")


@dataclass(frozen=True)
class Run:
    """Is one run of a command: wall seconds, and the highest memory of the proxy (MiB; 0 where there was none)."""

    seconds: float
    proxy_mib: float


def come_first() -> None:
    """Have this process and what it starts come before others' where root may; others measure with what is left."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        # Where the kernel shares cores by session, a priority holds within the session alone.
        Path("/proc/self/autogroup").write_text("-10")


def run(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end; anything but success is an error with its output."""
    peak = [0]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{output.decode(errors='replace')[-3000:]}")
    return Run(seconds, peak[0] / 1024)


def in_turn(candidates: dict[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Run all candidates once, then again, so that a slow minute of the machine hits all of them."""
    results: dict[str, list[Run]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            results[name].append(candidate())
    return results


def median(runs: list[Run]) -> float:
    """Give the median of the seconds."""
    return statistics.median(one.seconds for one in runs)


def machine() -> str:
    """Describe the machine in one line."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return (
        f"{os.cpu_count()} cores ({model}), {memory / 2**20:.0f} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def processor_seconds() -> float:
    """Give the processor seconds that everything on this machine has used so far, what a hypervisor took included."""
    fields = [int(field) for field in _lines("/proc/stat")[0].split()[1:9]]
    idle, waiting = fields[3:5]
    return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> set[int]:
    """Give a process and all that it started."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = "".join(_lines(f"/proc/{name}/stat")).rpartition(")")[2].split()
            if fields:
                parents[int(name)] = int(fields[1])
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def _watch(root: int, peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        for pid in descendants(root):
            if any(module in _command(pid) for module in _MODULES):
                peak[0] = max(peak[0], _high_water(pid))


def _command(pid: int) -> str:
    return "".join(_lines(f"/proc/{pid}/cmdline")).replace("\0", " ")


def _high_water(pid: int) -> int:
    return next((int(line.split()[1]) for line in _lines(f"/proc/{pid}/status") if line.startswith("VmHWM")), 0)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines(keepends=True)
    except OSError:
        return []
