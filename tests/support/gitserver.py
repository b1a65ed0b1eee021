"""Serves real repositories by git's own http-backend, and can cut the same answer into other packets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.origin import Asked, Origin, Response

_FLUSH = b"0000"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(*arguments: str | Path, cwd: Path | None = None, date: int = 1_700_000_000) -> str:
    """Run git with an identity and a date of its own; give what it printed."""
    dates = {"GIT_AUTHOR_DATE": f"@{date} +0000", "GIT_COMMITTER_DATE": f"@{date} +0000"}
    environment = {**os.environ, **_IDENTITY, **dates}
    done = subprocess.run(
        ["git", *map(str, arguments)], cwd=cwd, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


class GitServer:
    """Is `git http-backend` (smart HTTP, protocols 0 to 2) under `/git/` of an origin."""

    def __init__(self, origin: Origin, folder: Path, *, prefix: str = "/git") -> None:
        """Serve the bare repositories that `create` makes in a folder."""
        self._folder, self._prefix = folder, prefix
        self._bodies: list[tuple[Asked, bytes]] = []
        self.recut: Callable[[bytes], bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        origin.route(f"{prefix}/*", self._answer)

    @property
    def fetched(self) -> list[tuple[Asked, bytes]]:
        """Give every git-upload-pack request with the answer it got."""
        return list(self._bodies)

    def create(self, name: str) -> Path:
        """Make a repository `name`.git with one commit; give the work tree that pushes to it."""
        bare, tree = self._folder / f"{name}.git", self._folder / f"{name}.work"
        git("init", "-q", "--bare", "-b", "main", bare)
        git("-C", bare, "config", "uploadpack.allowFilter", "true")
        git("init", "-q", "-b", "main", tree)
        git("remote", "add", "origin", bare, cwd=tree)
        self.commit(tree, "first")
        return tree

    @staticmethod
    def commit(tree: Path, content: str, *, date: int = 1_700_000_000) -> str:
        """Commit a file with this content and push it; give the commit."""
        (tree / "file.txt").write_text(f"{content}\n")
        git("add", "-A", cwd=tree)
        git("commit", "-q", "-m", content, cwd=tree, date=date)
        git("push", "-q", "origin", "HEAD:main", cwd=tree)
        return git("rev-parse", "HEAD", cwd=tree)

    def _answer(self, asked: Asked) -> Response:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": asked.path.removeprefix(self._prefix),
            "QUERY_STRING": asked.query,
            "REQUEST_METHOD": asked.method,
            "CONTENT_TYPE": asked.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(asked.body)),
            "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
            "HTTP_GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
            "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=asked.body, env=environment, check=True, capture_output=True
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        if asked.path.endswith("/git-upload-pack") and status == 200:
            body = self.recut(body) if self.recut else body
            self._bodies.append((asked, body))
        return Response(body, status, headers)


def recut_to(size: int) -> Callable[[bytes], bytes]:
    """Give a function that cuts side-band packets to `size` data bytes: the same content in other packets.

    Real servers do so by chance, since they send what the pack process has written so far.
    """

    def recut(body: bytes) -> bytes:
        out, position = b"", 0
        while position < len(body):
            length = int(body[position : position + 4], 16)
            packet = body[position : position + max(length, 4)]
            position += len(packet)
            band = packet[4:5]
            if length <= len(_FLUSH) or band not in {b"\x01", b"\x02"}:
                out += packet
                continue
            data = packet[5:]
            for cut in range(0, len(data), size):
                piece = data[cut : cut + size]
                out += f"{len(piece) + 5:04x}".encode() + band + piece
        return out

    return recut
