"""Finds what a project says of its build: its spec, or the one script that stands for it."""

from __future__ import annotations

import os
from pathlib import Path

from hermit_proxy.closedyaml.file import read_bytes
from hermit_proxy.errors import InputError, Mistake, UsageError
from hermit_steps.reader import read_spec
from hermit_steps.spec import STOCK_IMAGES, Run, Spec, Step

_SPEC = ".hermit/build.yaml"
_SCRIPT = ".hermit/build"
# Names that people give the spec by habit.
_MISNAMED = (".hermit/build.yml", ".hermit.yaml", ".hermit.yml", ".hermit/spec.yaml")
_DOCKERFILES = ("Dockerfile", "Containerfile")


def find_spec(root: Path) -> Spec:
    """Give the spec of the project at a folder; raise InputError or UsageError (exit code 2) where it has none.

    Without `.hermit/build.yaml` an executable `.hermit/build` is the one step, with network.
    """
    spec, script = root / _SPEC, root / _SCRIPT
    if os.path.lexists(spec):
        _check_inside(root, spec)
        return read_spec(read_bytes(spec), spec)
    if os.path.lexists(script):
        _check_inside(root, script)
        _check_script(script)
        return Spec(STOCK_IMAGES[0], (Step(_SCRIPT, Run(f"./{_SCRIPT}"), "proxy"),))
    raise _nothing(root)


def _check_inside(root: Path, path: Path) -> None:
    """Refuse a link out of the project: what is built would be in no commit."""
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = error.strerror if isinstance(error, OSError) else "links in a circle"
        raise InputError([Mistake(path, None, f"cannot be read: {reason}")]) from error
    if not inside:
        raise InputError([Mistake(path, None, "is a link out of the project; what says how it is built lies within")])


def _check_script(script: Path) -> None:
    if not script.is_file():
        raise InputError([Mistake(script, None, "expected a script, this is something else")])
    if not script.stat().st_mode & 0o111:
        raise InputError(
            [Mistake(script, None, "is there, but may not be executed")],
            hint=f"chmod +x {script}    (and `git update-index --chmod=+x {_SCRIPT}` where git ignores modes)",
        )


def _nothing(root: Path) -> UsageError:
    if misnamed := next((name for name in _MISNAMED if (root / name).is_file()), None):
        return UsageError(f"{root / misnamed}: a spec is read from {_SPEC}", hint=f"rename it to {root / _SPEC}")
    if dockerfile := next((name for name in _DOCKERFILES if (root / name).is_file()), None):
        return UsageError(
            f"{root / dockerfile}: container builds come with a later version, and {_SPEC} is not there",
            hint=f"hermit init {root}    (proposes a spec of `apt` and `run` steps)",
        )
    return UsageError(
        f"{root}: nothing says how this is built: no {_SPEC}, no executable {_SCRIPT}",
        hint=f"hermit init {root}    (looks at the project and proposes a spec)",
    )
