"""Tells the replay benchmark's rounds as figures: medians, ratios and aims, as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import load
import plot
from rounds import Round

NAMES = ("hermit", "nginx", "mitmproxy")
_LABELS = {"hermit": "Hermit", "nginx": "nginx, direct", "mitmproxy": "mitmproxy"}

Rounds = Mapping[str, Sequence[Round]]


@dataclass(frozen=True)
class Aim:
    """Is what a figure should reach: `value` times what the contender `of` reaches, or `value` itself."""

    value: float
    of: str | None = None
    at_least: bool = False

    def reached(self, figures: Mapping[str, float]) -> bool:
        """Tell whether Hermit's figure reaches it."""
        told = figures["hermit"] / (figures[self.of] if self.of else 1.0)
        return told >= self.value if self.at_least else told <= self.value


@dataclass(frozen=True)
class Figure:
    """Is one row: what is told, in which unit with how many digits, how a round says it, and the aim."""

    what: str
    unit: str
    digits: int
    take: Callable[[Round], float | None]
    aim: Aim | None = None

    def medians(self, rounds: Rounds) -> dict[str, float]:
        """Give each contender's median, without those that have none."""
        found = {}
        for name in NAMES:
            values = [value for one in rounds[name] if (value := self.take(one)) is not None]
            if values:
                found[name] = statistics.median(values)
        return found


FIRST = Figure("small bodies for the first time, 8 connections", "/s", 0, lambda one: one.first.rate)
AGAIN = Figure("small bodies again and again, 8 connections", "/s", 0, lambda one: one.again.rate,
               Aim(15, "mitmproxy", at_least=True))  # fmt: skip
PROCESSOR = Figure("processor seconds of 1,000 small bodies", "s", 3,
                   lambda one: one.processor * 1e3 / one.closed.requests)  # fmt: skip
LATE = Figure("p99 at 64 connections, offered rate", "ms", 2, lambda one: one.offered.p99 * 1e3, Aim(3.0))
FRESH = Figure("a fresh TLS connection and one request", "ms", 2, lambda one: one.fresh.p50 * 1e3,
               Aim(1.5, "nginx"))  # fmt: skip
LARGE = Figure("64 MiB bodies, curl, 4 connections", "MB/s", 0, lambda one: one.large.speed,
               Aim(0.8, "nginx", at_least=True))  # fmt: skip
START = Figure("start to first answer", "s", 2, lambda one: one.start, Aim(0.25))
MEMORY = Figure("most memory", "MB", 0, lambda one: one.resident, Aim(90))
FIGURES = (
    FIRST,
    Figure("processor seconds of 1,000 for the first time", "s", 3,
           lambda one: one.processor_first * 1e3 / one.first.requests),
    AGAIN,
    Figure("the same with curl", "/s", 0, lambda one: one.curl.rate),
    Figure("small bodies, 64 connections, all they can", "/s", 0, lambda one: one.closed.rate),
    PROCESSOR,
    Figure("p50 at 64 connections, all they can", "ms", 2, lambda one: one.closed.p50 * 1e3),
    Figure("p99 at 64 connections, all they can", "ms", 2, lambda one: one.closed.p99 * 1e3),
    Figure("p50 at 64 connections, offered rate", "ms", 2, lambda one: one.offered.p50 * 1e3),
    LATE,
    Figure("share of that time spent ready, without a core", "%", 1,
           lambda one: None if one.waited is None else 100 * (one.waited + one.offered.waited) / one.offered.seconds),
    FRESH,
    Figure("the same, TLS session resumed", "ms", 2, lambda one: one.resumed.p50 * 1e3, Aim(1.5, "nginx")),
    LARGE,
    Figure("processor seconds of 1 GB of 64 MiB bodies", "s", 2,
           lambda one: one.processor_large * 1e9 / one.large.size),
    START,
    MEMORY,
    Figure("memory at the end (PSS)", "MB", 0, lambda one: one.proportional),
)  # fmt: skip


@dataclass(frozen=True)
class Huge:
    """Is one huge body: what it took of each contender that was asked for it, and Hermit's memory afterwards (MB)."""

    loads: Mapping[str, load.Load]
    resident: float


