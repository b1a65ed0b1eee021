"""Draws bars as SVG that reads well in light and dark, without a plotting library."""

from __future__ import annotations

from xml.sax.saxutils import escape

_ROW, _LEFT, _WIDTH = 34, 520, 960
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
