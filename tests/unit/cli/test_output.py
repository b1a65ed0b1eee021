"""Checks the words that every command uses."""

from __future__ import annotations

import pty
import termios

import pytest

from hermit_cli.output import bytes_as_text, plain, print_json, ready, say, time_as_text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_read_well(size: int, text: str) -> None:
    assert bytes_as_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.9, "59 s"), (60, "1:00"), (3599, "59:59"), (3729, "1:02:09")],
)
def test_times_read_well(seconds: float, text: str) -> None:
    assert time_as_text(seconds) == text


def test_no_escape_sequence_of_a_url_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("GET https://example.org/\x1b]0;owned\x07\x9b31m")
    assert capsys.readouterr().err == "GET https://example.org/\\x1b]0;owned\\x07\\x9b31m\n"
    assert plain("two\nlines\r") == "two\nlines\\x0d"


def test_people_and_programs_have_a_stream_each(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    print_json({"a": 1})
    said = capsys.readouterr()
    assert (said.out, said.err) == ('{\n  "a": 1\n}\n', "hello\n")


def test_a_terminal_that_was_stopped_takes_nothing_until_it_goes_on() -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb"), open(theirs, "w") as stream:
        assert ready(stream)
        termios.tcflow(theirs, termios.TCOOFF)
        assert not ready(stream)
        termios.tcflow(theirs, termios.TCOON)
        assert ready(stream)
