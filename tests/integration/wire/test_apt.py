"""Proves what apt needs of a replay: rows 22 to 24."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.aptrepo import AptRepository
from tests.support.clients import need
from tests.support.hermit import Hermit, explain
from tests.support.origin import Origin
from tests.support.rows import row

HOST = "archive.example.org"
APT = (
    "mkdir -p lists/partial cache/archives/partial; : > status; apt-get -q -o Dir::State=$PWD -o Dir::Cache=$PWD/cache"
    " -o Dir::State::lists=lists -o Dir::State::status=$PWD/status -o Dir::State::extended_states=$PWD/extended"
    " -o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=- -o Acquire::Languages=none"
    " -o APT::Sandbox::User=root"
)
STRICT = "-o Acquire::Check-Valid-Until=true -o Acquire::Check-Date=true"

MakeArchive = Callable[..., AptRepository]


@pytest.fixture
def archive(plain: Origin, tmp_path: Path) -> Iterator[MakeArchive]:
    need("apt-get", "dpkg-deb", "gpg")
    made: list[AptRepository] = []

    def make(**options: Any) -> AptRepository:
        made.append(AptRepository(plain, tmp_path / "archive", **options))
        return made[-1]

    yield make
    for repository in made:
        repository.close()


@pytest.fixture
def apt_user(make_hermit: MakeHermit, tmp_path: Path) -> Callable[..., Hermit]:
    """Give a user on a machine whose own apt settings say nothing of dates."""
    empty = tmp_path / "apt.conf.d"
    empty.mkdir()
    return lambda **options: make_hermit(binds={"/etc/apt/apt.conf.d": empty}, **options)


def _install(line: str, package: str, options: str = "") -> str:
    update = f"echo '{line.strip()}' > sources.list; {APT} {options} update >&2"
    return f"{update}; {APT} {options} download {package} >&2; ls *.deb"


def _later(days: int, script: str) -> str:
    """Let a script's clock, and not hermit's, stand so many days ahead."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    return f"export LD_PRELOAD={found[0]} FAKETIME=+{days}d; {script}"


@pytest.mark.registry
@row(22, client="apt")
def test_a_real_archive_whose_release_has_expired_since_replays(apt_user: Callable[..., Hermit]) -> None:
    need("apt-get")
    source = registries.apt_sources()[0]
    registry = registries.apt_registry(source)
    user = apt_user(allow=registry.allow, rules=registry.rules)
    script = f"echo '{source.line.strip()}' > sources.list; {APT} {{}} update 2>&1"
    user.record(script.format(""))
    release = next((user.folder / "work-1-record/lists").glob("*Release")).read_text()
    assert "Valid-Until:" in release, "this archive's Release does not expire, so this test shows nothing"
    naive = user.hermetic(_later(60, f"{script.format(STRICT)} && exit 9 || true"))
    assert "is expired" in naive.out, explain(naive)
    assert "is expired" not in user.hermetic(_later(60, script.format(""))).out


@row(22, client="apt")
def test_a_release_that_expires_is_accepted_in_a_replay(archive: MakeArchive, apt_user: Callable[..., Hermit]) -> None:
    repository = archive(valid_until=int(time.time()) + 3600)
    repository.publish("tool", "1.0")
    user = apt_user(names=[HOST])
    install = _install(repository.line(HOST), "tool")
    user.record(install)
    assert user.hermetic(_later(2, install)).out == "tool_1.0_all.deb\n"
    naive = user.hermetic(_later(2, _install(repository.line(HOST), "tool", STRICT)), expect=1)
    assert "is expired" in naive.err


@row(23, client="apt")
@pytest.mark.parametrize("by_hash", [True, False])
def test_the_index_and_its_release_are_of_one_moment(
    archive: MakeArchive, apt_user: Callable[..., Hermit], *, by_hash: bool
) -> None:
    repository = archive(by_hash=by_hash)
    repository.publish("tool", "1.0")
    user = apt_user(names=[HOST])
    install = _install(repository.line(HOST), "tool")
    assert user.record(install).out == "tool_1.0_all.deb\n"
    repository.publish("tool", "2.0")
    assert user.record(install).out == "tool_1.0_all.deb\n"
    assert user.hermetic(install).out == "tool_1.0_all.deb\n"
    # by-hash names never change, so they may stay ALLOW; without them the whole suite is asked anew.
    authority = repository.origin.authority(HOST)
    moving = f"{authority}/apt/dists/[^/]*/InRelease" if by_hash else f"{authority}/apt/dists/.*"
    rules = "".join(
        f'  - pattern: "{pattern}"\n    action: {action}\n'
        for pattern, action in ((moving, "REFRESH"), (f"{authority}/.*", "ALLOW"))
    )
    user.allow_only(f"rules:\n{rules}")
    assert user.record(install).out == "tool_2.0_all.deb\n"
    assert user.hermetic(install).out == "tool_2.0_all.deb\n"


@row(24, client="apt")
def test_names_that_apt_tries_in_vain_are_part_of_the_recording(
    archive: MakeArchive, apt_user: Callable[..., Hermit]
) -> None:
    repository = archive(clearsigned=False, by_hash=False)
    repository.publish("tool", "1.0")
    user = apt_user(names=[HOST])
    install = _install(repository.line(HOST), "tool")
    user.record(install)
    missing = [entry for entry in user.entries() if entry.status == 404]
    assert any(entry.url.endswith("/InRelease") for entry in missing)
    replayed = user.hermetic(install)
    assert replayed.out == "tool_1.0_all.deb\n"
    assert 404 in {event.status for event in replayed.events}, explain(replayed)
