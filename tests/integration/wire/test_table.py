"""Holds docs/wire.md to the tests: every row has a proof, and the table names it."""

from __future__ import annotations

from tests.support import clients
from tests.support.rows import ROWS
from tests.support.wire_table import TABLE, proofs, render


def test_every_row_has_a_proof_by_a_known_client() -> None:
    found = proofs()
    assert {number for proof in found for number in proof.numbers} == set(ROWS) == set(range(1, 36))
    assert {proof.client for proof in found} <= clients.CLIENTS


def test_the_table_in_the_docs_is_the_one_that_the_tests_make() -> None:
    written = TABLE.read_text()
    known = {}
    for line in written.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].isdigit():
            known[cells[2]] = cells[3]
    assert all(known.values()), "a client's version is missing: python -m tests.support.wire_table"
    assert written == render(known), "python -m tests.support.wire_table writes it anew"
