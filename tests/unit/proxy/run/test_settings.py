"""Tests that what the supervisor writes is what the proxy reads, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.run.settings import ProxySettings

MADE = ProxySettings(
    Path("rules.yaml"), Path("network"), "redis://store.example.org/0", "pool/x", clock=(1.5, 2), observers=2,
    upstream_allow=("10.0.0.0/8",), upstream_trust=Path("bundle.pem"), credentials=Path("c.yaml"), upload_limit=7,
    refresh=True, settings_file="config.yaml",
)  # fmt: skip


@pytest.mark.parametrize("made", [MADE, ProxySettings(Path("r"), Path("n"), "", "p")])
def test_settings_survive_their_file(made: ProxySettings, tmp_path: Path) -> None:
    made.write(tmp_path)
    assert ProxySettings.read(tmp_path) == made
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    with pytest.raises(FileExistsError):
        MADE.write(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"secret": 1},
        {"rules": 1},
        {"rules": None},
        {"clock": 5},
        {"observers": "2"},
        {"observers": True},
        {"pool": None},
        {"refresh": 1},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    MADE.write(tmp_path)
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(HermitError, match="not the settings"):
        ProxySettings.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "\0"])
def test_what_is_no_object_with_settings_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(HermitError):
        ProxySettings.read(tmp_path)
