"""Keeps images by digest, each an unpacked tree that cells read, so that a build starts without copying one."""

# $XDG_DATA_HOME/hermit/images/<hex>/ is one image. What is being made or removed lies beside them under another name
# (.new-…, .gone-…) and holds a lock on its own folder, which the kernel drops with the process: a sweep takes the rest.

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hermit_workers.image import tree
from hermit_workers.image.errors import ImageError
from hermit_workers.image.folders import GONE, NEW, fresh, locked, name_folder, thd_write_out
from hermit_workers.image.lock import DIGEST
from hermit_workers.locks import alone
from hermit_workers.sandbox.namespaces.mapped import remove_tree

DESCRIPTION = "image.json"
BILL = "packages.cdx.json"
FILES = "files.gz"  # listing.write
# Is there where the image came in a file, and what it says of itself is another machine's word.
IMPORTED = "hermit/imported"
_MENDS = "hermit image gc removes what is left of it"
_KEYS = {"name": str, "digest": str, "recipe": str, "architecture": str, "made": int, "packages": int, "size": int}
_CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Image:
    """Is one image of the library: a tree that nobody changes, named by the digest of its tar (`sha256:<hex>`).

    `recipe` is the digest of the recipe that it was made from, `made` its clock (seconds since the epoch: when the
    archives were last changed, the SOURCE_DATE_EPOCH of its making), `packages` their number and `size` the bytes of
    the tar. `content` is the digest of the tree but for the addresses of the archives (listing.digest), empty for an
    image that is older than it.
    """

    name: str
    digest: str
    recipe: str
    architecture: str
    made: int
    packages: int
    size: int
    folder: Path
    content: str = ""

    @property
    def root(self) -> Path:
        """Give the tree, owned by the mapped users: what a cell mounts as the lower layer."""
        return self.folder / "root"

    @property
    def network(self) -> Path:
        """Give the snapshot of what its making fetched."""
        return self.folder / "hermit" / "network"

    @property
    def files(self) -> Path:
        """Give the list of its files (listing.read)."""
        return self.folder / FILES

    @property
    def imported(self) -> bool:
        """Tell whether it came in a file."""
        return (self.folder / IMPORTED).exists()

    @property
    def bill(self) -> Path:
        """Give the list of its packages (CycloneDX, JSON)."""
        return self.folder / BILL


def describe(image: Image, sources: Mapping[str, Any]) -> bytes:
    """Give the content of an image's description: what `Image` says, and the sources that a rebuild needs."""
    fields = {key: value for key, value in asdict(image).items() if key in {*_KEYS, _CONTENT}}
    return json.dumps(fields | {"sources": sources}, indent=1).encode() + b"\n"


def read_description(content: bytes, folder: Path) -> tuple[Image, dict[str, Any]]:
    """Read what `describe` gave: the image and its sources; raise ImageError for anything else."""
    try:
        fields = json.loads(content)
        right = isinstance(fields, dict) and isinstance(fields.get("sources"), dict)
        right = right and all(isinstance(fields.get(key), kind) for key, kind in _KEYS.items())
        right = right and DIGEST.fullmatch(fields["digest"]) is not None
    except (ValueError, RecursionError):
        right = False
    if not right:
        raise ImageError(f"{folder / DESCRIPTION} does not describe an image", hint=_MENDS)
    given = {key: fields[key] for key in _KEYS}
    return Image(**given, folder=folder, content=str(fields.get(_CONTENT, ""))), fields["sources"]


