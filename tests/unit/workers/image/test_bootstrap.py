"""What the installation needs of the machine is told by name; tests/integration/test_images.py installs for real."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hermit_workers.image.bootstrap import bootstrap
from hermit_workers.image.errors import ImageError
from tests.unit.workers.image.test_installer import job


@pytest.mark.parametrize(
    ("there", "told", "hint"),
    [([], "mmdebstrap is not installed", "mmdebstrap"), (["mmdebstrap"], "bwrap is not installed", "bubblewrap")],
)
def test_a_program_that_is_missing_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], told: str, hint: str
) -> None:
    for name in there:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    no_proxy: Any = None
    with pytest.raises(ImageError, match=told) as caught:
        asyncio.run(bootstrap(job(tmp_path), no_proxy, lambda _: None))
    assert caught.value.hint == f"apt-get install {hint}"
