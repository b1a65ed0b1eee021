"""Examines the settings of a machine; the parts that start something are in tests/integration/test_run_doctor.py."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from hermit_cli.examine import _PACKAGES, examine

ROOT = Path(__file__).resolve().parents[3]


def test_the_packages_that_are_looked_for_are_those_that_a_user_gets() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(_PACKAGES) == sorted(re.split(r"[^a-z0-9-]", name)[0] for name in wanted)


@pytest.mark.parametrize(("number", "told"), [(1, ", 1 secret"), (2, ", 2 secrets")])
def test_the_secrets_of_a_user_are_counted(tmp_path: Path, number: int, told: str) -> None:
    folder = tmp_path / "config/hermit"
    folder.mkdir(parents=True)
    lines = ["credentials:"]
    for name in ("one", "two")[:number]:
        lines += [f"  {name}: {{host: {name}.example.org, path: /, secret_file: {name}, as: bearer}}"]
        (folder / name).write_text("a-secret-of-a-test\n")
        (folder / name).chmod(0o600)
    (folder / "credentials.yaml").write_text("\n".join(lines) + "\n")
    (folder / "credentials.yaml").chmod(0o600)
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
    found = next(one for one in examine({**os.environ, **own}) if one.name == "credentials")
    assert found.detail.endswith(told)
