"""Tries from inside of real cells what must not work, beside what must."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.bwrap import CAPABILITIES
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces import idmap
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from tests.support.sandbox import image, run_in_sandbox, sh, started

_NUMBERS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7}
_NINE = sum(1 << {**_NUMBERS, "SYS_CHROOT": 18, "SETFCAP": 31}[name] for name in CAPABILITIES)


def said(tmp_path: Path, script: str, user: str = "root") -> str:
    return run_in_sandbox(tmp_path / "cell", script, user=user)[0].output  # type: ignore[arg-type]  # a table


def capabilities(status: str) -> set[int]:
    names = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    return {int(line.split()[1], 16) for line in status.splitlines() if line.startswith(names)}


def test_the_only_network_is_the_loopback(tmp_path: Path) -> None:
    text = said(tmp_path, "sed '1,2d;s/:.*/:/' /proc/net/dev; echo routes; sed 1d /proc/net/route")
    assert text.split() == ["lo:", "routes"]
    assert {line.split()[-1] for line in said(tmp_path, "cat /proc/net/if_inet6").splitlines()} <= {"lo"}


def test_the_proxys_socket_answers_and_nothing_else_does(tmp_path: Path) -> None:
    connect = (
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0])))"
    )
    connect += " ? print qq(yes ) : print qq($! )' "
    tries = ["127.0.0.1 3128", "127.0.0.1 22", "192.0.2.1 80", "8.8.8.8 53"]
    text = said(tmp_path, "; ".join(connect + one for one in tries))
    assert text.strip() == "Connection refused Connection refused Network is unreachable Network is unreachable"

    async def with_listener() -> None:
        cell = SandboxCell(image(), tmp_path / "cell", Limits())
        try:
            with await cell.start():
                assert (await sh(cell, connect + "127.0.0.1 3128")).output == "yes "
        finally:
            await cell.destroy()

    image()
    asyncio.run(with_listener())


def test_every_process_that_is_seen_is_the_cells(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            await sh(cell, "sleep 1000 >/dev/null 2>&1 &", "root")
            await sh(cell, "sleep 1000 >/dev/null 2>&1 &")
            done = await sh(cell, "for p in /proc/[0-9]*; do readlink $p/root; cat $p/comm; done", "root")
            roots = [line for line in done.output.splitlines() if line.startswith("/")]
            names = [line for line in done.output.splitlines() if not line.startswith("/")]
            assert set(roots) == {"/"}
            assert set(names) == {"bwrap", "sleep", "sh"}
            listing = "for p in /proc/[0-9]*; do stat -L -c %d:%i $p/root/; done 2>/dev/null; stat -c %d:%i /"
            assert len(set((await sh(cell, listing, "root")).output.split())) == 1

    image()
    asyncio.run(run())


def test_no_process_that_is_seen_has_anything_of_the_hosts_environment(tmp_path: Path) -> None:
    done = run_in_sandbox(
        tmp_path / "cell", "cat /proc/1/environ; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'", user="root"
    )
    assert {line.partition("=")[0] for line in done[0].output.splitlines()} == {"PATH", "PWD"}
    assert os.environ["PATH"] not in done[0].output


def test_no_process_has_more_than_the_nine_capabilities_and_the_builds_have_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            await sh(cell, "sleep 1000 >/dev/null 2>&1 &", "root")
            everyone = await sh(cell, "cat /proc/[0-9]*/status", "root")
            assert capabilities(everyone.output) == {0, _NINE}
            own = await sh(cell, "grep -E '^(Cap|NoNew|Seccomp:|Uid|Groups)' /proc/self/status", "root")
            assert capabilities(own.output) == {_NINE}
            assert f"CapBnd:\t{_NINE:016x}" in own.output
            build = await sh(cell, "grep -E '^(Cap|NoNew|Seccomp:|Uid|Groups)' /proc/self/status")
            assert capabilities(build.output) == {0}
            for line in ("CapBnd:\t" + "0" * 16, "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:" + "\t1000" * 4):
                assert line in build.output

    image()
    asyncio.run(run())


def test_while_steps_start_no_process_shows_more_than_the_nine(tmp_path: Path) -> None:
    """A process that sets a step up has everything in its namespace, so nobody in the cell may get at it."""
    spy = (
        "perl -e 'while (1) { for my $p (grep /^\\d+$/, map { s{/proc/}{}r } glob q(/proc/[0-9]*)) {"
        " my $r = readlink qq(/proc/$p/root); print qq(root $r\\n) if defined $r and $r ne q(/);"
        " for my $f (glob qq(/proc/$p/fd/*)) { my $t = readlink $f; next unless defined $t;"
        " print qq(open $t\\n) if -d $f and -e qq($f/1/cmdline) and not -e qq(/proc/1/task/1/fd/x)"
        " and (grep { -d qq($f/$_) } 1 .. 30) > 25; } } }' > /tmp/spied 2>&1 &"
    )

    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            await sh(cell, spy, "root")
            for _ in range(30):
                assert (await sh(cell, "true", "root")).status == 0
            assert (await sh(cell, "cat /tmp/spied", "root")).output == ""

    image()
    asyncio.run(run())


def test_a_command_has_its_three_descriptors_only(tmp_path: Path) -> None:
    script = "for n in $(seq 0 300); do [ ! -e /proc/$$/fd/$n ] || echo $n; done"
    assert said(tmp_path, script).split() == ["0", "1", "2"]
    assert said(tmp_path, script, "build").split() == ["0", "1", "2"]


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs x /tmp",
        "mount --bind /etc /tmp",
        "unshare -m true",
        "unshare -U true",
        "unshare -r true",
        "unshare -n true",
        "mknod /tmp/null c 1 3",
        "echo core > /proc/sys/kernel/core_pattern",
        "echo x > /proc/sys/kernel/hostname",
        "echo b > /proc/sysrq-trigger",
        "cat /proc/kcore",
        "cat /proc/keys",
        "cat /proc/cmdline",
        "ls /sys/kernel/debug /sys/fs /sys/class",
        "touch /sys/x",
        "touch /dev/x",
        "test -e /home/build/../../mnt/root",
    ],
)
@pytest.mark.parametrize("user", ["root", "build"])
def test_what_speaks_to_the_kernel_or_the_host_is_refused(tmp_path: Path, script: str, user: str) -> None:
    assert run_in_sandbox(tmp_path / "cell", script, user=user)[0].status != 0  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize("user", ["build", "root"])
def test_programs_can_count_the_processors(tmp_path: Path, user: str) -> None:
    script = "cat /sys/devices/system/cpu/online; ls /sys/devices /sys/devices/system /sys/kernel"
    online = Path("/sys/devices/system/cpu/online").read_text().strip()
    lines = said(tmp_path, script, user).splitlines()
    assert lines[0] == online
    assert set(lines[1:]) - {"", "node"} == {
        *("/sys/devices:", "system", "/sys/devices/system:", "cpu", "/sys/kernel:", "mm"),
    }


def test_root_manages_files_and_users_as_package_managers_do(tmp_path: Path) -> None:
    script = """set -e
        cd /var/lib; mkdir x; chown 33:44 x; chmod 2775 x; stat -c '%u:%g %a' x
        touch x/f; stat -c %g x/f; chown 1000:1000 x/f; chmod 4755 x/f; stat -c %a x/f
        setpriv --reuid 33 --regid 44 --clear-groups id -u; mkfifo p; ln x/f hard; ln -s x soft
        perl -e 'chroot q(/usr) or die; print -d q(/bin) ? qq(in\n) : qq(out\n)'
        sleep 100 & kill $!; touch /dev/shm/x; rm -rf x p hard soft; ls"""
    done = run_in_sandbox(tmp_path / "cell", script, user="root")[0]
    assert done.output.splitlines() == ["33:44 2775", "44", "4755", "33", "in"]
    assert done.status == 0


def test_a_setuid_file_gives_the_build_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            await sh(cell, "cp /usr/bin/id /usr/bin/cat /build; chmod 4755 /build/*; chmod 600 /etc/shadow", "root")
            assert "euid" not in (await sh(cell, "/build/id")).output
            assert (await sh(cell, "/build/cat /etc/shadow")).status != 0

    image()
    asyncio.run(run())


def test_files_that_the_cell_makes_are_nobodys_on_the_host(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            await sh(cell, "cp /usr/bin/id /tmp/suid; chmod 4755 /tmp/suid; touch /tmp/own", "root")
            ids = idmap.find()
            upper = tmp_path / "cell" / "layers" / "upper" / "tmp"
            assert (upper / "suid").stat().st_uid == ids.users
            assert (
                stat.S_IMODE((tmp_path / "cell").stat().st_mode) == 0o700
            )  # no other user gets as far as the setuid file

    image()
    asyncio.run(run())


def test_the_image_is_as_it_was_after_a_build_that_rewrote_everything(tmp_path: Path) -> None:
    tree = tmp_path / "image"
    asyncio.run(run_mapped(["cp", "-a", str(image()), str(tree)]))

    async def run() -> None:
        async with started(tmp_path / "cell", tree=tree) as cell:
            script = (
                "cd /etc; for f in *; do echo new > $f; done; chmod 777 /usr; chown 5:5 /var; ln -f /etc/passwd /etc/p"
            )
            await sh(
                cell,
                script + "; touch -d @1 /bin; mv /home /house; setpriv --help; rm -rf /usr /bin /lib* /house",
                "root",
            )

    before = fingerprint(tree)
    asyncio.run(run())
    assert fingerprint(tree) == before


def fingerprint(tree: Path) -> str:
    found = hashlib.sha256()
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted([*folders, *files]):
            status = os.lstat(path := Path(folder) / name)
            facts = (
                str(path),
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_size,
                status.st_mtime_ns,
                status.st_nlink,
            )
            found.update(repr(facts).encode())
    return found.hexdigest()


def test_two_cells_at_once_see_nothing_of_each_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "one") as one, started(tmp_path / "two") as two:
            await sh(one, "echo secret > /tmp/x; echo secret > /dev/shm/x; sleep 4321 >/dev/null 2>&1 &", "root")
            done = await sh(two, "ls /tmp /dev/shm; cat /proc/[0-9]*/cmdline", "root")
            assert "x\n" not in done.output
            assert "4321" not in done.output
            assert (await sh(two, "kill -9 -1; true", "root")).status in {0, 137}
            assert "4321" in (await sh(one, "cat /proc/[0-9]*/cmdline", "root")).output

    image()
    asyncio.run(run())
