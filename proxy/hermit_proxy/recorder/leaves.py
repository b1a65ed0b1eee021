"""Makes TLS contexts for the hosts that clients believe they talk to, from leaves of the run's CA."""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict

from hermit_proxy.run.ca import RunCA

_MAX_CONTEXTS = 256


class LeafContexts:
    """Keeps a context for each host, the most recent ones."""

    def __init__(self, authority: RunCA) -> None:
        """Take the run's authority."""
        self._authority = authority
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    def __call__(self, host: str) -> ssl.SSLContext:
        """Give the context for a host name or literal address."""
        context = self._contexts.pop(host, None) or self._make(host)
        self._contexts[host] = context
        if len(self._contexts) > _MAX_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _make(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # The ssl module reads certificates from files only; this one has no name and never gets to a disk.
        fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(fd, self._authority.leaf(host))
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return context
