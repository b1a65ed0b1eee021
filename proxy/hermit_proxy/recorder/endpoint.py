"""Gives mitmproxy's TLS layers an end of Python's own ssl module: one verifier for the host's name, and large reads.

mitmproxy hands records of 16 KiB through pyOpenSSL, which clears a buffer of 64 KiB for each. Here one call gives
everything that has come.
"""

from __future__ import annotations

import ssl
from collections import deque

from OpenSSL import SSL

# What one call gives at most. Shared by all connections of the process: it is filled and copied within one call.
_READ = 1 << 18
_SCRATCH = memoryview(bytearray(_READ))


class TlsEndpoint:
    """Is one end of a TLS connection, with the part of `OpenSSL.SSL.Connection` that mitmproxy's TLSLayer calls."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Take the context; `server_hostname` is the name (or literal address) to send and to verify.

        `session` is of an earlier connection to the same name, which was verified: resumed, it is not verified again.
        """
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname, session=session
        )
        self._closed_by_peer = False
        self._encrypted: deque[bytes] = deque()

    @property
    def session(self) -> ssl.SSLSession | None:
        """Give what another connection to the same server may go on with; copied at each call."""
        return self._tls.session

    @property
    def closed_by_peer(self) -> bool:
        """Tell whether the peer has said that nothing more will come (close_notify, RFC 8446 section 6.1)."""
        return self._closed_by_peer

    def bio_write(self, data: bytes) -> int:
        """Take what came from the network."""
        return self._incoming.write(data)

    def bio_read(self, _size: int) -> bytes:
        """Give a part of what has to go to the network; raise WantReadError where there is nothing."""
        data = self._encrypted.popleft() if self._encrypted else self._outgoing.read()
        if not data:
            raise SSL.WantReadError
        return data

    def do_handshake(self) -> None:
        """Go on with the handshake; raise WantReadError until it is done, SSL.Error when it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            raise SSL.WantReadError from None
        except ssl.SSLCertVerificationError as error:
            raise SSL.Error(f"certificate verify failed: {error.verify_message}") from error
        except ssl.CertificateError as error:
            raise SSL.Error(f"certificate verify failed: {error}") from error
        except ssl.SSLError as error:
            raise SSL.Error(error.reason or str(error)) from error

    def recv(self, _size: int) -> bytes:
        """Give the plain text that has come, up to 256 KiB; raise ZeroReturnError after the peer's close_notify."""
        filled = 0
        try:
            while filled < _READ and not self._closed_by_peer:
                count = self._tls.read(_READ - filled, _SCRATCH[filled:])
                self._closed_by_peer = not count
                filled += int(count)
        except ssl.SSLWantReadError:
            if not filled:
                raise SSL.WantReadError from None
        except ssl.SSLZeroReturnError:
            self._closed_by_peer = True
        except ssl.SSLError as error:
            raise SSL.Error(error.reason or str(error)) from error
        if not filled:
            raise SSL.ZeroReturnError
        return bytes(_SCRATCH[:filled])

    def sendall(self, data: bytes) -> None:
        """Encrypt; memory takes it all at once, but not in one buffer, which would never shrink again."""
        try:
            with memoryview(data) as view:
                for start in range(0, len(view), _READ):
                    self._tls.write(view[start : start + _READ])
                    self._encrypted.append(self._outgoing.read())
        except ssl.SSLZeroReturnError:
            raise SSL.ZeroReturnError from None
        except ssl.SSLError as error:
            raise SSL.SysCallError(-1, error.reason or str(error)) from error

    def get_shutdown(self) -> int:
        """Tell, in OpenSSL's flags, whether the peer has closed."""
        return SSL.RECEIVED_SHUTDOWN if self._closed_by_peer else 0

    def get_peer_certificate(self) -> None:
        """Give nothing: the ssl module has verified it, and nobody else looks at it."""

    def get_peer_cert_chain(self) -> list[object]:
        """Give nothing, as above."""
        return []

    def get_alpn_proto_negotiated(self) -> bytes:
        """Give the protocol that was agreed on, empty where none was."""
        return (self._tls.selected_alpn_protocol() or "").encode()

    def get_cipher_name(self) -> str | None:
        """Name the cipher."""
        cipher = self._tls.cipher()
        return cipher[0] if cipher else None

    def get_protocol_version_name(self) -> str:
        """Name the TLS version."""
        return self._tls.version() or ""
