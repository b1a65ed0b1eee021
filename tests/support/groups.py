"""Lays out control groups of version 2 as folders, for machines whose controllers are bound to version 1."""

# What a folder cannot do: make the files of a new group, refuse to enable a controller in a group with processes, move
# a process. Who reads a layout is shown by it; what the kernel does is not.

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def made_up(folder: Path, own: str, enabled: Mapping[str, str]) -> tuple[Path, Path]:
    """Give a /proc and the top of a tree; `enabled` are groups and the controllers that their children have."""
    top = folder / "groups"
    for name, controllers in enabled.items():
        group = top / name
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "cgroup.subtree_control").write_text(f"{controllers}\n")
        (group / "cgroup.procs").write_text("")
        if not controllers:
            (group / "cgroup.subtree_control").unlink()
            (group / "cgroup.subtree_control").symlink_to("/nonexistent/enabling/fails/as/in/a/group/with/processes")
    proc = folder / "proc"
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").touch()
    (proc / str(os.getpid())).mkdir()
    (proc / str(os.getpid()) / "stat").write_text(Path("/proc/self/stat").read_text())
    (proc / "self/cgroup").write_text(f"0::{own}\n")
    line = f"30 20 0:26 / {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw"
    (proc / "self/mountinfo").write_text(line + "\n")
    return proc, top
