"""The values that stand in several places of a spec: variables above all, which must not touch the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.closedyaml.file import loads
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.toolvariables import RESERVED
from hermit_steps.fields import checked, read_duration, read_environment, read_size, scan_text
from hermit_steps.grammar import check_name

PATH = Path("build.yaml")


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_variable_of_the_wire_can_be_set(name: str) -> None:
    reader = Reader(PATH)
    read_environment(reader, loads(f"A: x\n{name}: x\n".encode(), PATH))
    (mistake,) = reader.mistakes
    assert mistake.line == 2
    assert mistake.message.startswith(f"`{name}` is set by Hermit, the same in every build; ")


def test_other_variables_are_read_and_may_be_empty_or_have_lines() -> None:
    reader = Reader(PATH)
    read = read_environment(reader, loads(b'{A: "", B: "x\\ny", MAVEN_OPTS: -Xmx1g}\n', PATH))
    assert read == {"A": "", "B": "x\ny", "MAVEN_OPTS": "-Xmx1g"}
    assert not reader.mistakes


@pytest.mark.parametrize(("text", "size", "seconds"), [("10", 10, None), ("2 MiB", 2 << 20, None), ("5m", None, 300)])
def test_sizes_and_times_are_above_nothing(text: str, size: int | None, seconds: float | None) -> None:
    reader = Reader(PATH)
    node = loads(text.encode(), PATH)
    assert read_size(reader, node, "x") == size
    assert read_duration(reader, node, "x") == seconds
    assert len(reader.mistakes) == 1


@pytest.mark.parametrize("text", ["0", "0 MiB"])
def test_a_size_of_nothing_is_a_mistake(text: str) -> None:
    reader = Reader(PATH)
    read_size(reader, loads(text.encode(), PATH), "x")
    assert [mistake.message for mistake in reader.mistakes] == ["expected x as more than nothing"]


def test_a_text_is_told_shortened_with_what_is_wrong_with_it() -> None:
    reader = Reader(PATH)
    assert scan_text(reader, loads(b"good", PATH), "name", checked(check_name)) == "good"
    assert scan_text(reader, loads(b"x" * 100, PATH), "name", checked(check_name)) is None
    told = f"name '{'x' * 59}…': a name is one line of at most 80 characters"
    assert [mistake.message for mistake in reader.mistakes] == [told]
