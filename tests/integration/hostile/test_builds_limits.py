"""Attacks of a build on the machine's resources; each ends the build with a sentence, and the machine is as it was."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_cli.build.printing import Printing
from hermit_workers.cell import Command, Limits
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.limits.cgroups import Cgroup
from tests.integration.hostile.bastion import PYTHON, fortress, run
from tests.integration.hostile.rows import attack
from tests.support.sandbox import Done, sh

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="the kernel tells others' mappings to root alone")
_MADE = SandboxCell.__init__
_ROOMY = Limits(memory=1 << 30, processes=500, disk=1 << 30)
_UNLINKED = r"""perl -e 'for my $i (1 .. 10) { open my $f, "+>", "/build/x" or die; unlink "/build/x";
syswrite $f, "x" x (1 << 20) for 1 .. 8; push @kept, $f } sleep 50; print "done\n"'"""
# Folders with more files than the count takes at once, always on the move; the data where readdir(3) puts it first.
_MOVED = r"""
cat > /tmp/mover <<'P'
my $top = "/build/p"; mkdir $top; my @traps;
for my $n (1 .. 4) { my @places = map { mkdir "$top/d$n-$_"; "$top/d$n-$_/t" } 0 .. 9; mkdir $places[0];
    for (1 .. 270) { open my $f, ">", "$places[0]/$_" } push @traps, \@places }
for my $n (1 .. 1000) { mkdir "$top/c$n"; opendir my $d, $top; my ($first) = grep { !/^\./ } readdir $d;
    if ($first eq "c$n") { symlink "$top/c$n", "/tmp/big"; last } rmdir "$top/c$n" }
open my $f, ">", "/tmp/ready"; close $f;
for (1 .. 15000) { for (@traps) { rename $_->[0], $_->[1]; push @$_, shift @$_ } select undef, undef, undef, 0.003 }
P
perl /tmp/mover & while ! test -e /tmp/ready; do sleep 0.05; done
for n in 1 2 3 4 5 6 7 8; do head -c 10000000 /dev/zero > /tmp/big/$n; done; sleep 50; echo done
"""

# Mapped by one page each, and no longer open: 80 MiB.
_MAPPED = r"""
import ctypes, os, sys, time
c = ctypes.CDLL(None); c.mmap.restype = ctypes.c_void_p
for n in range(10):
    f = os.open("/build/x", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(f, b"x" * (8 << 20))
    assert c.mmap(None, 4096, 3, 1, f, 0) != ctypes.c_void_p(-1).value
    os.close(f); os.unlink("/build/x")
time.sleep(float(sys.argv[1])); print("done")
"""
# Memory that no process has in its address space, or has touched itself: 160 MiB each.
_UNTOUCHED = {
    "memory files": "kept = [os.memfd_create('x') for _ in range(20)]; [os.write(f, b'x' * (8 << 20)) for f in kept]",
    "mapped memory files": """
for n in range(20):
    f = os.memfd_create('x'); os.write(f, b'x' * (8 << 20)); c.mmap(None, 4096, 3, 1, f, 0); os.close(f)""",
    "shared memory of the dead": """
a = c.mmap(None, 160 << 20, 3, 0x21, -1, 0)
if os.fork() == 0: ctypes.memset(ctypes.c_void_p(a), 1, 160 << 20); os._exit(0)
os.wait()""",
}
_KEEPS = "import ctypes, os, sys, time\nc = ctypes.CDLL(None); c.mmap.restype = ctypes.c_void_p\n"
_KEPT = "\ntime.sleep(float(sys.argv[1])); print('done')"
# Segments stay where nobody has them attached.
_SEGMENTS = "perl -e 'for (1 .. 20) { defined($i = shmget(0, 1 << 23, 01600)) or die qq($!\n); "
_SEGMENTS += "shmwrite($i, q(x) x (1 << 23), 0, 1 << 23) }'"
# Pipes full of bytes: memory of the kernel's.
_PIPES = r"""
import fcntl, os, sys, time
kept = []
for user in range(8):
    if user: os.setresuid(2000 + user, 2000 + user, 0)
    for n in range(30):
        r, w = os.pipe(); os.set_blocking(w, False); kept += [r, w]
        try: os.write(w, b"x" * fcntl.fcntl(w, 1031, 1 << 20))
        except OSError: pass
    if user: os.setresuid(0, 0, 0)
time.sleep(float(sys.argv[1])); print("done")
"""
# So many descriptors that whoever looks at each is busy for minutes, while the disk fills.
_DUPLICATES = r"""
import os, resource, sys, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
children = int(sys.argv[2]) // (most - 10) + 1
for n in range(children):
    if os.fork() == 0:
        for n in range(most - 10): os.dup(0)
        time.sleep(float(sys.argv[1])); os._exit(0)
for n in range(children): os.wait()
print("done")
"""


