"""Runs the whole `hermit build --cell vm`: recorded in one machine, replayed unplugged in another, as in a sandbox."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermit_workers.image.guest import pin_guest
from hermit_workers.image.library import Library
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from tests.integration.vm.faults.buildvm import make_library
from tests.support.builds import ADDRESS, BuildProject, build_project
from tests.support.hermit import UNPLUGGED, need_namespaces
from tests.support.otheruser import becoming
from tests.unit.workers.vm.conftest import OTHER

pytestmark = [pytest.mark.registry, pytest.mark.timeout(280)]

UNPLUGGED_PREFIX = tuple(UNPLUGGED)
# The image has a shell and few other programs: what the stock image would do with cut(1) is done by hand.
FETCH = r"""
exec 3<>/dev/tcp/127.0.0.1/3128
printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' {url} {host} >&3
while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
cat <&3 >thing
"""
SHOUT = """
read -r word <thing
echo "${word^^}" >loud
"""
MEMORY = 400 << 20


@pytest.fixture(scope="session")
def library(image: Path) -> Path:
    """Give a library whose one small image is the project's, and boots the machine as well."""
    # A sandbox keeps its namespaces by the image's own program.
    linked = run_mapped(["ln", "-sf", "../usr/bin/sleep", "root/bin/sleep"], folder=image)
    assert asyncio.run(linked) == 0
    folder = make_library(image / "library", image / "root")
    (found,) = Library(folder).images()
    pin_guest(Library(folder), found)
    return folder


@pytest.fixture
def project(tmp_path: Path, image: Path, library: Path) -> Iterator[BuildProject]:
    need_namespaces()
    with build_project(tmp_path / "hello") as project:
        images = Path(os.environ["XDG_DATA_HOME"], "hermit/images")
        images.unlink()
        images.symlink_to(library)
        cache = Path(os.environ["XDG_CACHE_HOME"])
        cache.mkdir(exist_ok=True)
        (image / "hermit-cache").mkdir(exist_ok=True)
        (cache / "hermit").symlink_to(image / "hermit-cache")
        settings(MEMORY)
        fetch = FETCH.format(url=project.url("/file"), host=f"{ADDRESS}:{project.origin.port}")
        asks = {"run": fetch, "shell": "bash", "network": "proxy"}
        shouts = {"run": SHOUT, "shell": "bash"}
        project.spec(asks, shouts, artifacts=("thing", "loud"), limits={"disk": "300 MiB"})
        yield project


class User:
    """Is somebody who is not root, with folders of their own."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0 or shutil.which("newuidmap") is None:
            pytest.skip("only root can be another user, and uidmap must be installed")
        self.folder = folder / "o"
        self.folder.mkdir(mode=0o755)
        (self.folder / "r").mkdir(mode=0o700)
        account = {"passwd": f"other:x:{OTHER}:{OTHER}::{self.folder}:/bin/sh\n", "group": f"other:x:{OTHER}:\n"}
        ids = dict.fromkeys(("subuid", "subgid"), "other:2000000000:65536\n")
        self._prefix = becoming(OTHER, folder / "etc", account | ids)
        self._project = self.folder
        shutil.copytree(Path(os.environ["XDG_CONFIG_HOME"]), self.folder / "config")
        self._own(self.folder)

    def brings(self, digest: str) -> None:
        """Bring root's image along, to build in and to boot from."""
        command = [sys.executable, "-m", "hermit_cli.main", "image", "export", digest, str(self.folder / "image")]
        subprocess.run(command, check=True, capture_output=True)
        self._own(self.folder)
        self.run("image", "import", "--guest", "--digest", digest, str(self.folder / "image"))

    def has(self, project: Path) -> None:
        """Have the project with its pinned image, and nothing of what was recorded."""
        left_out = shutil.ignore_patterns("network", "recorded", "out")
        self._project = shutil.copytree(project, self.folder / project.name, ignore=left_out)
        self._own(self._project)

    def run(self, *words: str, unplugged: bool = False) -> None:
        own = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        own |= {"XDG_RUNTIME_DIR": str(self.folder / "r"), "HOME": str(self.folder)}
        command = [*(UNPLUGGED if unplugged else []), *self._prefix, sys.executable, "-m", "hermit_cli.main", *words]
        done = subprocess.run(
            command, cwd=self._project, env=os.environ | own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    @staticmethod
    def _own(folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, OTHER, OTHER, follow_symlinks=False)


def settings(each: int, **vm: Any) -> None:
    path = Path(os.environ["XDG_CONFIG_HOME"], "hermit/config.yaml")
    # Whether KVM boots a guest is asked elsewhere (test_boot.py), and costs 10 s where it does not.
    more = {"limits": {"memory": each}, "vm": {"kind": "qemu", "processors": 1} | vm}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}))


