"""Says how bubblewrap is called inside the holder's namespaces: a step sees its tree and nothing of the host."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import Command, User
from hermit_workers.hostparts import guarded_proc

# Descriptors as bubblewrap has them. The options come by one of them, because they hold the environment and everybody
# on the host can read a command line.
SECCOMP, PID_NAMESPACE, STATUS, OPTIONS = 3, 4, 5, 6
# What root needs in a tree of its own (apt, dpkg, tar, useradd), and nothing that speaks to the kernel.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "SETUID",
    "SETGID",
    "SETFCAP",
    "SYS_CHROOT",
    "KILL",
)
# What programs read there of the processors (nproc, the JVM, Go); the rest is the host's and tells of its devices.
_SHOWN_IN_SYS = ("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage")
# Of the host's kernel and its administrator: memory, keys, timers, the options that it was started with.
_HIDDEN_IN_PROC = (
    "/proc/cmdline",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/sched_debug",
    "/proc/timer_list",
)
_SHARED_MEMORY = "/dev/shm"  # noqa: S108  POSIX shared memory has its place there
# bubblewrap leaves the bounding set as it is; who takes from it needs one more, which goes with the rest.
_TO_DROP = "SETPCAP"
_NINE = ",".join(("-all", *(f"+{name.lower()}" for name in CAPABILITIES)))
# Options of setpriv(1): what makes a command the build's user, without a capability, and what leaves root its nine.
BUILD_USER = (
    *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"),
    *("--reuid", "1000", "--regid", "1000", "--init-groups"),
)
NINE_ONLY = (f"--bounding-set={_NINE}", f"--inh-caps={_NINE}", f"--ambient-caps={_NINE}")
_AS_BUILD = ("/usr/bin/setpriv", *BUILD_USER, "--")
_AS_ROOT = ("/usr/bin/setpriv", *NINE_ONLY, "--")
_KEYS = "--default-signal=INT,QUIT,TSTP,TTIN,TTOU,HUP"
# bubblewrap hands the namespace's descriptor on to the command, which has no use for it.
_CLOSED = ("/bin/sh", "-c", f'exec "$@" {PID_NAMESPACE}<&-', "hermit")


@dataclass(frozen=True, slots=True)
class View:
    """Is what every process of a cell sees beside its root.

    `root` and `shared` are where the holder sees the tree and the shared memory; `guarded` parts of /proc are
    read-only, `hidden` ones cannot be opened; `system` folders are what there is of /sys.
    """

    root: str
    shared: str
    guarded: tuple[Path, ...]
    hidden: tuple[Path, ...]
    system: tuple[Path, ...]


def view(root: str, shared: str) -> View:
    """Give the view for this machine's kernel."""
    hidden, system = (tuple(p for p in map(Path, paths) if p.exists()) for paths in (_HIDDEN_IN_PROC, _SHOWN_IN_SYS))
    return View(root, shared, guarded_proc(), hidden, system)


def init_argv() -> list[str]:
    """Give what bubblewrap's init keeps running; the build's own user cannot end it."""
    return [*_AS_ROOT, "/bin/sleep", "infinity"]


def init_options(seen: View) -> list[str]:
    """Give the options for the first process of a cell, which keeps its pid namespace; it has no environment."""
    options = [*_options(seen), "--die-with-parent", "--new-session", "--unshare-pid"]
    return [*options, "--json-status-fd", str(STATUS), "--clearenv"]


def step_options(seen: View, command: Command, *, terminal: bool = False) -> list[str]:
    """Give the options for a command; one at a terminal stays in the session of that terminal.

    It ends with the cell, not with its bubblewrap: of two processes that bubblewrap starts to enter a pid namespace the
    first only ends, and where that was late on a busy machine --die-with-parent killed the second for it.
    """
    options = [*_options(seen), "--pidns", str(PID_NAMESPACE), "--json-status-fd", str(STATUS)]
    options += [] if terminal else ["--new-session"]
    options += ["--chdir", str(command.folder), "--clearenv"]
    for name, value in sorted(command.environment.items()):
        options += ["--setenv", name, value]
    return options


def step_argv(argv: Sequence[str], user: User, *, terminal: bool = False) -> list[str]:
    """Give what bubblewrap runs for a command: the cell's own setpriv(1) makes it the user's.

    It can gain no capability again: no_new_privs makes setuid files and file capabilities plain.
    """
    signals = ("/usr/bin/env", _KEYS) if terminal else ()
    return [*(_AS_BUILD if user == "build" else _AS_ROOT), *signals, *_CLOSED, *argv]


def packed(options: Iterable[str]) -> bytes:
    """Give the options as `bwrap --args` reads them; raise ValueError where one has a zero byte."""
    words = [option.encode("utf-8", "surrogateescape") for option in options]
    if any(b"\0" in word for word in words):
        raise ValueError("no variable and no folder has a zero byte")
    return b"".join(word + b"\0" for word in words)


def _options(seen: View) -> list[str]:
    options = ["--seccomp", str(SECCOMP), "--cap-drop", "ALL"]
    for name in (*CAPABILITIES, _TO_DROP):
        options += ["--cap-add", f"CAP_{name}"]
    options += ["--bind", seen.root, "/", "--dev", "/dev", "--bind", seen.shared, _SHARED_MEMORY]
    options += ["--remount-ro", "/dev", "--proc", "/proc", *_each("--ro-bind", seen.guarded)]
    for path in seen.hidden:
        options += ["--ro-bind", "/dev/null", str(path)]
    # bubblewrap makes the folders above a mount for root alone.
    above = sorted({str(parent) for path in seen.system for parent in path.parents[:-2]})
    folders = [word for path in above for word in ("--dir", path)]
    return [*options, "--tmpfs", "/sys", *folders, *_each("--ro-bind", seen.system), "--remount-ro", "/sys"]


def _each(option: str, paths: Collection[Path]) -> list[str]:
    return [word for path in paths for word in (option, str(path), str(path))]
