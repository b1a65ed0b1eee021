"""What packages run while they are installed can do no more than a build; mmdebstrap, apt and dpkg are real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_workers.cell import Limits
from hermit_workers.image import bootstrap as module
from hermit_workers.image import tree
from hermit_workers.image.installer import Job, prepare
from hermit_workers.image.recipe import Recipe
from hermit_workers.image.running import LimitError, runner
from hermit_workers.sandbox.namespaces.mapped import remove_tree
from tests.support.hermit import need_namespaces
from tests.support.smallimages import EPOCH, architecture
from tests.support.tinyarchive import ArchiveProxy, TinyArchive

# Those of capabilities(7) that a cell's root has.
NINE = 0x800400FB
SEEN = "cat /proc/self/status >/seen-{0}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    need_namespaces()
    path = tmp_path / "image"
    path.mkdir(mode=0o755)
    yield path
    asyncio.run(remove_tree(path))


def installed(folder: Path, postinst: str) -> int:
    """Install an essential package and another one with this script; give the time of the archive."""
    archive = TinyArchive(folder.parent / "archive")
    archive.add("base", SEEN.format("base"), essential=True)
    archive.add("extra", postinst)
    archive.publish()
    recipe = Recipe("image.yaml", "bookworm", ("extra",))
    job = Job(recipe, archive.sources, folder, hermetic=True, architecture=architecture())
    prepare(job, RunCA.create())
    asyncio.run(tree.make_root(folder))

    async def main() -> int:
        proxy: Any = ArchiveProxy(archive)
        return await module.bootstrap(job, proxy, lambda _: None)

    return asyncio.run(main())


def test_the_scripts_of_packages_have_the_filter_and_the_capabilities_of_a_cell(folder: Path) -> None:
    assert installed(folder, SEEN.format("extra")) == EPOCH
    for name in ("base", "extra"):
        lines = (folder / "root" / f"seen-{name}").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines)
        assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")
        assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {NINE}
    assert "build:x:1000:1000:" in (folder / "root" / "etc" / "passwd").read_text()


HOSTILE = {
    "memory": "perl -e '$a = q(x) x (1 << 30); sleep 30'",
    "processes": "perl -e 'for (1 .. 300) { fork or sleep 30 } sleep 30'",
    "disk": "for name in a b; do perl -e 'truncate(STDOUT, 190 << 20)' >/$name; done; sleep 30",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_script_of_a_hostile_package_reaches_a_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    limits = Limits(memory=512 << 20, processes=200, disk=200 << 20, seconds=100.0)
    monkeypatch.setattr(module, "runner", partial(runner, limits=limits))
    with pytest.raises(LimitError, match=f"reached a limit. {what}: "):
        installed(folder, HOSTILE[what])
