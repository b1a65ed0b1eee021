"""Attacks of a machine's root on who hears its agent: each lie ends its own cell, and the truth is heard."""

from __future__ import annotations

import pytest

from tests.integration.vm.escapes import attempts
from tests.integration.vm.escapes.rows import attack
from tests.integration.vm.escapes.siege import Found

pytestmark = [pytest.mark.registry, pytest.mark.timeout(900)]


def found_out(found: Found, row: str) -> None:
    """See that a lie was found out and cut off, and that the same program is believed when it tells the truth."""
    reason, kept = found.facts["lies"][row]
    assert attempts.LIES[row][2] in reason
    assert kept == 0
    assert set(found.facts["liar"].split(" ")) == {"cut", "off"}
    assert found.facts["lies"]["honest"] == ("status 0", len(b"said"))


@attack("vm-lies-greeting")
def test_another_greeting_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-greeting")


@attack("vm-lies-before-greeting")
def test_a_word_before_the_greeting_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-before-greeting")


@attack("vm-lies-greets-twice")
def test_a_second_greeting_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-greets-twice")


@attack("vm-lies-kind")
def test_a_word_that_there_is_none_of_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-kind")


@attack("vm-lies-orders")
def test_the_host_takes_no_orders(found: Found) -> None:
    found_out(found, "vm-lies-orders")


@attack("vm-lies-length")
def test_a_length_beyond_the_bound_ends_the_cell_before_anybody_waits(found: Found) -> None:
    found_out(found, "vm-lies-length")


@attack("vm-lies-empty")
def test_output_without_output_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-empty")


@attack("vm-lies-nobodys")
def test_the_end_of_nobodys_command_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-nobodys")


@attack("vm-lies-unasked")
def test_an_answer_that_nobody_asked_for_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-unasked")


@attack("vm-lies-lease")
def test_a_readiness_for_no_build_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-lease")


@attack("vm-lies-limit")
def test_a_limit_that_there_is_none_of_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-limit")


@attack("vm-lies-ends-twice")
def test_a_command_that_ends_twice_ends_the_cell(found: Found) -> None:
    found_out(found, "vm-lies-ends-twice")


@attack("vm-lies-status")
def test_a_status_has_one_byte(found: Found) -> None:
    found_out(found, "vm-lies-status")


@attack("vm-lies-cut")
def test_an_agent_that_ends_in_the_middle_of_a_word_has_gone(found: Found) -> None:
    assert found.facts["lies"]["cut"] == ("the VM's agent has gone in the middle of a word", 0)


@attack("vm-lies-flood")
def test_of_output_without_end_no_more_is_kept_than_there_is_room_for(found: Found) -> None:
    assert found.facts["lies"]["flood"] == ("given up", 1000)


@attack("vm-lies-silence")
def test_an_agent_that_says_nothing_is_not_waited_for_for_ever(found: Found) -> None:
    assert "does not greet" in found.facts["lies"]["silence"][0]


@attack("vm-lies-as-agent")
def test_whoever_takes_the_agents_own_connection_ends_the_build_by_a_lie(found: Found) -> None:
    assert "no word of its language" in found.facts["steal"]
    assert found.facts["goes on"] == "reached proxy one."  # before, it was heard
