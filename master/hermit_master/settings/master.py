"""Reads `hermit.yaml`: what belongs to the master itself, whatever it builds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hermit_master.names import Login, parse_login
from hermit_master.settings import login
from hermit_master.settings.values import Secret, parse_address, read_named, read_secret
from hermit_proxy.closedyaml.file import Node, excerpt, load
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.errors import InputError
from hermit_proxy.settings import Settings as Machine
from hermit_proxy.settings import load_settings

_KEYS = (
    "url", "listen", "database", "database_password", "repositories", "machine", "builds", "author", "nightly",
    "login", "maintainers",
)  # fmt: skip
_LEAST_PASSWORD = 8
_LISTEN = re.compile(r"(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_NAME = re.compile(r"[^<>\n\0]{1,80}")
_EMAIL = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,128}")
_DATABASES = ("sqlite", "postgresql")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Author:
    """Is whom snapshot commits name as author and committer."""

    name: str
    email: str


_AUTHOR = Author("Hermit CI", "hermit@localhost")


@dataclass(frozen=True, slots=True)
class Settings:
    """Is what the master's file says.

    `url` is where people and forges reach the master, with a slash at its end. `listen` is host and port of its own.
    `machine` is what `hermit build` reads as well: store, upstream, limits, cell. `builds` counts cells at one time.
    `nightly` is hour and minute (UTC), None for never. Without `login` nobody can log in; `maintainers` are accounts
    in small letters.
    """

    source: Path
    url: str
    repositories: Path
    machine: Machine
    listen: tuple[str, int] = ("127.0.0.1", 8010)
    database: str = "sqlite:///state.sqlite"
    database_password: Secret | None = None
    builds: int = 2
    author: Author = _AUTHOR
    nightly: tuple[int, int] | None = (3, 0)
    login: login.Login | None = None
    maintainers: frozenset[Login] = frozenset()


def read_master(path: Path) -> tuple[Settings, Reader]:
    """Read `hermit.yaml`; what is wrong with it is noted with the reader, so that the repositories are read, too.

    Raise InputError where it is no YAML.
    """
    reader = Reader(path)
    fields = reader.expect_mapping(load(path), _KEYS, "the master's settings", required=("url",))
    database = read_named(reader, fields.get("database"), "database", _database)
    settings = Settings(
        source=path,
        url=read_named(reader, fields.get("url"), "url", parse_address) or "",
        repositories=_read_folder(reader, fields.get("repositories")),
        machine=_read_machine(reader, fields.get("machine")),
        listen=read_named(reader, fields.get("listen"), "listen", _listen) or ("127.0.0.1", 8010),
        database=database or "sqlite:///state.sqlite",
        database_password=read_secret(
            reader, fields.get("database_password"), "database_password", least=_LEAST_PASSWORD
        ),
        builds=reader.expect_int(fields.get("builds"), "builds", least=1) or 2,
        author=_read_author(reader, fields.get("author")),
        nightly=_read_nightly(reader, fields.get("nightly")),
        login=login.read_login(reader, fields.get("login")),
        maintainers=_read_maintainers(reader, fields.get("maintainers")),
    )
    if settings.maintainers and "login" not in fields:
        reader.mistake(fields["maintainers"], "nobody can log in as a maintainer without `login`")
    return settings, reader


def _listen(text: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found.group(2)) <= _MAX_PORT:
        raise ValueError(f"expected `host:port`, as 127.0.0.1:8010; found {excerpt(text)}")
    return found.group(1).strip("[]"), int(found.group(2))


def _database(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in _DATABASES:
        raise ValueError(f"expected `sqlite:///FILE` or `postgresql://user@host/name`; found {excerpt(parts.scheme)}")
    if parts.password is not None or "password" in parts.query:
        raise ValueError("a password in a URL; name its file by `database_password` instead")
    return text


def _read_folder(reader: Reader, node: Node | None) -> Path:
    default = reader.path.parent.absolute() / "repositories"
    path = default if node is None else reader.expect_path(node, "repositories")
    if path is not None and not path.is_dir():
        reader.mistake(node, f"repositories: there is no folder {path}")
    return path or default


def _read_machine(reader: Reader, node: Node | None) -> Machine:
    """Read the machine's own file by the reader that `hermit build` has."""
    path = reader.expect_file(node, "machine")
    if path is None:
        return Machine()
    try:
        return load_settings(path, os.environ)
    except InputError as error:
        reader.mistakes.extend(error.mistakes)
        return Machine()


def _read_author(reader: Reader, node: Node | None) -> Author:
    fields = reader.expect_mapping(node, ("name", "email"), "author", required=("name", "email"))
    name = reader.expect_str(fields.get("name"), "author.name") or _AUTHOR.name
    email = reader.expect_str(fields.get("email"), "author.email") or _AUTHOR.email
    if not _NAME.fullmatch(name) or not name.isprintable() or name != name.strip(" .,:;\"'\\"):
        reader.mistake(fields["name"], f"author.name: expected a name as git takes it; found {excerpt(name)}")
    if not _EMAIL.fullmatch(email):
        reader.mistake(fields["email"], f"author.email: expected an address; found {excerpt(email)}")
    return Author(name, email)


def _read_nightly(reader: Reader, node: Node | None) -> tuple[int, int] | None:
    text = reader.expect_str(node, "nightly")
    if text is None:
        return (3, 0) if node is None else None
    found = _TIME.fullmatch(text)
    if found is None and text != "never":
        reader.mistake(node, f"expected nightly as a time of day (UTC) as 03:00, or never; found {excerpt(text)}")
    return (int(found.group(1)), int(found.group(2))) if found else None


def _read_maintainers(reader: Reader, node: Node | None) -> frozenset[Login]:
    named = (read_named(reader, item, "maintainers", parse_login) for item in reader.expect_list(node, "maintainers"))
    return frozenset(login for login in named if login is not None)
