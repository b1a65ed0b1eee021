"""Holds a folder in two processes at once, or tries to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hermit_workers.locks import alone

_OTHER = """
import sys
from pathlib import Path
from hermit_workers.locks import alone
print("here", flush=True)
with alone(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "held").touch()
"""


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    with alone(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", _OTHER, str(tmp_path)], stdout=subprocess.PIPE)
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
        assert not (tmp_path / "held").exists()
    assert other.wait(60) == 0
    other.stdout.close()
    assert (tmp_path / "held").exists()


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), alone(tmp_path / "none"):
        pass
