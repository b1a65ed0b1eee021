"""Has on the host what a guest may want."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hermit_proxy.run.ca import RunCA
from tests.integration.vm.escapes import attempts
from tests.integration.vm.escapes.siege import Found, name_servers, own_addresses
from tests.integration.vm.escapes.victims import Victim, free_port


@contextmanager
def world(place: Path, found: Found) -> Iterator[None]:
    """Have ports, sockets, a store and an authority, as facts."""
    facts = found.facts
    with ExitStack() as stack:
        facts["port"] = free_port()
        stack.enter_context(Victim(None, [facts["port"]], [facts["port"]]))
        facts["hosts"] = own_addresses()
        facts["network"] = attempts.network(facts["hosts"], name_servers(), facts["port"])
        facts["secret"] = f"secret-{secrets.token_hex(16)}"
        facts["kept"] = place / "store-object"
        facts["kept"].write_text(facts["secret"])
        listening = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        facts["sockets"] = [str(place / "control"), f"@{facts['secret']}"]
        for sock, path in zip(listening, facts["sockets"], strict=True):
            sock.bind(path.replace("@", "\0"))
            sock.listen()
        facts["authority"] = RunCA.create()
        yield
