"""A recipe's files are root's and of one time; its commands get the view of a cell (run in tests/integration)."""

from __future__ import annotations

import io
import tarfile
from pathlib import PurePosixPath

from hermit_workers.image.dressing import archive, bwrap_arguments
from hermit_workers.image.recipe import RecipeFile


def test_files_are_packed_as_they_shall_be() -> None:
    files = (
        RecipeFile(PurePosixPath("/etc/x"), b"1", executable=False),
        RecipeFile(PurePosixPath("/opt/y"), b"22", executable=True),
    )
    with tarfile.open(fileobj=io.BytesIO(archive(files, 7))) as packed:
        found = [(m.name, m.mode, m.uid, m.gid, m.mtime, m.size) for m in packed]
    assert found == [("etc/x", 0o644, 0, 0, 7, 1), ("opt/y", 0o755, 0, 0, 7, 2)]
    assert archive(files, 7) == archive(files, 7)


def test_a_command_has_no_more_capabilities_than_a_cells_root() -> None:
    words = bwrap_arguments("true", 7)
    added = {words[at + 1] for at, word in enumerate(words) if word == "--cap-add"}
    assert "--cap-drop" in words
    assert "CAP_CHOWN" in added
    assert not {"ALL", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_MKNOD", "CAP_SYS_PTRACE"} & added
    assert {"--seccomp", "--unshare-pid", "--clearenv"} <= set(words)


def test_the_clock_of_a_command_is_the_images() -> None:
    words = bwrap_arguments("true", 7)
    at = words.index("SOURCE_DATE_EPOCH")
    assert words[at - 1 : at + 2] == ["--setenv", "SOURCE_DATE_EPOCH", "7"]
