"""Reads one step of a spec: its action, and how that is done."""

from __future__ import annotations

from collections.abc import Callable

from hermit_proxy.closedyaml.file import Mapping, Node, Sequence
from hermit_proxy.closedyaml.reader import Reader
from hermit_steps import grammar
from hermit_steps.fields import checked, read_duration, read_environment, scan_text
from hermit_steps.spec import HERE, Action, Apt, Pack, Run, Step, Unpack, default_name

_ACTIONS = ("apt", "run", "pack", "unpack", "container")
_OPTIONS = {
    "apt": ("name", "timeout", "environment"),
    "run": ("name", "timeout", "environment", "network", "user", "directory", "shell"),
    "pack": ("name", "timeout"),
    "unpack": ("name", "timeout"),
}
_ALL_KEYS = (*_ACTIONS, *_OPTIONS["run"])
_MISPLACED = {
    ("apt", "network"): "an `apt` step always has the proxy for its network; leave `network` out",
    ("apt", "user"): "an `apt` step is always root's; leave `user` out",
    ("pack", "network"): "a `pack` step never has a network; leave `network` out",
    ("unpack", "network"): "an `unpack` step never has a network; leave `network` out",
}
_LATER = "container steps come with a later version; until then write what the Dockerfile does as `apt` and `run` steps"


def read_step(reader: Reader, node: Node, number: int) -> Step | None:
    """Read the step that is the `number`th, counted from 1; None where a mistake leaves none."""
    fields = reader.expect_mapping(node, _ALL_KEYS, "a step")
    kind = _read_kind(reader, node, fields)
    name = scan_text(reader, fields.get("name"), "name", checked(grammar.check_name))
    seconds = read_duration(reader, fields.get("timeout"), "timeout")
    environment = read_environment(reader, fields.get("environment"))
    network = reader.expect_enum(fields.get("network"), "network", ("none", "proxy"))
    user = reader.expect_enum(fields.get("user"), "user", ("build", "root"))
    folder = scan_text(reader, fields.get("directory"), "directory", grammar.parse_path)
    if kind is None:
        return None
    for key, value in fields.items():
        if key not in {kind, *_OPTIONS[kind]}:
            reader.mistake(value, _MISPLACED.get((kind, key), f"`{key}` means nothing in a step with `{kind}`"))
    action = _READERS[kind](reader, fields)
    if action is None:
        return None
    is_apt = isinstance(action, Apt)
    return Step(
        name or default_name(number),
        action,
        "proxy" if is_apt or network == "proxy" else "none",
        "root" if is_apt or user == "root" else "build",
        folder or HERE,
        environment,
        seconds,
    )


def _read_kind(reader: Reader, node: Node, fields: dict[str, Node]) -> str | None:
    """Tell which action a step is about; it is the one key of several that the step cannot do without."""
    found = [key for key in fields if key in _ACTIONS]
    if "container" in found:
        reader.mistake(fields["container"], _LATER)
        return None
    if len(found) > 1:
        reader.mistake(node, f"a step does one thing, and here are {' and '.join(found)}; write a step for each")
        return None
    if not found and isinstance(node, Mapping) and len(fields) == len(node.items):
        reader.mistake(node, f"a step needs one of {', '.join(_OPTIONS)}")
    return found[0] if found else None


def _read_apt(reader: Reader, fields: dict[str, Node]) -> Apt | None:
    items = reader.expect_list(fields["apt"], "apt")
    if isinstance(fields["apt"], Sequence) and not items:
        reader.mistake(fields["apt"], "expected at least one package")
    packages = [scan_text(reader, item, "package", checked(grammar.check_package)) for item in items]
    known = tuple(package for package in packages if package is not None)
    return Apt(known) if known else None


def _read_run(reader: Reader, fields: dict[str, Node]) -> Run | None:
    if isinstance(fields["run"], Sequence):
        reader.mistake(fields["run"], "expected run as a text, found a list; write its lines below `run: |`")
        return None
    script = scan_text(reader, fields["run"], "run", checked(grammar.check_script))
    shell = reader.expect_enum(fields.get("shell"), "shell", ("sh", "bash"))
    return None if script is None else Run(script, "bash" if shell == "bash" else "sh")


def _read_pack(reader: Reader, fields: dict[str, Node]) -> Pack | None:
    parts = reader.expect_mapping(fields["pack"], ("from", "to"), "pack", required=("from", "to"))
    source = scan_text(reader, parts.get("from"), "pack.from", grammar.parse_path)
    target = scan_text(reader, parts.get("to"), "pack.to", grammar.parse_archive)
    if source is None or target is None:
        return None
    if target.is_relative_to(source):
        reader.mistake(parts["to"], f"pack.to lies in pack.from ({source}): the archive would hold itself")
    return Pack(source, target)


def _read_unpack(reader: Reader, fields: dict[str, Node]) -> Unpack | None:
    parts = reader.expect_mapping(fields["unpack"], ("file", "to"), "unpack", required=("file", "to"))
    source = scan_text(reader, parts.get("file"), "unpack.file", grammar.parse_archive)
    target = scan_text(reader, parts.get("to"), "unpack.to", grammar.parse_path)
    return None if source is None or target is None else Unpack(source, target)


_READERS: dict[str, Callable[[Reader, dict[str, Node]], Action | None]] = {
    "apt": _read_apt,
    "run": _read_run,
    "pack": _read_pack,
    "unpack": _read_unpack,
}
