"""Tells the build benchmark's turns as figures: medians, ratios and the proxy's share, as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import plot
from buildturn import Turn, Wire

STRAIGHT, RECORDED, HERMETIC = KINDS = ("straight", "recorded", "hermetic")
AIMS = {RECORDED: 1.3, HERMETIC: 1.0}
START_AIM = 0.15
_MEGA = 1e6
_FINE = 10  # seconds below which hundredths are told
_LARGE = 0.1  # of which tenths of a percent are not told

Kinds = Mapping[str, Sequence[Turn]]


@dataclass(frozen=True)
class Start:
    """Is what a cell that runs `true` takes, and bubblewrap alone that does the same: medians in seconds."""

    cell: float
    bubblewrap: float


@dataclass(frozen=True)
class Figures:
    """Is all that was measured: the turns of each build by name, distance in ms and kind, and the names that failed.

    `machine` is the line of `measure.machine`, `connects` the median seconds of a TCP connection to the registries, by
    distance; older results have none.
    """

    machine: str
    start: Start
    builds: Mapping[str, Mapping[int, Kinds]]
    failed: Sequence[str] = ()
    connects: Mapping[int, float] = field(default_factory=dict)

    def table(self) -> str:
        """Give the figures as Markdown."""
        behind = "to straight | proxy: processor, open"
        lines = [f"| build | registries | requests | straight | recorded | {behind} | hermetic | {behind} |"]
        lines += ["|---|---" + "|---:" * 8 + "|"]
        for name, distances in self.builds.items():
            lines += [f"| {label(name)} | {far(away)} | {' | '.join(_cells(distances[away]))} |" for away in distances]
        beyond = self.start.cell - self.start.bubblewrap
        rounds = sorted({len(turns) for kinds in self._kinds() for turns in kinds.values()})
        lines += [
            "",
            f"Aims: recorded at most {AIMS[RECORDED]} times straight, hermetic at most {AIMS[HERMETIC]} times.",
            *self._distances(),
            "What the proxy did is told in shares of the build's own seconds: the processor time that it used,",
            "its start included, and the time while at least one request was open ([how](../README.md#builds)).",
            "A cell that runs `true`, from nothing to nothing, beyond bubblewrap itself:",
            f"{beyond:.2f} s (aim {START_AIM} s).",
            "",
            *([f"Failed, and not in the table: {', '.join(map(label, self.failed))}.", ""] if self.failed else []),
            f"Medians of one run; turns of each build: {' to '.join(map(str, rounds))}.",
            f"Meanwhile other processes took of the machine: {self._others()}.",
            f"Machine: {self.machine}.",
            "",
        ]
        return "\n".join(lines)

    def picture(self) -> str:
        """Draw each build's seconds as SVG; the aim of the hermetic one is the straight one beside it."""
        title = "Seconds of a build; in brackets how many times straight"
        drawn = [_panel(name, away, kinds) for name, all_ in self.builds.items() for away, kinds in all_.items()]
        return plot.panels(title, drawn)

    def _kinds(self) -> Iterator[Kinds]:
        for distances in self.builds.values():
            yield from distances.values()

    def _distances(self) -> list[str]:
        """Say how far away the registries were, as a connection has it, and what carrying the packets took."""
        if not self.connects:
            return []
        told = ", ".join(f"{far(away)} {seconds * 1000:.1f} ms" for away, seconds in self.connects.items())
        lines = [f"A TCP connection to the registries took: {told}."]
        if any(self.connects):
            shares = [
                turn.carried / turn.seconds for kinds in self._kinds() for turns in kinds.values() for turn in turns
            ]
            worst = max(shares, default=0.0)
            lines += [f"Holding the packets for so long took at worst {_share(worst)} of one core during a build."]
        return lines

    def _others(self) -> str:
        """Say how much of the machine went to what has nothing to do with the benchmark: median and worst."""
        shares = {
            kind: sorted(turn.others for kinds in self._kinds() for turn in kinds[kind]) or [0.0] for kind in KINDS
        }
        return ", ".join(
            f"{kind} {statistics.median(one):.0%} (at worst {one[-1]:.0%})" for kind, one in shares.items()
        )


def label(name: str) -> str:
    """Give a sample's name for readers: `cargo, large` for `cargo-large`."""
    return name.replace("-", ", ")


def far(away: int) -> str:
    """Give a distance in ms for readers."""
    return f"{away} ms away" if away else "next door"


def seconds(turns: Sequence[Turn]) -> float:
    """Give the median of the wall seconds."""
    return statistics.median(turn.seconds for turn in turns)


def shares(turns: Sequence[Turn]) -> tuple[float, float]:
    """Give the medians of the proxy's processor time, and of the time with an open request, for each second."""
    return (
        statistics.median(wire.processor / turn.seconds for turn in turns if (wire := turn.wire)),
        statistics.median(wire.open / turn.seconds for turn in turns if (wire := turn.wire)),
    )


def _cells(kinds: Kinds) -> list[str]:
    straight = seconds(kinds[STRAIGHT])
    cells = [_asked(kinds), _told(straight)]
    for kind in AIMS:
        processor, opened = shares(kinds[kind])
        own = seconds(kinds[kind])
        cells += [
            _told(own),
            f"{own / straight:.2f}, {own - straight:+.2f} s",
            f"{_share(processor)}, {_share(opened)}",
        ]
    return cells


def _panel(name: str, away: int, kinds: Kinds) -> plot.Panel:
    straight = seconds(kinds[STRAIGHT])
    used = ", ".join(f"{kind} {_share(shares(kinds[kind])[0])}" for kind in (HERMETIC, RECORDED))
    values = []
    for kind in (HERMETIC, STRAIGHT, RECORDED):
        own = seconds(kinds[kind])
        beside = f" ({own / straight:.2f})" if kind in AIMS else ""
        values.append((kind, own, f"{_told(own)}{beside}"))
    return plot.Panel(
        f"{label(name)}, registries {far(away)}", f"requests: {_asked(kinds)}; the proxy's processor: {used}", values
    )


def _asked(kinds: Kinds) -> str:
    """Say how many requests the hermetic builds had, and how much was answered."""
    requests = _median(kinds[HERMETIC], lambda wire: wire.requests)
    size = _median(kinds[HERMETIC], lambda wire: wire.size) / _MEGA
    return f"{requests:,.0f}, {size:,.1f} MB" if requests else "none"


def _median(turns: Sequence[Turn], take: Callable[[Wire], float]) -> float:
    return statistics.median(take(turn.wire) for turn in turns if turn.wire)


def _told(value: float) -> str:
    return f"{value:.{2 if value < _FINE else 1}f} s"


def _share(value: float) -> str:
    return f"{value:.{0 if not value or value >= _LARGE else 1}%}"