def artifacts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitignore"}


def test_a_build_is_recorded_in_one_vm_and_replayed_unplugged_in_another_as_in_a_sandbox(
    project: BuildProject, tmp_path: Path
) -> None:
    told = project.json("--mode", "record", "--cell", "vm")
    assert (told["exit_code"], told["cell"], told["requests"]) == (0, "vm", 1)
    recorded, snapshot = artifacts(project.out), project.snapshot()
    assert recorded["thing"] == b"content\n"
    assert recorded["loud"] == b"CONTENT\n"
    assert list(snapshot) == [f"{ADDRESS}+{project.origin.port}.yaml"]
    again = project.json("--mode", "hermetic", "--cell", "vm", prefix=UNPLUGGED_PREFIX)
    assert (again["exit_code"], again["same"]) == (0, True)
    assert artifacts(project.out) == recorded
    settings(4 * MEMORY)
    project.run("--mode", "record", "--refresh", "--cell", "sandbox", "--out", str(tmp_path / "sandbox"))
    assert artifacts(tmp_path / "sandbox") == recorded
    assert project.snapshot() == snapshot


@pytest.mark.long
def test_a_step_without_network_is_refused_what_one_with_network_gets(project: BuildProject) -> None:
    asks = {"run": FETCH.format(url=project.url("/file"), host=f"{ADDRESS}:{project.origin.port}"), "shell": "bash"}
    project.spec(asks, artifacts=("thing",))
    told = project.json("--mode", "record", "--cell", "vm", status=3)
    assert [(one["outcome"], one["url"]) for one in told["unanswered"]] == [("refused", project.url("/file"))]
    assert project.snapshot() == {}


@pytest.mark.long
def test_an_ordinary_user_builds_the_same_in_vms_as_root(project: BuildProject, library: Path, short: Path) -> None:
    project.run("--mode", "record", "--cell", "vm")
    recorded, snapshot = artifacts(project.out), project.snapshot()
    user = User(short)
    (found,) = Library(library).images()
    user.brings(found.digest)
    user.has(project.root)
    user.run("build", "--mode", "record", "--cell", "vm")
    theirs = user.folder / project.root.name / ".hermit"
    assert artifacts(theirs / "out") == recorded
    assert {path.name: path.read_bytes() for path in (theirs / "network").iterdir()} == snapshot
    user.run("build", "--mode", "hermetic", "--cell", "vm", unplugged=True)
    assert artifacts(theirs / "out") == recorded
    assert list((user.folder / "r/hermit").glob("vm-*")) == []


@pytest.mark.long
def test_a_build_for_whose_vm_there_is_no_memory_waits_for_the_one_that_has_it(project: BuildProject) -> None:
    settings(MEMORY, memory=MEMORY + (100 << 20))
    project.spec({"run": "read -r _ </run/never || sleep 600"}, limits={"disk": "300 MiB"})
    with project.start("--mode", "record", "--cell", "vm") as first:
        assert first.stderr is not None
        while "[1/1]" not in (line := first.stderr.readline()):
            assert line, "it ended before its step"
        with project.start("--mode", "record", "--cell", "vm") as second:
            assert second.stderr is not None
            while "waiting for memory: this VM needs" not in (line := second.stderr.readline()):
                assert line, "it did not wait"
            first.send_signal(signal.SIGTERM)
            first.communicate(timeout=120)
            while "booting a machine" not in (line := second.stderr.readline()):
                assert line, "it went on waiting"
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (1, 1)
    assert list(Path("/run/hermit/memory").glob("room-*")) == []


@pytest.mark.long
def test_kvm_that_boots_nothing_is_an_error_where_it_is_asked_for_and_emulation_where_it_is_not(
    project: BuildProject,
) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        settings(MEMORY, kind="kvm")
        assert "KVM is wanted and cannot be used: " in project.run("--cell", "vm", status=4)[1]
        return
    settings(MEMORY, kind="auto")
    said = project.run("--mode", "record", "--cell", "vm")[1]
    settings(MEMORY, kind="kvm")
    if "booting a machine: emulated" not in said:
        project.run("--mode", "record", "--cell", "vm")
        return
    refused = project.run("--mode", "record", "--cell", "vm", status=4)[1]
    assert "KVM is wanted and cannot be used: " in refused
    assert "kind: auto" in refused
