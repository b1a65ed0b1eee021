"""Installs an image's packages into an empty folder: mmdebstrap, behind the recording proxy, away from the host."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from hermit_proxy.run.process import ProxyProcess
from hermit_workers.image.errors import ImageError
from hermit_workers.image.installer import EPOCH, Job, bwrap_options, installer
from hermit_workers.image.running import runner

Progress = Callable[[str], None]

_PROGRAMS = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
# What mmdebstrap says at each of its steps, in words for those who have never heard of it.
_STEPS = {
    "running apt-get update": "fetching the lists of packages",
    "downloading packages with apt": "fetching the essential packages",
    "extracting archives": "unpacking them",
    "installing essential packages": "installing them",
    "installing remaining packages inside the chroot": "fetching and installing the rest",
    "cleaning package lists and apt cache": "cleaning up",
}


async def bootstrap(job: Job, proxy: ProxyProcess, progress: Progress) -> int:
    """Install the packages, and give the time of the archives (seconds since the epoch).

    Raise ImageError with the installer's own words where it fails, LimitError where packages take too much.
    """
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            hint = f"apt-get install {package}"
            raise ImageError(f"{program} is not installed, and images are made with it", hint=hint)
    reader = _Reader(progress)
    async with runner(job.folder) as running:
        await proxy.ready()
        with running.holder.listener as listener:
            proxy.listen(listener)
        await proxy.begin_step("image", "proxy")
        status, said = await running.run(bwrap_options(), installer(job), reader.on_line, until=proxy.died)
        if proxy.died.done():
            await proxy.status()  # raises what the proxy died of
        await proxy.end_step()
    if status:
        raise ImageError("the packages of the image could not be installed; the installer said:\n" + "\n".join(said))
    return reader.epoch


class _Reader:
    """Reads what the installer says: the time of the archives, and where mmdebstrap is."""

    def __init__(self, progress: Progress) -> None:
        self.epoch = -1
        self._progress = progress

    def on_line(self, line: str) -> None:
        # The first one is ours; what packages print later cannot be.
        if self.epoch < 0 and (epoch := line.removeprefix(EPOCH)) != line:
            self.epoch = int(epoch)
        if step := _STEPS.get(line.removeprefix("I: ").rstrip(".")):
            self._progress(step)
