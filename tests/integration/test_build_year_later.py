"""Replays recordings with every clock a year ahead, Hermit's own too: what has expired since must not matter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome
from tests.integration.wire.test_apt import APT
from tests.support import registries
from tests.support.buildhome import BuildHome
from tests.support.clients import need
from tests.support.hermit import Hermit, explain, need_namespaces
from tests.support.registries import Registry

PIP = f"{sys.executable} -m pip -q --disable-pip-version-check"
# A timer of Rust's standard library is a moment of the monotonic clock, for which it asks the kernel: a year to wait.
LATER = {"FAKETIME": "+365d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.fixture
def clock() -> dict[str, str]:
    """Give the variables that put a process, and all that it starts, a year ahead."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    return {"LD_PRELOAD": str(found[0]), **LATER}


@dataclass(frozen=True, slots=True)
class Client:
    """Is a client, the registry that it is set up for, and what it fetches there."""

    program: str
    find: Callable[[], Registry]
    script: Callable[[Registry], str]


def _apt(_registry: Registry) -> str:
    line = registries.apt_sources()[0].line.strip()
    return f"echo '{line}' > sources.list; {APT} update >&2; cat lists/*Release | md5sum"


def _npm(found: Registry) -> str:
    install = f"npm_config_registry={found.url} npm install --ignore-scripts --prefix . is-number@7.0.0 >&2"
    return f"{install}; md5sum node_modules/is-number/index.js"


def _pip(found: Registry) -> str:
    install = f"PIP_FIND_LINKS= {PIP} install --index-url {found.url} --no-compile -t t six==1.16.0"
    return f"{install}; md5sum t/six.py"


# Without cargo, whose builds by rustup wait in their allocator for libfaketime, which waits for the allocator; and
# without Go, whose programs are static: no library reaches their clock.
CLIENTS = [
    Client("apt-get", lambda: registries.apt_registry(registries.apt_sources()[0]), _apt),
    Client("curl", registries.pip_registry, lambda found: f"curl -sSf {found.url}six/ | md5sum"),
    Client("npm", registries.npm_registry, _npm),
    Client(sys.executable, registries.pip_registry, _pip),
]


@pytest.mark.registry
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: Path(client.program).name)
def test_a_recording_of_a_command_replays_a_year_later(client: Client, tmp_path: Path, clock: dict[str, str]) -> None:
    need_namespaces()
    need(client.program)
    registry = client.find()
    user = Hermit(tmp_path / "user", allow=registry.allow, rules=registry.rules)
    script = f"{client.script(registry)}; date +%Y > year"
    recorded = user.record(script)
    later = user.hermetic(script, env=clock)
    assert later.out == recorded.out, explain(later)
    assert later.of(Outcome.REPLAYED), explain(later)
    years = [int((run.work / "year").read_text()) for run in (recorded, later)]
    assert years[1] == years[0] + 1


@pytest.mark.registry
def test_a_client_alone_a_year_ahead_finds_the_runs_certificates_expired(tmp_path: Path, clock: dict[str, str]) -> None:
    """(control) The clients' clocks are really ahead, and Hermit's own was above."""
    need_namespaces()
    need("curl")
    index = registries.pip_registry()
    user = Hermit(tmp_path / "user", allow=index.allow, rules=index.rules)
    user.record(f"curl -sSf {index.url}six/ >&2")
    exports = " ".join(f"{name}={value}" for name, value in clock.items())
    failed = user.hermetic(f"{exports} curl -sSf {index.url}six/ >&2", expect=1)
    assert "certificate has expired" in failed.err, explain(failed)


# From the step `year` on the programs of the cell are a year ahead: for root, and so for apt steps too, the cell's own
# loader preloads the library, which reads the time from a file. For the other user a script does so: a program that
# changes its user, as the one that starts each step, leaves a semaphore of root's to it.
SPEC = """\
image: debian-12
environment: {FAKETIME_DONT_FAKE_MONOTONIC: "1"}
steps:
  - apt: [libfaketime]
  - name: year
    user: root
    run: |
      echo +365d > /etc/faketimerc
      if [ -e later ]; then ls /usr/lib/*/faketime/libfaketime.so.1 > /etc/ld.so.preload; fi
      rm -rf /var/lib/apt/lists/*
  - run: apt-get -q update; date +%Y > root-year.txt
    user: root
    network: proxy
  - apt: [curl, python3-venv]
  - run: rm -f /etc/ld.so.preload
    user: root
  - run: sh fetch.sh > fetched.txt
    network: proxy
artifacts: ["*.txt"]
"""
FETCH = """\
if [ -e later ]; then export LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); fi
date +%Y > build-year.txt
curl -sSf {index}six/ | md5sum
python3 -m venv v
v/bin/pip -q install --index-url {index} six==1.16.0
md5sum v/lib/python3*/site-packages/six.py
"""


@pytest.mark.registry
def test_a_recording_of_a_build_replays_a_year_later(tmp_path: Path, clock: dict[str, str]) -> None:
    need_namespaces()
    index = registries.pip_registry()
    sources = [registries.apt_registry(source) for source in registries.apt_sources()]
    user = BuildHome(tmp_path / "user", [index, *sources])
    project = user.project("later", SPEC, {"fetch.sh": FETCH.format(index=index.url)})
    recorded = user.record(project)
    (project / "later").touch()
    replayed = user.hermetic(project, env=clock)
    assert replayed.artifacts["fetched.txt"] == recorded.artifacts["fetched.txt"]
    assert len(replayed.artifacts["fetched.txt"].splitlines()) == 2
    for name in ("root-year.txt", "build-year.txt"):
        assert int(replayed.artifacts[name]) == int(recorded.artifacts[name]) + 1
