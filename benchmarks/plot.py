"""Draws bars as SVG that reads well in light and dark, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_ROW, _LEFT, _WIDTH = 34, 520, 960
_LIGHT = (
    "text{fill:#1f2328}.n{fill:#59636e;font-size:12px}.b{fill:#2f6f9f}.o{fill:#b6c2cc}"
    ".a{stroke:#bc4c00}.w{fill:#bc4c00;font-size:12px}"
)
_DARK = "text{fill:#e6edf3}.n{fill:#9198a1}.b{fill:#6cb6e8}.o{fill:#4a5560}.a{stroke:#f0883e}.w{fill:#f0883e}"
_BAR, _LABEL, _LONGEST = 22, 104, 240
_STYLE = 'role="img" font-family="system-ui, sans-serif" font-size="14"'


def bars(title: str, values: list[tuple[str, float]], unit: str) -> str:
    """Give an SVG of horizontal bars, one for each (label, value)."""
    highest = max(value for _, value in values) or 1.0
    height = 60 + _ROW * len(values)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_STYLE}>',
        f"<title>{escape(title)}</title>",
        "<style>text{fill:#1f2328}.b{fill:#2f6f9f}",
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#6cb6e8}}</style>",
        f'<text x="16" y="28" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    for index, (label, value) in enumerate(values):
        y = 50 + index * _ROW
        width = max(2.0, (_WIDTH - _LEFT - 90) * value / highest)
        lines += [
            f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="b" x="{_LEFT}" y="{y}" width="{width:.1f}" height="22" rx="3"/>',
            f'<text x="{_LEFT + width + 8:.1f}" y="{y + 16}">{value:.2f} {escape(unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


@dataclass(frozen=True)
class Panel:
    """Is one small plot of a few bars with a scale of its own.

    `values` are (label, value, what stands beside the bar), the first is the one that is told about; `aim` is a line.
    """

    title: str
    note: str
    values: Sequence[tuple[str, float, str]]
    aim: float | None = None


def panels(title: str, drawn: Sequence[Panel]) -> str:
    """Give an SVG of panels, two beside each other."""
    rows = max(len(panel.values) for panel in drawn)
    tall = 62 + _BAR * rows
    height = 56 + tall * ((len(drawn) + 1) // 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_STYLE}>',
        f"<title>{escape(title)}</title>",
        f"<style>{_LIGHT}@media(prefers-color-scheme:dark){{{_DARK}}}</style>",
        f'<text x="16" y="28" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    for index, panel in enumerate(drawn):
        lines += _panel(panel, 16 + (index % 2) * (_WIDTH // 2), 56 + (index // 2) * tall)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    bar = left + _LABEL
    scale = _LONGEST / max([value for _, value, _ in panel.values] + [panel.aim or 0.0])
    lines = [
        f'<text x="{left}" y="{top + 14}" font-weight="600">{escape(panel.title)}</text>',
        f'<text class="n" x="{left}" y="{top + 31}">{escape(panel.note)}</text>',
    ]
    for index, (label, value, words) in enumerate(panel.values):
        y = top + 40 + index * _BAR
        width = max(2.0, value * scale)
        lines += [
            f'<text x="{bar - 8}" y="{y + 13}" text-anchor="end" font-size="13">{escape(label)}</text>',
            f'<rect class="{"o" if index else "b"}" x="{bar}" y="{y}" width="{width:.1f}" height="17" rx="2"/>',
            f'<text x="{bar + _LONGEST + 10}" y="{y + 13}" font-size="13">{escape(words)}</text>',
        ]
    if panel.aim is not None:
        x, y = bar + panel.aim * scale, top + 37
        lines += [
            f'<path class="a" d="M{x:.1f} {y}v{_BAR + 1}" stroke-width="2"/>',
            f'<text class="w" x="{x:.1f}" y="{y - 4}" text-anchor="middle">aim</text>',
        ]
    return lines
