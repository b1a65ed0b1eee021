"""Compares what builds gave byte by byte, and asks diffoscope why where they differ."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# Written by Hermit beside the artifacts.
_OWN = frozenset({"SHA256SUMS", ".gitignore"})
_TIMEOUT = 120
_REPORT_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Is how the outputs of several builds of the same are to each other.

    `differing` are the artifacts that are not the same, or not there, in all of them. Of these the `unexplained` have
    no reason on record; `obsolete` are patterns on record that nothing differs by.
    """

    artifacts: int
    size: int
    differing: tuple[str, ...]
    unexplained: tuple[str, ...]
    obsolete: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Tell whether the outputs are as the project's data says."""
        return self.artifacts > 0 and not self.unexplained and not self.obsolete


def compare(outputs: Sequence[Path], reasons: Mapping[str, str]) -> Verdict:
    """Compare folders of artifacts; `reasons` are patterns of those that are known to differ."""
    listings = [_files(folder) for folder in outputs]
    every = sorted(set().union(*listings))
    first = outputs[0]
    differing = tuple(
        name
        for name in every
        if not all(name in listing for listing in listings)
        or not all(filecmp.cmp(first / name, other / name, shallow=False) for other in outputs[1:])
    )
    return Verdict(
        artifacts=len(every),
        size=sum((first / name).stat().st_size for name in listings[0]),
        differing=differing,
        unexplained=tuple(name for name in differing if not any(fnmatchcase(name, pattern) for pattern in reasons)),
        obsolete=tuple(pattern for pattern in reasons if not any(fnmatchcase(name, pattern) for name in differing)),
    )


def explain(one: Path, other: Path) -> str:
    """Give what diffoscope says of two files, or why it says nothing."""
    if not (one.exists() and other.exists()):
        return f"only one of {one} and {other} is there\n"
    if shutil.which("diffoscope") is None:
        return "diffoscope is not installed: apt-get install diffoscope-minimal\n"
    command = ["diffoscope", "--no-progress", "--max-text-report-size", str(_REPORT_BYTES), "--text", "-"]
    try:
        done = subprocess.run(
            [*command, str(one), str(other)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"diffoscope took longer than {_TIMEOUT} s\n"
    return done.stdout or done.stderr


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - _OWN
