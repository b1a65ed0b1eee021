"""Reads the user's own settings file: what belongs to the machine and its owner, never to a project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from hermit_proxy.closedyaml.file import Node, Scalar, excerpt, load
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.run.settings import DEFAULT_UPLOAD_LIMIT, ProxySettings
from hermit_proxy.upstream.guard import Allow, parse_allow

_KEYS = ("store", "pool", "observers", "upstream", "credentials", "upload_limit", "limits", "cell", "vm")
_LIMITS = ("memory", "processes", "disk", "output", "time", "artifacts")
CELLS = ("sandbox", "vm")
VmKind = Literal["auto", "kvm", "qemu"]
_KINDS: tuple[VmKind, ...] = get_args(VmKind)
_MOST_PROCESSORS = 64
_LEAST_MEMORY = 256 << 20
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


@dataclass(frozen=True, slots=True)
class VmSettings:
    """Is what the owner says of virtual machines.

    `kind` is `auto`, `kvm` or `qemu`, `processors` the count of each machine, `memory` the bytes that all of this
    user's machines may have together (None: as much as there is).
    """

    kind: VmKind = "auto"
    processors: int = 2
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Is what the user's file says, with defaults for what it leaves out.

    `store` is what `open_store` takes ("" for its own default). `pool` None means that the caller names it after the
    repository. `observers` counts the independent recordings that an entry needs. `upstream_allow` opens addresses,
    `upstream_trust` is a PEM bundle in place of the system's. `credentials` is the file of bindings, None where there
    is none. `upload_limit` counts bytes. `limits` is the most that a build's spec may ask for: bytes, and a count of
    `processes`, and seconds of `time`. `cell` is where builds run that do not say it themselves, `sandbox` or `vm`.
    `source` is the file itself, None where there is none.
    """

    store: str = ""
    pool: str | None = None
    observers: int = 1
    upstream_allow: tuple[str, ...] = ()
    upstream_trust: Path | None = None
    credentials: Path | None = None
    upload_limit: int = DEFAULT_UPLOAD_LIMIT
    limits: Mapping[str, float] = field(default_factory=dict)
    cell: str = "sandbox"
    vm: VmSettings = VmSettings()
    source: Path | None = None

    @property
    def allow(self) -> Allow:
        """Give `upstream_allow` as the guard takes it."""
        return parse_allow(self.upstream_allow)

    def proxy(
        self, rules: Path, snapshot: Path, pool: str, clock: tuple[float, ...], *, refresh: bool = False
    ) -> ProxySettings:
        """Give what a proxy is started with; the caller knows which pool (`self.pool`, else the repository's)."""
        return ProxySettings(
            rules=rules,
            snapshot=snapshot,
            store=self.store,
            pool=pool,
            clock=clock,
            observers=self.observers,
            upstream_allow=self.upstream_allow,
            upstream_trust=self.upstream_trust,
            credentials=self.credentials,
            upload_limit=self.upload_limit,
            refresh=refresh,
            settings_file=str(self.source) if self.source else None,
        )


def config_dir(environ: Mapping[str, str]) -> Path:
    """Name the folder of the user's own files: `$XDG_CONFIG_HOME/hermit` (XDG Base Directory)."""
    base = environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored.
    home = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return home / "hermit"


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read a settings file, or the user's own where None is given; that one may be missing. Raise InputError."""
    folder = config_dir(environ)
    default_credentials = folder / "credentials.yaml"
    credentials = default_credentials if default_credentials.exists() else None
    if path is None:
        path = folder / "config.yaml"
        if not path.exists():
            return Settings(credentials=credentials)
    reader = Reader(path)
    node = load(path)
    fields = reader.expect_mapping(node, _KEYS, "the settings") if not _empty(node) else {}
    upstream = reader.expect_mapping(fields.get("upstream"), ("allow", "trust"), "upstream")
    limit = reader.expect_size(fields.get("upload_limit"), "upload_limit")
    settings = Settings(
        store=_read_store(reader, fields.get("store")),
        pool=_read_pool(reader, fields.get("pool")),
        observers=reader.expect_int(fields.get("observers"), "observers", least=1) or 1,
        upstream_allow=_read_allow(reader, upstream.get("allow")),
        upstream_trust=reader.expect_file(upstream.get("trust"), "upstream.trust"),
        credentials=reader.expect_file(fields.get("credentials"), "credentials") or credentials,
        upload_limit=DEFAULT_UPLOAD_LIMIT if limit is None else limit,
        limits=_read_limits(reader, fields.get("limits")),
        cell=reader.expect_enum(fields.get("cell"), "cell", CELLS) or "sandbox",
        vm=_read_vm(reader, fields.get("vm")),
        source=path,
    )
    reader.finish()
    return settings


def _empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.nothing


def _read_limits(reader: Reader, node: Node | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, item in reader.expect_mapping(node, _LIMITS, "limits").items():
        value: float | None
        if name == "processes":
            value = reader.expect_int(item, "limits.processes", least=1)
        elif name == "time":
            value = reader.expect_duration(item, "limits.time")
        else:
            value = reader.expect_size(item, f"limits.{name}")
        if value == 0:
            reader.mistake(item, f"limits.{name} of nothing would end every build")
        elif value is not None:
            found[name] = value
    return found


def _read_vm(reader: Reader, node: Node | None) -> VmSettings:
    fields = reader.expect_mapping(node, ("kind", "processors", "memory"), "vm")
    processors = reader.expect_int(fields.get("processors"), "vm.processors", least=1)
    if processors is not None and processors > _MOST_PROCESSORS:
        reader.mistake(fields["processors"], f"vm.processors: at most {_MOST_PROCESSORS}, found {processors}")
    memory = reader.expect_size(fields.get("memory"), "vm.memory")
    if memory is not None and memory < _LEAST_MEMORY:
        reader.mistake(fields["memory"], "vm.memory: no machine starts in less than 256 MiB")
    kind = reader.expect_enum(fields.get("kind"), "vm.kind", _KINDS)
    return VmSettings(next((one for one in _KINDS if one == kind), "auto"), processors or 2, memory)


def _read_store(reader: Reader, node: Node | None) -> str:
    text = reader.expect_str(node, "store")
    if text is None:
        return ""
    try:
        secret = urlsplit(text).password is not None or "password=" in urlsplit(text).query
    except ValueError as error:
        reader.mistake(node, f"expected store as a path or URL; {error}")
        return ""
    if secret:
        reader.mistake(node, "a password in store; name its file instead, `redis://host/0?password_file=/path`")
        return ""
    # What the text means is the store's business (see store.open); a relative path depends on where one stands.
    if "://" not in text and not text.startswith(("/", "~/")):
        reader.mistake(node, "expected store as an absolute path, `~/path`, `file:///path` or `redis://host:port/db`")
    return text


def _read_pool(reader: Reader, node: Node | None) -> str | None:
    text = reader.expect_str(node, "pool")
    if text is not None and not _POOL.fullmatch(text):
        reader.mistake(node, f"expected pool as letters, digits, `.`, `_`, `-` and `/`; found {excerpt(text)}")
    return text


def _read_allow(reader: Reader, node: Node | None) -> tuple[str, ...]:
    allowed: list[str] = []
    for item in reader.expect_list(node, "upstream.allow"):
        text = reader.expect_str(item, "an item of upstream.allow")
        try:
            parse_allow([text] if text is not None else [])
        except ValueError as error:
            reader.mistake(item, str(error))
        if text is not None:
            allowed.append(text)
    return tuple(allowed)
