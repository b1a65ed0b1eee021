"""Says which submodules a build will find empty: it gets a clone's folders, whatever is checked out beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hermit_steps.plan import Plan
from hermit_workers.source.repository import SUBMODULE
from hermit_workers.source.worktree import Source

_MOST = 1 << 20  # bytes of a script that is looked at
_UPDATE = "git submodule update --init --recursive"


def unfetched(source: Source, plan: Plan) -> Iterator[str]:
    """Give a line where no step speaks of submodules, and there are some; nothing else."""
    paths = [entry.path for entry in source.index if entry.mode == SUBMODULE]
    if not paths:
        return
    told = [word for step in plan.steps for word in step.argv]
    told.append(_script(source.top / source.below / ".hermit/build"))
    if not any("submodule" in text for text in told):
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        fetch = f"a step with `network: proxy` fetches it: {_UPDATE}"
        yield f"submodule {paths[0]}{more}: an empty folder in the build, as in a clone; {fetch}"


def _script(path: Path) -> str:
    # A project may make it a link to what never ends: /dev/zero, or a pipe of the host's.
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""
