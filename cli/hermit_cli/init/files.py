"""Puts the two files into `.hermit`: both or none, and nothing of a person's is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from hermit_proxy.errors import HermitError


def write_all(texts: Mapping[Path, str]) -> None:
    """Write every file beside its place first, then put all in place; raise HermitError with everything as it was."""
    fresh = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}~") for path in texts}
    old: dict[Path, bytes | None] = {}
    made = _missing_folders(texts)
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh[path].open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path in texts:
            before = path.read_bytes() if path.exists() else None
            fresh[path].replace(path)
            old[path] = before
    except OSError as error:
        _undo(old, made, fresh)
        raise HermitError(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from error
    except BaseException:
        _undo(old, made, fresh)
        raise


def _missing_folders(texts: Mapping[Path, str]) -> list[Path]:
    return list(dict.fromkeys(path.parent for path in texts if not path.parent.exists()))


def _undo(old: Mapping[Path, bytes | None], made: list[Path], fresh: Mapping[Path, Path]) -> None:
    for path, before in old.items():
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
    for path in fresh.values():
        with contextlib.suppress(OSError):  # where no file could be made, there is none
            path.unlink()
    for folder in made:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
