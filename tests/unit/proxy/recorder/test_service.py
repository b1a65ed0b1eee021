"""The recorder's process obeys its supervisor once it is ready, and says why when it cannot be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.recorder.service import RecorderService
from hermit_proxy.run.ca import RunCA, load_authority
from hermit_proxy.run.control import Message, unpack
from hermit_proxy.run.process import CA_CERT, CA_KEY
from hermit_proxy.run.settings import ProxySettings


def rundir(folder: Path, rules: str = "rules: []\n") -> Path:
    made = folder / "run"
    made.mkdir(mode=0o700)
    (folder / "rules.yaml").write_text(rules)
    authority = RunCA.create()
    (made / CA_CERT).write_bytes(authority.cert_pem)
    (made / CA_KEY).write_bytes(authority.key_pem)
    ProxySettings(folder / "rules.yaml", folder / "network", str(folder / "store"), "test").write(made)
    return made


class Supervised:
    """Is a service with the supervisor's end of its control socket; `codes` are what it ended with."""

    def __init__(self, made: Path) -> None:
        self.codes: list[int] = []
        self.ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.service = RecorderService(self._theirs.detach(), made, self.codes.append)

    async def hear(self) -> Message:
        """Give the next packet."""
        async with asyncio.timeout(20):
            return unpack(await asyncio.get_running_loop().sock_recv(self.ours, 1 << 16))

    async def stop(self) -> None:
        """Stop it."""
        await self.service.stopService().asFuture(asyncio.get_running_loop())
        self.ours.close()


def supervise(made: Path, scenario: Callable[[Supervised], Coroutine[Any, Any, None]]) -> list[int]:
    """Give the codes that it ended with before its supervisor hung up."""

    async def main() -> list[int]:
        run = Supervised(made)
        run.service.startService()
        try:
            await scenario(run)
            return list(run.codes)
        finally:
            await run.stop()

    return asyncio.run(main())


def test_it_loads_says_that_it_is_ready_and_obeys(tmp_path: Path) -> None:
    made = rundir(tmp_path)

    async def scenario(run: Supervised) -> None:
        assert (await run.hear())["event"] == "ready"
        assert not (made / CA_KEY).exists()
        assert run.service.on_step("test", "none") == "test"
        assert run.service._loaded().online is False
        assert run.service.on_step(None, "none") == "test"
        assert run.service.status()["requests"] == 0
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await run.service.on_listen(sock)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await run.service.on_finish()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    assert supervise(made, scenario) == []


@pytest.mark.parametrize(
    ("rules", "spoil", "word", "code"),
    [
        ("rules:\n- {pattern: x/.*, action: ALOW}\n", None, "rules.yaml:2", 2),
        ("rules: []\n", CA_CERT, "authority", 4),
        ("rules: []\n", "settings.json", "settings", 4),
    ],
)
def test_what_it_cannot_load_is_reported_with_an_exit_code(
    tmp_path: Path, rules: str, spoil: str | None, word: str, code: int
) -> None:
    made = rundir(tmp_path, rules)
    if spoil is not None:
        (made / spoil).write_text("nonsense")

    async def scenario(run: Supervised) -> None:
        said = await run.hear()
        assert (said["event"], word in str(said["message"]), said["exit_code"]) == ("error", True, code)

    assert supervise(made, scenario) == [code]


def test_a_fault_that_nobody_foresaw_is_reported_as_one_of_ours(tmp_path: Path) -> None:
    async def scenario(run: Supervised) -> None:
        assert (await run.hear())["event"] == "ready"
        run.service.fail(ZeroDivisionError("odd"))
        assert "the recorder failed: ZeroDivisionError('odd')" in str((await run.hear())["message"])

    assert len(supervise(rundir(tmp_path), scenario)) == 1


def test_orders_before_it_is_ready_are_refused(tmp_path: Path) -> None:
    run = Supervised(rundir(tmp_path))
    with pytest.raises(HermitError, match="not ready"):
        run.service.on_step("test", "proxy")
    with socket.create_server(("127.0.0.1", 0)) as sock, pytest.raises(HermitError, match="not ready"):
        asyncio.run(run.service.on_listen(sock))
    assert run.service.status() == {}
    run.ours.close()


def test_the_authoritys_key_is_read_once_and_gone(tmp_path: Path) -> None:
    made = rundir(tmp_path)
    assert load_authority(made).cert_pem == (made / CA_CERT).read_bytes()
    with pytest.raises(HermitError, match="authority"):
        load_authority(made)
