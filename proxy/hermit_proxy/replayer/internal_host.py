"""Is `hermit.internal`: what a cell may ask of Hermit itself (certificate, uploads), over its link alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from http import HTTPStatus

from hermit_proxy.errors import HermitError
from hermit_proxy.replayer.answer import Answer, text
from hermit_proxy.replayer.sinks import TOO_LARGE, Budget, Sink, UploadSink
from hermit_proxy.replayer.site import Incoming, Reply
from hermit_proxy.run import refusal
from hermit_proxy.store.body import DigestMismatchError, Store, StoreFullError

_UPLOAD = re.compile(r"/upload/sha256/([0-9a-f]{64})")
_READ_METHODS = frozenset({"GET", "HEAD"})

# Gets the request, the status, the bytes sent, and why where the answer was no.
Log = Callable[[Incoming, int, int, str | None], None]


class InternalHost:
    """Answers requests whose path is that of a resource here, however they came.

    GET `/ca.pem` and `/health`; PUT `/upload/sha256/<hex>` stores a body if that is its digest: 201, or 422 and
    nothing is kept. All uploads of a run share one limit (413).
    """

    def __init__(self, ca_pem: bytes, store: Store, executor: Executor, *, upload_limit: int, log: Log) -> None:
        """Take the certificate, where uploads go, the limit in bytes for all of them, and who writes the log."""
        self._pages = {
            "/ca.pem": (ca_pem, "application/x-pem-file"),
            "/health": (b'{"status":"ok"}\n', "application/json"),
        }
        self._store = store
        self._executor = executor
        self._log = log
        self._budget = Budget(
            upload_limit, status=TOO_LARGE, reason="more than is left for uploads (the setting `upload_limit`)"
        )

    def sink(self, incoming: Incoming) -> Sink | Reply:
        """Take a body for an upload that may be; answer everything else before its body comes."""
        if incoming.method != "PUT" or not _UPLOAD.fullmatch(incoming.target.path):
            return self._no(incoming, HTTPStatus.NOT_FOUND, "nothing here takes a body")
        if (incoming.length or 0) > self._budget.free:
            return self._no(incoming, TOO_LARGE, "more than is left for uploads (the setting `upload_limit`)")
        return UploadSink(self._store.writer(), self._budget)

    def respond(self, incoming: Incoming, sink: Sink | None) -> Reply | Awaitable[Reply]:
        """Answer."""
        upload = _UPLOAD.fullmatch(incoming.target.path)
        if upload is not None:
            if incoming.method != "PUT":
                return self._no(incoming, HTTPStatus.METHOD_NOT_ALLOWED, "an upload is a PUT")
            into = sink if isinstance(sink, UploadSink) else UploadSink(self._store.writer(), self._budget)
            return self._store_upload(incoming, into, upload[1])
        page = self._pages.get(incoming.target.path)
        if page is None:
            return self._no(incoming, HTTPStatus.NOT_FOUND, "there is no such thing here")
        if incoming.method not in _READ_METHODS:
            return self._no(incoming, HTTPStatus.METHOD_NOT_ALLOWED, "it can only be read")
        return self._reply(incoming, text(HTTPStatus.OK, page[0], incoming.method, content_type=page[1]), None)

    async def _store_upload(self, incoming: Incoming, sink: UploadSink, digest: str) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, sink.commit, digest)
        except DigestMismatchError as error:
            return self._no(incoming, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except StoreFullError as error:
            return self._no(incoming, HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except HermitError as error:
            return self._no(incoming, HTTPStatus.BAD_GATEWAY, str(error))
        finally:
            sink.close()
        return self._reply(incoming, text(HTTPStatus.CREATED, digest.encode() + b"\n", "PUT"), None)

    def _no(self, incoming: Incoming, status: int, reason: str) -> Reply:
        words = refusal.body(incoming.method, incoming.target.url, reason)
        return self._reply(incoming, text(status, words, incoming.method, refusal.HEADERS), reason)

    def _reply(self, incoming: Incoming, answer: Answer, reason: str | None) -> Reply:
        def _done(sent: int, why: str | None) -> None:
            self._log(incoming, answer.status, sent, reason or why)

        return Reply(answer, answer.inline, _done)
