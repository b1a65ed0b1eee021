"""Says how an image's packages are installed: the files, the command and what it sees of the host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.run.ca import RunCA
from hermit_workers.image.recipe import Recipe
from hermit_workers.image.running import ROOM
from hermit_workers.image.sources import Sources
from hermit_workers.sandbox.bwrap import CAPABILITIES, NINE_ONLY, SECCOMP, STATUS
from hermit_workers.sandbox.namespaces.mounts import ROOT
from hermit_workers.trust import BUNDLES, system_bundle

SETUP = "setup"
WORK = "/image"
EPOCH = "hermit-epoch: "
_BUNDLE = "bundle.crt"
_PROGRAMS = "bin"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# mmdebstrap mounts in the tree and takes that from those who need less: whatever runs in the tree, the programs of
# packages among it, is started by one of these, as the root of a cell is.
_MOUNTS = ("SYS_ADMIN", "SETPCAP")
_ENTRIES = ("apt-get", "chroot")
_ENTER = f"""\
#!/bin/sh
PATH={_PATH}
exec setpriv {" ".join(NINE_ONLY)} -- "${{0##*/}}" "$@"
"""
# All that the installer sees of the host: programs and what they need to start, nothing of a person's or of Hermit's.
_SEEN = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/debian_version",
    "/etc/group", "/etc/ld.so.cache", "/etc/passwd", "/etc/perl", "/var/lib/dpkg/arch",
)  # fmt: skip
# The time of all that is in the image: when the archives were last changed, and not when somebody made an image of
# them. So whoever makes one from the same archives gets the same bytes.
_TELL_EPOCH = r"""
epoch=0
while read -r url; do
    /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "$url" /tmp/release
    date=$(date -u -d "$(sed -n 's/^Date: //p' /tmp/release | head -n 1)" +%s)
    rm /tmp/release
    if [ "$date" -gt "$epoch" ]; then epoch=$date; fi
done <setup/releases
export SOURCE_DATE_EPOCH=$epoch
"""
# What differs from one making to the next, or says something of the machine it was made on. The lists of packages go as
# well: a step that installs something begins with `apt-get update`, which gets those of its own snapshot.
_TIDY = r"""
cd root
rm -rf etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -rf etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock etc/resolv.conf
rm -rf var/cache/debconf/*-old var/lib/dpkg/*-old var/lib/apt/lists/* var/cache/apt/* var/cache/ldconfig/aux-cache
rm -rf var/log/bootstrap.log var/log/dpkg.log var/log/alternatives.log var/log/apt/*
cp ../setup/debian.sources etc/apt/sources.list.d/debian.sources
printf 'hermit\n' >etc/hostname
printf '127.0.0.1 localhost hermit\n::1 localhost\n' >etc/hosts
if [ -e etc/machine-id ]; then : >etc/machine-id; fi
chroot . useradd --uid 1000 --user-group --create-home --home-dir /home/build --shell /bin/bash build
rm -rf etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock
install -d -m 0755 -o 1000 -g 1000 build
"""


@dataclass(frozen=True, slots=True)
class Job:
    """Is one installation: `folder` gets the tree as `root`.

    `hermetic` accepts release files that have expired since they were recorded.
    """

    recipe: Recipe
    sources: Sources
    folder: Path
    hermetic: bool
    architecture: str


def prepare(job: Job, authority: RunCA) -> None:
    """Write what the installer reads into the folder's `setup`: the archives, and what to trust.

    Raise OSError where a file with keys cannot be read.
    """
    setup = job.folder / SETUP
    setup.mkdir()
    files = {
        "sources.list": job.sources.lines().encode(),
        "releases": "".join(f"{url}\n" for url in job.sources.releases()).encode(),
        "debian.sources": job.sources.deb822().encode(),
        _BUNDLE: authority.bundle(system_bundle()),
        **{name: path.read_bytes() for name, path in _keys(job).items()},
    }
    for name, content in files.items():
        (setup / name).write_bytes(content)
        (setup / name).chmod(0o644)
    programs = setup / _PROGRAMS
    programs.mkdir()
    for name in _ENTRIES:
        (programs / name).write_text(_ENTER)
        (programs / name).chmod(0o755)
    programs.chmod(0o755)
    # The installer is another user, whatever this one's umask.
    setup.chmod(0o755)
    job.folder.chmod(0o755)


def _keys(job: Job) -> dict[str, Path]:
    """Name the files with keys as the installer sees them: they may lie where only this user gets to."""
    return {f"keys-{number}{path.suffix}": path for number, path in enumerate(job.sources.keyrings)}


def installer(job: Job) -> list[str]:
    """Give the command that installs into `root` of the working folder and tidies up."""
    return ["sh", "-euc", f'umask 022\n{_TELL_EPOCH}echo "{EPOCH}$epoch"\n"$@"\n{_TIDY}', "sh", *_mmdebstrap(job)]


def _mmdebstrap(job: Job) -> list[str]:
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    words += [f"--architectures={job.architecture}", f"--include={','.join(job.recipe.packages)}"]
    words += [f"--keyring={WORK}/{SETUP}/{name}" for name in _keys(job)]
    # The whole tree is thrown away where the machine goes down, so nothing has to be on the disk before.
    words += ["--dpkgopt=force-unsafe-io", "--skip=chroot/mount/sys", '--aptopt=Acquire::Languages "none"']
    if job.hermetic:
        words += ['--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Check-Date "false"']
    return [*words, "", "root", f"{SETUP}/sources.list"]


def bwrap_options() -> list[str]:
    """Give the options that show the installer programs of the host and one folder, behind the filter of a cell."""
    words = ["--unshare-pid", "--die-with-parent", "--new-session", "--json-status-fd", str(STATUS)]
    words += ["--seccomp", str(SECCOMP), "--cap-drop", "ALL"]
    for name in (*CAPABILITIES, *_MOUNTS):
        words += ["--cap-add", f"CAP_{name}"]
    words += ["--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--size", ROOM]
    words += ["--tmpfs", "/tmp"]  # noqa: S108  one of its own
    words += ["--bind", ROOT, WORK, "--dir", "/root", "--dir", "/run", "--dir", "/var/tmp"]  # noqa: S108  see above
    for path in _SEEN:
        words += ["--ro-bind-try", path, path]
    words += ["--ro-bind", f"{ROOT}/{SETUP}/{_BUNDLE}", str(BUNDLES[0])]
    words += ["--chdir", WORK, "--clearenv"]
    for name, value in environment().items():
        words += ["--setenv", name, value]
    return words


def environment() -> dict[str, str]:
    """Give all variables that the installer sees."""
    return {
        "PATH": f"{WORK}/{SETUP}/{_PROGRAMS}:{_PATH}",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "DEBIAN_FRONTEND": "noninteractive",
        "http_proxy": "http://127.0.0.1:3128",
        "https_proxy": "http://127.0.0.1:3128",
    }
