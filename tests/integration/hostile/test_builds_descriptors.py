"""Uses up what the kernel counts for a user, who is the same one in all cells: another build goes on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import Command
from tests.integration.hostile.bastion import PYTHON, TOOL_ENVIRONMENT, fortress, run
from tests.integration.hostile.rows import attack
from tests.support.alongside import alongside
from tests.support.hermit import need_namespaces
from tests.support.sandbox import PATH, Done

_SENDING = """
import array, errno, os, resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
null = os.open("/dev/null", os.O_RDONLY)
kept, sent, said = [], 0, "none"
while sent < 2 * most and said == "none":
    kept.append(socket.socketpair())
    for _ in range(40):
        try:
            kept[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 250))])
        except OSError as error:
            said = errno.errorcode[error.errno]
            break
        sent += 250
print(said, sent > 1024, flush=True)
time.sleep(600)
"""


@attack("build-descriptors-on-their-way")
def test_descriptors_that_one_build_has_sent_keep_no_other_from_starting_and_ending(tmp_path: Path) -> None:
    need_namespaces()

    async def both() -> tuple[str, list[Done]]:
        async with fortress(tmp_path / "greedy") as (greedy, _):
            reading, writing = os.pipe()
            try:
                seen = {"PATH": PATH, **TOOL_ENVIRONMENT}
                command = Command((PYTHON, "-S", "-c", _SENDING), seen, PurePosixPath("/"), "root")
                async with alongside(greedy.run(command, output=writing)):
                    said = (await asyncio.to_thread(os.read, reading, 1000)).decode()
                    async with fortress(tmp_path / "other") as (other, _):
                        steps = ["echo first; kill -9 -1", "echo second"]  # the second has a namespace sent again
                        done = [await run(other, ["sh", "-c", script]) for script in steps]
                        await other.stop()
                    await greedy.stop()
            finally:
                os.close(reading)
                os.close(writing)
        return said, done

    said, done = asyncio.run(both())
    if said == "none True\n":
        pytest.skip("this kernel lets everybody send as many descriptors as they like")
    assert said == "ETOOMANYREFS True\n"
    assert [one.output.splitlines()[-1] for one in done] == ["first", "second"]
