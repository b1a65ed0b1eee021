"""Is the `hermit` command: finds the one module that a command needs, and turns what went wrong into an exit code."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from types import ModuleType

from hermit_proxy.errors import ExitCode, HermitError

# One module each, imported only when it is asked for: a start must not pay for what it does not use.
COMMANDS = {
    "run": "hermit_cli.run",
    "snapshot": "hermit_cli.snapshot_cmd",
    "rules": "hermit_cli.rules_cmd",
    "store": "hermit_cli.store_cmd",
    "doctor": "hermit_cli.doctor",
}
_EPILOG = """\
exit codes: 0 done; 1 the command failed; 2 wrong usage, settings, rules or snapshot;
3 not hermetic: something was refused that nothing allowed; 4 this machine or a service failed"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code (see ExitCode)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    wanted = arguments[:1] if arguments and arguments[0] in COMMANDS else list(COMMANDS)
    modules = {name: import_module(COMMANDS[name]) for name in wanted}
    parsed = _parser(modules).parse_args(arguments)
    as_json = bool(getattr(parsed, "json", False))
    try:
        return int(modules[parsed.command_name].main(parsed))
    except HermitError as error:
        from hermit_cli.output import say_error  # noqa: PLC0415  only needed where something went wrong

        say_error(error, as_json=as_json)
        return int(error.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        return int(ExitCode.DONE)
    except OSError as error:
        from hermit_cli.output import say_error  # noqa: PLC0415  see above

        failed = HermitError(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        say_error(failed, as_json=as_json)
        return int(failed.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.FAILED)


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    description = "Records what a command fetches, replays it for ever, refuses the rest."
    parser = argparse.ArgumentParser(
        prog="hermit",
        description=description,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command_name", required=True, metavar="COMMAND")
    for module in modules.values():
        module.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