class Library:
    """Is the folder of the user's images; all processes of the user share it."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not be there."""
        self.folder = folder

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Give the user's own library: `$XDG_DATA_HOME/hermit/images` (XDG Base Directory)."""
        base = environ.get("XDG_DATA_HOME", "")
        home = Path(environ.get("HOME") or Path.home()) / ".local" / "share"
        return cls((Path(base) if Path(base).is_absolute() else home) / "hermit" / "images")

    def get(self, digest: str) -> Image | None:
        """Give the image with this digest (`sha256:<hex>`), None where it is not here."""
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest!r}")
        folder = self.folder / digest.removeprefix("sha256:")
        if not folder.is_dir():
            return None
        image, _ = self.sources(folder)
        if image.digest != digest:
            raise ImageError(f"{folder} says that it is {image.digest}", hint=_MENDS)
        return image

    def sources(self, folder: Path) -> tuple[Image, dict[str, Any]]:
        """Read an image's folder: what it is, and the sources that it was made from (see Sources.from_json)."""
        try:
            content = (folder / DESCRIPTION).read_bytes()
        except OSError as error:
            raise ImageError(f"{folder / DESCRIPTION} cannot be read: {error.strerror}", hint=_MENDS) from error
        return read_description(content, folder)

    def find(self, recipe: str, architecture: str) -> Image | None:
        """Give the newest image that was made here from the recipe with this digest, None where there is none.

        What an imported image says of its recipe is for those who pin it by digest.
        """
        found = (image for image in self.images() if (image.recipe, image.architecture) == (recipe, architecture))
        return next((image for image in found if not image.imported), None)

    def images(self) -> list[Image]:
        """Give all images, the newest first; those that `broken` gives are left out."""
        found = [image for folder in self._folders() if (image := self._readable(folder)) is not None]
        return sorted(found, key=lambda image: (-image.made, image.digest))

    def broken(self) -> list[Path]:
        """Give the folders that look like images and cannot be read as such."""
        return [folder for folder in self._folders() if self._readable(folder) is None]

    def _folders(self) -> list[Path]:
        return sorted(folder for folder in self.folder.glob("*") if DIGEST.fullmatch(f"sha256:{folder.name}"))

    def _readable(self, folder: Path) -> Image | None:
        try:
            return self.get(f"sha256:{folder.name}")
        except ImageError:
            return None

    def last_used(self, image: Image) -> float:
        """Tell when a build began to use an image, or when it was made last (seconds since the epoch)."""
        return image.folder.stat().st_mtime

    def last_made(self, image: Image) -> float:
        """Tell when an image was last made here or brought here, the same one again too (seconds since the epoch)."""
        return (image.folder / DESCRIPTION).stat().st_mtime

    @contextmanager
    def use(self, image: Image) -> Iterator[Path]:
        """Hold an image while a build reads its tree, and give the tree; raise ImageError where it is gone."""
        with locked(image.folder, fcntl.LOCK_SH) as held:
            if not held:
                raise ImageError(f"the image {image.digest} is being removed", hint="hermit image build")
            os.utime(image.folder)
            yield image.root

    @asynccontextmanager
    async def workshop(self) -> AsyncIterator[Path]:
        """Give a new folder to make an image in, on the file system of the library; whatever is left in it goes."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            await self.sweep()
            folder, lock = fresh(self.folder)
        except OSError as error:
            hint = "make room or set XDG_DATA_HOME"
            raise ImageError(f"cannot write to {self.folder}: {error.strerror}", hint=hint) from error
        try:
            yield folder
        finally:
            try:
                await remove_tree(folder)
            finally:
                os.close(lock)

    async def add(self, folder: Path) -> Image:
        """Take over a finished image's folder in one step, on the disk before it has its name.

        One that is here already stays, and the new one does not, unless that one is damaged, or the new one is made
        here and that one imported, or older than lists of files. Raise ImageError where the disk does not take it, or
        a build uses what is damaged.
        """
        image, _ = self.sources(folder)
        place = self.folder / image.digest.removeprefix("sha256:")
        if place.exists():
            await self._make_way(place, image)
        if not place.exists():
            await asyncio.to_thread(thd_write_out, folder)
            name_folder(folder, place)
        found = self.get(image.digest)
        if found is None:
            raise ImageError(f"the image {image.digest} was removed again", hint="hermit image build")
        for path in (found.folder / DESCRIPTION, found.folder):  # last_made, last_used
            os.utime(path)
        return found

    async def _make_way(self, place: Path, new: Image) -> None:
        """Remove what is not to stay at a place where a new image would be."""
        old = self._readable(place)
        if old is None or not await self._is_whole(old):
            if not await self.remove(place) and place in self._folders():
                raise ImageError(f"the image {new.digest} is damaged, and a build uses it", hint="try again after it")
        elif not new.imported and (old.imported or not old.files.exists()):
            await self.remove(place)  # in use, it stays what it is: the same tree

    async def _is_whole(self, image: Image) -> bool:
        try:
            with self.use(image):
                return (await tree.pack(image.folder)).digest == image.digest
        except ImageError:  # a part of it is not there at all
            return False

    async def remove(self, folder: Path) -> bool:
        """Remove an image's folder; tell whether it is gone: one that a build uses stays."""
        with locked(folder, fcntl.LOCK_EX) as held:
            if not held:
                return False
            gone = self.folder / f"{GONE}{secrets.token_hex(8)}"
            os.rename(folder, gone)
            await remove_tree(gone)
        return True

    async def sweep(self) -> None:
        """Remove what killed processes left."""
        for folder in [*self.folder.glob(f"{NEW}*"), *self.folder.glob(f"{GONE}*")]:
            with alone(self.folder):  # nobody is between making a folder and locking it
                pass
            with locked(folder, fcntl.LOCK_EX) as held:
                if held:
                    await remove_tree(folder)