def table(rounds: Rounds, huge: Huge) -> str:
    """Give the figures as Markdown."""
    lines = [f"| | {' | '.join(_LABELS[name] for name in NAMES)} | Hermit to nginx | to mitmproxy | aim | reached |"]
    lines.append("|---" + "|---:" * 5 + "|---|---|")
    for figure in FIGURES:
        found = figure.medians(rounds)
        told = [_told(found.get(name), figure) for name in NAMES]
        told += [f"{found['hermit'] / found[name]:.2f}" if found.get(name) else "" for name in NAMES[1:]]
        told += _aimed(figure, found)
        lines.append(f"| {figure.what} | {' | '.join(told)} |")
    hermit, nginx = huge.loads["hermit"], huge.loads["nginx"]
    told = [f"{huge.resident:.0f} MB", "", "", "", "", *_aimed(MEMORY, {"hermit": huge.resident})]
    lines.append(f"| most memory with one body of {hermit.size / 2**20:,.0f} MiB | {' | '.join(told)} |")
    speeds = [
        f"{hermit.speed:,.0f} MB/s",
        f"{nginx.speed:,.0f} MB/s",
        "",
        f"{hermit.speed / nginx.speed:.2f}",
        "",
        "",
        "",
    ]
    lines.append(f"| that body, once | {' | '.join(speeds)} |")
    return "\n".join(lines) + "\n"


def clients(rounds: Rounds) -> str:
    """Say how busy the clients were: what they show is the contenders' only while they have time left."""
    lines = [
        "| processor time of the client, share of one core | Hermit | nginx, direct | mitmproxy |",
        "|---|---:|---:|---:|",
    ]
    loads: dict[str, Callable[[Round], load.Load]] = {
        "lean client, 8 connections": lambda one: one.again,
        "curl, 8 connections": lambda one: one.curl,
        "lean client, 64 connections, all they can": lambda one: one.closed,
        "lean client, 64 connections, offered rate": lambda one: one.offered,
        "curl, 64 MiB bodies": lambda one: one.large,
    }
    for what, take in loads.items():
        shares = [f"{statistics.median(take(one).client_share for one in rounds[name]):.0%}" for name in NAMES]
        lines.append(f"| {what} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def quieter(rounds: Rounds) -> dict[str, list[Round]]:
    """Give of each contender's rounds the half (one more where they are odd) in which others took least meanwhile."""
    kept = {}
    for name, kind in rounds.items():
        order = sorted(range(len(kind)), key=lambda index: kind[index].others)
        kept[name] = [kind[index] for index in sorted(order[: (len(kind) + 1) // 2])]
    return kept


def others(rounds: Rounds) -> str:
    """Say how much of the machine went to what has nothing to do with the benchmark: median and worst."""
    # The kernel counts some clocks by ticks and others exactly: on a quiet machine the difference can be below nothing.
    shares = {name: sorted(max(0.0, one.others) for one in rounds[name]) for name in NAMES}
    return ", ".join(f"{name} {statistics.median(one):.0%} (at worst {one[-1]:.0%})" for name, one in shares.items())


def picture(rounds: Rounds) -> str:
    """Draw the figures that have an aim, and what they cost, as SVG."""
    panels = []
    for figure in (FIRST, AGAIN, LARGE, LATE, FRESH, PROCESSOR, START, MEMORY):
        found = figure.medians(rounds)
        aim = figure.aim.value * (found[figure.aim.of] if figure.aim.of else 1.0) if figure.aim else None
        values = [(_LABELS[name], value, f"{value:,.{figure.digits}f} {figure.unit}") for name, value in found.items()]
        better = "more" if figure.unit in {"/s", "MB/s"} else "less"
        panels.append(plot.Panel(figure.what, f"{better} is better", values, aim))
    return plot.panels("A replay by Hermit beside nginx with the same files and mitmproxy's server replay", panels)


def _told(value: float | None, figure: Figure) -> str:
    return "" if value is None else f"{value:,.{figure.digits}f} {figure.unit}"


def _aimed(figure: Figure, found: Mapping[str, float]) -> list[str]:
    aim = figure.aim
    if aim is None:
        return ["", ""]
    bound = "at least" if aim.at_least else "at most"
    of = f"{aim.value:g} of {aim.of}" if aim.of else f"{aim.value:g} {figure.unit}"
    return [f"{bound} {of}", "yes" if aim.reached(found) else "no"]
