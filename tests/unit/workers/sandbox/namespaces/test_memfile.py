"""Gives files in memory: whole, from their beginning, and gone afterwards."""

from __future__ import annotations

import os

import pytest

from hermit_workers.sandbox.namespaces.memfile import memory


def test_what_was_put_in_is_read_from_the_beginning_and_the_descriptor_goes() -> None:
    with memory(b"words" * 100_000) as descriptor:
        assert os.read(descriptor, 5) == b"words"
        assert os.fstat(descriptor).st_size == 500_000
        assert os.fstat(descriptor).st_nlink == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
