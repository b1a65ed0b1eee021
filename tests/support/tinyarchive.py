"""Serves a signed Debian archive of a few small packages: enough for mmdebstrap, and as hostile as a test wants."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

from hermit_workers.image.sources import Sources, Suite
from tests.support.sandbox import image
from tests.support.smallimages import EPOCH, architecture

URI = "http://mirror.example.org/debian/"
_INDEX = "main/binary-{0}/Packages"
# What dpkg, mmdebstrap and the installer run in the tree, beside the programs of the sandbox's tiny tree.
_PROGRAMS = ("dpkg", "dpkg-deb", "dpkg-query", "dpkg-split", "useradd", "mkdir", "rm", "gzip")
_STUBS = ("diff", "ldconfig", "start-stop-daemon")
_FILES = {
    "etc/login.defs": "UID_MIN 1000\nGID_MIN 1000\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
}


@dataclass
class TinyArchive:
    """Is an archive with the suite `bookworm`; `serve` answers on a listening socket as a proxy does."""

    folder: Path
    _debs: list[tuple[str, bytes]] = field(default_factory=list)
    _files: dict[str, bytes] = field(default_factory=dict)

    @property
    def sources(self) -> Sources:
        """Give what an image is made from."""
        return Sources((Suite(URI, "bookworm"),), (self.folder / "archive.gpg",))

    def add(self, name: str, postinst: str, *, essential: bool = False) -> None:
        """Put a package into the archive; the essential one brings the programs."""
        tree = self.folder / name
        (tree / "DEBIAN").mkdir(parents=True)
        if essential:
            _programs(tree)
        control = f"Package: {name}\nVersion: 1\nArchitecture: {architecture()}\nMaintainer: A <a@example.org>\n"
        control += "Essential: yes\nPriority: required\n" if essential else "Priority: optional\n"
        control += "Description: made by a test\n"
        (tree / "DEBIAN" / "control").write_text(control)
        script = tree / "DEBIAN" / "postinst"
        script.write_text(f"#!/bin/sh\n{postinst}\n")
        script.chmod(0o755)
        path = self.folder / f"{name}.deb"
        options = ["--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(path)]
        subprocess.run(["dpkg-deb", *options], check=True, capture_output=True)
        self._debs.append((control, path.read_bytes()))

    def publish(self) -> None:
        """Sign what is there."""
        index = _INDEX.format(architecture())
        stanzas = []
        for number, (control, data) in enumerate(self._debs):
            self._files[f"pool/{number}.deb"] = data
            digest = hashlib.sha256(data).hexdigest()
            stanzas.append(f"{control}Filename: pool/{number}.deb\nSize: {len(data)}\nSHA256: {digest}\n")
        packages = "\n".join(stanzas).encode()
        packed = gzip.compress(packages, mtime=0)
        self._files[f"dists/bookworm/{index}.gz"] = packed
        release = f"Codename: bookworm\nSuite: bookworm\nArchitectures: {architecture()}\nComponents: main\n"
        release += f"Date: {formatdate(EPOCH, usegmt=True).replace('GMT', 'UTC')}\nSHA256:\n"
        for name, data in ((index, packages), (f"{index}.gz", packed)):
            release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
        self._files["dists/bookworm/InRelease"] = self._signed(release)

    def _signed(self, release: str) -> bytes:
        home = tempfile.mkdtemp(prefix="gpg.")  # a socket's path is short; gpg's agent makes one there
        gpg = ["gpg", "--homedir", home, "--batch", "--yes", "--quiet", "--passphrase", ""]
        try:
            key = ["--quick-gen-key", "archive@example.org", "ed25519", "sign", "never"]
            subprocess.run([*gpg, *key], check=True, capture_output=True)
            subprocess.run([*gpg, "--output", str(self.folder / "archive.gpg"), "--export"], check=True)
            done = subprocess.run([*gpg, "--clearsign"], input=release.encode(), check=True, capture_output=True)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
            shutil.rmtree(home, ignore_errors=True)
        return done.stdout

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests of one connection."""
        while head := await _head(reader):
            path = head.split(b" ")[1].decode().removeprefix(URI)
            body = self._files.get(path)
            status = "404 Not Found" if body is None else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body or b'')}\r\n\r\n".encode() + (body or b""))
            await writer.drain()


class ArchiveProxy:
    """Stands where the recording proxy is: what is recorded is not asked here, only who may do what."""

    def __init__(self, archive: TinyArchive) -> None:
        """Take what is served."""
        self._archive = archive
        self._serving: asyncio.Task[Any] | None = None
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        """Be ready at once."""

    async def begin_step(self, *_: str) -> None:
        """Count nothing."""

    async def end_step(self) -> None:
        """Serve no more."""

    def listen(self, listener: socket.socket) -> None:
        """Serve."""
        self._serving = asyncio.create_task(self._serve(listener.dup()))

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._archive.answer, sock=listener, limit=1 << 20)
        async with server:
            await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):  # has all that it wants
        return b""


def _programs(tree: Path) -> None:
    shutil.copytree(image(), tree, symlinks=True, dirs_exist_ok=True)
    for name in ("build", "home/build"):
        shutil.rmtree(tree / name)
    found = [Path(place) for name in _PROGRAMS if (place := shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin"))]
    for program in found:
        shutil.copy(program, tree / "usr" / "bin" / program.name)
    linked = subprocess.run(["ldd", *map(str, found)], capture_output=True, text=True, check=False).stdout
    for word in linked.split():
        if word.startswith("/") and not word.endswith(":"):
            library = tree / word.lstrip("/")
            library.parent.mkdir(parents=True, exist_ok=True)
            if not library.exists():
                shutil.copy(word, library)
    for name in _STUBS:
        (tree / "usr" / "bin" / name).write_text("#!/bin/sh\n")
        (tree / "usr" / "bin" / name).chmod(0o755)
    for name, text in _FILES.items():
        (tree / name).write_text(text)
