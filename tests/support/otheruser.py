"""Lets a test run commands as a user of the machine who is not there outside of the test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

# The user is there in an /etc of a mount namespace. It is a layer over the whole folder: a file that is mounted on
# another is gone when somebody replaces the one below, as useradd does. Where the interpreter lies in a home that only
# its owner may enter, it shows the interpreter alone there.
_BECOME = r"""
etc=$1 uid=$2 python=$3; shift 3
mount -t overlay -o "lowerdir=$etc:/etc" overlay /etc
if ! setpriv --reuid "$uid" --regid "$uid" --clear-groups test -x "$python"; then
    top=$(printf %s "$python" | cut -d/ -f1-3)
    mount --bind "$top" /mnt
    mount -t tmpfs -o mode=755 tmpfs "${top%/*}"
    mkdir "$top"
    mount --bind /mnt "$top"
fi
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
"""


def becoming(uid: int, etc: Path, lines: Mapping[str, str]) -> list[str]:
    """Give what runs a command as the user; `lines` end copies of files of /etc, which go to `etc`, a new folder."""
    etc.mkdir()
    for name, line in lines.items():
        real = Path("/etc", name)
        (etc / name).write_text((real.read_text() if real.exists() else "") + line)
    interpreter = str(Path(sys.executable).resolve())
    return ["unshare", "-m", "sh", "-ec", _BECOME, "sh", str(etc), str(uid), interpreter]
