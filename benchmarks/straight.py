"""Runs a build's steps in the same tree with the host's own network: what Hermit's builds are compared with."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import measure

from hermit_steps.finding import find_spec
from hermit_steps.plan import Facts, plan
from hermit_workers.cell import Command, Limits
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces.mapped import remove_tree, run_mapped

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_JAVA = "/etc/ssl/certs/java/cacerts"
_MOUNT = "mount -t overlay overlay -o lowerdir=$0,upperdir=$1/upper,workdir=$1/work,userxattr,volatile $1/merged"


@dataclass(frozen=True)
class Tree:
    """Is a throw-away layer over an image, for one project."""

    image: Path
    folder: Path
    project: Path

    def run(self) -> measure.Run:
        """Run all steps from nothing to nothing."""
        begin = time.perf_counter()
        asyncio.run(self._run())
        return measure.Run(time.perf_counter() - begin, 0.0)

    async def _run(self) -> None:
        for name in ("upper", "work", "merged"):
            (self.folder / name).mkdir(parents=True)
        try:
            script = f"chown 0:0 $1/*; {_MOUNT}; mkdir -p $1/merged/build; cp -r $2 $1/merged/build/x; "
            script += f"cp {_BUNDLE} $1/merged{_BUNDLE}; [ ! -e {_JAVA} ] || cp {_JAVA} $1/merged{_JAVA}; "
            script += "chown -R 1000:1000 $1/merged/build/x; shift 2; exec "
            script += f'{shlex.join(self._bwrap())} "$1"'
            # Without new privileges: the host's mount(8) is setuid to a user who is nobody in here.
            words = ["setpriv", "--no-new-privs", "unshare", "--mount", "sh", "-ec", script]
            words += [str(self.image), str(self.folder), str(self.project), self._steps()]
            with (self.folder / "log").open("wb") as log:
                status = await run_mapped(words, stdout=log.fileno(), stderr=log.fileno(), environment=dict(os.environ))
            if status:
                raise RuntimeError(f"straight ended with {status}:\n{(self.folder / 'log').read_text()[-2000:]}")
        finally:
            await remove_tree(self.folder)

    def _bwrap(self) -> list[str]:
        merged = str(self.folder / "merged")
        words = ["bwrap", "--unshare-pid", "--bind", merged, "/", "--dev", "/dev", "--proc", "/proc", "--clearenv"]
        words += ["--setenv", "PATH", _PATH, "--setenv", "LC_ALL", "C.UTF-8", "--setenv", "DEBIAN_FRONTEND"]
        words += ["noninteractive", "--setenv", "SSL_CERT_FILE", _BUNDLE, "--setenv", "CARGO_HTTP_CAINFO", _BUNDLE]
        words += ["--setenv", "PIP_CERT", _BUNDLE, "--setenv", "NODE_EXTRA_CA_CERTS", _BUNDLE]
        for file in ("/etc/resolv.conf", "/etc/hosts"):
            words += ["--ro-bind", file, file]
        return [*words, "--chdir", "/build/x", "/bin/sh", "-ec"]

    def _steps(self) -> str:
        lines = []
        for step in plan(find_spec(self.project), Facts(project="x", epoch=0)).steps:
            run = shlex.join(["env", *(f"{name}={value}" for name, value in step.environment.items()), *step.argv])
            if step.user == "build":
                run = f"HOME=/home/build setpriv --reuid 1000 --regid 1000 --init-groups -- {run}"
            lines.append(f"(cd /build/x; {run})")
        return "\n".join(lines)


async def cell(image: Path, folder: Path) -> measure.Run:
    """Make a cell, run `true` in it, and leave nothing."""
    begin = time.perf_counter()
    made = SandboxCell(image, folder, Limits())
    try:
        (await made.start()).close()
        command = Command(("true",), {"PATH": _PATH}, PurePosixPath("/"))
        ended = await made.run(command, output=2)
    finally:
        await made.destroy()
    if ended.status:
        raise RuntimeError(f"true ended with {ended}")
    return measure.Run(time.perf_counter() - begin, 0.0)
