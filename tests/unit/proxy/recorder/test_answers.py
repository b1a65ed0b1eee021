"""The proxy's own answers are whole, of a fixed form, and tell a refusal from a failure."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder.answers import plain_answer, response
from hermit_proxy.recorder.exchange import Problem
from hermit_proxy.run.events import Outcome

REFUSED = Problem(Outcome.REFUSED, 403, "no rule admits it", "a rule", True, "GET", "https://example.org/")
FAILED = Problem(Outcome.FAILED, 502, "it broke", None, False, "GET", "https://example.org/")


@pytest.mark.parametrize(
    ("problem", "line", "mark"),
    [
        (REFUSED, b"HTTP/1.1 403 Forbidden", b"x-hermit: refused"),
        (FAILED, b"HTTP/1.1 502 Bad Gateway", b"x-hermit: failed"),
        (Problem(Outcome.FAILED, 599, "odd"), b"HTTP/1.1 599 Unknown", b"x-hermit: failed"),
    ],
)
def test_a_plain_answer_is_framed_marked_and_closes(problem: Problem, line: bytes, mark: bytes) -> None:
    head, _, body = plain_answer(problem).partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert first == line
    assert {mark, b"connection: close", b"content-length: %d" % len(body)} <= set(headers)
    assert problem.reason.encode() in body


def test_the_answer_of_a_flow_says_the_same_and_keeps_the_connection() -> None:
    made = response(REFUSED)
    assert made.content == plain_answer(REFUSED).partition(b"\r\n\r\n")[2]
    assert (made.status_code, made.headers["x-hermit"]) == (403, "refused")
    assert made.headers["content-length"] == str(len(made.content))
    assert "connection" not in made.headers