def end(folder: Path, limits: Limits, script: str | list[str], user: str = "root") -> Done:
    """Run a script, or a command of the attackers' Python, in a cell of its own; see that the cell leaves nothing."""

    async def work() -> Done:
        async with fortress(folder / "cell", limits) as (cell, _):
            if isinstance(script, list):
                return await run(cell, [PYTHON, "-S", "-c", *script])
            return await sh(cell, script, user)  # type: ignore[arg-type]  # a table's word

    done = asyncio.run(work())
    assert not (folder / "cell").exists()
    return done


@attack("build-fills-disk")
@pytest.mark.parametrize(
    "script",
    [
        "while :; do head -c 1000000 /dev/zero > /build/$((n = n + 1)); done",
        "perl -e 'while (1) { mkdir $n++; open F, q(>), qq(x$n) } ' ; sleep 5",
        "perl -e 'chdir q(/build); while (1) { mkdir q(d); chdir q(d); for (1 .. 100) { open F, q(>), $_ } }'",
    ],
    ids=["files", "names", "depth"],
)
def test_a_build_that_fills_the_disk_is_ended(tmp_path: Path, script: str) -> None:
    done = end(tmp_path, Limits(disk=4 << 20), f"cd /build; {script}")
    assert done.exceeded is not None
    assert done.exceeded.startswith("disk: ")


@attack("build-hides-on-disk")
@pytest.mark.parametrize("script", [_UNLINKED, _MOVED], ids=["unlinked", "moved"])
def test_a_build_hides_nothing_from_the_count_of_its_disk(tmp_path: Path, script: str) -> None:
    assert end(tmp_path / "roomy", _ROOMY, script.replace("sleep 50", "sleep 0")).output == "done\n"  # the control
    done = end(tmp_path / "tight", Limits(disk=24 << 20), script)
    assert done.exceeded is not None
    assert done.exceeded.startswith("disk: ")


@attack("build-hides-on-disk")
@ROOT_ONLY
def test_a_build_hides_nothing_by_what_it_maps_alone(tmp_path: Path) -> None:
    assert end(tmp_path / "roomy", _ROOMY, [_MAPPED, "0"]).output == "done\n"  # the control
    done = end(tmp_path / "tight", Limits(disk=24 << 20), [_MAPPED, "50"])
    assert done.exceeded is not None
    assert done.exceeded.startswith("disk: ")


@attack("build-descriptor-flood")
def test_more_descriptors_than_anybody_can_look_at_end_the_build(tmp_path: Path) -> None:
    assert end(tmp_path / "few", _ROOMY, [_DUPLICATES, "0", "100000"]).output == "done\n"
    done = end(tmp_path / "many", _ROOMY, [_DUPLICATES, "100", "600000"])
    assert done.exceeded == "processes: they have more than 500,000 files open together (limits: processes)"


@attack("build-one-giant")
def test_no_single_file_grows_beyond_the_limit_not_even_in_name(tmp_path: Path) -> None:
    script = "perl -e 'open F, q(>), q(/build/x); truncate(F, $ARGV[0]) ? print qq(grew) : print qq($!)' "
    script = "trap '' XFSZ; " + script
    assert end(tmp_path / "a", Limits(disk=16 << 20), script + str(17 << 20)).output == "File too large"
    assert end(tmp_path / "b", Limits(disk=16 << 20), script + str(15 << 20)).output == "grew"


@attack("build-fork-bomb")
@pytest.mark.parametrize("user", ["root", "build"])
@pytest.mark.parametrize(
    "script",
    [
        "perl -e 'fork while 1'",
        "while :; do setsid sleep 100 & done",
        "perl -e 'while (1) { fork or $) = $( = 2000 + $$, $> = $< = 2000 + $$ }'",
    ],
    ids=["doubling", "sessions", "users"],
)
def test_a_fork_bomb_ends_at_the_limit(tmp_path: Path, script: str, user: str) -> None:
    done = end(tmp_path, Limits(processes=60), script, user)
    assert done.exceeded is not None
    assert done.exceeded.startswith("processes: ")


@attack("build-hides-memory")
@pytest.mark.parametrize("way", _UNTOUCHED)
def test_memory_that_no_process_has_touched_counts_where_there_is_no_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if os.geteuid() and way != "memory files":
        pytest.skip("the kernel tells others' mappings to root alone")
    monkeypatch.setattr(Cgroup, "make", lambda _: None)
    script = _KEEPS + _UNTOUCHED[way] + _KEPT
    assert end(tmp_path / "roomy", _ROOMY, [script, "0"]).output == "done\n"  # the control
    done = end(tmp_path / "tight", Limits(memory=64 << 20), [script, "50"])
    assert done.exceeded is not None
    assert done.exceeded.startswith("memory: ")


