"""Says which program does a step, as an argument list: nothing that a spec says is ever read as an option."""

from __future__ import annotations

from hermit_steps.grammar import ARCHIVES, archive_suffix
from hermit_steps.spec import Action, Apt, Pack, Run, Unpack

# `--` ends the shell's own options: POSIX lets more of them stand behind `-c`.
_SH = ("/bin/sh", "-ec", "--")
# For scripts that are written for it; a shell that knows pipefail uses it.
_BASH = ("/bin/bash", "-eo", "pipefail", "-c", "--")

# Quiet enough for a log (no progress bars), but what is fetched and installed can be seen.
_QUIET = "-q -o Dpkg::Use-Pty=0"
# Without Error-Mode an index that was refused is a warning, and the error an unknown package later. Descriptions in
# other languages are megabytes that no build reads.
_UPDATE = f"apt-get {_QUIET} -o APT::Update::Error-Mode=any -o Acquire::Languages=none update"
# What is in the tree is thrown away, so nothing has to reach the disk. A changed file of the image's stays as it is.
# Without Pattern-Only apt-get takes an unknown name with a dot for an expression, and installs what matches.
_INSTALL = (
    f"exec apt-get {_QUIET} -o APT::Cmd::Pattern-Only=true"
    " -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    ' -y --no-install-recommends install -- "$@"'
)
# Packages ask this file before they start a service (invoke-rc.d(8)); 101 forbids it.
_NO_SERVICES = """\
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
fi"""
_NEEDS = """\
[ -z "$4" ] || command -v "$4" >/dev/null || {
    echo "$0 needs $4, which the image lacks: install it in an \\`apt\\` step (its package is $5)" >&2
    exit 127
}"""
_PACK = f"""\
{_NEEDS}
[ -d "$1" ] || {{ echo "pack: there is no folder $1" >&2; exit 1; }}
mkdir -p -- "$3"
from=$1 to=$2
shift 5
exec tar --create --file="$to" --force-local --directory="$from" --format=gnu --sort=name --owner=0 --group=0 \
--numeric-owner "$@" ."""
_UNPACK = f"""\
{_NEEDS}
mkdir -p -- "$3"
exec tar --extract --file="$1" --force-local --directory="$3" --no-same-owner"""
_DEBIAN = {"gzip": "gzip", "xz": "xz-utils", "zstd": "zstd"}

# Beside what every build sees, and stronger than what the spec says.
APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}


def argv(action: Action, *, epoch: int, update: bool) -> tuple[str, ...]:
    """Give the argument list; `update` has an apt step fetch the package lists first.

    `epoch` is the time that the files of an archive get, in seconds since 1970.
    """
    match action:
        case Run(script, shell):
            return (*(_BASH if shell == "bash" else _SH), script)
        case Apt(packages):
            parts = (_NO_SERVICES, _UPDATE, _INSTALL) if update else (_NO_SERVICES, _INSTALL)
            return (*_SH, "\n".join(parts), "apt", *packages)
        case Pack():
            return (*_SH, _PACK, "pack", *_pack(action, epoch))
        case Unpack():
            return (*_SH, _UNPACK, "unpack", *_unpack(action))


def _pack(action: Pack, epoch: int) -> tuple[str, ...]:
    program = ARCHIVES[archive_suffix(action.target)]
    options = (f"--mtime=@{epoch}",) + ((f"--use-compress-program={program}",) if program else ())
    return (str(action.source), str(action.target), str(action.target.parent), *_needs(program), *options)


def _unpack(action: Unpack) -> tuple[str, ...]:
    program = ARCHIVES[archive_suffix(action.source)]
    return (str(action.source), "", str(action.target), *_needs(program))


def _needs(program: str) -> tuple[str, str]:
    tool = program.partition(" ")[0]
    return tool, _DEBIAN.get(tool, "")
