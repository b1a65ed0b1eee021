"""Names what the operator would have to open for a host that the guard refuses, one item of `upstream.allow` each."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml

from hermit_proxy.upstream.adding import addition, quoted
from hermit_proxy.upstream.guard import Address, Allow, parse_allow, refusal

_BEGINS = "upstream.allow opens it; in "
_ENDS = ":\n"
_UNASKED = "the rules name it, too"
_AT_ONCE = 32  # hosts that are looked up: rules may name two thousand
_SECONDS = 3.0  # for all hosts together: nobody waits longer for a hint
_PORT = 443  # for the guard's own question where no port is meant: what is opened, is at every port


def item_for(address: Address, host: str, port: int | None, own: frozenset[Address]) -> str | None:
    """Give the item that opens a refused address for a normalised host; None where none does.

    Without a port it opens them all. `own` are this machine's addresses.
    """
    for name in (host, str(address)):  # a name does not open everything that its address does
        item = f"[{name}]" if ":" in name else name
        item = item if port is None else f"{item}:{port}"
        try:
            allow = parse_allow([item])
        except ValueError:  # an IPv4 address in IPv6 clothes
            continue
        if refusal(address, allow, own, host=host, port=port or _PORT) is None:
            return item
    return None


def hint(settings_file: str, item: str) -> str:
    """Word what opens one item: where, and the lines for a file that has none of them yet."""
    return f"{_BEGINS}{settings_file}{_ENDS}upstream:\n  allow: [{quoted(item)}]"


def read(told: str | None) -> tuple[Path, str] | None:
    """Read what `hint` has written: the settings file and the item; None for every other hint."""
    if told is None or not told.startswith(_BEGINS):
        return None
    file, _, block = told.removeprefix(_BEGINS).partition(_ENDS)
    try:
        return Path(file), str(yaml.safe_load(block)["upstream"]["allow"][0])
    except (yaml.YAMLError, TypeError, KeyError, IndexError):
        return None


def gathered(hints: Iterable[str | None]) -> tuple[Path, list[str]] | None:
    """Give the settings file and all items of a run's hints, each once; None where none of them opens anything."""
    found = [one for told in hints if (one := read(told)) is not None]
    return (found[0][0], list(dict.fromkeys(item for _, item in found))) if found else None


def told(file: Path, items: Sequence[str], unasked: Iterable[str] = ()) -> str:
    """Say what to add to the settings file: a first line for people, then the lines as they have to stand there.

    `unasked` are items for hosts that were not asked yet; what opens a port of theirs already is enough.
    """
    hosts = {item.rpartition(":")[0] for item in items}
    more = [item for item in unasked if item not in hosts]
    added = addition(file, [*items, *more], dict.fromkeys(more, _UNASKED))
    them = "it" if len(items) + len(more) == 1 else "them"
    return "\n".join([f"if you trust {them}, add {added.where}:", *added.lines])


def needed(
    hosts: Iterable[str],
    allow: Allow,
    own: frozenset[Address],
    *,
    seconds: float = _SECONDS,
    resolve: Callable[[str], Iterable[Address]] | None = None,
) -> list[str]:
    """Look hosts up, many at once and no longer than so many seconds, and give what has to be opened for them.

    A host that does not resolve in time needs nothing that could be told.
    """
    found: dict[str, list[Address]] = {}

    def look_up(host: str) -> None:
        try:
            found[host] = list((resolve or _resolve)(host))
        except (OSError, UnicodeError, ValueError):
            return

    wanted = list(dict.fromkeys(hosts))
    left = iter(wanted)
    lock = threading.Lock()

    def look_some_up() -> None:
        while True:
            with lock:
                host = next(left, None)
            if host is None or time.monotonic() > until:
                return
            look_up(host)

    until = time.monotonic() + seconds
    # Not a pool: nothing waits for a resolver that does not answer, not even the end of the program.
    threads = [threading.Thread(target=look_some_up, daemon=True) for _ in wanted[:_AT_ONCE]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    refused = [
        item_for(address, host, None, own)
        for host in wanted
        for address in found.get(host, ())
        if refusal(address, allow, own, host=host, port=_PORT) is not None
    ]
    return list(dict.fromkeys(item for item in refused if item is not None))


def _resolve(host: str) -> Iterable[Address]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
