"""Copies answers into the store while they pass, and makes of each whole one an entry that was observed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from hermit_proxy.policy import Fetch, Replay
from hermit_proxy.recorder import capture
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.flights import answers
from hermit_proxy.recorder.ranges import window_of
from hermit_proxy.recorder.shared import Shared
from hermit_proxy.recorder.sink import Sink
from hermit_proxy.recorder.tee import Tee, Window, store_problem
from hermit_proxy.request.key import Request
from hermit_proxy.run.events import Outcome
from hermit_proxy.snapshot.check import problems, recordable
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.body import Body, StoreError

_SINK, _TEE, _HEADERS, _STATUS = "hermit-sink", "hermit-tee", "hermit-headers", "hermit-status"


class Record:
    """Runs after everything that may refuse a head."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Have the body pass through a tee, whatever becomes of it."""
        exchange, response = self._shared.open_exchange(flow), flow.response
        if exchange is None or response is None or exchange.route is None:
            return
        size = expected_http_body_size(flow.request, response)
        fetch = exchange.fetch
        sink = window = None
        if fetch is not None:
            headers = capture.joined(response.headers.fields)
            flow.metadata.update({_HEADERS: headers, _STATUS: response.status_code})
            self._judge(exchange, fetch, headers, size)
            if exchange.problem is not None:
                return
            sink = self._sink(exchange, fetch, response.status_code, headers)
            window = self._window(exchange, response, size)
        if size == 0:
            flow.metadata[_SINK] = sink
            return
        connection = self._shared.connections[flow.client_conn.id]
        tee = Tee(
            exchange,
            delivered=connection.delivered,
            stop=lambda: connection.hang_up(flow.server_conn),
            sink=sink,
            scanner=self._shared.bindings.scanner() if fetch and self._shared.bindings else None,
            window=window,
            max_size=fetch.rule.max_size if fetch else None,
        )
        flow.metadata.update({_SINK: sink, _TEE: tee})
        response.stream = tee

    async def response(self, flow: http.HTTPFlow) -> None:
        """Make the entry of what has come whole."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.route is None or flow.response is None:
            return
        exchange.settling = True
        if exchange.route.internal:
            exchange.outcome = Outcome.REPLAYED if exchange.decision is not None else Outcome.PASSED
            status = flow.response.status_code
            if status >= 500:  # noqa: PLR2004  the engine could not
                self._name_trouble(exchange)
            elif status >= 400 and exchange.decision is None:  # noqa: PLR2004  a forged upload, say
                exchange.outcome, exchange.refusal = Outcome.REFUSED, f"{exchange.url} was answered with {status}"
            return
        fetch = exchange.fetch
        tee = flow.metadata.get(_TEE)
        if fetch is None or (tee is not None and not tee.ended):
            exchange.fail("the answer ended too early")
        elif exchange.broken_off and exchange.until_close:
            exchange.fail("the connection to the server broke")
        else:
            await self._finish(flow, exchange, fetch)

    def _name_trouble(self, exchange: Exchange) -> None:
        decision = exchange.decision
        trouble = self._shared.engine.trouble_with(decision.entry) if isinstance(decision, Replay) else None
        if trouble is None:
            exchange.fail("the store could not give the answer", hint="hermit store verify")
        else:
            exchange.fail(str(trouble), hint=trouble.hint, broken=True)

    def _judge(self, exchange: Exchange, fetch: Fetch, headers: dict[str, str], size: int | None) -> None:
        rule = fetch.rule
        announced = size or 0
        if rule.max_size is not None and announced > rule.max_size:
            exchange.refuse(f"the answer has {announced} bytes, more than the rule's max_size of {rule.max_size}")
        published = headers.get("last-modified")
        if rule.min_age is not None and published is not None:
            with contextlib.suppress(ValueError, OverflowError):
                age = time.time() - parsedate_to_datetime(published).timestamp()
                if age < rule.min_age:
                    exchange.refuse(f"it was published {max(age, 0) / 86400:.1f} days ago, and the rule has a min_age")

    def _sink(self, exchange: Exchange, fetch: Fetch, status: int, headers: dict[str, str]) -> Sink | None:
        stored = fetch.keep and recordable(status) and not capture.is_negative(status)
        token = capture.may_be_token(status, headers.get("content-type"))
        if exchange.method == "HEAD" or not (stored or token):
            return None
        sink = Sink(self._shared.session.store.writer, self._shared.pool, keep=stored)
        exchange.cleanups.append(sink.drop)
        exchange.room = sink.room
        return sink

    @staticmethod
    def _window(exchange: Exchange, response: http.Response, size: int | None) -> Window | None:
        """Serve the part that was asked for while the whole passes (WIRE row 7)."""
        asked = exchange.request.headers if exchange.request else {}
        if exchange.method != "GET" or response.status_code != 200 or not size or size < 0 or "if-range" in asked:  # noqa: PLR2004  OK
            return None
        window = window_of(asked.get("range"), size)
        if window is not None:
            response.status_code, response.reason = 206, "Partial Content"
            response.headers["content-range"] = f"bytes {window.start}-{window.end - 1}/{size}"
            response.headers["content-length"] = str(window.end - window.start)
        return window

    async def _finish(self, flow: http.HTTPFlow, exchange: Exchange, fetch: Fetch) -> None:
        request, sink, headers = exchange.request, flow.metadata.get(_SINK), flow.metadata.get(_HEADERS)
        # As the server said it: a 206 of ours is a part of the whole that was stored, one of the server's is not.
        status: int = flow.metadata.get(_STATUS, 0)
        if request is None or headers is None:
            raise RuntimeError("an answer that was not looked at")
        token = (
            sink is not None
            and capture.may_be_token(status, headers.get("content-type"))
            and capture.is_token(sink.gathered)
        )
        if token:
            entry = capture.token_entry(request, fetch.key_url, headers)
            await self._keep(exchange, lambda _body: entry, None, recorded=fetch.keep)
        elif not fetch.keep:
            exchange.outcome = Outcome.PASSED
        elif not recordable(status):
            exchange.outcome = Outcome.PASSED
            exchange.remark(f"answers with {status} are not recorded")
        else:
            make = partial(_entry, request, fetch.key_url, status, headers)
            await self._keep(exchange, make, sink, recorded=True)

    async def _keep(
        self, exchange: Exchange, make: Callable[[Body | None], Entry], sink: Sink | None, *, recorded: bool
    ) -> None:
        """Store the body and vouch for the entry: it counts only because this process saw the answer."""
        vouch = partial(_thd_vouch, make, self._shared.observe)
        try:
            if sink is not None:
                entry, found = await sink.commit(vouch)
            else:
                entry, found = await asyncio.get_running_loop().run_in_executor(self._shared.pool, vouch, None)
        except StoreError as error:
            exchange.fail(store_problem(error), hint=error.hint)
            self._shared.alarm(error)
            return
        if found:
            exchange.fail(f"it cannot be recorded: {'; '.join(found)}")
            return
        exchange.sha256 = entry.sha256
        if answers(entry):
            self._shared.session.remember(entry)
        exchange.entry, exchange.entry_id = entry, entry.id
        exchange.outcome = Outcome.RECORDED if recorded or entry.stand_in else Outcome.PASSED


def _entry(request: Request, key_url: str, status: int, headers: dict[str, str], body: Body | None) -> Entry:
    sha256, size = body if body is not None else (None, None)
    return capture.entry_for(request, key_url, status, headers, sha256=sha256, size=size)


def _thd_vouch(
    make: Callable[[Body | None], Entry], observe: Callable[[Entry], None], body: Body | None
) -> tuple[Entry, list[str]]:
    """Give the entry and what is wrong with it; it is observed where nothing is."""
    entry = make(body)
    found = problems(entry)
    if not found:
        observe(entry)
    return entry, found
