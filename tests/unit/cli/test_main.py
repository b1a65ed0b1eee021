"""Calls the command as a shell would, for what every command of it shares."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from hermit_cli import main as hermit
from hermit_proxy.errors import HermitError, UsageError


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hermit_cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("run", "--no-such-option"), ("run", "--mode", "x")])
def test_a_wrong_command_line_ends_with_2_and_says_what_is_right(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert "usage: hermit" in done.stderr
    assert done.stdout == ""


def test_without_a_command_the_help_is_what_is_right() -> None:
    assert "exit codes:" in call().stderr


def test_the_version_is_told() -> None:
    done = call("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hermit {version('hermit-ci')}\n", "")


def test_the_help_names_every_command_and_every_exit_code() -> None:
    said = call("--help").stdout
    assert all(name in said for name in hermit.COMMANDS)
    assert all(f"{code} " in said for code in range(5))


def test_a_command_does_not_import_what_only_others_need() -> None:
    code = "import sys, hermit_cli.main as m; m.main(['run']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "hermit_cli.run" in loaded
    assert not {"hermit_cli.snapshot_cmd", "asyncio", "mitmproxy", "twisted", "cryptography"} & set(loaded)


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("wrong", hint="do right"), 2), (HermitError("broken", hint="mend it"), 4)]
)
def test_an_error_becomes_words_and_an_exit_code(
    error: HermitError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_args: object) -> int:
        raise error

    monkeypatch.setattr("hermit_cli.run.main", fail)
    assert hermit.main(["run", "--", "true"]) == code
    said = capsys.readouterr()
    assert said.err == f"hermit: {error}\n  next: {error.hint}\n"
    assert hermit.main(["run", "--json", "--", "true"]) == code
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": str(error), "hint": error.hint, "exit_code": code}
    assert said.err == ""
