"""Is `hermit shell`: a shell in the cell that a failed build left, or in a fresh one with the project in it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermit_cli import interrupts, output, runs
from hermit_cli.project import Project, find_project
from hermit_proxy.errors import UsageError

if TYPE_CHECKING:  # a wrong command line should not pay for the rest
    from hermit_cli.build.visiting import Visit

_DESCRIPTION = """\
Open a shell in what a failed `hermit build --keep` left, as its failed step saw it; what you change there stays until
the next build. Without one, open it in a fresh cell with the image and the project, which is gone afterwards. Requests
are answered as in a build, but no snapshot is written."""
_NETWORK_HELP = "proxy (the default) answers as in a build; none has no network at all"
_SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; else exec sh; fi")


@dataclass(frozen=True, slots=True)
class Options:
    """Is the command line after its defaults."""

    project: Project
    network: str
    command: tuple[str, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command's options."""
    parser = subparsers.add_parser(
        "shell",
        help="a shell in what a failed build left",
        description=_DESCRIPTION,
        allow_abbrev=False,
        usage="hermit shell [PATH] [--network proxy|none] [-- COMMAND...]",
    )
    parser.add_argument("--network", choices=("proxy", "none"), default="proxy", help=_NETWORK_HELP)
    # One list for both: argparse takes what stands behind `--` for a PATH where none is given.
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[PATH] [-- COMMAND...]", help="instead of a shell")


def main(args: argparse.Namespace) -> int:
    """Open it and give the shell's own status."""
    options = read_options(args)
    runs.sweep(os.environ)
    with interrupts.raised() as signals, runs.run_folder(os.environ) as rundir:
        from hermit_cli.build.visiting import visit  # noqa: PLC0415  see above

        try:
            return visit(_visit(options, rundir))
        finally:
            signals.again()


def read_options(args: argparse.Namespace) -> Options:
    """Check the command line against what is there; raise UsageError."""
    words = list(args.words)
    place = Path(words.pop(0)) if words and words[0] != "--" else Path.cwd()
    network = args.network
    # Behind the PATH argparse takes everything as it is.
    while words and words[0] != "--":
        name, _, value = words.pop(0).partition("=")
        value = value or (words.pop(0) if words else "")
        if name != "--network" or value not in {"proxy", "none"}:
            raise UsageError(
                f"hermit shell knows no {name}", hint="hermit shell [PATH] [--network proxy|none] [-- COMMAND]"
            )
        network = value
    if not place.is_dir():
        raise UsageError(f"there is no folder {place}", hint="hermit shell [PATH] -- COMMAND")
    return Options(find_project(place), network, tuple(words[1:]) or _SHELL)


def _visit(options: Options, rundir: Path) -> Visit:
    from hermit_cli.build.beforehand import check_rules  # noqa: PLC0415  see above
    from hermit_cli.build.command import look_at  # noqa: PLC0415  see above
    from hermit_cli.build.kept import Kept  # noqa: PLC0415  see above
    from hermit_cli.build.limits import limits_for  # noqa: PLC0415  see above
    from hermit_cli.build.visiting import Visit  # noqa: PLC0415  see above
    from hermit_cli.proxying import proxy_settings  # noqa: PLC0415  see above
    from hermit_proxy.policy import Mode  # noqa: PLC0415  see above
    from hermit_proxy.settings import load_settings  # noqa: PLC0415  see above

    project = options.project
    source, plan = look_at(project)
    settings = load_settings(None, os.environ)
    kept = Kept.of(project, os.environ)
    about = kept.about()
    mode = Mode.HERMETIC if project.is_recorded else Mode.RECORD
    what = f"what the step {about.step!r} of {about.when} left" if about else f"a fresh cell with {source.top.name}"
    network = f"network: proxy ({mode.value})" if options.network == "proxy" else "no network"
    output.say(f"hermit shell: {what}; {network}")
    proxy = proxy_settings(project, settings, rules=project.rules, network=project.network)
    if mode is Mode.RECORD and options.network == "proxy":
        check_rules(proxy)
    return Visit(
        mode=mode,
        proxy=proxy,
        rundir=rundir,
        project=project.root,
        source=source,
        plan=plan,
        limits=limits_for(plan.limits, settings.limits),
        kept=kept,
        about=about,
        online=options.network == "proxy",
        command=options.command,
        environment=dict(os.environ),
    )
