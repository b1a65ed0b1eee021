"""Speaks with a forge's git: what a branch has there, and a push that counts only while nobody else has pushed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit, urlunsplit

from hermit_master.names import Branch, Sha, branch_ref, parse_sha
from hermit_master.settings.values import Secret
from hermit_proxy import git

# What forges take beside a token in place of an account.
_USER = "x-access-token"
_SECONDS = 600.0
_SCHEMES = frozenset({"https", "http", "ssh", "file"})
# Nobody is asked, nothing is followed to another place, no silence is waited for.
_SETTINGS = {
    "protocol.allow": "never",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "core.askPass": "",
    "credential.helper": "",
    "push.followTags": "false",
    "push.gpgSign": "false",
    "push.recurseSubmodules": "no",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """Is a repository on a forge: its URL, and the token that opens it (None where it is open, or ssh's keys do)."""

    url: str
    token: Secret | None = None

    def tip(self, mirror: Path, branch: Branch) -> Sha | None:
        """Ask what a branch has now, None where there is none; raise GitError where the forge does not say."""
        ref = branch_ref(branch)
        lines = self._ask(mirror, "ls-remote", "--refs", "--", self.url, ref).decode().splitlines()
        tips = [oid for oid, _, name in (line.partition("\t") for line in lines) if name == ref]
        return parse_sha(tips[0]) if tips else None

    def push(self, mirror: Path, commit: Sha, branch: Branch, lease: Sha | None) -> None:
        """Push a commit to a branch that has `lease` (None: that is not there); raise GitError where that fails."""
        ref = branch_ref(branch)
        expected = f"--force-with-lease={ref}:{lease or ''}"
        self._ask(mirror, "push", "--porcelain", "--no-verify", expected, "--", self.url, f"{commit}:{ref}")

    def _ask(self, mirror: Path, *arguments: str) -> bytes:
        with self._credential() as settings:
            scheme = urlsplit(self.url).scheme
            # Git has others, as `ext::`, by which a URL is a command.
            opened = {f"protocol.{scheme}.allow": "always"} if scheme in _SCHEMES else {}
            leash = git.Leash(_SECONDS)
            return git.ask(mirror, *arguments, settings={**_SETTINGS, **opened, **settings}, leash=leash)

    @contextmanager
    def _credential(self) -> Iterator[dict[str, str]]:
        """Have git read the token from a file that nobody else can, for this place only."""
        parts = urlsplit(self.url)
        if self.token is None or parts.scheme not in {"http", "https"}:
            yield {}
            return
        place = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        secret = quote(self.token.value.decode("ascii"), safe="")
        with TemporaryDirectory(prefix="hermit-push-") as folder:
            file = Path(folder) / "credential"
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="ascii") as opened:
                opened.write(f"{parts.scheme}://{_USER}:{secret}@{parts.netloc}\n")
            yield {f"credential.{place}.helper": f"store --file={shlex.quote(str(file))}"}
