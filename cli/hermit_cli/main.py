"""Is the `hermit` command: finds the one module that a command needs, and turns what went wrong into an exit code."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from types import ModuleType

from hermit_proxy.errors import ExitCode, HermitError

# One module each, imported only when it is asked for: a start must not pay for what it does not use.
COMMANDS = {
    "init": "hermit_cli.init.command",
    "build": "hermit_cli.build.command",
    "shell": "hermit_cli.build.shell",
    "run": "hermit_cli.run",
    "snapshot": "hermit_cli.snapshot_cmd",
    "rules": "hermit_cli.rules_cmd",
    "store": "hermit_cli.store_cmd",
    "image": "hermit_cli.image_cmd",
    "doctor": "hermit_cli.doctor",
}
_EPILOG = """\
exit codes: 0 done; 1 the build or command failed; 2 wrong usage, settings, spec, rules or snapshot;
3 not hermetic: something was refused that nothing allowed; 4 this machine or a service failed"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code (see ExitCode)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    wanted = arguments[:1] if arguments and arguments[0] in COMMANDS else list(COMMANDS)
    modules = {name: import_module(COMMANDS[name]) for name in wanted}
    parser = _parser(modules)
    if not arguments:
        parser.print_help(sys.stderr)
        return int(ExitCode.USAGE)
    parsed = parser.parse_args(arguments)
    as_json = bool(getattr(parsed, "json", False))
    try:
        return _flushed(int(modules[parsed.command_name].main(parsed)))
    except HermitError as error:
        from hermit_cli.output import say_error  # noqa: PLC0415  only needed where something went wrong

        say_error(error, as_json=as_json)
        return int(error.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough
        from hermit_cli.output import abandon  # noqa: PLC0415  see above

        abandon(sys.stdout)
        return int(ExitCode.DONE)
    except OSError as error:
        from hermit_cli.output import say_error  # noqa: PLC0415  see above

        failed = HermitError(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        say_error(failed, as_json=as_json)
        return int(failed.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.FAILED)


class _Version(argparse.Action):
    """Prints the version; it is looked up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_args: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415  see above

        print(f"hermit {version('hermit-ci')}")
        parser.exit()


def _flushed(code: int) -> int:
    """Write out what is left while a reader who has gone can still be got over; give the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        from hermit_cli.output import abandon  # noqa: PLC0415  only needed where something went wrong

        abandon(sys.stdout)
    return code


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    description = "Records what a build fetches, replays it for ever, refuses the rest."
    parser = argparse.ArgumentParser(
        prog="hermit",
        description=description,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(dest="command_name", required=True, metavar="COMMAND")
    for module in modules.values():
        module.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
