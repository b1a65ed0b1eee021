"""Keeps Hermit's own guest image, which boots every VM, whatever image the build in it has; one for each user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hermit_proxy.policy import Mode
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import read_lock, write_lock
from hermit_workers.image.maker import architecture
from hermit_workers.image.making import obtain, pin
from hermit_workers.image.moving import DamagedImageError, verify_image
from hermit_workers.image.recipe import Recipe, read_stock

# Gets one line for people (`unpacking them`) each time that the making of an image gets further.
Progress = Callable[[str], None]

NAME = "hermit-guest"
MAKES, MENDS = "hermit image build --guest", "hermit image build --guest --rebuild"

_RECIPE = Path(__file__).parent / "guest.yaml"
_LOCK = "guest.lock"
_HEAD = f"# Written by `{MAKES}`: the image of this library that boots this user's VMs. Do not edit it.\n"


def guest_recipe() -> Recipe:
    """Read the recipe of the guest image, which names packages alone."""
    return read_stock(_RECIPE, NAME)


def guest_lock(library: Library) -> Path:
    """Name the file that pins the guest image: beside the images, for it is this user's and no project's."""
    return library.folder / _LOCK


def pinned_guest(library: Library) -> str | None:
    """Give the digest of the guest image that VMs boot from, None where none is pinned; raise InputError."""
    lock = read_lock(guest_lock(library), makes=MAKES)
    return None if lock is None else lock.digest


def pin_guest(library: Library, image: Image) -> bool:
    """Have VMs boot from an image from now on; tell whether that is another one than before."""
    return write_lock(guest_lock(library), pin(guest_recipe(), image), head=_HEAD)


async def ensure_guest(mode: Mode, *, environ: Mapping[str, str], progress: Progress = lambda _line: None) -> Image:
    """Give the user's guest image. A recording makes it where it is missing, or where its recipe is another by now.

    A hermetic build, which asks nobody for anything, goes on with the one that is there, and raises ImageError with
    the command to run where none is. Hold `Library.of(environ).use(image)` while its tree is in use.
    """
    library, recipe = Library.of(environ), guest_recipe()
    lock = read_lock(guest_lock(library), makes=MAKES)
    there = None if lock is None or lock.architecture != architecture() else library.get(lock.digest)
    if there is not None and (mode is Mode.HERMETIC or (lock is not None and lock.recipe == recipe.digest)):
        return there
    if mode is Mode.HERMETIC:
        told = "there is no guest image, whose kernel boots VMs" if lock is None else f"{lock.digest} is not here"
        hint = f"{MAKES}    (asks the archives; or bring it along: hermit image import --guest FILE)"
        raise ImageError(f"{told}, and a hermetic build makes none", hint=hint)
    if library.find(recipe.digest, architecture()) is None:
        progress(f"making {NAME}, whose kernel boots every VM: once, in a minute or two")
    image = await obtain(recipe, library, environ=environ, progress=progress)
    pin_guest(library, image)
    return image


async def verify_guest(image: Image) -> None:
    """Read every byte of a guest image's tree; raise DamagedImageError with what mends it."""
    try:
        await verify_image(image)
    except DamagedImageError as error:
        raise DamagedImageError(str(error), hint=f"{MENDS}    (from its record, without network)") from error
