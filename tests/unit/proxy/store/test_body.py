"""Digests become file names and system errors become advice: both must be right."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode
from hermit_proxy.store.body import (
    BodyCorruptError,
    BodyMissingError,
    DigestMismatchError,
    Store,
    StoreError,
    StoreFullError,
    check_digest,
    storage_error,
)
from hermit_proxy.store.files import FileStore


@pytest.mark.parametrize("text", ["", "a" * 63, "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n", "a" * 65])
def test_what_is_no_digest_never_becomes_a_file_name(text: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        check_digest(text)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_having_no_room_is_the_same_error(number: int) -> None:
    error = storage_error(OSError(number, "no room"), "a body")
    assert isinstance(error, StoreFullError)
    assert error.hint
    assert error.exit_code is ExitCode.MACHINE


def test_other_system_errors_say_what_was_being_done() -> None:
    error = storage_error(PermissionError(errno.EACCES, "Permission denied"), "a body in /store")
    assert type(error) is StoreError
    assert str(error) == "a body in /store: Permission denied"


def test_errors_name_the_body_and_where_it_is() -> None:
    for error in (BodyMissingError("a" * 64, "there"), BodyCorruptError("a" * 64, "there", "wrong")):
        assert "a" * 64 in str(error)
        assert "there" in str(error)
        assert error.hint == "hermit store fill"
    assert "b" * 64 in str(DigestMismatchError("a" * 64, "b" * 64, 3))


def test_a_store_of_files_is_a_store(tmp_path: Path) -> None:
    assert isinstance(FileStore(tmp_path / "s"), Store)
