"""Holds docs/threat-model.md to the tests: every row has its test, every test its row, and the table names both."""

from __future__ import annotations

import pytest

from tests.integration.hostile.rows import ROWS, attack
from tests.integration.hostile.threats import COMMAND, DOCUMENT, proofs, render, table, unmarked


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    assert len(ROWS) >= 45
    assert set(proofs()) == set(ROWS)
    assert unmarked() == []


def test_the_table_in_the_docs_is_the_one_that_the_tests_make() -> None:
    text = DOCUMENT.read_text()
    assert table() in text
    assert text == render(text), f"{COMMAND} writes it anew"


def test_a_test_cannot_belong_to_a_row_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no row"):
        attack("nonsense")
