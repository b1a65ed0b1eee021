"""Tries, part by part, what a run needs of this machine: real parts, no reading of tea leaves."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hermit_cli import runs
from hermit_cli.examine_vm import examine_vm
from hermit_cli.findings import Finding, Level, fail, ok, warn
from hermit_cli.output import bytes_as_text
from hermit_cli.table import counted
from hermit_proxy.credentials.file import load_bindings
from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import Settings, config_dir, load_settings
from hermit_proxy.store.open import open_store
from hermit_workers.command.runtime import Cell
from hermit_workers.command.view import Hidden, Trust, prepare
from hermit_workers.environment import Wire
from hermit_workers.image.library import Library
from hermit_workers.sandbox.doctor import as_root, examine_sandbox, refused_namespaces
from hermit_workers.trust import system_bundle

_PACKAGES = ("cryptography", "google-re2", "mitmproxy", "pyyaml", "redis", "twisted", "uvloop")
_LEAST_BWRAP = (0, 5)
_ROOM = 2 << 30
_TRIAL = 20.0
# Asks for what the filter must refuse (AF_VSOCK) and for what it must not (AF_INET), and looks for a way out.
_PROBE = """\
import errno, socket
socket.socket()
try:
    socket.socket(40, 1)
except OSError as error:
    if error.errno != errno.EAFNOSUPPORT:
        raise SystemExit(11)
else:
    raise SystemExit(11)
try:
    socket.create_connection(("192.0.2.1", 9), 1)
except OSError as error:
    raise SystemExit(0 if error.errno == errno.ENETUNREACH else 12)
raise SystemExit(12)
"""
_PROBED = {
    0: "no route, no vsock, one listening socket",
    11: "the system call filter does not hold",
    12: "it has a route",
}


def examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Give the findings, each as soon as it is there."""
    yield from _python()
    yield _git(environ)
    yield _runs(environ)
    try:
        settings = load_settings(None, environ)
    except HermitError as error:
        yield fail("settings", str(error), error.hint)
        settings = Settings()
    else:
        yield ok("settings", str(settings.source or f"defaults, there is no {config_dir(environ) / 'config.yaml'}"))
    yield _upstream(settings, environ)
    yield _credentials(settings)
    yield _store(settings, environ)
    bubblewrap = _bubblewrap()
    yield bubblewrap
    with tempfile.TemporaryDirectory() as folder:
        for mode in Mode:
            yield asyncio.run(_proxy(mode, settings, Path(folder) / mode.value))
        if bubblewrap.mend is None:
            (trial := Path(folder) / "trial").mkdir()
            yield asyncio.run(_cell(trial, environ))
            yield from _builds(settings, environ)


