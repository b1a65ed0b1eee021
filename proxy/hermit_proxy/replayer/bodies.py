"""Brings stored bodies to answers: verified before the first byte goes out, small ones kept in memory."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from hermit_proxy.errors import HermitError
from hermit_proxy.replayer.answer import Answer, text
from hermit_proxy.replayer.site import Incoming, Reply
from hermit_proxy.run import refusal
from hermit_proxy.store.body import BodyCorruptError, Store

# What is no larger is read in one piece and kept while there is room.
SMALL = 256 * 1024
_KEPT = 32 << 20
_BAD_GATEWAY = 502

Done = Callable[[int, str | None], None]
Failed = Callable[[HermitError], None]


class Bodies:
    """Reads the bodies of one run's store beside the event loop."""

    def __init__(self, store: Store, executor: Executor) -> None:
        """Take the store, and the threads in which it is read and hashed."""
        self._store = store
        self._executor = executor
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def kept(self, sha256: str) -> bytes | None:
        """Give a body that is in memory; it was verified when it got there."""
        data = self._kept.get(sha256)
        if data is not None:
            self._kept.move_to_end(sha256)
        return data

    def reply(self, incoming: Incoming, answer: Answer, done: Done, failed: Failed) -> Reply | Awaitable[Reply]:
        """Give an answer its body; what the store cannot give becomes a 502 that names it, and `failed` hears of it."""
        if answer.sha256 is None:
            return Reply(answer, answer.inline, done)
        data = self.kept(answer.sha256)
        if data is None and answer.total <= SMALL:
            # What the page cache holds is read and hashed sooner than a thread is woken for it.
            data = self._store.read_at_once(answer.sha256, answer.total)
            if data is not None:
                self._keep(answer.sha256, data)
        if data is not None:
            return Reply(answer, cut(data, answer), done)
        return self._fetch(incoming, answer, answer.sha256, done, failed)

    async def _fetch(self, incoming: Incoming, answer: Answer, sha256: str, done: Done, failed: Failed) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            # Any store's file may be larger than the entry says: the size is compared before anything is read.
            file = await loop.run_in_executor(self._executor, self._store.open_body, sha256, answer.total)
        except HermitError as error:
            return failure(incoming, error, failed)
        if answer.total > SMALL:
            return Reply(answer, b"", done, file=file)
        with file:
            data = os.pread(file.fileno(), answer.total + 1, 0)
        if len(data) != answer.total:
            broken = BodyCorruptError(sha256, self._store.where, f"{len(data)} bytes were read, not {answer.total}")
            return failure(incoming, broken, failed)
        self._keep(sha256, data)
        return Reply(answer, cut(data, answer), done)

    def _keep(self, sha256: str, data: bytes) -> None:
        if sha256 not in self._kept:
            self._size += len(data)
        self._kept[sha256] = data
        while self._size > _KEPT:
            self._size -= len(self._kept.popitem(last=False)[1])


def failure(incoming: Incoming, error: HermitError, failed: Failed) -> Reply:
    """Answer a request that was admitted and cannot be answered."""
    words = refusal.failure_body(incoming.method, incoming.target.url, str(error), error.hint)
    answer = text(_BAD_GATEWAY, words, incoming.method, refusal.FAILED_HEADERS)
    return Reply(answer, answer.inline, lambda _sent, _why: failed(error))


def cut(data: bytes, answer: Answer) -> bytes:
    """Give the part of a whole body that an answer sends."""
    return data if answer.size == len(data) else data[answer.start : answer.stop]
