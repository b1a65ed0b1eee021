"""Makes commits in a real git repository, whatever the settings of who runs the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NETWORK = ".hermit/network"
HOST = "registry.example.org"


def git(repo: Path, *arguments: str) -> str:
    """Run git in a folder without the user's settings; give what it says."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environ |= {f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@example.org"}
    command = ["git", "-C", str(repo), *arguments]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()
