"""Makes small projects for the tests of `hermit init`, and tells what a detector says in a few lines."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.init.finding import Part
from hermit_cli.init.tree import Tree


def make(folder: Path, files: dict[str, str]) -> Tree:
    """Write files by their paths; those named in `files` with a leading `!` may be run."""
    for name, text in files.items():
        path = folder / name.removeprefix("!")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.startswith("!"):
            path.chmod(0o755)
    return Tree(folder.resolve())


def steps(part: Part | None) -> list[str]:
    """Give each command on a line of its own; `+` stands before those with network, `#` before those of root."""
    assert part is not None
    return [
        f"{'#' if do.root else ''}{'+' if do.network else ''}{do.name}: {line}"
        for do in part.steps
        for line in do.lines
    ]


def asked(part: Part | None) -> list[str]:
    """Give the URLs that the project names, with where."""
    assert part is not None
    return [f"{one.url} {one.why}" for one in part.asked]
