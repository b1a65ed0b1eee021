"""Tests the parts of the supervisor that need no proxy; the whole is in tests/integration/test_replayer_process.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError, NotHermeticError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.run import process, spawning
from hermit_proxy.run.process import ProxyDiedError, ProxyProcess, ProxySettings


@pytest.mark.parametrize(
    ("code", "kind"), [(2, UsageError), (3, NotHermeticError), (4, HermitError), (77, HermitError), (None, HermitError)]
)
def test_an_error_of_the_proxy_is_raised_as_its_kind(code: int | None, kind: type[HermitError]) -> None:
    error = process._error({"message": "it is so", "hint": "do that", "exit_code": code})
    assert (type(error), str(error), error.hint) == (kind, "it is so", "do that")
    assert process._error({"exit_code": ExitCode.USAGE}).hint is None


def test_a_proxy_that_cannot_start_is_a_death_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spawning._MODULES, "hermetic", "hermit_proxy.no_such_module")
    settings = ProxySettings(tmp_path / "rules", tmp_path / "network", str(tmp_path / "store"), "pool")
    heard: list[dict[str, object]] = []

    async def scenario() -> None:
        proxy = await ProxyProcess.start(Mode.HERMETIC, settings, tmp_path / "run", on_event=heard.append)
        with pytest.raises(ProxyDiedError, match=r"(?s)exit status 1; it said:\n.*no_such_module"):
            await proxy.ready()
        assert await proxy.wait_closed() == 1
        with pytest.raises(ProxyDiedError):
            await proxy.finish()
        await proxy.stop()

    asyncio.run(scenario())
    assert heard == [{"event": "died", "status": 1}]


def test_what_was_spawned_to_record_is_nothing_for_a_hermetic_run(tmp_path: Path) -> None:
    settings = ProxySettings(tmp_path / "rules", tmp_path / "network", str(tmp_path / "store"), "pool")
    with spawning.spawned("record", tmp_path, {}) as recorder, pytest.raises(ValueError, match="spawned to record"):
        asyncio.run(ProxyProcess.start(Mode.HERMETIC, settings, tmp_path, spawned=recorder))


def test_the_run_folder_is_closed_to_others_and_so_are_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spawning._MODULES, "record", "hermit_proxy.no_such_module")
    settings = ProxySettings(tmp_path / "rules", tmp_path / "network", str(tmp_path / "store"), "pool")

    async def scenario() -> None:
        proxy = await ProxyProcess.start(Mode.RECORD, settings, tmp_path / "run")
        await proxy.stop()

    asyncio.run(scenario())
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()}
    assert modes == {"settings.json": 0o600, "ca.pem": 0o644, "ca-key.pem": 0o600, "proxy.err": 0o600}
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (60, "signal 60")])
def test_signals_are_named(number: int, name: str) -> None:
    assert process._signal_name(number) == name
