"""Hears from libvirt what becomes of a machine: that it runs, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib

from hermit_workers.cell import CellError

GUEST_ENDED = "the guest has switched it off, or has crashed"

_SECONDS = 30.0
# What libvirt says of a machine that is no more, or that will never go on, and what that is to people.
_ENDS = {
    "Stopped Failed": "QEMU was killed, or has crashed",
    "Stopped Crashed": "QEMU was killed, or has crashed",
    "Crashed Panicked": "its kernel has panicked",
    "Shutdown Finished after guest request": GUEST_ENDED,
    "Shutdown Finished after host request": "somebody on this machine has ended QEMU",
    "Suspended I/O Error": "this machine has no room on its disk for what it writes",
}
_ENDED = ("Stopped ", "Crashed ", "Shutdown ", "Suspended I/O Error")


class Events:
    """Is what libvirt tells of one machine, read from `virsh event --loop`, which is started before the machine is.

    States: listening -> over. `over` is done with how the machine ended, empty where libvirt can no longer tell.
    """

    def __init__(self, client: asyncio.subprocess.Process) -> None:
        """Take the client, whose output must be a pipe; needs a running loop."""
        self._client = client
        self._heard = asyncio.Event()
        self.over: asyncio.Task[str] = asyncio.create_task(self._listen())

    async def listening(self) -> None:
        """Wait until something was heard of the machine, and its end will be, too; raise CellError where nothing is."""
        waiting = asyncio.ensure_future(self._heard.wait())
        await asyncio.wait({waiting, self.over}, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self._heard.is_set():
            raise CellError("libvirt tells nothing of the VM that it has started", hint="hermit doctor")

    async def stop(self) -> None:
        """Listen no more; doing it twice is safe."""
        if not self.over.done():
            self._kill()
        await asyncio.wait([self.over])

    async def _listen(self) -> str:
        if self._client.stdout is None:
            raise ValueError("its output must be a pipe")
        how = ""
        while not how and (line := await self._client.stdout.readline()):
            self._heard.set()
            # event 'lifecycle' for domain 'NAME': Stopped Failed
            event = line.decode(errors="replace").strip().partition("': ")[2]
            if event.startswith(_ENDED):
                how = _ENDS.get(event, f"libvirt says `{event}`")
                self._kill()  # it would listen for ever
        # As long as there is something unread, asyncio does not see that it has ended.
        await self._client.communicate()
        return how

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._client.kill()
