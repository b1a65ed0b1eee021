"""Says which test proves which row of the table of what build tools send, so that docs/wire.md can be made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import TypeVar

ROWS = {
    1: "git sends two POSTs to one URL",
    2: "git compresses a large request body",
    3: "git names its version and session inside the body",
    4: "git's answers differ by their side-band packets",
    5: "git's refs move, its packs do not",
    6: "pip's index pages are negotiated by Accept",
    7: "HEAD, a range and the whole file at one URL",
    8: "conditional requests and 304",
    9: "User-Agent says kernel, CI and library versions",
    10: "npm's package document differs by Accept",
    11: "npm posts an audit request",
    12: "npm-session, npm-command and pacote headers",
    13: "Node ignores the system's CA and the proxy variables",
    14: "cargo's sparse index: ETag, and Upgrade: h2c over plain http",
    15: "HTTP/2 where it is offered",
    16: "go probes parent module paths: 404 and 410 count",
    17: "go's sum database moves on",
    18: "?go-get=1 is another document",
    19: "Maven takes no proxy from the environment",
    20: "a JVM that meets proxy credentials at CONNECT fails",
    21: "Maven's metadata, snapshots and checksums belong together",
    22: "apt's Valid-Until",
    23: "apt's InRelease and Packages are of one moment",
    24: "apt probes names: 404 means try the next",
    25: "registry challenge, token, Bearer",
    26: "redirects to signed URLs",
    27: "one blob under many names, HEAD first, tag by Accept",
    28: "Accept-Encoding decides the bytes",
    29: "HEAD, 204 and 304 carry no body on a kept-alive tunnel",
    30: "retries, parallel order, duplicates",
    31: "ca-certificates upgraded inside a step",
    32: "variables that replace the trust get a full bundle",
    33: "the CA never enters an image layer",
    34: "revocation checks and telemetry are refused in the open",
    35: "a client's warm cache does not thin the recording",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """Is one test that proves rows with one client; `client` is a name in clients.VERSIONS."""

    numbers: tuple[int, ...]
    client: str
    file: str
    name: str

    @property
    def node(self) -> str:
        """Give what pytest runs it by."""
        return f"tests/integration/wire/{self.file}::{self.name}"


PROOFS: dict[str, Proof] = {}
Test = TypeVar("Test", bound=FunctionType)


def row(*numbers: int, client: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of rows by a client."""
    unknown = set(numbers) - set(ROWS)
    if unknown or not numbers:
        raise ValueError(f"not rows of the table: {sorted(unknown)}")

    def mark(test: Test) -> Test:
        proof = Proof(numbers, client, Path(test.__code__.co_filename).name, test.__name__)
        PROOFS[f"{proof.node} {client} {numbers}"] = proof
        return test

    return mark
