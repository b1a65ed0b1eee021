"""The setting `store` names a store or is refused, and no password gets into a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.errors import UsageError
from hermit_proxy.store.body import StoreGoneError
from hermit_proxy.store.open import open_store


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("", "data/hermit/store"),
        ("~/mine", "home/mine"),
        ("{tmp}/plain", "plain"),
        ("file://{tmp}/with%20space", "with space"),
        ("file://localhost{tmp}/local", "local"),
    ],
)
def test_a_folder_is_named_in_several_ways(tmp_path: Path, url: str, place: str) -> None:
    environ = {"HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "data")}
    assert open_store(url.format(tmp=tmp_path), environ=environ).where == str(tmp_path / place)


def test_without_settings_it_is_in_the_home_folder(tmp_path: Path) -> None:
    assert open_store("", environ={"HOME": str(tmp_path)}).where == str(tmp_path / ".local/share/hermit/store")


@pytest.mark.parametrize(
    "url",
    ["relative/path", "s3://bucket", "file://elsewhere.example.org/x", "file:///x?y=1", "redi://:sesame@host/0"],
)
def test_anything_else_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url, environ={"HOME": str(tmp_path)})
    assert "sesame" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.hint


@pytest.mark.parametrize(
    "url",
    ["redis://:sesame@localhost:x/0", "redis://:sesame@localhost:1/0?timeout=1", "unix:///s?password_file=/no/such"],
)
def test_a_redis_url_that_is_wrong_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url, environ={"HOME": str(tmp_path)})
    assert "sesame" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("url", ["unix://{tmp}/none.sock", "redis://user:sesame@127.0.0.1:1/0"])
def test_a_redis_that_is_not_there_is_told_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreGoneError) as caught:
        open_store(url.format(tmp=tmp_path), environ={"HOME": str(tmp_path)})
    assert "sesame" not in str(caught.value)
    assert caught.value.hint
