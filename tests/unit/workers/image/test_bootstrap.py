"""The installer runs within limits and behind the filter; tests/integration/test_images.py installs for real."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_workers.cell import Limits
from hermit_workers.image import bootstrap as module
from hermit_workers.image import tree
from hermit_workers.image.bootstrap import bootstrap
from hermit_workers.image.errors import ImageError
from hermit_workers.image.installer import EPOCH, prepare
from hermit_workers.image.running import LimitError, runner
from tests.unit.workers.image.test_installer import job


@pytest.mark.parametrize(
    ("there", "told", "hint"),
    [([], "mmdebstrap is not installed", "mmdebstrap"), (["mmdebstrap"], "bwrap is not installed", "bubblewrap")],
)
def test_a_program_that_is_missing_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], told: str, hint: str
) -> None:
    for name in there:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    no_proxy: Any = None
    with pytest.raises(ImageError, match=told) as caught:
        asyncio.run(bootstrap(job(tmp_path), no_proxy, lambda _: None))
    assert caught.value.hint == f"apt-get install {hint}"


class Proxy:
    """Stands where the proxy is, of which nothing is asked here."""

    def __init__(self) -> None:
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ready(self) -> None: ...

    async def begin_step(self, *_: str) -> None: ...

    async def end_step(self) -> None: ...

    def listen(self, listener: socket.socket) -> None:
        assert listener.getsockname()[1] == 3128


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> tuple[int, list[str]]:
    """Run a script in the installer's place; give the time of the archives and what was told."""
    image = folder / "image"
    image.mkdir(mode=0o755)
    prepare(job(image), RunCA.create())
    asyncio.run(tree.make_root(image))
    monkeypatch.setattr(module, "installer", lambda _: ["sh", "-euc", script])
    told: list[str] = []

    async def main() -> int:
        proxy: Any = Proxy()
        return await bootstrap(job(image), proxy, told.append)

    return asyncio.run(main()), told


def test_the_time_of_the_archives_is_the_first_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"echo '{EPOCH}7'; echo '{EPOCH}8'; echo 'I: extracting archives...'"
    assert installed(tmp_path, monkeypatch, script) == (7, ["unpacking them"])


def test_what_fails_is_told_with_the_installers_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="could not be installed; the installer said:\nwhy"):
        installed(tmp_path, monkeypatch, "echo why; exit 3")


def test_the_programs_of_packages_have_the_filter_of_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="Seccomp:\t2"):
        installed(tmp_path, monkeypatch, "grep Seccomp: /proc/self/status; exit 3")


HOSTILE = {
    "memory": "perl -e '$a = q(x) x (1 << 28); sleep 30'",
    "processes": "perl -e 'for (1 .. 60) { fork or sleep 30 } sleep 30'",
    "disk": "truncate -s 19M root/a root/b; sleep 30",
    "time": "sleep 30",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_package_reaches_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    limits = Limits(memory=64 << 20, processes=40, disk=20 << 20, seconds=1.0 if what == "time" else 60.0)
    monkeypatch.setattr(module, "runner", partial(runner, limits=limits))
    with pytest.raises(LimitError, match=f"reached a limit. {what}: "):
        installed(tmp_path, monkeypatch, HOSTILE[what])
