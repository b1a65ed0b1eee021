"""Is `hermit image`: makes the trees that builds run in, checks, moves and removes them."""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

from hermit_cli.image_run import run_in_order
from hermit_cli.image_show import Progress, image_data, tell_images
from hermit_cli.output import bytes_as_text, print_json, say, say_styled, time_as_text
from hermit_cli.project import Project, find_project
from hermit_cli.table import counted, tell
from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import DIGEST, read_lock, write_lock
from hermit_workers.image.making import lock_path, pin, turn
from hermit_workers.image.recipe import Recipe, load_recipe

_DEFAULT = "debian-12"
_KEPT_DAYS = 30
_DAY = 86400
_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")


class NotReproducedError(HermitError):
    """Is raised where an image made again from its record is another one."""

    exit_code = ExitCode.FAILED


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "image", help="make, check and move the trees that builds run in", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="image_command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", help="print one object for programs")
    build = commands.add_parser(
        "build", parents=[common], help="make an image from what the archives have now, and pin it for the project"
    )
    build.add_argument(
        "image", nargs="?", metavar="NAME|RECIPE", help="default: what the project's spec says, else debian-12"
    )
    build.add_argument(
        "--rebuild", action="store_true", help="make the pinned image again from its record, unplugged, and compare"
    )
    build.set_defaults(image_main=_build)
    commands.add_parser("list", parents=[common], help="tell what is there").set_defaults(image_main=_list)
    verify = commands.add_parser("verify", parents=[common], help="read every byte of the images again")
    verify.add_argument("digest", nargs="?", metavar="DIGEST", help="one image; default: all")
    verify.set_defaults(image_main=_verify)
    collect = commands.add_parser("gc", parents=[common], help="remove what has not been used for a while")
    collect.add_argument("--keep", type=_days, default=_KEPT_DAYS, metavar="DAYS", help="default: 30")
    collect.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    collect.set_defaults(image_main=_gc)
    export = commands.add_parser("export", parents=[common], help="write an image to a file, for another machine")
    export.add_argument("digest", metavar="DIGEST")
    export.add_argument("file", type=Path, metavar="FILE")
    export.set_defaults(image_main=_export)
    bring = commands.add_parser("import", parents=[common], help="take the image that the project pins from a file")
    bring.add_argument("file", type=Path, metavar="FILE")
    bring.add_argument("--digest", metavar="DIGEST", help="the image that the file must hold, where no project pins it")
    bring.set_defaults(image_main=_import)


def main(args: argparse.Namespace) -> int:
    """Run the command that was asked for and give its exit code."""
    return int(args.image_main(args))


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"expected a number of days; found {text!r}")
    return int(text)


def _build(args: argparse.Namespace) -> int:
    project = find_project(Path.cwd())
    recipe = load_recipe(args.image or _wanted(project), project.root)
    if args.rebuild:
        return _rebuild(args, project, recipe)
    from hermit_workers.image.maker import architecture, make_image  # noqa: PLC0415  brings the proxy along, which few commands need

    library = Library.of(os.environ)
    progress = Progress(quiet=args.json)

    async def make() -> Image:
        began = time.time()
        async with turn(library, recipe, progress):
            image = library.find(recipe.digest, architecture())
            if image is not None and library.last_made(image) >= began:
                return image  # somebody else has just made it
            return await make_image(recipe, environ=os.environ, progress=progress)

    progress.begin(f"making {recipe.name} from what the archives have now")
    image = run_in_order(make())
    path = lock_path(project.root)
    changed = write_lock(path, pin(recipe, image))
    if args.json:
        print_json({**image_data(image), "lock": str(path), "seconds": round(progress.seconds, 1)})
        return int(ExitCode.DONE)
    size = f"{counted(image.packages, 'package')}, {bytes_as_text(image.size)}"
    say_styled(f"hermit image: made {image.name} in {time_as_text(progress.seconds)}: {size}", "good")
    say(f"  {image.digest}")
    say(f"  pinned in {path}" + (", which has changed: commit it" if changed else ""))
    return int(ExitCode.DONE)


