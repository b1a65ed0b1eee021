"""Makes a request of the bytes of its head, and takes its body as it comes."""

from __future__ import annotations

from hermit_proxy.recorder.head import BadHeadError, Tunnel, read_head
from hermit_proxy.replayer.body import BodyReader, ChunkedReader, LengthReader
from hermit_proxy.replayer.inbox import joined
from hermit_proxy.replayer.sinks import Sink
from hermit_proxy.replayer.site import Incoming


def read_request(raw: bytes, tunnel: Tunnel | None) -> Incoming | tuple[str, int]:
    """Read a head with its empty line: a request, or the host and port of a CONNECT; raise BadHeadError."""
    head = read_head(raw[:-4], tunnel)
    headers = joined(raw)
    length = None if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
    if head.connect is not None:
        if length != 0:
            raise BadHeadError(400, "CONNECT with a body")
        return head.connect
    if head.target is None:
        raise BadHeadError(400, "a request for nothing")
    close = _is_http10(raw) or "close" in [part.strip() for part in headers.get("connection", "").lower().split(",")]
    return Incoming(raw, head.method, head.target, headers, length, not close, tunnel)


class Arrival:
    """Is a request whose body is on its way into a sink."""

    def __init__(self, incoming: Incoming, sink: Sink) -> None:
        """Take a request that has a body, and where that goes."""
        self.incoming = incoming
        self.sink = sink
        self._reader: BodyReader = ChunkedReader() if incoming.length is None else LengthReader(incoming.length)

    @property
    def awaits_word(self) -> bool:
        """Tell whether the client wants to be told to go on before it sends the body (Expect: 100-continue)."""
        return "expect" in self.incoming.headers and not _is_http10(self.incoming.raw)

    def read(self, octets: bytearray) -> bool:
        """Take what is there of the body off the front; tell whether that was the end. Raise BadHeadError."""
        return self._reader.read(octets, self.sink.write)


def _is_http10(raw: bytes) -> bool:
    return raw[: raw.index(b"\r\n")].endswith(b"1.0")
