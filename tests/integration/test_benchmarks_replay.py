"""The replay benchmark runs from one command: recorded, replayed, told, and nothing written when it is only tried."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.long
def test_a_quick_run_tells_every_figure_and_writes_none() -> None:
    missing = [tool for tool in ("cc", "curl", "nginx") if shutil.which(tool) is None]
    if missing or not Path("/usr/include/openssl/ssl.h").exists():
        pytest.skip(f"not installed: {', '.join(missing) or 'libssl-dev'}")
    results = BENCHMARKS / "results"
    before = {file: file.stat().st_mtime_ns for file in results.iterdir()}
    command = [sys.executable, str(BENCHMARKS / "replay.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = re.findall(r"^\| (.+?) \| ([\d.,]+) (?:/s|ms|s|MB/s|MB) \|", done.stdout, re.MULTILINE)
    assert len(told) == 19, done.stdout
    assert all(float(value.replace(",", "")) > 0 for _, value in told)
    assert {file: file.stat().st_mtime_ns for file in results.iterdir()} == before