def _rebuild(args: argparse.Namespace, project: Project, recipe: Recipe) -> int:
    from hermit_workers.image.maker import rebuild_image  # noqa: PLC0415  see above

    image = _pinned(project, recipe)
    progress = Progress(quiet=args.json)
    progress.begin(f"making {image.digest} again from its record, without network")
    rebuilt = run_in_order(rebuild_image(image, recipe, environ=os.environ, progress=progress))
    same = rebuilt.digest == image.digest
    if args.json:
        answered = {"requests": rebuilt.counts.requests, "replayed": rebuilt.counts.replayed}
        shown = {"rebuilt": rebuilt.digest, "same": same, "changes": list(rebuilt.changes)}
        print_json({**image_data(image), **shown, **answered})
        return int(ExitCode.DONE if same else ExitCode.FAILED)
    if not same:
        hint = (
            "did mmdebstrap, apt, dpkg, tar or the keys of this machine change since? hermit image build pins a new one"
        )
        told = "".join(f"\n  {line}" for line in rebuilt.changes)
        raise NotReproducedError(f"made again it is {rebuilt.digest}, and not {image.digest}{told}", hint=hint)
    answers = counted(rebuilt.counts.replayed, "answer")
    told = f"the same bytes in {time_as_text(progress.seconds)}, from {answers} of the record"
    say_styled(f"hermit image: {told}", "good")
    return int(ExitCode.DONE)


def _pinned(project: Project, recipe: Recipe) -> Image:
    """Give the image to make again: the pinned one of this recipe, else the newest of it."""
    library = Library.of(os.environ)
    lock = read_lock(lock_path(project.root))
    image = library.get(lock.digest) if lock is not None and lock.recipe == recipe.digest else None
    image = image or next((image for image in library.images() if image.recipe == recipe.digest), None)
    if image is None:
        hint = f"hermit image build {recipe.name}"
        raise UsageError(f"there is no image of {recipe.name} as it is now to make again", hint=hint)
    return image


def _wanted(project: Project) -> str:
    """Give the image that the project names: in its spec, else in its lock."""
    from hermit_steps.finding import find_spec  # noqa: PLC0415  only where nobody named one

    if (project.hermit_dir / "build.yaml").exists():
        return find_spec(project.root).image
    lock = read_lock(lock_path(project.root))
    return lock.image if lock is not None else _DEFAULT


def _list(args: argparse.Namespace) -> int:
    library = Library.of(os.environ)
    pinned = _pinned_digest()
    images = library.images()
    broken = library.broken()
    if args.json:
        shown = [{**image_data(image), "pinned": image.digest == pinned} for image in images]
        print_json({"where": str(library.folder), "images": shown, "broken": [str(path) for path in broken]})
        return int(ExitCode.DONE)
    tell_images(library, images, pinned)
    for path in broken:
        tell(f"unreadable: {path}    (hermit image gc removes it)")
    if pinned is not None and pinned not in {image.digest for image in images}:
        tell(f"not here: {pinned}, which this project pins    (hermit image import FILE, or hermit image build)")
    return int(ExitCode.DONE)


def _pinned_digest() -> str | None:
    lock = read_lock(lock_path(find_project(Path.cwd()).root))
    return None if lock is None else lock.digest


def _verify(args: argparse.Namespace) -> int:
    from hermit_workers.image.moving import DamagedImageError, verify_image  # noqa: PLC0415  see above

    library = Library.of(os.environ)
    images = [_find(library, args.digest)] if args.digest else library.images()
    damaged: dict[str, DamagedImageError] = {}
    for image in images:
        try:
            with library.use(image):
                run_in_order(verify_image(image))
        except DamagedImageError as error:
            damaged[image.digest] = error
        if not args.json:
            tell(f"{image.digest}  {'CHANGED' if image.digest in damaged else 'right'}  {image.name}")
    broken = [] if args.digest else library.broken()
    if args.json:
        told = {digest: str(error) for digest, error in damaged.items()}
        right = [image.digest for image in images if image.digest not in damaged]
        print_json({"right": right, "changed": told, "broken": [str(path) for path in broken]})
    else:
        for found in damaged.values():
            tell(f"{found}\n  next: {found.hint}")
        for path in broken:
            tell(f"unreadable: {path}    (hermit image gc removes it)")
    return int(ExitCode.MACHINE if damaged or broken else ExitCode.DONE)


