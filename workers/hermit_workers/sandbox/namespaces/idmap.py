"""Chooses the users of the host that a cell's users are: a range that is nobody else, so that nobody is the user."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import CellError

COUNT = 65536
# What the user itself is called where a helper must touch the user's own folders (never in a cell).
OWN = COUNT
# Where root has no line in /etc/subuid: above every range that useradd (100000 to 600100000) and systemd-nspawn
# (524288 to 1879048191, see systemd's UIDS-GIDS) hand out, so that no other container's files are the cell's.
ROOT_START = 1_879_048_192
_FIELDS = 3  # of a line of /etc/subuid: whose, the first id, how many
TOOLS = os.defpath + ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class IdMap:
    """Is the first of COUNT user ids and of COUNT group ids that 0 and up in a cell are on the host."""

    users: int
    groups: int


def find(uid: int | None = None, *, folder: Path = Path("/etc")) -> IdMap:
    """Give the map of a user, this one by default; raise CellError with the mending command where there is none."""
    user = os.geteuid() if uid is None else uid
    found = [_start(folder / name, user) for name in ("subuid", "subgid")]
    if user == 0:
        return IdMap(*(ROOT_START if start is None else start for start in found))
    users, groups = found
    if users is None or groups is None:
        missing = [name for name, start in (("subuid", users), ("subgid", groups)) if start is None]
        files = " and ".join(str(folder / name) for name in missing)
        message = f"{files} {'has' if len(missing) == 1 else 'have'} no {COUNT} ids for {_name(user)}"
        options = " ".join(f"--add-{name}s {_free(folder / name)}" for name in missing)
        raise CellError(f"{message}, and a cell's users need them", hint=f"sudo usermod {options} {_name(user)}")
    return IdMap(users, groups)


async def write(process: int, ids: IdMap, *, own: bool = False) -> None:
    """Give a process that has just made its user namespace its ids; `own` adds this user as OWN.

    Root writes them itself; for an ordinary user newuidmap(1) and newgidmap(1) do, which look into /etc/subuid.
    """
    lines = {
        "uid": [(0, ids.users, COUNT), *([(OWN, os.geteuid(), 1)] if own else [])],
        "gid": [(0, ids.groups, COUNT), *([(OWN, os.getegid(), 1)] if own else [])],
    }
    if os.geteuid() == 0:
        _write(process, lines)
    else:
        await asyncio.gather(*(_ask(f"new{kind}map", process, ranges) for kind, ranges in lines.items()))


def _write(process: int, lines: dict[str, list[tuple[int, int, int]]]) -> None:
    try:
        for kind, ranges in lines.items():
            Path(f"/proc/{process}/{kind}_map").write_text("".join(f"{a} {b} {n}\n" for a, b, n in ranges))
    except OSError as error:
        first = lines["uid"][0][1]
        message = f"the kernel maps no ids {first} to {first + COUNT - 1}: {error.strerror}"
        raise CellError(message, hint="in a container, give it more ids (cat /proc/self/uid_map)") from error


async def _ask(tool: str, process: int, ranges: list[tuple[int, int, int]]) -> None:
    program = shutil.which(tool, path=TOOLS)
    if program is None:
        raise CellError(f"{tool} is not installed, and a cell's users need it", hint="sudo apt-get install uidmap")
    words = [str(number) for line in ranges for number in line]
    running = await asyncio.create_subprocess_exec(
        program, str(process), *words, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await running.communicate()
    if running.returncode:
        raise CellError(f"{tool} maps no ids: {said.decode(errors='replace').strip()}", hint=_named(os.geteuid()))


def _named(user: int) -> str:
    """Say what to do where the tools map nothing: most often they know no name for the user of a container."""
    if _name(user) == str(user):
        return f"the tools want a name for uid {user}: sudo useradd --uid {user} builder"
    return "hermit doctor"


def _start(path: Path, user: int) -> int | None:
    """Find the first range that is large enough; subuid(5): name or number, first id, count."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in {_name(user), str(user)} and first.isdecimal() and count.isdecimal() and int(count) >= COUNT:
            return int(first)
    return None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _free(path: Path) -> str:
    """Propose a range above all that are given out, as usermod(8) takes it."""
    try:
        given = [line.strip().split(":") for line in path.read_text().splitlines()]
    except OSError:
        given = []
    ends = [int(first) + int(count) for _, first, count in (line for line in given if len(line) == _FIELDS)]
    start = max([100_000, *ends])
    return f"{start}-{start + COUNT - 1}"
