"""Is `hermit init`: looks at a project and writes a first spec and first rules for a person to review."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hermit_cli import git
from hermit_cli.output import print_json, say
from hermit_cli.project import Project, find_project
from hermit_proxy.errors import ExitCode, HermitError, UsageError

if TYPE_CHECKING:  # a wrong command line should not pay for the rest
    from hermit_cli.init.finding import Found, Registry
    from hermit_cli.init.report import Report
    from hermit_proxy.rules.file import Rules

_DESCRIPTION = """\
Look at a project and write a first .hermit/build.yaml (what the build does) and .hermit/rules.yaml (whom it may ask),
for you to read and mend. Nothing of the project is run; its tools are asked which registries they use, and the
resolver whether a recording may reach them."""
_BY_HAND = "write .hermit/build.yaml by hand (docs/spec.md of Hermit), or an executable script .hermit/build"
_SCRIPTED = "hermit build, which runs the script .hermit/build; hermit rules suggest then proposes the rules"
_FORCE_HELP = "write files anew that are there"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command's options."""
    parser = subparsers.add_parser(
        "init", help="write a first spec and rules for a project", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="the project's folder (default: this one's)")
    parser.add_argument("--force", action="store_true", help=_FORCE_HELP)
    parser.add_argument("--dry-run", action="store_true", help="print the files instead of writing them")
    parser.add_argument("--json", action="store_true", help="print one object for programs")


def main(args: argparse.Namespace) -> int:
    """Look, write, and give the exit code."""
    from hermit_cli.init.files import write_all  # noqa: PLC0415  see above

    project = _project(args.path)
    report = _report(project, force=args.force, dry=args.dry_run)
    if not args.dry_run:
        write_all({path: report.texts[path] for path in report.written})
    if args.json:
        print_json(report.to_json())
    elif args.dry_run:
        _print_files(report)
    else:
        report.say()
    return int(ExitCode.DONE)


def _project(path: Path | None) -> Project:
    """Give the project; a path that is named is the project's folder, whatever is above it."""
    if path is None:
        project = find_project(Path.cwd())
    elif path.is_dir():
        project = Project(path.resolve())
    else:
        found = "is no folder" if path.exists() else "does not exist"
        raise UsageError(f"{path} {found}", hint="hermit init PATH, where PATH is the folder of a project")
    if not os.access(project.root, os.R_OK | os.X_OK):
        raise UsageError(f"{project.root} cannot be read", hint="run hermit as the user that the project belongs to")
    if project.root in {Path("/"), Path.home().resolve()}:
        raise UsageError(f"{project.root} is no project: all of it would go into a build", hint="hermit init PATH")
    for place in (project.hermit_dir, *_files(project)):
        if place.is_symlink():
            raise UsageError(f"{place} is a link, and links are not followed here", hint=f"rm {place}")
    return project


def _files(project: Project) -> tuple[Path, Path]:
    return project.hermit_dir / "build.yaml", project.rules


def _report(project: Project, *, force: bool, dry: bool) -> Report:
    from hermit_cli.init.report import Report  # noqa: PLC0415  see above
    from hermit_cli.init.rulestext import rules_text  # noqa: PLC0415  see above
    from hermit_cli.init.spectext import spec_text  # noqa: PLC0415  see above
    from hermit_steps.reader import read_spec  # noqa: PLC0415  see above

    found = _look(project)
    registries = _ask(found)
    environment = {name: value for registry in registries for name, value in registry.environment.items()}
    spec, rules = _files(project)
    texts = {spec: spec_text(found, environment), rules: rules_text(found, registries)}
    kept = tuple(path for path in texts if path.exists() and not force)
    read = _read_rules(texts[rules])
    settings, to_open = _to_open(read)
    return Report(
        root=project.root,
        found=found,
        registries=registries,
        texts=texts,
        written=tuple(path for path in texts if path not in kept),
        kept=kept,
        # What is written here has to be read by who reads it later; a mistake shows before anything is written.
        spec=read_spec(texts[spec].encode(), spec),
        rules=read,
        dry=dry,
        settings=settings,
        to_open=to_open,
    )


def _to_open(rules: Rules) -> tuple[Path, tuple[str, ...]]:
    """Give the user's settings file and what a recording under these rules will want in it."""
    from hermit_proxy.settings import config_dir, load_settings  # noqa: PLC0415  see above
    from hermit_proxy.upstream import guard, openings  # noqa: PLC0415  see above

    file = config_dir(os.environ) / "config.yaml"
    hosts = [host for rule in rules.rules if (host := rule.pattern.literal_host)]
    try:
        allow, own = load_settings(None, os.environ).allow, guard.own_addresses()
    except HermitError:  # the build tells it
        return file, ()
    return file, tuple(openings.needed(hosts, allow, own))


def _read_rules(text: str) -> Rules:
    from hermit_proxy.rules.file import load_rules  # noqa: PLC0415  see above

    with TemporaryDirectory(prefix="hermit-init-") as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        return load_rules(path)


def _look(project: Project) -> Found:
    from hermit_cli.init.detect import EXPECTED, has_container, look  # noqa: PLC0415  see above

    found = look(project.root, git.origin(project.root))
    if found.parts:
        return found
    if has_container(project.root):
        raise UsageError(
            f"{project.root} has a Dockerfile and nothing else that is known: container steps come later",
            hint="write what the Dockerfile does as `apt` and `run` steps into .hermit/build.yaml",
        )
    troubles = "".join(f"\n  {trouble}" for trouble in found.troubles)
    raise UsageError(
        f"nothing in {project.root} tells how it is built{troubles}\n  expected one of: {EXPECTED}",
        hint=_BY_HAND if not (project.hermit_dir / "build").exists() else _SCRIPTED,
    )


def _ask(found: Found) -> tuple[Registry, ...]:
    from hermit_cli.init.registries import TOOLS  # noqa: PLC0415  see above

    # The image itself is made of Debian packages, so apt is always asked.
    wanted = dict.fromkeys(["apt", *(tool for part in found.parts for tool in part.tools)])
    return tuple(TOOLS[tool](os.environ) for tool in wanted)


def _print_files(report: Report) -> None:
    # The files alone go to stdout.
    for index, path in enumerate(report.written):
        sys.stdout.write(("\n" if index else "") + f"# {path.relative_to(report.root)}\n{report.texts[path]}")
    sys.stdout.flush()
    for path in report.kept:
        say(f"hermit: {path} is there and would be kept (--force writes it anew)")
    for told in report.looks():
        say(f"look at: {told}")
