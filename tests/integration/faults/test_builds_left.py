"""Kills a build so that the files of its cell stay, which belong to mapped users: the next build removes them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hermit_workers.image.moving import export_image
from tests.integration.faults.buildbench import MARK, BuildBench, find, stands
from tests.integration.faults.halt import halting
from tests.integration.faults.processes import until
from tests.support.buildhome import OTHER, BuildHome
from tests.support.hermit import PRIVATE, need_namespaces

_STEP = f"mkdir -m 700 deep; echo x >deep/file; echo {MARK}; exec sleep 1000"
_MAKE = "import pathlib, sys; from tests.integration.faults.buildbench import make_library; "
_MAKE += "make_library(pathlib.Path(sys.argv[1]))"
_OVER = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
_SPEC = "image: debian-12\nsteps:\n  - run: {step}\nartifacts: [out]\n"


def layers(state: Path) -> list[Path]:
    """Name the files that cells of killed builds have left."""
    return [path for path in state.glob("hermit/runs/*/cell/layers/*/**/*") if path.name == "file"]


def kill_at_once(*victims: int | None) -> None:
    """Kill processes so that none of them sees another one's end."""
    assert None not in victims
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in victims:
            os.kill(int(victim or 0), number)


def test_files_of_a_cell_that_was_killed_with_its_hermit(build_bench: BuildBench) -> None:
    bench = build_bench
    bench.spec({"run": _STEP})
    running = bench.start("hermetic")
    until("the step to sleep", bench.stands)
    kill_at_once(*(running.victim(name) for name in ("keeper", "holder", "hermit")))
    assert running.end().code == 128 + signal.SIGKILL
    (file,) = layers(bench.folder / "state")
    assert file.stat().st_uid != os.geteuid()
    bench.check_next("hermetic", "/old")
    bench.check_image()


def test_half_an_image_of_an_import_that_was_killed(build_bench: BuildBench) -> None:
    bench = build_bench
    (image,) = bench.library.images()
    parcel, place = bench.folder / "image.tar", bench.folder / "other/hermit/images"
    asyncio.run(export_image(image, parcel))
    command = ("image", "import", str(parcel), "--digest", image.digest)
    env = {"XDG_DATA_HOME": str(bench.folder / "other")}
    with halting("tar", where="*--extract*") as halt:
        over = [*PRIVATE, "sh", "-ec", _OVER, "sh", str(halt.folder / "tar"), str(shutil.which("tar"))]
        running = bench.start("", *command, prefix=over, env=env)
        until("tar to be called", halt.reached)
        running.hit("hermit", signal.SIGKILL)
        assert running.end().code == 128 + signal.SIGKILL
    (left,) = place.iterdir()
    assert left.name.startswith(".new-")
    assert bench.start("", *command, env=env).end().code == 0
    assert [path.name for path in place.iterdir()] == [image.folder.name]


@pytest.fixture
def home() -> Iterator[BuildHome]:
    """Give another user a folder that they reach; the tests' own is closed to them."""
    need_namespaces()
    with tempfile.TemporaryDirectory(prefix="hermit-test-") as name:
        yield BuildHome(Path(name), uid=OTHER)


def test_files_of_an_ordinary_users_cell_that_was_killed(home: BuildHome) -> None:
    """Give another user an image of their own, for it belongs to the users that they map."""
    folder = home.folder
    library = folder / "data/hermit/images"
    project = home.project("project", _SPEC.format(step=_STEP))
    _own(folder)
    made = _start(home, ["-c", _MAKE, str(library)])
    assert made.wait(120) == 0
    building = _start(home, ["-m", "hermit_cli.main", "build", str(project)])
    logs = folder / "state/hermit/runs"
    until("the step to sleep", lambda: stands(home.folder / "state"))
    kill_at_once(*(find(building.pid, name) for name in ("keeper", "holder", "hermit")))
    building.wait(30)
    (file,) = layers(folder / "state")
    assert file.stat().st_uid not in {os.geteuid(), OTHER}
    (project / ".hermit/build.yaml").write_text(_SPEC.format(step="echo fine >out"))
    again = _start(home, ["-m", "hermit_cli.main", "build", str(project)])
    assert again.wait(120) == 0
    assert layers(folder / "state") == []
    assert not list(logs.glob("*/cell"))
    assert (project / ".hermit/out/out").read_text() == "fine\n"


def _start(home: BuildHome, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    folder = home.folder
    own = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
    environment = {**os.environ, **own, "HERMIT_TEST_CACHE": str(folder / "cache"), "HOME": str(folder)}
    environment |= {"XDG_RUNTIME_DIR": str(folder / "runtime"), "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [*home._prefix, sys.executable, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL)


def _own(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
