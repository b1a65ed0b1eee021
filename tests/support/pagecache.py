"""Tells tests of what is read without waiting whether the file system says what it has in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest


def needs_nowait(folder: Path) -> None:
    """Skip the test where preadv2(2) with RWF_NOWAIT is not supported (tmpfs): there every read takes the thread."""
    probe = folder / "probe"
    probe.write_bytes(b"x")
    descriptor = os.open(probe, os.O_RDONLY)
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("this file system cannot read without waiting (TMPDIR on a disk runs it)")
    finally:
        os.close(descriptor)
        probe.unlink()
