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
_FOOT = """
What this table does not show:

- Row 13: a Node before 22.21 ignores the proxy variables for `fetch` whatever is set, so its `fetch` has no network
  in a run (npm brings its own proxy support and works, which is what the older version's test shows).
- Row 19: Gradle; Debian 12's is too old for its own Java. It gets the same JVM options and a `gradle.properties`.
- Rows 6 and 10: the tests' own index and registry negotiate as the public ones do; a mirror that a machine is set up
  for may have one document for every Accept. Installs from the configured registries are in rows 9 and 11 to 22.
- Row 33: buildah and docker need namespaces and capabilities that `hermit run` does not give; skopeo and umoci
  make the image.
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
    return _HEAD.format(command=_COMMAND) + "".join(lines) + _FOOT


def main() -> None:
    """Write the table with the versions found here."""
    wanted = {proof.client for proof in proofs()}
    TABLE.write_text(render({client: clients.version(client) for client in sorted(wanted)}))


if __name__ == "__main__":
    main()