def _builds(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Try what `hermit build` needs beyond that; `hermit run` works without."""
    yield _mmdebstrap(environ)
    for one in examine_sandbox(Library.of(environ).folder):
        yield Finding(one.name, Level(one.level), one.text, one.hint)
    yield from examine_vm(settings, environ)


def _mmdebstrap(environ: Mapping[str, str]) -> Finding:
    if shutil.which("mmdebstrap", path=environ.get("PATH")) is None:
        return warn("mmdebstrap", "not installed; no image can be made here", as_root("apt-get install mmdebstrap"))
    return ok("mmdebstrap", "makes images")


def _python() -> Iterator[Finding]:
    yield ok("python", f"{sys.version.split()[0]} ({sys.executable})")
    missing: list[str] = []
    found: list[str] = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        yield fail("modules", f"missing: {', '.join(missing)}", f"{sys.executable} -m pip install {' '.join(missing)}")
    else:
        yield ok("modules", ", ".join(found))


def _git(environ: Mapping[str, str]) -> Finding:
    if shutil.which("git", path=environ.get("PATH")) is None:
        return warn("git", "not installed; snapshots cannot be compared with commits", as_root("apt-get install git"))
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout
    return ok("git", said.strip().removeprefix("git version "))


def _runs(environ: Mapping[str, str]) -> Finding:
    folder = runs.runs_dir(environ)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ok("runs", str(folder))
    except OSError as error:
        return fail("runs", f"{folder}: {error.strerror}", f"chown -R {os.getuid()} {folder}, or set XDG_STATE_HOME")


def _credentials(settings: Settings) -> Finding:
    if settings.credentials is None:
        return ok("credentials", "none; public registries need none")
    try:
        files = load_bindings(settings.credentials).secret_files()
    except HermitError as error:
        return fail("credentials", str(error), error.hint)
    return ok("credentials", f"{settings.credentials}, {counted(len(files), 'secret')}")


def _upstream(settings: Settings, environ: Mapping[str, str]) -> Finding:
    opened = ", ".join(settings.upstream_allow) or "nothing, so only public addresses are asked"
    return ok("upstream", f"upstream.allow in {settings.source or config_dir(environ) / 'config.yaml'} opens {opened}")


def _store(settings: Settings, environ: Mapping[str, str]) -> Finding:
    try:
        store = open_store(settings.store, environ=environ)
    except HermitError as error:
        return fail("store", str(error), error.hint)
    try:
        with store.writer() as writer:
            writer.write(b"hermit doctor was here\n")
            writer.abort()
        where = str(store.where)
    except HermitError as error:
        return fail("store", str(error), error.hint)
    finally:
        store.close()
    if not where.startswith("/"):
        return ok("store", where)
    free = shutil.disk_usage(where).free
    if free < _ROOM:
        return warn("store", f"{where}: only {bytes_as_text(free)} free", "hermit store gc")
    return ok("store", f"{where}: {bytes_as_text(free)} free")


def _bubblewrap() -> Finding:
    program = shutil.which("bwrap")
    if program is None:
        return fail("bubblewrap", "not installed", as_root("apt-get install bubblewrap"))
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = tuple(int(number) for number in re.findall(r"\d+", said))
    if numbers < _LEAST_BWRAP:
        return fail("bubblewrap", f"{said} is too old", "install bubblewrap 0.5 or newer")
    bare = [program, "--unshare-user", "--unshare-net", "--unshare-pid", "--bind", "/", "/", "--proc", "/proc", "true"]
    tried = subprocess.run(bare, capture_output=True, text=True, check=False)
    if tried.returncode:
        detail = f"{said} makes no sandbox: {tried.stderr.strip()}"
        return fail("bubblewrap", detail, refused_namespaces() or "see docs/environment.md about user namespaces")
    return ok("bubblewrap", f"{said.removeprefix('bubblewrap ')}, with user namespaces for uid {os.getuid()}")


async def _proxy(mode: Mode, settings: Settings, rundir: Path) -> Finding:
    name = "recorder" if mode is Mode.RECORD else "replayer"
    trial = ProxySettings(
        rules=rundir / "no-rules.yaml",
        snapshot=rundir / "no-snapshot",
        store=settings.store,
        pool="doctor",
        upstream_allow=settings.upstream_allow,
        upstream_trust=settings.upstream_trust,
    )
    began = asyncio.get_running_loop().time()
    proxy = await ProxyProcess.start(mode, trial, rundir)
    try:
        await asyncio.wait_for(proxy.ready(), _TRIAL)
    except HermitError as error:
        return fail(name, str(error), error.hint)
    except TimeoutError:
        return fail(name, f"not ready after {_TRIAL:.0f} s", "look for what keeps the processor busy")
    finally:
        await proxy.stop()
    return ok(name, f"starts in {asyncio.get_running_loop().time() - began:.2f} s")


async def _cell(rundir: Path, environ: Mapping[str, str]) -> Finding:
    """Make a whole cell as a run does, and see that it has its wire and no other."""
    authority = RunCA.create()
    trust = Trust(authority.cert_pem, authority.bundle(system_bundle()), authority.jks())
    sandbox, environment = prepare(rundir, Path("/"), environ, Wire(), trust, Hidden((rundir,)))
    command = [sys.executable, "-I", "-c", _PROBE]
    try:
        cell = Cell.start(sandbox, command, environment)
        try:
            (await asyncio.wait_for(cell.listener(), _TRIAL)).close()
            cell.go()
            status = await asyncio.wait_for(cell.wait(), _TRIAL)
        finally:
            await cell.destroy()
    except (HermitError, TimeoutError) as error:
        return fail("cell", str(error) or "does not start", refused_namespaces())
    detail = _PROBED.get(status, f"its probe ended with {status}")
    return fail("cell", detail, "report this as a bug of Hermit") if status else ok("cell", detail)
