"""Reads how people log in to the master: by a file of passwords, or by a forge's OAuth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hermit_master.settings.values import Secret, parse_address, read_named, read_secret
from hermit_proxy.closedyaml.file import Node
from hermit_proxy.closedyaml.reader import Reader

_LEAST_SECRET = 8
# By kind: the keys that it needs, and those that it may have besides.
_KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "password": (frozenset({"file"}), frozenset()),
    "github": (frozenset({"client", "secret"}), frozenset({"url"})),
    "gitea": (frozenset({"client", "secret", "url"}), frozenset()),
}


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """Is login by a file of accounts of the master's own."""

    file: Path


@dataclass(frozen=True, slots=True)
class ForgeLogin:
    """Is login by a forge's OAuth: `kind` is `github` or `gitea`, `url` the forge (None: the forge's public one)."""

    kind: str
    url: str | None
    client: str
    secret: Secret


Login = PasswordLogin | ForgeLogin


def read_login(reader: Reader, node: Node | None) -> Login | None:
    """Read it; None where there is none."""
    if node is None:
        return None
    fields = reader.expect_mapping(node, ("by", "file", "url", "client", "secret"), "login", required=("by",))
    by = reader.expect_enum(fields.get("by"), "login.by", tuple(_KINDS))
    file = reader.expect_file(fields.get("file"), "login.file")
    url = read_named(reader, fields.get("url"), "login.url", parse_address)
    client = reader.expect_str(fields.get("client"), "login.client")
    secret = read_secret(reader, fields.get("secret"), "login.secret", least=_LEAST_SECRET)
    if by is None:
        return None
    needed, allowed = _KINDS[by]
    for name in sorted(needed - set(fields)):
        reader.mistake(node, f"login by {by} needs the key `{name}`")
    for name in sorted(set(fields) - needed - allowed - {"by"}):
        reader.mistake(fields[name], f"login by {by} has no use for `{name}`")
    if by == "password":
        return None if file is None else PasswordLogin(file)
    return None if client is None or secret is None else ForgeLogin(by, url, client, secret)
