"""Attacks of a step on the steps after it, and on what starts them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.integration.hostile.bastion import fortress, run
from tests.integration.hostile.rows import attack
from tests.support.sandbox import sh

# Looks at each process that comes, as fast as it can, for what a program that sets up a step has of the host.
_WATCHER = r"""
opendir my $all, "/proc"; my %known = map { $_ => 1 } grep /^\d+$/, readdir $all; my %seen;
open my $found, ">>", "/tmp/found"; select $found; $| = 1; print "watching\n";
while (1) {
    rewinddir $all;
    for my $one (grep { /^\d+$/ && !$known{$_} && $_ != $$ } readdir $all) {
        my $is = readlink "/proc/$one/exe";
        if (open my $line, "<", "/proc/$one/cmdline") {
            my $words = <$line>; print "bubblewrap\n" if defined $words && $words =~ /^\S*bwrap\0/ && !$seen{b}++ }
        for my $way ("root", "cwd", "fd/0", "fd/4", "fd/5", "fd/6", "task/$one/root", "map_files") {
            print "reached $way\n" if -e "/proc/$one/$way$ARGV[0]" && !$seen{$way}++;
        }
        for my $name ("environ", "auxv", "maps") {
            next unless open my $file, "<", "/proc/$one/$name"; local $/; my $text = <$file>;
            print "read $name\n" if defined $text && index($text, $ARGV[1]) >= 0 && !$seen{$name}++;
        }
    }
}
"""


@attack("build-next-step")
def test_what_sets_up_a_step_gives_nothing_of_the_host_to_what_an_earlier_one_left(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.write_text("the host's")

    async def work() -> str:
        async with fortress(tmp_path / "cell") as (cell, _):
            await run(cell, ["/bin/sh", "-c", f"cat > /tmp/watch <<'E'\n{_WATCHER}\nE"])
            await run(cell, ["/bin/sh", "-c", f"perl /tmp/watch {marker} XDG_ >/dev/null 2>&1 & sleep 0.2"])
            for number in range(80):
                assert (await sh(cell, "true", "root" if number % 2 else "build")).status == 0
            return (await sh(cell, "cat /tmp/found")).output

    seen = set(asyncio.run(work()).splitlines())
    # The control: it did see bubblewrap at work, so it was fast enough.
    assert seen == {"watching", "bubblewrap"}


@attack("build-kills-steps")
def test_a_step_that_kills_whatever_comes_is_told_as_that_or_outlived(tmp_path: Path) -> None:
    script = "perl -e 'opendir D, q(/proc); my %k = map { $_ => 1 } readdir D; "
    script += "for (1 .. 100000) { rewinddir D; kill 9, grep { /^[0-9]+$/ && !$k{$_} && $_ != $$ } readdir D }'"
    script += " & sleep 0.1"

    async def work() -> None:
        async with fortress(tmp_path / "cell") as (cell, _):
            assert (await sh(cell, "sleep 0.1; exit 5")).status == 5
            await sh(cell, script, "root")
            statuses = set()
            for _ in range(10):
                try:
                    statuses.add((await sh(cell, "sleep 0.2; exit 5")).status)
                except Exception as error:  # noqa: BLE001  whatever it is, it must be said for people
                    statuses.add(str(error).split(" (")[0])
            assert statuses <= {5, 137, "bubblewrap does not start /bin/sh"}
            assert statuses != {5}  # the control: it does kill

    asyncio.run(work())


@attack("build-kills-init")
def test_a_step_that_kills_the_first_process_ends_itself_and_the_next_one_runs(tmp_path: Path) -> None:
    async def work() -> None:
        async with fortress(tmp_path / "cell") as (cell, _):
            lines = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
            await sh(cell, "sleep 600 >/dev/null &", "root")
            assert "sleep 600" in (await sh(cell, lines, "root")).output
            each = "for p in /proc/[0-9]*; do kill -9 ${p#/proc/}; done"
            ended = await sh(cell, f"kill -9 -1; kill -9 1; {each}; sleep 5", "root")
            assert ended.status == 137
            done = await sh(cell, lines, "root")
            assert done.status == 0
            assert "sleep infinity" in done.output
            assert "sleep 600" not in done.output

    asyncio.run(work())


@attack("build-replaces-programs")
def test_a_build_that_replaces_what_starts_its_steps_gains_nothing_beyond_its_cell(tmp_path: Path) -> None:
    """Its own later steps are its own to spoil; the capabilities of the one that starts them are what it could gain."""

    async def work() -> dict[str, str]:
        async with fortress(tmp_path / "cell") as (cell, _):
            replace = (
                "printf '%s\\n' '#!/usr/bin/perl' 'system q(cat /proc/self/status > /build/had)' > /usr/bin/setpriv"
            )
            assert (await sh(cell, replace, "root")).status == 0
            assert (await sh(cell, "exit 7", "build")).status == 0  # it is obeyed: the build has spoilt its own step
            done = await run(cell, ["/bin/true"])
            assert done.status == 0
            await cell.stop()
            taken = await cell.take(Path("/build"), ["had"])  # type: ignore[arg-type]  # a path in the cell
            data = os.read(taken[0].descriptor, 65536)
            os.close(taken[0].descriptor)
            return dict(line.split(":\t", 1) for line in data.decode().splitlines() if ":\t" in line)

    status = asyncio.run(work())
    nine_and_setpcap = 0x800400FB | 1 << 8
    assert int(status["CapPrm"], 16) & ~nine_and_setpcap == 0
    assert int(status["CapEff"], 16) & ~nine_and_setpcap == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
