"""Attacks of a build on trees: the image that others build on, what it leaves on the host's disk, files with powers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces.idmap import find
from tests.integration.hostile.bastion import fortress, put_text, run, tree
from tests.integration.hostile.rows import attack
from tests.support.sandbox import sh

# Runs a program as nobody, without and with the setuid bit obeyed; the control mounts a file system that obeys it.
_POWERS = 'cp "$1" "$2/as-root" && chmod 4755 "$2/as-root" && setpriv --reuid 1000 --clear-groups "$2/as-root" -u'


def within(folder: Path, *work: Callable[[SandboxCell], Awaitable[None]]) -> None:
    """Do things in one cell after another."""

    async def one(number: int, part: Callable[[SandboxCell], Awaitable[None]]) -> None:
        async with fortress(folder / f"cell-{number}") as (cell, _):
            await part(cell)

    for number, part in enumerate(work):
        asyncio.run(one(number, part))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may enter, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="hermit-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def digest(root: Path) -> str:
    """Give one number for names, modes, owners, links and contents."""
    found = hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in (*folders, *sorted(names)):
            path = Path(folder, name)
            about = path.lstat()
            found.update(repr((str(path), about.st_mode, about.st_uid, about.st_nlink, about.st_size)).encode())
            if stat.S_ISREG(about.st_mode) and os.access(path, os.R_OK):
                found.update(path.read_bytes())
    return found.hexdigest()


@attack("build-base-tree")
def test_the_image_is_as_it_was_for_the_next_build(tmp_path: Path) -> None:
    before = digest(tree())

    async def change(cell: SandboxCell) -> None:
        script = """
            echo changed >> /usr/bin/true; chmod 777 /etc/passwd; chown 1000 /usr; rm /usr/bin/false; mkdir /etc/hosts.d
            ln /usr/bin/cat /usr/bin/cat2; mv /usr/bin/seq /usr/bin/ces; rm -r /usr/lib/nothing /home; : > /etc/hosts
            touch -d @1 /usr/bin/cat; perl -e 'open F, "+<", "/usr/bin/tee"; print F "x"; truncate F, 9'
        """
        await sh(cell, script, "root")
        # The control: it did change what it sees.
        done = await sh(cell, "ls -d /usr/bin/false /usr/bin/ces /home; wc -c < /usr/bin/tee; cat /etc/hosts", "root")
        assert done.output.splitlines()[-2:] == ["/usr/bin/ces", "9"]

    async def look(cell: SandboxCell) -> None:
        script = "/usr/bin/true && ls -d /home /usr/bin/seq && stat -c '%a %u' /etc/passwd /usr; cat /etc/hosts"
        done = await sh(cell, script)
        assert done.output.split() == ["/home", "/usr/bin/seq", "644", "0", "755", "0", "127.0.0.1", "localhost"]

    within(tmp_path, change, look)
    assert digest(tree()) == before


@attack("build-setuid")
def test_a_setuid_file_makes_nobody_root_and_neither_do_file_capabilities(tmp_path: Path, open_folder: Path) -> None:
    if os.geteuid() == 0:
        shown = subprocess.run(
            ["sh", "-c", _POWERS, "sh", shutil.which("id") or "id", str(open_folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.stdout == "0\n", shown.stderr

    async def work(cell: SandboxCell) -> None:
        done = await sh(cell, f"set -- /usr/bin/id /build; {_POWERS}", "root")
        assert done.output == "1000\n"
        script = "import os; os.setxattr('/build/perl', 'security.capability', bytes.fromhex('010000020004200000000000'"
        script += " '0000000000000000'))"
        await sh(cell, "cp /usr/bin/perl /build/perl; chmod 755 /build/perl", "root")
        done = await run(cell, ["/opt/attack/bin/python3", "-c", script])
        assert done.status == 0, done
        powers = "open F, q(/proc/self/status); print grep /^Cap(Prm|Eff)/, <F>"
        done = await sh(cell, f"/build/as-root -u; /build/perl -e '{powers}'")
        assert done.output == "1000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
        assert (await sh(cell, "su -c id root </dev/null")).status != 0

    within(tmp_path, work)


def as_nobody(file: Path) -> int:
    """Run a program as a user of the host who is nobody here; give its status."""
    # A shell between, because setpriv itself keeps its capabilities until it has become something.
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", 'exec "$1"', "sh"]
    return subprocess.run([*nobody, str(file)], check=False).returncode


@attack("build-setuid-outside")
def test_a_setuid_file_lies_on_the_host_where_nobody_gets_and_is_nobodys(tmp_path: Path, open_folder: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        assert (await sh(cell, "cp /usr/bin/id /build/as-root && chmod 6755 /build/as-root", "root")).status == 0
        layers = tmp_path / "cell-0/layers"
        assert stat.S_IMODE(layers.parent.stat().st_mode) == 0o700
        if os.geteuid() == 0:
            about = (layers / "upper/build/as-root").stat()
            assert about.st_mode & stat.S_ISUID  # it is one
            assert (about.st_uid, about.st_gid) == (find().users, find().groups)
            assert about.st_uid != 0
            shutil.copy(layers / "upper/build/as-root", open_folder)
            assert as_nobody(layers / "upper/build/as-root") in {126, 127}
            assert as_nobody(open_folder / "as-root") == 0  # the control: a copy
        else:
            with pytest.raises(PermissionError):
                (layers / "upper/build/as-root").open()

    within(tmp_path, work)


@attack("build-links-before-put")
def test_links_where_hermit_puts_files_lead_to_nothing_of_the_host(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)

    async def work(cell: SandboxCell) -> None:
        links = f"rm -rf /run/hermit /build; mkdir -p {outside}; ln -s {outside} /run/hermit; "
        links += f"ln -s /proc/1/root{outside} /build"
        assert (await sh(cell, links, "root")).status == 0
        for path in ("/run/hermit/settings", "/build/project/file", f"/proc/self/root{outside}/further"):
            await put_text(cell, path, "from hermit")
        # The control: the links were followed, in the cell.
        assert (await sh(cell, f"find {outside} -type f | wc -l", "root")).output.strip() == "3"

    within(tmp_path, work)
    assert list(outside.iterdir()) == []
