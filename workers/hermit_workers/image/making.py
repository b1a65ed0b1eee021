"""Gives a build its image: the pinned one from the library, or one that is made and pinned now."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from hermit_proxy.errors import UsageError
from hermit_proxy.policy import Mode
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import FILE_NAME, ImageLock, read_lock, write_lock
from hermit_workers.image.maker import architecture, make_image
from hermit_workers.image.recipe import Recipe, load_recipe

# Gets one line for people (`unpacking them`) each time that the making of an image gets further.
Progress = Callable[[str], None]

_POLL = 0.2


def lock_path(project_root: Path) -> Path:
    """Name the project's lock file."""
    return project_root / ".hermit" / FILE_NAME


async def ensure_image(
    ref: str,
    project_root: Path,
    mode: Mode,
    *,
    environ: Mapping[str, str],
    progress: Progress = lambda _line: None,
) -> Image:
    """Give the image that a spec names: a stock one (`debian-12`) or a recipe's path below the project.

    What `.hermit/image.lock` pins is taken from the user's library. Where it pins none, or the recipe has changed
    since, a recording build takes or makes one and pins it; a hermetic one raises UsageError, or ImageError where only
    this machine lacks it, with the command to run. While two processes want one recipe, the second waits. Nothing is
    left of a making that is cancelled or fails. Hold `Library.of(environ).use(image)` while its tree is in use.
    """
    recipe = load_recipe(ref, project_root)
    library = Library.of(environ)
    path = lock_path(project_root)
    lock = read_lock(path)
    machine = architecture()
    wrong = mismatch(lock, recipe, machine, path)
    if lock is not None and wrong is None:
        image = library.get(lock.digest)
        if image is not None:
            return image
        wrong = f"the image {lock.digest} that {path} pins is not on this machine"
        if mode is Mode.HERMETIC:
            hint = "bring it along with `hermit image export` and `import`; `hermit image build` pins a new one"
            raise ImageError(wrong, hint=hint)
    if mode is Mode.HERMETIC:
        raise UsageError(f"{wrong}", hint=f"hermit image build {ref}    (then commit {path})")
    if lock is not None:
        progress(f"{wrong}: pinning another")
    image = await obtain(recipe, library, environ=environ, progress=progress)
    write_lock(path, pin(recipe, image))
    return image


async def obtain(recipe: Recipe, library: Library, *, environ: Mapping[str, str], progress: Progress) -> Image:
    """Give an image that was made here from a recipe, or make it; of two who ask at once, the second waits."""
    async with turn(library, recipe, progress):
        image = library.find(recipe.digest, architecture())
        return image or await make_image(recipe, environ=environ, progress=progress)


def pin(recipe: Recipe, image: Image) -> ImageLock:
    """Give the lock that pins an image."""
    return ImageLock(recipe.name, recipe.digest, image.digest, image.architecture)


def mismatch(lock: ImageLock | None, recipe: Recipe, machine: str, path: Path) -> str | None:
    """Say why a lock does not pin the image of a recipe on this machine, None where it does."""
    if lock is None:
        return f"no image is pinned: there is no {path}"
    if lock.image != recipe.name:
        return f"{path} pins the image {lock.image}, and the build asks for {recipe.name}"
    if lock.recipe != recipe.digest:
        return f"the recipe {recipe.name} has changed since {path} was written"
    if lock.architecture != machine:
        return f"{path} pins an image for {lock.architecture}, and this machine is {machine}"
    return None


@asynccontextmanager
async def turn(library: Library, recipe: Recipe, progress: Progress) -> AsyncIterator[None]:
    """Be the only process of the user that makes an image of this recipe; wait for another one."""
    library.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = library.folder / f".turn-{recipe.digest.removeprefix('sha256:')[:16]}"
    descriptor = await _wait_for(path, progress)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


async def _wait_for(path: Path, progress: Progress) -> int:
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before removed the file that we opened: its name is free, or another's by now.
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            if not told:
                progress("waiting for another hermit that makes this image")
                told = True
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        await asyncio.sleep(_POLL)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
