"""Has the doctor examine this machine, and the same machine with parts taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def doctor(status: int, **environ: str) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "hermit_cli.main", "doctor", "--json"]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["exit_code"]) == (status, status), done.stdout
    return {check["name"]: check for check in report["checks"]}


def test_a_machine_that_can_is_told_so() -> None:
    checks = doctor(0)
    assert {check["level"] for check in checks.values()} <= {"ok", "warn"}
    assert checks["cell"]["detail"] == "no route, no vsock, one listening socket"
    assert {"recorder", "replayer", "store", "bubblewrap", "git"} <= set(checks)


def test_the_settings_file_and_what_it_opens_are_named() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "config.yaml"
    assert str(config) in doctor(0)["upstream"]["detail"]
    config.parent.mkdir()
    config.write_text("upstream:\n  allow: [intern.example.org, 10.0.0.0/8]\n")
    assert doctor(0)["upstream"]["detail"] == f"upstream.allow in {config} opens intern.example.org, 10.0.0.0/8"


def test_without_bubblewrap_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    assert doctor(4, PATH=str(tmp_path))["bubblewrap"]["mend"] == "apt-get install bubblewrap"


def test_settings_that_are_wrong_are_told_with_their_line() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "config.yaml"
    config.parent.mkdir()
    config.write_text("stoer: /x\n")
    assert "config.yaml:1" in doctor(4)["settings"]["detail"]


def test_a_redis_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "config.yaml"
    config.parent.mkdir()
    config.write_text(f"store: unix://{tmp_path}/no.sock\n")
    assert doctor(4)["store"]["level"] == "fail"


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "XDG_DATA_HOME"])
def test_a_folder_that_cannot_be_written_is_told_of(variable: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failing = doctor(4, **{variable: str(tmp_path / "file")})
    assert "fail" in {check["level"] for name, check in failing.items() if name in {"runs", "store"}}
