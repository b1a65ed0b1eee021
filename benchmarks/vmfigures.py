"""Tells the VM benchmark's turns as figures: medians by phase, ratios and the wire, as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plot
from vmturn import COLD, SANDBOX, WARM, Turn
from vmwire import WAYS

COLD_AIM, WARM_AIM, TEARDOWN_AIM = 2.0, 1.0, 0.5
SPEED_AIM, CONNECTIONS_AIM = 150, 300
BARE, TUNED_BARE, COLD_VM, WARM_VM, SANDBOXED = KINDS = ("bare", "bare, tuned", "cold", "warm", "sandbox")
_LABELS = {
    BARE: "QEMU alone, the kernel to userland",
    TUNED_BARE: "the same, with the arguments that Hermit gives a kernel",
    COLD_VM: "VM, cold",
    WARM_VM: "VM, out of the pool",
    SANDBOXED: "sandbox",
}
_PHASES = {
    "disks": "disks made",
    "libvirtd": "libvirtd answers",
    "machine": "machine created, its wire laid, let go",
    "kernel": "firmware and kernel, to userland",
    "init": "init: modules, root, network",
    "agent": "agent greets",
    "lease": "leased: clock and chance",
    "cell": "cell made",
    "source": "source put (200 files, 1.6 MB)",
}


@dataclass(frozen=True)
class Figures:
    """Is all that was measured: the turns by kind, and the wire's rates by way, none where this was no root."""

    machine: str
    turns: Mapping[str, Sequence[Turn]]
    wire: Mapping[str, Mapping[str, float]]

    def table(self) -> str:
        """Give the figures as Markdown."""
        bare = seconds(self.turns[BARE])
        lines = [
            "| from the request to where a first step can start | median | lowest | to QEMU alone | end of the cell |"
        ]
        lines += ["|---|---:|---:|---:|---:|"]
        for kind in KINDS:
            turns, own = self.turns[kind], seconds(self.turns[kind])
            ends = f"{teardown(turns):.2f} s" if kind not in {BARE, TUNED_BARE} else ""
            least = min(turn.seconds for turn in turns)
            lines.append(f"| {_LABELS[kind]} | {own:.2f} s | {least:.2f} s | {own / bare:.2f} | {ends} |")
        lines += ["", "| phase | VM, cold | VM, out of the pool | sandbox |", "|---|---:|---:|---:|"]
        for phase in dict.fromkeys((*COLD[:-1], *WARM[:-1], *SANDBOX)):
            told = [_phase(self.turns[kind], phase) for kind in (COLD_VM, WARM_VM, SANDBOXED)]
            lines.append(f"| {_PHASES[phase]} | {' | '.join(told)} |")
        lines += [""]
        if self.wire:
            lines += ["| the wire of a VM | to the guest | from the guest | connections |", "|---|---:|---:|---:|"]
            for end, rates in self.wire.items():
                speeds = [f"{rates[way]:.0f} MB/s" for way in ("to the guest", "from the guest")]
                lines.append(f"| {WAYS[end]} | {' | '.join(speeds)} | {rates['connections']:.0f} /s |")
            lines += [""]
        busy = sorted(turn.busy for turns in self.turns.values() for turn in turns)
        lines += [
            f"Aims under emulation: cold at most {COLD_AIM:g} times QEMU alone, out of the pool at most {WARM_AIM} s,",
            f"the end at most {TEARDOWN_AIM} s; at least {SPEED_AIM} MB/s and {CONNECTIONS_AIM} connections a second.",
            "",
            f"Medians of one run; turns of each kind: {len(self.turns[COLD_VM])}, one after the other.",
            "What others used of the machine right before a turn:",
            f"{statistics.median(busy):.0%} (at worst {busy[-1]:.0%}).",
            f"Machine: {self.machine}.",
            "",
        ]
        return "\n".join(lines)

    def picture(self) -> str:
        """Draw the starts, the phases of a cold one, the ends, and the wire as SVG."""
        bare = seconds(self.turns[BARE])
        short = {COLD_VM: "cold", WARM_VM: "pool", SANDBOXED: "sandbox", BARE: "QEMU alone"}
        starts = [
            (word, seconds(self.turns[kind]), f"{seconds(self.turns[kind]):.2f} s") for kind, word in short.items()
        ]
        ends = [
            (short[kind], teardown(self.turns[kind]), f"{teardown(self.turns[kind]):.2f} s")
            for kind in (COLD_VM, WARM_VM, SANDBOXED)
        ]
        phases = [
            (name, own, f"{own:.2f} s") for name in COLD if (own := _median(self.turns[COLD_VM], name)) is not None
        ]
        drawn = [
            plot.Panel("To a first step", "less is better; the aim is twice QEMU alone", starts, COLD_AIM * bare),
            plot.Panel("Out of the pool", "less is better", starts[1:2], WARM_AIM),
            plot.Panel("A cold start by phase", "first what comes first", phases),
            plot.Panel("The end of a cell", "less is better", ends, TEARDOWN_AIM),
        ]
        for way, aim in (("to the guest", SPEED_AIM), ("from the guest", SPEED_AIM), ("connections", CONNECTIONS_AIM)):
            unit = "/s" if way == "connections" else " MB/s"
            values = [(end, rates[way], f"{rates[way]:.0f}{unit}") for end, rates in self.wire.items()]
            if values:
                drawn.append(plot.Panel(f"The wire: {way}", "more is better", values, aim))
        return plot.panels("The start and the end of a VM, and its wire", drawn)


def seconds(turns: Sequence[Turn]) -> float:
    """Give the median of the time to where a first step can start."""
    return statistics.median(turn.seconds for turn in turns)


def teardown(turns: Sequence[Turn]) -> float:
    """Give the median of the time in which a cell ends."""
    return statistics.median(turn.teardown for turn in turns)


def _median(turns: Sequence[Turn], phase: str) -> float | None:
    found = [turn.phases[phase] for turn in turns if phase in turn.phases]
    return statistics.median(found) if found else None


def _phase(turns: Sequence[Turn], phase: str) -> str:
    found = _median(turns, phase)
    return "" if found is None else f"{found:.2f} s"
