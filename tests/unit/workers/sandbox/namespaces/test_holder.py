"""Opens real holders: what their namespaces have, what they start, and what is left of them."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.sandbox.limits.gauges import used_segments
from hermit_workers.sandbox.namespaces import holder as module
from hermit_workers.sandbox.namespaces import inside
from hermit_workers.sandbox.namespaces.holder import ROOT, Child, Holder, Layered
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from tests.support.alongside import alongside
from tests.support.keeper import holder_of


def within(work: Callable[[Holder], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        holder = await Holder.open(**options)  # type: ignore[arg-type]  # passed on
        try:
            await work(holder)
        finally:
            await holder.close()

    asyncio.run(run())


async def output(holder: Holder, script: str) -> tuple[int, str]:
    with tempfile.TemporaryFile() as said:
        descriptors = dict.fromkeys((0, 1, 2), said.fileno())
        child = await holder.spawn(["sh", "-c", script], descriptors=descriptors)
        status = await child.wait()
        said.seek(0)
        return status, said.read().decode()


def empty_image(folder: Path) -> None:
    (folder / "image").mkdir()
    (folder / "image").chmod(0o755)  # the cell's users are not who made it


def children_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_there_is_one_wire_and_it_is_the_listener() -> None:
    async def work(holder: Holder) -> None:
        assert holder.listener.getsockname() == ("127.0.0.1", 3128)
        devices = (await output(holder, "tail -n +3 /proc/net/dev"))[1].split()
        assert devices[0] == "lo:"
        assert not [word for word in devices[1:] if word.endswith(":")]
        assert (await output(holder, "tail -n +2 /proc/net/route"))[1] == ""
        script = 'echo >/dev/tcp/127.0.0.1/3128 && grep -c ":0C38" /proc/net/tcp'
        assert (await output(holder, f"bash -c '{script}'"))[0] == 0

    within(work)


def test_it_sees_no_process_but_its_own_and_another_name() -> None:
    async def work(holder: Holder) -> None:
        status, said = await output(holder, "cd /proc; echo [0-9]*; cat sys/kernel/hostname; id -u")
        processes, name, user = said.splitlines()
        assert (status, name, user) == (0, "hermit", "0")
        assert processes.split()[0] == "1"
        assert len(processes.split()) <= 3

    within(work)


def test_a_program_has_no_descriptor_but_those_it_was_given() -> None:
    async def work(holder: Holder) -> None:
        script = "for n in $(seq 0 300); do [ ! -e /proc/$$/fd/$n ] || echo $n; done"
        assert (await output(holder, script))[1].split() == ["0", "1", "2"]

    within(work)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_statuses_are_a_shells(script: str, status: int) -> None:
    async def work(holder: Holder) -> None:
        for _ in range(2):  # the end of the last child is not the holder's
            assert (await output(holder, script))[0] == status

    within(work)


def test_a_program_that_is_not_there_is_named() -> None:
    async def work(holder: Holder) -> None:
        with tempfile.TemporaryFile() as said:
            child = await holder.spawn(["no-such"], descriptors={0: said.fileno(), 1: said.fileno(), 2: said.fileno()})
            assert await child.wait() == 127
            said.seek(0)
            assert b"hermit: no-such: " in said.read()

    within(work)


def test_an_overlay_leaves_the_image_as_it_is_and_the_end_removes_the_layer(tmp_path: Path) -> None:
    empty_image(tmp_path)
    (tmp_path / "image" / "file").write_text("old")
    folder = tmp_path / "layer"

    async def work(holder: Holder) -> None:
        script = f"cd {ROOT} && rm -f file && mkdir new && echo 1 > new/one && echo *"
        assert await output(holder, script) == (0, "new\n")

    within(work, tree=Layered(tmp_path / "image", folder, 1 << 20))
    assert (tmp_path / "image" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["image"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a second file system whose folders others may read")
def test_a_layer_on_another_disk_than_the_image_is_one_device_with_it() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as image, tempfile.TemporaryDirectory(dir="/var/tmp") as layer:
        if os.stat(image).st_dev == os.stat(layer).st_dev:
            pytest.skip("both are on one file system here")
        for folder in (image, layer):
            Path(folder).chmod(0o755)
        Path(image, "old").touch()

        async def work(holder: Holder) -> None:
            script = f"cd {ROOT} && mkdir folder && touch new && exec 3>gone && rm gone && "
            status, said = await output(holder, f"{script}stat -L -c %d . old new folder /proc/self/fd/3")
            assert (status, len(said.split()), len(set(said.split()))) == (0, 5, 1), said

        within(work, tree=Layered(Path(image), Path(layer, "cell"), 1 << 20))


def test_a_kept_layer_is_gone_on_with(tmp_path: Path) -> None:
    empty_image(tmp_path)
    tree = Layered(tmp_path / "image", tmp_path / "layer", 1 << 20)

    async def first(holder: Holder) -> None:
        assert (await output(holder, f"echo one > {ROOT}/file"))[0] == 0
        await holder.keep()

    async def second(holder: Holder) -> None:
        assert await output(holder, f"cat {ROOT}/file") == (0, "one\n")

    within(first, tree=tree)
    assert (tmp_path / "layer" / "layers" / "upper" / "file").exists()
    assert not (tmp_path / "layer" / "layers" / "work").exists()
    within(second, tree=tree)
    assert not (tmp_path / "layer").exists()


def test_a_folder_is_bound_as_it_is(tmp_path: Path) -> None:
    asyncio.run(run_mapped(["sh", "-c", "mkdir tree; chmod 755 tree"], folder=tmp_path))

    async def work(holder: Holder) -> None:
        assert (await output(holder, f"touch {ROOT}/file"))[0] == 0

    within(work, tree=tmp_path / "tree")
    assert (tmp_path / "tree" / "file").exists()


def test_an_image_whose_mount_points_lead_elsewhere_is_refused(tmp_path: Path) -> None:
    empty_image(tmp_path)
    (tmp_path / "image" / "proc").symlink_to("/oldroot/etc")
    with pytest.raises(CellError, match="'/proc'"):
        within(lambda _: asyncio.sleep(0), tree=Layered(tmp_path / "image", tmp_path / "layer", 1 << 20))
    assert os.listdir(tmp_path) == ["image"]


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="no-image: No such file"):
        within(lambda _: asyncio.sleep(0), tree=Layered(tmp_path / "no-image", tmp_path / "layer", 1 << 20))


def test_limits_hold_for_everything_in_it() -> None:
    async def work(holder: Holder) -> None:
        assert await output(holder, "ulimit -n; ulimit -f; cat /proc/self/oom_score_adj") == (0, "300\n8\n1000\n")

    within(work, limits={resource.RLIMIT_NOFILE: (300, 400), resource.RLIMIT_FSIZE: (4096, 4096)})


def test_who_is_admitted_is_the_parent_of_all() -> None:
    admitted: list[int] = []

    async def work(holder: Holder) -> None:
        process = holder._process.pid
        assert admitted == [process]
        assert children_of(process)

    within(work, admit=admitted.append)


async def sleeping(holder: Holder) -> Child:
    with tempfile.TemporaryFile() as nothing:
        return await holder.spawn(["sleep", "1000"], descriptors=dict.fromkeys((0, 1, 2), nothing.fileno()))


@pytest.mark.parametrize(
    ("whom", "said"), [("keeper", "its keeper was killed by SIGKILL"), ("holder", "killed by SIGKILL")]
)
def test_who_waits_for_it_when_it_dies_and_who_asks_later_hears_how_it_ended(whom: str, said: str) -> None:
    async def work(holder: Holder) -> None:
        child = await sleeping(holder)
        keeper = holder._process.pid
        os.kill(keeper if whom == "keeper" else holder_of(keeper), signal.SIGKILL)
        for waiting in (child.wait, holder.files, holder.files):
            with pytest.raises(CellError, match=rf"has gone \({said}\)"):
                await waiting()

    within(work)


def test_who_waits_for_it_when_it_is_closed_hears_that_and_nothing_of_a_death() -> None:
    async def work(holder: Holder) -> None:
        async with alongside((await sleeping(holder)).wait()) as waiting:
            await asyncio.sleep(0)
            await holder.close()
            for late in (waiting, holder.files()):
                with pytest.raises(CellError, match="was taken away meanwhile"):
                    await late

    within(work)


def test_a_keeper_that_does_not_end_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 0.05)

    async def work(holder: Holder) -> None:
        keeper = holder._process.pid
        child, first = await sleeping(holder), holder_of(keeper)
        os.kill(keeper, signal.SIGSTOP)
        try:
            os.kill(first, signal.SIGKILL)
            with pytest.raises(CellError, match="still being cleaned up"):
                await child.wait()
        finally:
            os.kill(keeper, signal.SIGCONT)

    within(work)


def test_what_cannot_be_sent_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(holder: Holder) -> None:
        def full(*_: object) -> None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        with monkeypatch.context() as patched:
            patched.setattr(inside, "send", full)
            with pytest.raises(CellError, match="cannot be asked to files: Resource temporarily unavailable"):
                await holder.files()
        assert await output(holder, "echo lives") == (0, "lives\n")

    within(work)


def test_what_it_starts_may_have_fewer_files_than_it_has_itself() -> None:
    async def work(holder: Holder) -> None:
        assert resource.prlimit(holder_of(holder._process.pid), resource.RLIMIT_NOFILE) == (5000, 5000)
        assert await output(holder, "ulimit -Sn; ulimit -Hn") == (0, "300\n3976\n")

    within(work, limits={resource.RLIMIT_NOFILE: (300, 5000)})


def test_segments_are_the_cells_own_bounded_where_the_kernel_lets_and_told(tmp_path: Path) -> None:
    empty_image(tmp_path)
    setting = Path("/proc/sys/kernel/shmall")
    host = setting.read_text()

    async def work(holder: Holder) -> None:
        root, shared, segments = await holder.files()
        os.close(root)
        os.close(shared)
        bound = (await output(holder, f"cat {setting}"))[1]
        assert bound in {f"{(8 << 20) // os.sysconf('SC_PAGE_SIZE')}\n", host}
        before = used_segments(segments)
        script = "$i = shmget(0, 1 << 20, 01600); shmwrite($i, q(x) x (1 << 20), 0, 1 << 20) or die $!"
        assert await output(holder, f"perl -e '{script}'") == (0, "")
        assert (before, used_segments(segments)) == (0, 1 << 20)
        os.close(segments)

    within(work, tree=Layered(tmp_path / "image", tmp_path / "layer", shared=8 << 20))
    assert setting.read_text() == host
