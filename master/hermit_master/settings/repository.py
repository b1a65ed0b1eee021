"""Reads one file of `repositories/`: where a project lies, whom Hermit trusts with it, how it is built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hermit_master import names
from hermit_master.names import BadNameError, Branch, Login, Project, RepositoryId
from hermit_master.settings.values import Secret, is_safe, read_named, read_secret, split_url
from hermit_proxy.closedyaml.file import Node, excerpt, load
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.credentials.file import load_bindings
from hermit_proxy.errors import InputError
from hermit_proxy.settings import CELLS

LEAST_HOOK_SECRET = 16
LEAST_SECRET = 8
LEAST_POLL = 10.0
_KEYS = (
    "forge", "url", "project", "branch", "hook_secret", "poll", "token", "trusted", "record", "nightly", "cell",
    "forks", "credentials", "secrets", "secrets_when_recording",
)  # fmt: skip
_SCHEMES = ("https", "http", "ssh", "file")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Forge(Enum):
    """Is whose hooks and statuses a repository speaks; Forgejo's are Gitea's."""

    GITHUB = "github"
    GITEA = "gitea"
    FORGEJO = "forgejo"


@dataclass(frozen=True, slots=True)
class Repository:
    """Is one repository that the master builds.

    `url` is cloned from and pushed to; `project` is what the forge calls it, and `branch` its default branch.
    `hook_secret` None means that there is no hook, `poll` None that nothing is polled (seconds otherwise). `token` is
    for pushes and statuses. `trusted` are accounts in small letters. `record` tells whether branches are recorded,
    `nightly` whether the default branch is rebuilt. `forks` is the cell of what comes from outside, None where that is
    not built. `credentials` is the file of bindings for rules. `secrets` reach builds as `secrets_when_recording` says.
    """

    id: RepositoryId
    source: Path
    forge: Forge
    url: str
    project: Project
    branch: Branch
    hook_secret: Secret | None = None
    poll: float | None = None
    token: Secret | None = None
    trusted: frozenset[Login] = frozenset()
    record: bool = True
    nightly: bool = True
    cell: str = "sandbox"
    forks: str | None = "vm"
    credentials: Path | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    secrets_when_recording: bool = False

    @property
    def home(self) -> str:
        """Give the forge's host and the project, which no two repositories have in common."""
        return f"{split_url(self.url).hostname or ''}/{self.project}".lower()


def read_repository(path: Path, default_cell: str) -> Repository:
    """Read one file, whose name is Hermit's name of the repository; raise InputError with every mistake."""
    reader = Reader(path)
    try:
        name = names.parse_repository_id(path.stem)
    except BadNameError as error:
        reader.mistake(None, str(error))
        name = RepositoryId("")
    fields = reader.expect_mapping(load(path), _KEYS, "a repository", required=("forge", "url", "branch"))
    forge = reader.expect_enum(fields.get("forge"), "forge", [forge.value for forge in Forge])
    url = read_named(reader, fields.get("url"), "url", _clone_url)
    project = _read_project(reader, fields.get("project"), url, fields.get("url"))
    branch = read_named(reader, fields.get("branch"), "branch", names.parse_branch)
    forks = reader.expect_enum(fields.get("forks"), "forks", (*CELLS, "refused")) or "vm"
    record = reader.expect_bool(fields.get("record"), "record")
    nightly = reader.expect_bool(fields.get("nightly"), "nightly")
    hook_secret = read_secret(reader, fields.get("hook_secret"), "hook_secret", least=LEAST_HOOK_SECRET)
    poll = _read_poll(reader, fields.get("poll"))
    if not {"hook_secret", "poll"} & set(fields):
        reader.mistake(None, "nothing would tell of pushes: expected `hook_secret` (a file), `poll` (a time), or both")
    token = read_secret(reader, fields.get("token"), "token", least=LEAST_SECRET)
    if token is not None and url is not None and not is_safe(split_url(url)):
        reader.mistake(fields["token"], "a token goes over https only")
    trusted = _read_trusted(reader, fields.get("trusted"))
    cell = reader.expect_enum(fields.get("cell"), "cell", CELLS) or default_cell
    credentials = _read_credentials(reader, fields.get("credentials"))
    secrets = _read_secrets(reader, fields.get("secrets"))
    when_recording = reader.expect_bool(fields.get("secrets_when_recording"), "secrets_when_recording") or False
    reader.finish()
    if forge is None or url is None or project is None or branch is None:
        raise AssertionError(f"{path}: a required key is missing, and no mistake was noted")
    return Repository(
        name, path, Forge(forge), url, project, branch, hook_secret, poll, token, trusted, record is not False,
        nightly is not False, cell, None if forks == "refused" else forks, credentials, secrets, when_recording,
    )  # fmt: skip


def _clone_url(text: str) -> str:
    parts = split_url(text)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"expected a URL that begins with {', '.join(f'{name}://' for name in _SCHEMES)}")
    if (parts.scheme == "file") != (not parts.netloc):
        raise ValueError(f"expected `https://host/owner/name.git` or `file:///path`; found {excerpt(text)}")
    if parts.username is not None and parts.scheme != "ssh":
        raise ValueError("a user in a URL belongs to ssh:// only; name a file with a `token` instead")
    if (parts.username or "").startswith("-") or (parts.hostname or "").startswith("-"):
        raise ValueError(f"a URL that a command takes for an option: {excerpt(text)}")
    return text


def _read_project(reader: Reader, node: Node | None, url: str | None, url_node: Node | None) -> Project | None:
    if node is not None or url is None:
        return read_named(reader, node, "project", names.parse_project)
    try:
        return names.parse_project(split_url(url).path.strip("/").removesuffix(".git"))
    except BadNameError:
        reader.mistake(url_node, "the URL does not end in `owner/name`: say `project: owner/name` beside it")
        return None


def _read_poll(reader: Reader, node: Node | None) -> float | None:
    seconds = reader.expect_duration(node, "poll")
    if seconds is not None and seconds < LEAST_POLL:
        reader.mistake(node, f"poll: at least {LEAST_POLL:.0f}s, or the forge takes it for an attack")
    return seconds


def _read_trusted(reader: Reader, node: Node | None) -> frozenset[Login]:
    named = (read_named(reader, item, "trusted", names.parse_login) for item in reader.expect_list(node, "trusted"))
    return frozenset(login for login in named if login is not None)


def _read_credentials(reader: Reader, node: Node | None) -> Path | None:
    path = reader.expect_file(node, "credentials")
    try:
        load_bindings(path)
    except InputError as error:
        reader.mistakes.extend(error.mistakes)
    return path


def _read_secrets(reader: Reader, node: Node | None) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for key, value in reader.expect_free_mapping(node, "secrets"):
        if not _SECRET_NAME.fullmatch(key.text):
            reader.mistake(key, f"expected a name of letters, digits, `_`, `.`, `-`; found {excerpt(key.text)}")
        secret = read_secret(reader, value, f"secrets.{key.text}", least=LEAST_SECRET)
        if secret is not None:
            found[key.text] = secret
    return found
