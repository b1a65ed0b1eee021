"""Keeps layers, one a project."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from hermit_cli.build.kept import About, Kept
from hermit_cli.project import Project
from hermit_proxy.errors import HermitError

ABOUT = About("/there", "sha256:0", "make", "build", "/build/there", "2026-11-21 13:54 UTC")


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept.of(Project(tmp_path / "there"), {"XDG_STATE_HOME": str(tmp_path / "state")})


def layer(folder: Path, size: int) -> Path:
    made = folder / "cell"
    made.mkdir(parents=True)
    (made / "left").write_bytes(b"x" * size)
    return made


def test_a_layer_is_taken_over_told_and_removed(kept: Kept, tmp_path: Path) -> None:
    assert kept.about() is None
    size = asyncio.run(kept.put(layer(tmp_path / "run", 1 << 20), ABOUT))
    assert 1 << 20 <= size < 2 << 20
    assert kept.about() == ABOUT
    assert (kept.layer / "left").exists()
    assert not (tmp_path / "run/cell").exists()
    asyncio.run(kept.remove())
    assert kept.about() is None
    assert not kept.layer.exists()


def test_the_next_one_replaces_it(kept: Kept, tmp_path: Path) -> None:
    asyncio.run(kept.put(layer(tmp_path / "one", 1), ABOUT))
    asyncio.run(kept.put(layer(tmp_path / "two", 2), ABOUT))
    assert (kept.layer / "left").read_bytes() == b"xx"


def test_each_project_has_its_own(tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path)}
    one, other = (Kept.of(Project(tmp_path / name), state) for name in ("a", "b"))
    assert one.folder != other.folder


def test_what_is_in_use_is_neither_replaced_nor_removed_nor_used_twice(kept: Kept, tmp_path: Path) -> None:
    asyncio.run(kept.put(layer(tmp_path / "one", 1), ABOUT))
    with kept.held():
        with pytest.raises(HermitError, match="is using what the last build left"):
            asyncio.run(kept.put(layer(tmp_path / "two", 2), ABOUT))
        asyncio.run(kept.remove())
        with pytest.raises(HermitError, match="is using"), kept.held():
            pass
        assert (kept.layer / "left").read_bytes() == b"x"


def test_removing_where_nothing_is_makes_nothing(kept: Kept) -> None:
    asyncio.run(kept.remove())
    assert not kept.folder.exists()


def test_a_description_that_is_none_is_named(kept: Kept) -> None:
    kept.folder.mkdir(parents=True)
    (kept.folder / "kept.json").write_text("[]")
    with pytest.raises(HermitError, match=r"kept\.json"):
        kept.about()


def test_a_layer_that_cannot_be_described_is_not_kept_and_that_is_said(kept: Kept, tmp_path: Path) -> None:
    (kept.folder / "kept.json").mkdir(parents=True)
    (kept.folder / "kept.json/in-the-way").touch()
    with pytest.raises(HermitError, match="cannot write to"):
        asyncio.run(kept.put(layer(tmp_path / "one", 1), ABOUT))
    asyncio.run(kept.remove())  # a disk that refuses is the next build's matter
    (kept.folder / "kept.json/in-the-way").unlink()
    (kept.folder / "kept.json").rmdir()
    kept.folder.joinpath("lock").unlink()
    kept.folder.joinpath("lock").mkdir()
    with pytest.raises(HermitError, match="cannot write to"), kept.held():
        pass


def test_a_layer_without_its_description_is_removed_again(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_text

    def full(path: Path, text: str) -> int:
        if path.name == "kept.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HermitError, match="No space left"):
        asyncio.run(kept.put(layer(tmp_path / "one", 1), ABOUT))
    assert not kept.layer.exists()


def test_a_size_that_nobody_can_tell_is_none(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object, **_options: object) -> int:
        await asyncio.sleep(0)
        return 1

    monkeypatch.setattr("hermit_cli.build.kept.run_mapped", silent)
    assert asyncio.run(kept.put(layer(tmp_path / "one", 1), ABOUT)) == 0
