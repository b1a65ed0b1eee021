"""Is the recorder process: `python -m hermit_proxy.recorder --control-fd N --run RUNDIR`, started by ProxyProcess."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop
from twisted.internet import asyncioreactor

from hermit_proxy.errors import ExitCode
from hermit_proxy.run.control import exit_with_parent

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Leave no way to the secrets in this process's memory: no core file, no debugger of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    # It would write the keys of all connections to a file.
    os.environ.pop("SSLKEYLOGFILE", None)


def main(argv: list[str]) -> int:
    """Run until told to end, and give the exit code."""
    parser = argparse.ArgumentParser(prog="hermit_proxy.recorder")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args(argv)
    exit_with_parent(arguments.control_fd)
    harden()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]  # Twisted is half typed
    # Both import or need the reactor that was just installed.
    from twisted.internet import reactor  # noqa: PLC0415  see above

    from hermit_proxy.recorder.service import RecorderService  # noqa: PLC0415  see above

    codes: list[int] = []

    def end(code: int) -> None:
        if code == ExitCode.DONE:
            # Everything has been brought to the disk, and the supervisor hangs up as soon as it has read so.
            os._exit(code)
        codes.append(code)
        if len(codes) == 1:
            loop.call_later(0.05, reactor.stop)  # type: ignore[attr-defined]  # so that the last report gets out

    service = RecorderService(arguments.control_fd, arguments.run, end)
    loop.call_soon(service.startService)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)  # type: ignore[attr-defined]  # Twisted's module object
    # Only its supervisor ends it in order, by the control socket; a signal ends it at once, and is seen as such.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    reactor.run(installSignalHandlers=False)  # type: ignore[attr-defined]  # as above
    return codes[0] if codes else 0


if __name__ == "__main__":
    # Threads of the store must not keep a process alive that has said its last word.
    sys.stdout.flush()
    os._exit(main(sys.argv[1:]))
