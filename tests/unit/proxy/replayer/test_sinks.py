"""Tests that what clients upload is bounded, one by one and all together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hermit_proxy.policy import Reason, Refuse
from hermit_proxy.recorder.head import BadHeadError
from hermit_proxy.replayer.sinks import Budget, MemorySink, RefusedSink, UploadSink
from hermit_proxy.store.body import DigestMismatchError
from hermit_proxy.store.files import FileStore


def piece(count: int) -> memoryview:
    return memoryview(bytes(count))


def test_a_body_in_memory_has_a_limit() -> None:
    sink = MemorySink(Budget(1000), 10)
    sink.write(piece(10))
    with pytest.raises(BadHeadError) as refused:
        sink.write(piece(1))
    assert refused.value.status == 413


def test_all_bodies_in_memory_have_a_budget_that_comes_back() -> None:
    budget = Budget(15)
    first, second = MemorySink(budget, 10), MemorySink(budget, 10)
    first.write(piece(10))
    with pytest.raises(BadHeadError) as refused:
        second.write(piece(6))
    assert refused.value.status == 503
    first.close()
    first.close()
    assert budget.free == 15
    second.write(piece(6))
    assert budget.free == 9


def test_a_refused_body_is_read_over_up_to_a_point() -> None:
    sink = RefusedSink(Refuse(Reason.NO_RULE), 10)
    sink.write(piece(10))
    with pytest.raises(BadHeadError):
        sink.write(piece(1))
    sink.close()


def test_an_upload_uses_the_budget_only_if_it_is_kept(tmp_path: Path) -> None:
    store, budget = FileStore(tmp_path / "store"), Budget(100)
    for expected, left in ((hashlib.sha256(bytes(40)).hexdigest(), 60), ("00" * 32, 60)):
        sink = UploadSink(store.writer(), budget)
        sink.write(piece(40))
        try:
            sink.commit(expected)
        except DigestMismatchError:
            assert expected == "00" * 32
        sink.close()
        sink.close()
        assert budget.free == left
    assert [body.size for body in store.bodies()] == [40]
