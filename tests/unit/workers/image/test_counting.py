"""What an image takes is counted from outside of it (limits that follow from it: test_running)."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path

from hermit_workers.image.counting import CountingHolder, Namespace
from tests.support.smallimages import mapped


def counted(folder: Path) -> tuple[int, int]:
    """Give the first total and its number."""

    async def main() -> tuple[int, int]:
        holder = await CountingHolder.open(tree=folder)
        read, write = os.pipe()
        try:
            await holder.count(write)
            data = await asyncio.to_thread(os.read, read, 40)
        finally:
            os.close(write)
            os.close(read)
            await holder.close()
        total, walks, *nameless = struct.unpack("<QQQQQ", data)
        assert nameless == [0, 0, 0]
        return total, walks

    return asyncio.run(main())


def test_every_entry_counts_and_a_second_name_does_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "large").write_bytes(bytes(1 << 20))  # not of the tree
    mapped("install -d -m 0700 -o 5 -g 5 root root/inner", tmp_path)
    assert counted(tmp_path) == (2 * 4096, 1)
    mapped("touch root/inner/a root/inner/b; ln root/inner/a root/c; ln -s a root/d", tmp_path)
    assert counted(tmp_path) == (5 * 4096, 1)
    mapped("truncate -s 1G root/holes; head -c 40960 /dev/zero >root/inner/a", tmp_path)
    assert counted(tmp_path) == (5 * 4096 + (1 << 30) + 9 * 4096, 1)


def test_no_namespace_is_known_before_and_after() -> None:
    namespace = Namespace()
    assert namespace.now() == -1
    before = len(os.listdir("/proc/self/fd"))
    namespace.take(os.open("/proc/self/ns/pid", os.O_RDONLY))
    assert namespace.now() >= 0
    namespace.close()
    namespace.close()
    assert namespace.now() == -1
    assert len(os.listdir("/proc/self/fd")) == before
