"""Is the replayer process: `python -m hermit_proxy.replayer --control-fd N --run RUNDIR`, started by ProxyProcess."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.replayer.hardening import harden
from hermit_proxy.run.control import exit_with_parent, report_error


def main(argv: list[str]) -> int:
    """Run until told to end, and give the exit code."""
    # By hand: argparse is a twentieth of the time that a start may take.
    if len(argv) != 4 or argv[0] != "--control-fd" or argv[2] != "--run" or not argv[1].isdecimal():  # noqa: PLR2004  two options, two values
        sys.stderr.write("usage: python -m hermit_proxy.replayer --control-fd N --run RUNDIR\n")
        return ExitCode.USAGE
    control_fd, rundir = int(argv[1]), Path(argv[3])
    exit_with_parent(control_fd)
    harden()
    gc.disable()  # Nearly all that is made while a run is loaded stays; `run` enables it when that is done.
    # Only its supervisor ends it in order, by the control socket; a signal ends it at once, and is seen as such.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from hermit_proxy.replayer.service import run  # noqa: PLC0415  after the parent is watched

        return run(control_fd, rundir)
    except HermitError as error:
        report_error(control_fd, error)
        return int(error.exit_code)
    except OSError as error:
        report_error(control_fd, HermitError(f"{error.strerror or error}: {error.filename or rundir}"))
        return ExitCode.MACHINE


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Threads of the store must not keep a process alive that has said its last word.
    os._exit(code)
