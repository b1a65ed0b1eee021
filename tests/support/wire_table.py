"""Writes docs/wire.md: for each row the tests that prove it and the versions of the clients on this machine."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.support import clients
from tests.support.rows import PROOFS, ROWS, Proof

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/wire.md"
_HEAD = """# What build tools really send: the proof

Each row is a way in which a replay that is keyed by URL alone goes wrong, and the test that shows that this one does
not: the real client against a real server, recorded, then replayed in a network namespace that has no route at all.
`{command}` writes this table; the versions are those of the machine that it was last run on.

| row | what breaks a naive replay | client | version | test |
|---|---|---|---|---|
"""
_COMMAND = "python -m tests.support.wire_table"


def proofs() -> list[Proof]:
    """Import every test of the wire and give what they prove, sorted by row."""
    for path in sorted((ROOT / "tests/integration/wire").glob("test_*.py")):
        importlib.import_module(f"tests.integration.wire.{path.stem}")
    return sorted(PROOFS.values(), key=lambda proof: (proof.node, proof.client))


def render(versions: dict[str, str]) -> str:
    """Give the text of the table."""
    found = proofs()
    lines = []
    for number, what in ROWS.items():
        for proof in (proof for proof in found if number in proof.numbers):
            known = versions.get(proof.client, "")
            lines.append(f"| {number} | {what} | {proof.client} | {known} | `{proof.node}` |\n")
    return _HEAD.format(command=_COMMAND) + "".join(lines)


def main() -> None:
    """Write the table with the versions found here."""
    wanted = {proof.client for proof in proofs()}
    TABLE.write_text(render({client: clients.version(client) for client in sorted(wanted)}))


if __name__ == "__main__":
    main()
