"""Is a proxy process until it is told to begin: `python -m hermit_proxy.run.early MODULE OPTIONS`, by spawning.py.

It imports what MODULE's service needs, waits for the first packet on the control socket, and is `python -m MODULE
OPTIONS` from then on. Until then it has read nothing of the run. Where its supervisor goes, there is no such packet.
"""

from __future__ import annotations

import gc
import os
import runpy
import socket
import sys
from importlib import import_module

from hermit_proxy.errors import ExitCode


def main() -> None:
    """Wait for the word, and be the module."""
    _, module, *options = sys.argv
    gc.disable()
    import_module(f"{module}.service")
    gc.freeze()  # what was imported stays: nobody need look for garbage in it, neither now nor later
    gc.enable()
    control_fd = int(options[options.index("--control-fd") + 1])
    with socket.socket(fileno=os.dup(control_fd)) as control:
        if not control.recv(1):  # what the packet says does not matter: it is the first
            sys.exit(ExitCode.MACHINE)
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
