"""A folder is made where it is missing, and one that leads elsewhere or belongs to others is not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.store.body import StoreError
from hermit_proxy.store.folders import make_folder, refuse_foreign, refuse_link


def test_a_missing_folder_is_made_for_its_owner_and_one_that_is_there_stays(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "ab")
        assert (tmp_path / "ab").stat().st_mode & 0o777 == 0o700
        (tmp_path / "ab" / "body").write_bytes(b"x")


@pytest.mark.parametrize("there", [True, False], ids=["to a folder", "to nothing"])
def test_a_link_is_no_folder(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ab").symlink_to(tmp_path / "elsewhere")
    for look in (make_folder, refuse_link):
        with pytest.raises(StoreError, match="symbolic link"):
            look(tmp_path / "ab")


@pytest.mark.parametrize(("mode", "refused"), [(0o700, False), (0o755, False), (0o775, True), (0o702, True)])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    if not refused:
        refuse_foreign(tmp_path / "store")
        return
    with pytest.raises(StoreError, match="other users"):
        refuse_foreign(tmp_path / "store")