def _gc(args: argparse.Namespace) -> int:
    library = Library.of(os.environ)
    pinned = _pinned_digest()
    oldest = time.time() - args.keep * _DAY
    wanted = {image.folder: image for image in library.images() if image.digest != pinned}
    unused = [folder for folder, image in wanted.items() if _unused_since(library, image, oldest)]
    going = [*unused, *library.broken()]
    removed = going if args.dry_run else run_in_order(_remove(library, going))
    freed = sum(wanted[folder].size for folder in removed if folder in wanted)
    names = [f"sha256:{folder.name}" for folder in removed]
    in_use = [f"sha256:{folder.name}" for folder in going if folder not in removed]
    if args.json:
        print_json({"removed": names, "in_use": in_use, "bytes": freed, "dry_run": args.dry_run})
        return int(ExitCode.DONE)
    for folder, name in zip(removed, names, strict=True):
        tell(f"{name}  {wanted[folder].name if folder in wanted else 'unreadable'}")
    verb = "would be removed" if args.dry_run else "removed"
    tell(f"{counted(len(removed), 'image')} {verb} ({bytes_as_text(freed)})")
    for name in in_use:
        tell(f"in use, so it stays: {name}")
    return int(ExitCode.DONE)


def _unused_since(library: Library, image: Image, oldest: float) -> bool:
    try:
        return library.last_used(image) <= oldest
    except FileNotFoundError:  # another gc was faster
        return False


async def _remove(library: Library, folders: list[Path]) -> list[Path]:
    await library.sweep()
    return [folder for folder in folders if await library.remove(folder)]


def _export(args: argparse.Namespace) -> int:
    from hermit_workers.image.moving import export_image  # noqa: PLC0415  see above

    library = Library.of(os.environ)
    image = _find(library, args.digest)
    if args.file.is_dir() or not args.file.absolute().parent.is_dir():
        raise UsageError(f"cannot write to {args.file}: no file in a folder that is there")
    with library.use(image):
        run_in_order(export_image(image, args.file.absolute()))
    size = args.file.stat().st_size
    if args.json:
        print_json({**image_data(image), "file": str(args.file), "bytes": size})
    else:
        tell(f"{args.file}: {image.digest} ({bytes_as_text(size)})")
        tell(f"next, on the other machine and in the project that pins it: hermit image import {args.file.name}")
    return int(ExitCode.DONE)


def _import(args: argparse.Namespace) -> int:
    from hermit_workers.image.moving import import_image  # noqa: PLC0415  see above

    expected = args.digest or _pinned_digest()
    if args.digest and not DIGEST.fullmatch(args.digest):
        raise UsageError(f"a digest is sha256: and 64 hexadecimal digits, not {args.digest!r}")
    if expected is None or not DIGEST.fullmatch(expected):
        hint = "run it in the project whose .hermit/image.lock pins it, or name it: --digest sha256:…"
        raise UsageError("nothing says which image the file has to hold", hint=hint)
    if not args.file.is_file():
        raise UsageError(f"there is no file {args.file}")
    image = run_in_order(import_image(args.file, Library.of(os.environ), expected))
    if args.json:
        print_json(image_data(image))
    else:
        tell(f"{image.digest}  {image.name}: it is here now ({bytes_as_text(image.size)})")
    return int(ExitCode.DONE)


def _find(library: Library, text: str) -> Image:
    """Find the image that a person means by the beginning of its digest."""
    found = _PREFIX.fullmatch(text)
    if found is None:
        raise UsageError(f"expected a digest or its first 6 digits or more; found {text!r}", hint="hermit image list")
    images = [image for image in library.images() if image.digest.startswith(f"sha256:{found[1]}")]
    if len(images) != 1:
        raise UsageError(f"{len(images) or 'no'} images begin with {text}", hint="hermit image list")
    return images[0]
