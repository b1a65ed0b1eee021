"""Starts a real redis-server on a Unix socket of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Give the URL of a server that keeps nothing on disk; the test is skipped where there is no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        for _ in range(500):
            if socket.exists() or server.poll() is not None:
                break
            time.sleep(0.02)
        assert socket.exists(), f"redis-server did not start: {server.poll()}"
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(10)
