"""Makes the image of a project, or Hermit's own that boots VMs, and pins it; or makes one again and compares."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hermit_cli.image_run import run_in_order
from hermit_cli.image_show import Progress, image_data
from hermit_cli.output import bytes_as_text, print_json, say, say_styled, time_as_text
from hermit_cli.project import Project, find_project
from hermit_cli.table import counted
from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import ImageLock, read_lock, write_lock
from hermit_workers.image.making import lock_path, pin, turn
from hermit_workers.image.recipe import Recipe, load_recipe

DEFAULT = "debian-12"


class NotReproducedError(HermitError):
    """Is raised where an image made again from its record is another one."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Wanted:
    """Is what to make, where it is pinned, the command that makes it, and what to do with a pin that has changed."""

    recipe: Recipe
    path: Path
    command: str
    then: str
    pin: Callable[[Image], bool]


def build(args: argparse.Namespace) -> int:
    """Make and pin, or make again; give the exit code."""
    library = Library.of(os.environ)
    wanted = _guest(library) if args.guest else _projects(find_project(Path.cwd()), args.image)
    if args.guest and args.image:
        raise UsageError("--guest is Hermit's own image, which has one recipe", hint="leave one of them out")
    progress = Progress(quiet=args.json)
    return _rebuild(args, library, wanted, progress) if args.rebuild else _make(args, library, wanted, progress)


def _projects(project: Project, name: str | None) -> Wanted:
    recipe = load_recipe(name or _named(project), project.root)
    path = lock_path(project.root)

    def write(image: Image) -> bool:
        return write_lock(path, pin(recipe, image))

    return Wanted(recipe, path, f"hermit image build {recipe.name}", "commit it", write)


def _guest(library: Library) -> Wanted:
    from hermit_workers.image import guest  # noqa: PLC0415  brings the proxy along, which few commands need

    then = "the next --cell vm boots from it"
    recipe, path = guest.guest_recipe(), guest.guest_lock(library)
    return Wanted(recipe, path, guest.MAKES, then, lambda image: guest.pin_guest(library, image))


def _make(args: argparse.Namespace, library: Library, wanted: Wanted, progress: Progress) -> int:
    from hermit_workers.image.maker import architecture, make_image  # noqa: PLC0415  see above

    recipe = wanted.recipe

    async def make() -> Image:
        began = time.time()
        async with turn(library, recipe, progress):
            image = library.find(recipe.digest, architecture())
            if image is not None and library.last_made(image) >= began:
                return image  # somebody else has just made it
            return await make_image(recipe, environ=os.environ, progress=progress)

    progress.begin(f"making {recipe.name} from what the archives have now")
    image = run_in_order(make())
    changed = wanted.pin(image)
    if args.json:
        print_json({**image_data(image), "lock": str(wanted.path), "seconds": round(progress.seconds, 1)})
        return int(ExitCode.DONE)
    size = f"{counted(image.packages, 'package')}, {bytes_as_text(image.size)}"
    say_styled(f"hermit image: made {image.name} in {time_as_text(progress.seconds)}: {size}", "good")
    say(f"  {image.digest}")
    say(f"  pinned in {wanted.path}" + (f", which has changed: {wanted.then}" if changed else ""))
    return int(ExitCode.DONE)


def _rebuild(args: argparse.Namespace, library: Library, wanted: Wanted, progress: Progress) -> int:
    from hermit_workers.image.maker import rebuild_image  # noqa: PLC0415  see above

    image = _pinned(library, wanted)
    progress.begin(f"making {image.digest} again from its record, without network")
    rebuilt = run_in_order(rebuild_image(image, wanted.recipe, environ=os.environ, progress=progress))
    same = rebuilt.digest == image.digest
    if args.json:
        answered = {"requests": rebuilt.counts.requests, "replayed": rebuilt.counts.replayed}
        shown = {"rebuilt": rebuilt.digest, "same": same, "changes": list(rebuilt.changes)}
        print_json({**image_data(image), **shown, **answered})
        return int(ExitCode.DONE if same else ExitCode.FAILED)
    if not same:
        asked = "did mmdebstrap, apt, dpkg, tar or the keys of this machine change since?"
        told = "".join(f"\n  {line}" for line in rebuilt.changes)
        message = f"made again it is {rebuilt.digest}, and not {image.digest}{told}"
        raise NotReproducedError(message, hint=f"{asked} {wanted.command} pins a new one")
    answers = counted(rebuilt.counts.replayed, "answer")
    told = f"the same bytes in {time_as_text(progress.seconds)}, from {answers} of the record"
    say_styled(f"hermit image: {told}", "good")
    return int(ExitCode.DONE)


def _pinned(library: Library, wanted: Wanted) -> Image:
    """Give the image to make again: the pinned one of this recipe, else the newest of it."""
    recipe = wanted.recipe
    lock = read_lock(wanted.path)
    image = library.get(lock.digest) if lock is not None and lock.recipe == recipe.digest else None
    image = image or next((image for image in library.images() if image.recipe == recipe.digest), None)
    if image is None:
        raise UsageError(f"there is no image of {recipe.name} as it is now to make again", hint=wanted.command)
    return image


def _named(project: Project) -> str:
    """Give the image that the project names: in its spec, else in its lock."""
    from hermit_steps.finding import find_spec  # noqa: PLC0415  only where nobody named one

    if (project.hermit_dir / "build.yaml").exists():
        return find_spec(project.root).image
    lock: ImageLock | None = read_lock(lock_path(project.root))
    return lock.image if lock is not None else DEFAULT
