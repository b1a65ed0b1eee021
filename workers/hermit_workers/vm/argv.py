"""Says how a step is called in a VM: as the same user, with the same rights and limits as in a sandbox."""

from __future__ import annotations

import resource
from collections.abc import Sequence

from hermit_workers.cell import Limits, User
from hermit_workers.sandbox.bwrap import BUILD_USER, NINE_ONLY
from hermit_workers.sandbox.limits.rlimits import rlimits

# As options of prlimit(1), which calls them as setrlimit(2) does.
_NAMES = {
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_MEMLOCK: "memlock",
    resource.RLIMIT_MSGQUEUE: "msgqueue",
    resource.RLIMIT_NICE: "nice",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_NPROC: "nproc",
    resource.RLIMIT_RTPRIO: "rtprio",
    resource.RLIMIT_SIGPENDING: "sigpending",
    resource.RLIMIT_STACK: "stack",
}


def step_argv(argv: Sequence[str], user: User, limits: Limits) -> list[str]:
    """Give what the agent runs for a command: the guest's own prlimit(1) and setpriv(1) make it the user's.

    It can gain no capability again, not even as root, as long as an earlier step has left these two programs alone: a
    build has not more rights over a machine of its own than in a sandbox, so that what it makes is the same in both.
    What holds a hostile one is the machine.
    """
    given = [
        f"--{_NAMES[which]}={_told(soft)}:{_told(hard)}" for which, (soft, hard) in sorted(rlimits(limits).items())
    ]
    rights = BUILD_USER if user == "build" else NINE_ONLY
    return ["/usr/bin/prlimit", *given, "/usr/bin/setpriv", "--no-new-privs", *rights, "--", *argv]


def _told(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
