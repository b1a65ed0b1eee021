"""Obeys the limits of a cell in real processes, as root of a mapped user namespace where it matters."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import hermit_workers
from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits.rlimits import more_descriptors, rlimits, size, told

_ROOT = Path(hermit_workers.__file__).parent.parent
# Its own end of the story: become root of a user namespace, then fork as several of its users.
_BOMB = """
import json, os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from hermit_workers.sandbox.namespaces import kernel, launch
launch.limit(json.loads(sys.argv[2]), first_to_die=1000)
if sys.argv[3] != "0":
    os.setresgid(*[int(sys.argv[3])] * 3)
    os.setresuid(*[int(sys.argv[3])] * 3)
    kernel.be_open()
kernel.unshare(kernel.NEW_USER)
print("made", flush=True)
sys.stdin.readline()
kernel.become_root()
kernel.unshare(kernel.NEW_PIDS)
first = os.fork()
if first == 0:
    counts = []
    for user in (0, 1000, 1001):
        os.setresuid(user, 0, 0)
        count = 0
        while count < 100:
            try:
                if os.fork() == 0:
                    signal.pause()
            except BlockingIOError:
                break
            count += 1
        counts.append(count)
    print(json.dumps(counts), flush=True)
    os._exit(0)  # and with it all of its namespace
os.waitpid(first, 0)
"""


def bomb(limits: Limits, maker: int) -> list[int]:
    """Give how many processes each of three users of a namespace could start, one after the other."""
    numbers = json.dumps(rlimits(limits))
    with subprocess.Popen(
        [sys.executable, "-c", _BOMB, str(_ROOT), numbers, str(maker)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == "made\n"
        for kind in ("gid", "uid"):
            Path(f"/proc/{running.pid}/{kind}_map").write_text("0 300000 65536")
        running.stdin.write("\n")
        running.stdin.close()
        return list(json.loads(running.stdout.readline()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root maps ids without a helper")
def test_a_fork_bomb_by_root_of_a_namespace_is_held() -> None:
    counts = bomb(Limits(processes=30), 0)
    assert 20 < counts[0] < 30
    # Each user is counted for itself here: that all of them are too many is for group and watchdog to see.
    assert all(20 < count <= 30 for count in counts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root maps ids without a helper")
def test_all_users_of_a_namespace_together_are_held_where_its_maker_is_not_root() -> None:
    assert sum(bomb(Limits(processes=30), 300000)) < 30


def limited(program: str, limits: Limits) -> subprocess.CompletedProcess[str]:
    start = "import json,os,resource,sys; sys.path.insert(0, sys.argv[1]); "
    start += "from hermit_workers.sandbox.namespaces import launch; "
    start += "launch.limit(json.loads(sys.argv[2]), first_to_die=1000); "
    argv = [sys.executable, "-c", start + program, str(_ROOT), json.dumps(rlimits(limits))]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_file_larger_than_the_disks_share_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "giant"
    done = limited(f"f = open({str(file)!r}, 'wb'); os.truncate(f.fileno(), 1 << 30)", Limits(disk=1 << 20))
    assert "File too large" in done.stderr
    assert file.stat().st_size == 0


def test_a_memory_file_counts_as_a_file() -> None:
    done = limited("os.truncate(os.memfd_create('x'), 1 << 30)", Limits(disk=1 << 20))
    assert "File too large" in done.stderr


def test_a_crash_leaves_no_core_and_wakes_no_handler() -> None:
    done = limited("print(resource.getrlimit(resource.RLIMIT_CORE)); os.abort()", Limits())
    assert done.returncode == -6
    # core_pattern with a pipe: only a limit of exactly 1 keeps the kernel from running it (fs/coredump.c).
    assert done.stdout == "(1, 1)\n"


def test_nothing_that_reserves_address_space_is_held_up() -> None:
    done = limited("import mmap; m = mmap.mmap(-1, 1 << 42, flags=0x4022); print(len(m))", Limits())
    assert done.stdout == f"{1 << 42}\n"
    assert resource.RLIMIT_AS not in rlimits(Limits())


def test_a_build_meets_the_same_stack_everywhere() -> None:
    done = limited("print(resource.getrlimit(resource.RLIMIT_STACK)[0], os.sysconf('SC_ARG_MAX'))", Limits())
    assert done.stdout == f"{8 << 20} {2 << 20}\n"


def test_this_process_can_have_more_open_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] // 2, before[1]))
    try:
        more_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (8.1 * (1 << 30), "8.1 GiB"), (5 << 50, "5120 TiB")],
)
def test_sizes_are_told_as_people_read_them(count: float, words: str) -> None:
    assert size(count) == words


def test_a_sentence_names_use_limit_and_setting() -> None:
    assert told("memory", "8.1 GiB", "8 GiB") == "memory: 8.1 GiB of 8 GiB (limits: memory)"
