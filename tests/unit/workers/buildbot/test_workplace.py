"""Takes a workplace through what needs no cell; tests/integration/master has it build."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError, InputError, UsageError
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import Settings
from hermit_workers.buildbot.workplace import STAYS, Site, Workplace
from hermit_workers.cell import Limits
from hermit_workers.runfolders import RunFolders
from tests.support.repository import git


def site(tmp_path: Path, settings: Settings | None = None) -> Site:
    return Site(RunFolders(tmp_path / "builds", STAYS), "sandbox", settings or Settings(), {})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "hello.git"
    (folder / ".hermit").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / ".hermit/recorded").write_text("2024-05-01T12:00:00Z\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return folder


def test_a_commit_is_brought_under_the_name_of_its_repository(repository: Path, tmp_path: Path) -> None:
    async def run() -> None:
        place = Workplace(site(tmp_path))
        found = await place.bring(str(repository), "", "main")
        assert (found.name, found.branch, found.commit) == ("hello", "main", git(repository, "rev-parse", "HEAD"))
        assert place.commit is found
        assert (found.project / ".hermit/recorded").exists()
        await place.close()
        await place.close()

    asyncio.run(run())
    assert list((tmp_path / "builds").iterdir()) == []


def test_a_repository_whose_address_ends_in_dots_has_a_name_all_the_same(repository: Path, tmp_path: Path) -> None:
    (repository / "x").mkdir()

    async def run() -> None:
        place = Workplace(site(tmp_path))
        assert (await place.bring(f"{repository}/x/..", "", "main")).name == "project"
        await place.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("link", "image"), [(".hermit/rules.yaml", "debian-12"), ("image.yaml", "image.yaml"), ("ci", "ci/image.yaml")]
)
def test_a_link_to_a_file_of_the_masters_is_refused_before_it_is_read(
    link: str, image: str, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "image.yaml").write_text("a token in one line")
    (repository / link).symlink_to(tmp_path if link == "ci" else tmp_path / "image.yaml")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "x")

    async def run() -> None:
        place = Workplace(site(tmp_path))
        await place.bring(str(repository), "", "main")
        with pytest.raises(InputError, match="leads out of the repository"):
            await place.open("record", image, PurePosixPath("/build/x"), {}, lambda _line: None)
        await place.close()

    asyncio.run(run())


def test_what_stays_of_a_build_is_what_it_made_and_its_log(tmp_path: Path) -> None:
    async def run() -> Path:
        place = Workplace(site(tmp_path))
        for name in ("artifacts", "snapshot", "source", "cell"):
            (place.folder / name / "x").mkdir(parents=True)
        (place.folder / "requests.jsonl").touch()
        (place.folder / "ca-key.pem").touch()
        await place.close()
        return place.folder

    folder = asyncio.run(run())
    assert sorted(path.name for path in folder.iterdir()) == ["artifacts", "requests.jsonl", "snapshot"]


def test_work_that_is_under_way_ends_with_the_place(repository: Path, tmp_path: Path) -> None:
    async def run() -> None:
        place = Workplace(site(tmp_path))
        bringing = asyncio.ensure_future(place.bring(str(repository), "", "main"))
        await asyncio.sleep(0)
        await place.close()
        assert bringing.cancelled()

    asyncio.run(run())


def test_a_fetch_from_a_server_that_says_nothing_ends_with_the_place(tmp_path: Path) -> None:
    async def run() -> None:
        place = Workplace(site(tmp_path))
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            bringing = asyncio.ensure_future(place.bring(f"git://127.0.0.1:{server.getsockname()[1]}/a", "", "main"))
            async with asyncio.timeout(60):
                connection, _ = await asyncio.get_running_loop().sock_accept(server)
                with connection:
                    await place.close()
                    assert bringing.cancelled()
                    while await asyncio.get_running_loop().sock_recv(connection, 4096):  # until git has gone
                        pass

    asyncio.run(run())


def test_nothing_is_done_before_its_time(tmp_path: Path) -> None:
    async def run() -> None:
        place = Workplace(site(tmp_path))
        with pytest.raises(HermitError, match="no source yet"):
            await place.open("record", "debian-12", PurePosixPath("/build/x"), {}, lambda _line: None)
        with pytest.raises(HermitError, match="no cell yet"):
            await place.take(PurePosixPath("/build/x"), ())
        with pytest.raises(HermitError, match="no cell yet"):
            await place.finish()
        await place.interrupt(15)
        await place.give_up()
        with pytest.raises(UsageError, match="no address"):
            await place.bring("", "", "main")
        await place.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wanted", "most", "limits"),
    [
        ({}, {}, Limits()),
        ({"memory": 1 << 20, "seconds": 5.0}, {}, Limits(memory=1 << 20, seconds=5.0)),
        ({"memory": 1 << 40}, {"memory": 1 << 30, "time": 60.0}, Limits(memory=1 << 30, seconds=60.0)),
    ],
)
def test_a_build_gets_what_it_asks_for_and_no_more_than_the_operator_allows(
    wanted: dict[str, float], most: dict[str, float], limits: Limits, tmp_path: Path
) -> None:
    place = Workplace(site(tmp_path, Settings(limits=most)))
    try:
        assert place._limits(wanted) == limits
    finally:
        asyncio.run(place.close())


def test_a_proxy_has_the_commits_files_and_the_pool_of_the_repository(repository: Path, tmp_path: Path) -> None:
    async def run() -> ProxySettings:
        place = Workplace(site(tmp_path, Settings(store="/srv/store")))
        try:
            found = await place.bring(str(repository), "", "main")
            settings = place._proxy_settings(found.project)
            assert settings.rules == found.project / ".hermit/rules.yaml"
            return settings
        finally:
            await place.close()

    settings = asyncio.run(run())
    assert settings.clock == (1714564800.0,)
    assert settings.pool.startswith("local/hello.git-")
    assert settings.store == "/srv/store"
