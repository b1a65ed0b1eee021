"""Is `hermit image`: makes the trees that builds run in, checks, moves and removes them."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from hermit_cli.image_build import build
from hermit_cli.image_check import collect, verify
from hermit_cli.image_find import find_image, pinned_digest
from hermit_cli.image_run import run_in_order
from hermit_cli.image_show import image_data, tell_images
from hermit_cli.output import bytes_as_text, print_json
from hermit_cli.table import counted, tell
from hermit_proxy.errors import ExitCode, UsageError
from hermit_workers.image.guest import MAKES, pin_guest, pinned_guest
from hermit_workers.image.library import Library
from hermit_workers.image.lock import DIGEST
from hermit_workers.image.moving import export_image, import_image
from hermit_workers.vm import bootfolder
from hermit_workers.vm.boot import boot_folders

_KEPT_DAYS = 30


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "image", help="make, check and move the trees that builds run in", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="image_command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", help="print one object for programs")
    make = commands.add_parser(
        "build", parents=[common], help="make an image from what the archives have now, and pin it for the project"
    )
    make.add_argument(
        "image", nargs="?", metavar="NAME|RECIPE", help="default: what the project's spec says, else debian-12"
    )
    make.add_argument(
        "--guest", action="store_true", help="make Hermit's own image instead, which boots this user's VMs"
    )
    make.add_argument(
        "--rebuild", action="store_true", help="make the pinned image again from its record, unplugged, and compare"
    )
    make.set_defaults(image_main=build)
    commands.add_parser("list", parents=[common], help="tell what is there").set_defaults(image_main=_list)
    read = commands.add_parser("verify", parents=[common], help="read every byte of the images again")
    read.add_argument("digest", nargs="?", metavar="DIGEST", help="one image; default: all")
    read.set_defaults(image_main=verify)
    gc = commands.add_parser("gc", parents=[common], help="remove what has not been used for a while")
    gc.add_argument("--keep", type=_days, default=_KEPT_DAYS, metavar="DAYS", help="default: 30")
    gc.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    gc.set_defaults(image_main=collect)
    export = commands.add_parser("export", parents=[common], help="write an image to a file, for another machine")
    export.add_argument("digest", metavar="DIGEST")
    export.add_argument("file", type=Path, metavar="FILE")
    export.set_defaults(image_main=_export)
    bring = commands.add_parser("import", parents=[common], help="take the image that the project pins from a file")
    bring.add_argument("file", type=Path, metavar="FILE")
    bring.add_argument("--digest", metavar="DIGEST", help="the image that the file must hold, where no project pins it")
    bring.add_argument("--guest", action="store_true", help="have this user's VMs boot from it")
    bring.set_defaults(image_main=_import)


def main(args: argparse.Namespace) -> int:
    """Run the command that was asked for and give its exit code."""
    return int(args.image_main(args))


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"expected a number of days; found {text!r}")
    return int(text)


def _list(args: argparse.Namespace) -> int:
    library = Library.of(os.environ)
    pinned, guest = pinned_digest(), pinned_guest(library)
    images = library.images()
    broken = library.broken()
    boot = bootfolder.folders(boot_folders(os.environ))
    if args.json:
        shown = [
            {**image_data(image), "pinned": image.digest == pinned, "guest": image.digest == guest} for image in images
        ]
        listed = {"where": str(library.folder), "images": shown, "broken": [str(path) for path in broken]}
        print_json({**listed, "boot": [str(folder) for folder in boot]})
        return int(ExitCode.DONE)
    tell_images(library, images, pinned, guest)
    for path in broken:
        tell(f"unreadable: {path}    (hermit image gc removes it)")
    here = {image.digest for image in images}
    if pinned is not None and pinned not in here:
        tell(f"not here: {pinned}, which this project pins    (hermit image import FILE, or hermit image build)")
    if guest is not None and guest not in here:
        tell(f"not here: {guest}, which boots VMs    ({MAKES})")
    if boot:
        tell(f"{boot[0].parent}: {counted(len(boot), 'folder')} that VMs boot from")
    return int(ExitCode.DONE)


def _export(args: argparse.Namespace) -> int:
    library = Library.of(os.environ)
    image = find_image(library, args.digest)
    if args.file.is_dir() or not args.file.absolute().parent.is_dir():
        raise UsageError(f"cannot write to {args.file}: no file in a folder that is there")
    with library.use(image):
        run_in_order(export_image(image, args.file.absolute()))
    size = args.file.stat().st_size
    if args.json:
        print_json({**image_data(image), "file": str(args.file), "bytes": size})
    else:
        tell(f"{args.file}: {image.digest} ({bytes_as_text(size)})")
        if image.digest == pinned_guest(library):
            then = f"hermit image import --guest --digest {image.digest} {args.file.name}"
            tell(f"next, on the other machine: {then}")
        else:
            tell(f"next, on the other machine and in the project that pins it: hermit image import {args.file.name}")
    return int(ExitCode.DONE)


def _import(args: argparse.Namespace) -> int:
    library = Library.of(os.environ)
    expected = args.digest or (pinned_guest(library) if args.guest else pinned_digest())
    if args.digest and not DIGEST.fullmatch(args.digest):
        raise UsageError(f"a digest is sha256: and 64 hexadecimal digits, not {args.digest!r}")
    if expected is None or not DIGEST.fullmatch(expected):
        hint = "run it in the project whose .hermit/image.lock pins it, or name it: --digest sha256:…"
        raise UsageError("nothing says which image the file has to hold", hint=hint)
    if not args.file.is_file():
        raise UsageError(f"there is no file {args.file}")
    image = run_in_order(import_image(args.file, library, expected))
    if args.guest:
        pin_guest(library, image)
    if args.json:
        print_json(image_data(image))
    else:
        tell(f"{image.digest}  {image.name}: it is here now ({bytes_as_text(image.size)})")
    return int(ExitCode.DONE)
