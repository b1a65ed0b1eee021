"""Gives the recorder's own answers, refusals and failures, their form on the wire."""

from __future__ import annotations

from http import HTTPStatus

from mitmproxy import http

from hermit_proxy.recorder.exchange import Problem
from hermit_proxy.run import refusal
from hermit_proxy.run.events import Outcome


def plain_answer(problem: Problem) -> bytes:
    """Give a whole answer, which ends the connection."""
    body, headers = _parts(problem)
    headers.append((b"connection", b"close"))
    head = b"HTTP/1.1 %d %s\r\n" % (problem.status, _phrase(problem.status).encode())
    return head + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body


def response(problem: Problem) -> http.Response:
    """Give the same for a flow whose connection is good for more."""
    body, headers = _parts(problem)
    return http.Response.make(problem.status, body, http.Headers(headers))


def _parts(problem: Problem) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    failed = problem.outcome is Outcome.FAILED
    text = (refusal.failure_body if failed else refusal.body)(problem.method, problem.url, problem.reason, problem.hint)
    headers = refusal.FAILED_HEADERS if failed else refusal.HEADERS
    return text, [
        *((name.encode(), value.encode()) for name, value in headers),
        (b"content-length", b"%d" % len(text)),
    ]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
