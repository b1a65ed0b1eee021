"""Holds what a client has sent and nobody has read yet, and cuts request heads off its front."""

from __future__ import annotations

from hermit_proxy.recorder.head import MAX_HEAD, BadHeadError, Tunnel
from hermit_proxy.replayer.site import Complaint, Incoming

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_SHOWN = 200


class Inbox:
    """Is the bytes of one connection, in clear."""

    def __init__(self) -> None:
        """Begin empty."""
        self.bytes = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Count the bytes."""
        return len(self.bytes)

    def clear(self) -> None:
        """Drop everything."""
        self.bytes.clear()
        self._searched = 0

    def take_head(self) -> bytes | None:
        """Take a head with its empty line, None while there is none; raise BadHeadError if there never will be."""
        octets = self.bytes
        end = octets.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0 or end > MAX_HEAD:
            if len(octets) > MAX_HEAD:
                raise BadHeadError(431, f"a head of more than {MAX_HEAD} bytes")
            # Nobody waits for what can never become a head.
            if octets[0] not in _TOKEN or octets.count(b"\n") != octets.count(b"\r\n"):
                raise BadHeadError(400, "not a request of HTTP/1.1")
            self._searched = len(octets)
            return None
        raw = bytes(octets[: end + 4])
        del octets[: end + 4]
        self._searched = 0
        return raw


def joined(raw: bytes) -> dict[str, str]:
    """Read the headers of a head that was checked; repeated ones are joined with a comma."""
    found: dict[str, str] = {}
    for line in raw[:-4].decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def complaint(octets: bytes, tunnel: Tunnel | None, incoming: Incoming | None, reason: str, status: int) -> Complaint:
    """Say as well as it can be said who asked for what: from the request if there is one, from its bytes else."""
    if incoming is not None:
        return incoming.method, incoming.target.url, reason, status
    first = octets.partition(b"\r\n")[0]
    method, _, rest = first.decode("ascii", "backslashreplace")[:_SHOWN].partition(" ")
    where = rest.partition(" ")[0]
    if tunnel is None:
        return method or "-", where or "-", reason, status
    base = f"{'https' if tunnel.tls else 'http'}://{tunnel.host}:{tunnel.port}"
    return method or "CONNECT", base + (where if where.startswith("/") else ""), reason, status
