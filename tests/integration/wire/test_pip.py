"""Proves what pip and uv need of a replay: rows 6, 7 and 9."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome
from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.hermit import Hermit, Run, explain
from tests.support.index import HTML_TYPE, JSON_TYPE, PackageIndex
from tests.support.origin import Origin
from tests.support.rows import row
from tests.support.wheels import Wheel, make_wheel

HOST = "index.example.org"
PIP = f"{sys.executable} -m pip -q --disable-pip-version-check"


@row(6, client="pip")
@row(6, client="old pip")
def test_each_pip_gets_the_index_page_of_its_own_type(tls: Origin, make_hermit: MakeHermit, old_pip: Path) -> None:
    PackageIndex(tls).add(make_wheel("foo"))
    user = make_hermit(names=[HOST])
    options = f"--index-url {tls.url(HOST, '/simple')} --no-deps"
    new = f"{PIP} download {options} -d new foo"
    old = f"{sys.executable} {old_pip} -q --disable-pip-version-check download {options} -d old foo"
    user.record(f"{new}; {old}")
    pages = {entry.header("content-type") for entry in user.entries() if entry.url.endswith("/simple/foo/")}
    assert pages == {JSON_TYPE, HTML_TYPE}
    assert all(entry.vary for entry in user.entries() if entry.url.endswith("/simple/foo/"))
    replayed = user.hermetic(f"{old}; {new}")
    assert sorted(path.name for path in replayed.work.glob("*/*")) == ["foo-1.0-py3-none-any.whl"] * 2


@pytest.fixture
def padded(tls: Origin) -> list[Wheel]:
    index = PackageIndex(tls)
    wheels = [make_wheel("big", requires=("small",), padding=300_000), make_wheel("small")]
    for wheel in wheels:
        index.add(wheel)
    return wheels


def _ranges_are_slices_of_one_whole(user: Hermit, origin: Origin, wheel: Wheel, install: str) -> None:
    recorded = user.record(install)
    path = f"/files/{wheel.file_name}"
    assert any(event.url.endswith(path) and event.status == 206 for event in recorded.events), explain(recorded)
    assert not [asked for asked in origin.asked if asked.path == path and "range" in asked.headers]
    entries = [entry for entry in user.entries() if entry.url.endswith(path)]
    assert [(entry.method, entry.status, entry.sha256) for entry in entries] == [("GET", 200, wheel.sha256)]
    replayed = user.hermetic(install)
    assert any(event.url.endswith(path) and event.status == 206 for event in replayed.events), explain(replayed)
    for run in (recorded, replayed):
        assert (run.work / "t/big.py").exists()
        assert (run.work / "t/small.py").exists()


@row(7, client="pip")
def test_fast_deps_reads_slices_of_a_wheel_that_is_recorded_whole(
    tls: Origin, make_hermit: MakeHermit, padded: list[Wheel]
) -> None:
    user = make_hermit(names=[HOST])
    index = tls.url(HOST, "/simple")
    install = f"{PIP} install --use-feature=fast-deps --no-compile --target t --index-url {index} big"
    _ranges_are_slices_of_one_whole(user, tls, padded[0], install)


@row(7, client="uv")
def test_uv_reads_slices_of_a_wheel_that_is_recorded_whole(
    tls: Origin, make_hermit: MakeHermit, padded: list[Wheel], uv: Path
) -> None:
    user = make_hermit(names=[HOST])
    options = f"-q --no-config --python {sys.executable} --target t --index-url {tls.url(HOST, '/simple')}"
    _ranges_are_slices_of_one_whole(user, tls, padded[0], f"{uv} pip install {options} big")


@pytest.mark.registry
@row(9, client="pip")
def test_an_install_from_the_real_index_replays_for_a_pip_that_says_it_is_in_ci(make_hermit: MakeHermit) -> None:
    registry = registries.pip_registry()
    user = make_hermit(allow=registry.allow, rules=registry.rules)
    install = f"{PIP} install --no-compile --target t six==1.16.0"
    env = {"PIP_INDEX_URL": registry.url, "PIP_FIND_LINKS": ""}
    recorded = user.record(install, env=env)
    replayed = user.hermetic(install, env={**env, "CI": "1", "PIP_USER_AGENT_USER_DATA": "another machine"})
    assert (replayed.work / "t/six.py").read_bytes() == (recorded.work / "t/six.py").read_bytes()
    _all_replayed(replayed)


def _all_replayed(run: Run) -> None:
    assert run.events
    assert {event.outcome for event in run.events} == {Outcome.REPLAYED}, explain(run)
