"""Names the pool of observations after a repository, so that all its clones and the master share one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# A URL or ssh's short form, `[user@]host:path`; a local path is none of them.
_HOST = "(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)"
_REMOTES = (
    re.compile(rf"[a-z+]+://(?:[^/]*@)?{_HOST}(?::[0-9]+)?/+(?P<path>[^@]+?)(?:\.git)?/*"),
    # What has a sign of a login in its path is some other form, with a password perhaps.
    re.compile(rf"(?:[^@/:]+@)?{_HOST}:(?!//)/*(?P<path>[^@]+?)(?:\.git)?/*"),
)
_FOREIGN = re.compile(r"[^A-Za-z0-9._/-]+")
_LONGEST = 128


def pool_name(origin: str, root: Path) -> str:
    """Give `host/path` of a remote, or the folder's name with a digest of its place; never credentials of a URL."""
    found = next((found for remote in _REMOTES if (found := remote.fullmatch(origin))), None)
    if found:
        name = _FOREIGN.sub("-", f"{found['host'].lower()}/{found['path']}").lstrip("./-_")
        if name and len(name) <= _LONGEST and ".." not in name.split("/"):
            return name
    place = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:12]
    return f"local/{_FOREIGN.sub('-', root.name).strip('./-_')[:64] or 'root'}-{place}"
