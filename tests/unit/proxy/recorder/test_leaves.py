"""Each host has one context, kept while it is in use, whose key never gets to a disk."""

from __future__ import annotations

import os

import pytest

from hermit_proxy.recorder import leaves
from hermit_proxy.recorder.leaves import LeafContexts
from hermit_proxy.run.ca import RunCA


def test_a_host_is_given_the_same_context_again_and_another_host_another() -> None:
    made = LeafContexts(RunCA.create())
    assert made("example.org") is made("example.org")
    assert made("example.org") is not made("example.net")


def test_the_oldest_goes_and_what_was_asked_for_again_is_not_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_MAX_CONTEXTS", 2)
    made = LeafContexts(RunCA.create())
    first, second = made("a.example.org"), made("b.example.org")
    assert made("a.example.org") is first
    made("c.example.org")
    assert made("a.example.org") is first
    assert made("b.example.org") is not second


def test_nothing_stays_open_where_a_leaf_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = RunCA.create()
    monkeypatch.setattr(authority, "leaf", lambda _host: b"no certificate")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="PEM"):
        LeafContexts(authority)("example.org")
    assert len(os.listdir("/proc/self/fd")) == len(before)