@attack("build-hides-memory")
@pytest.mark.parametrize("bounded", [True, False])
def test_segments_that_nobody_has_attached_are_bounded_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bounded: bool
) -> None:
    """Where the kernel is too old to bound them in the cell's namespace, they are counted."""
    monkeypatch.setattr(Cgroup, "make", lambda _: None)
    assert end(tmp_path / "roomy", _ROOMY, f"{_SEGMENTS}; echo done").output == "done\n"  # the control
    if not bounded:
        monkeypatch.setattr(SandboxCell, "__init__", _with_room_for_segments)
    done = end(tmp_path / "tight", Limits(memory=64 << 20), f"{_SEGMENTS} && sleep 30")
    if bounded and done.exceeded is None:
        assert done.output == "No space left on device\n"
    else:
        assert (done.exceeded or "").startswith("memory: ")


def _with_room_for_segments(cell: SandboxCell, image: Path, folder: Path, limits: Limits) -> None:
    _MADE(cell, image, folder, limits)
    cell._tree = replace(cell._tree, shared=1 << 30)


@attack("build-kernel-buffers")
def test_full_pipes_are_memory_to_a_control_group(tmp_path: Path) -> None:
    if (group := Cgroup.make(Limits())) is None:
        pytest.skip("no control groups here: what is left is the machine's reserve")
    group.remove()
    assert end(tmp_path / "roomy", _ROOMY, [_PIPES, "0"]).output == "done\n"  # the control
    done = end(tmp_path / "tight", Limits(memory=64 << 20), [_PIPES, "50"])
    assert done.exceeded is not None
    assert done.exceeded.startswith("memory: ")


@attack("build-memory")
@pytest.mark.parametrize(
    "script",
    [
        "perl -e '$a = q(x) x (1 << 27); sleep 100'",
        "head -c 200000000 /dev/zero > /dev/shm/x",
        "for n in 1 2 3 4 5 6 7 8; do perl -e '$a = q(x) x (1 << 24); sleep 100' & done; wait",
    ],
    ids=["one", "shared memory", "many"],
)
def test_a_build_that_takes_too_much_memory_is_ended(tmp_path: Path, script: str) -> None:
    done = end(tmp_path / "tight", Limits(memory=64 << 20), script)
    if "/dev/shm" in script:  # noqa: S108  the cell's
        # A quarter of the memory is all that it has room for.
        assert "No space left" in done.output or (done.exceeded or "").startswith("memory: ")
        return
    assert done.exceeded is not None
    assert done.exceeded.startswith("memory: ")


@attack("build-time")
@pytest.mark.parametrize(
    "script", ["sleep 100", "trap '' TERM INT HUP; while :; do :; done", "kill -STOP $$", "setsid sleep 100"]
)
def test_a_build_that_does_not_end_is_ended(tmp_path: Path, script: str) -> None:
    done = end(tmp_path, Limits(seconds=1.0), script)
    assert done.exceeded is not None
    assert done.exceeded.startswith("time: ")


@attack("build-output-flood")
def test_a_flood_of_output_is_cut_and_neither_fills_the_disk_nor_reaches_the_terminal_raw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True))
    flood = "printf '\\033]0;title\\007\\033[2J\\033c\\220\\302\\233plain\\r\\n'; "
    flood += "perl -e 'print q(0123456789), qq(\\n) for 1 .. 300000'"

    async def work() -> int:
        printing = Printing(tmp_path / "log", limit=1 << 20, quiet=False)
        try:
            async with fortress(tmp_path / "cell") as (cell, _):
                printing.begin_step("flood")
                command = Command(("/bin/sh", "-c", flood), {"PATH": "/usr/bin:/bin"}, PurePosixPath("/"))
                shown = asyncio.ensure_future(asyncio.to_thread(drain, reading))
                assert (await cell.run(command, output=printing.descriptor)).status == 0
                dropped = await printing.end_step()
        finally:
            printing.close()
            sys.stderr.close()
        seen.append(await shown)
        return dropped

    seen: list[bytes] = []
    dropped = asyncio.run(work())
    assert dropped > 2_000_000
    assert (tmp_path / "log").stat().st_size < (1 << 20) + 4096
    for octets in (seen[0], (tmp_path / "log").read_bytes()):
        assert b"plain" in octets
        assert not {b"\x1b", b"\x07", b"\x90", b"\x9b"} & {octets[n : n + 1] for n in range(200)}


def drain(descriptor: int) -> bytes:
    """Read to the end."""
    with open(descriptor, "rb") as file:
        return file.read()
