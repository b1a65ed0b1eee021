"""Names pools after origins that are good, odd, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.store.poolname import pool_name


@pytest.mark.parametrize(
    ("origin", "pool"),
    [
        ("https://git.example.org/group/project.git", "git.example.org/group/project"),
        ("https://user:s3cret@git.example.org/group/project", "git.example.org/group/project"),
        ("git@git.example.org:group/project.git", "git.example.org/group/project"),
        ("ssh://git@git.example.org:2222/group/project.git/", "git.example.org/group/project"),
        ("https://git.example.org/a b/ü", "git.example.org/a-b/-"),
        ("https://user:p@ss@git.example.org/group/project", "git.example.org/group/project"),
    ],
)
def test_all_clones_of_a_repository_share_a_pool(origin: str, pool: str, tmp_path: Path) -> None:
    assert pool_name(origin, tmp_path) == pool


_NO_GOOD = (
    "",
    "../other",
    "/srv/git/x/../y",
    "https://example.org/" + "x" * 200,
    "https://user:s3cret/x@example.org/a",
    "helper::https://user:s3cret@example.org/a",
    "persistent-https://user:s3cret@example.org/a",
)


@pytest.mark.parametrize("origin", _NO_GOOD)
def test_without_a_good_origin_the_place_names_the_pool(origin: str, tmp_path: Path) -> None:
    name = pool_name(origin, tmp_path)
    assert name.startswith("local/")
    assert "s3cret" not in name
    assert name == pool_name(origin, tmp_path)
    assert name != pool_name(origin, tmp_path / "other")
