"""Tries each fuzz target for a moment, shows that the oracles see planted faults, and fuzzes in earnest when asked."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermit_master.hooks import delivery, payload
from hermit_master.mode import Cause, Facts, Kind
from hermit_proxy.errors import InputError, Mistake
from hermit_proxy.recorder import head, strict_http
from hermit_proxy.recorder.tee import Window
from hermit_proxy.replayer import body
from hermit_proxy.request import target
from hermit_proxy.rules import host as hostpattern
from hermit_proxy.run import control
from hermit_proxy.run.events import RequestEvent
from hermit_proxy.snapshot import check, handwritten
from hermit_steps import fields, grammar, stepreader
from hermit_steps.spec import Step
from hermit_workers.sandbox.artifacts import matching
from tests.fuzz import answers, case, files, hooks, messages, names, patterns, run
from tests.fuzz.targets import CASES

_INPUTS = 250
_SECONDS = 20


def tried(name: str, inputs: int, seed: int = 0) -> int:
    """Try the seeds and mutations of them; give the number of those that were accepted."""
    found, rng = CASES[name], random.Random(seed)  # noqa: S311  the same ones each time
    data = [*found.seeds, *(case.mutated(found, rng.choice(found.seeds), rng) for _ in range(inputs))]
    return sum(found.check(octets) for octets in data)


def test_the_command_knows_every_target() -> None:
    assert set(run.TARGETS) == set(CASES)


@pytest.mark.parametrize("name", run.TARGETS)
def test_nothing_is_found_in_a_moment(name: str) -> None:
    accepted = tried(name, _INPUTS)
    # Of a grammar that refuses everything, or nothing, there is nothing to learn.
    assert 10 < accepted < _INPUTS + len(CASES[name].seeds)


def _raise(*_: Any) -> None:
    raise LookupError("planted")


def _other_window(*_: Any) -> Window:
    return Window(1, 2)


def _forgetful(text: bytes, path: Path) -> list[Any]:
    raise InputError([Mistake(path, None, f"planted, {len(text)}")])


# What is broken for a test, and the target that has to see it.
_FAULTS: list[tuple[str, Any, str, Callable[..., Any]]] = [
    ("snapshot", handwritten, "parse", _forgetful),
    ("snapshot", check, "_pairs_problems", lambda *_: []),
    ("yaml", files.yamlfile._Composer, "_mistake", lambda *_: None),
    ("rules", files.Rules, "match", lambda rules, *_: rules.rules[-1] if rules.rules else None),
    ("old-snapshot", handwritten, "load", lambda *_: _forgetful(b"\x1b", Path("\x1b"))),
    ("entry-url", check, "file_name_of", lambda _url: "a.yaml"),
    ("target", target, "_climbs", lambda _path: False),
    ("pattern", hostpattern.HostPattern, "matches", lambda *_: True),
    ("proposed-rule", patterns.refusal, "rule_for", lambda *_: "- {pattern: '.*/.*', action: ALLOW}"),
    ("key", names, "vary_of", lambda *_: (("accept", "planted"),)),
    ("event", RequestEvent, "to_json", lambda _event: '{"time":NaN}'),
    ("control", control, "pack", lambda _message: b"x" * (control.MAX_PACKET + 1)),
    ("control", control, "_step", lambda _message: _raise()),
    ("body", messages, "body_digest", lambda *_, **__: "0"),
    ("git", messages.gitbody, "normalise_request", lambda raw: raw + b"0000"),
    ("head", head, "_check_framing", lambda *_, **__: None),
    ("answer", answers, "window_of", _other_window),
    ("capture", answers, "redacted", lambda text: text + "x"),
    ("replayer", head, "_check_framing", lambda *_, **__: None),
    ("replayer", body.ChunkedReader, "_behind_chunk", lambda *_: _raise()),
    ("recorder", strict_http, "read_head", lambda *_: head.Head("GET", None)),
    ("artifacts", matching.Matcher, "_closed", lambda _matcher, places: frozenset(places)),
    ("artifacts", matching.Matcher, "plain", lambda *_: {"planted"}),
    ("artifacts", matching.Name, "matches", lambda *_: True),
    ("spec", grammar, "check_package", lambda _text: None),
    ("spec", fields, "is_reserved", lambda _name: False),
    ("spec", stepreader, "Step", lambda name, action, _network, *rest: Step(name, action, "proxy", *rest)),
    ("hook", delivery, "_check_signature", lambda *_: None),
    ("hook", payload, "_link", lambda _text: "javascript:planted"),
    ("hook", payload, "parse_branch", lambda text: text),
    ("hook", hooks, "facts_of", lambda *_, **__: Facts(Kind.BRANCH, Cause.HOOK)),
]


@pytest.mark.parametrize(("name", "where", "part", "fault"), _FAULTS, ids=[f"{f[0]}-{f[2]}" for f in _FAULTS])
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, where: Any, part: str, fault: Callable[..., Any]
) -> None:
    target._parse_cached.cache_clear()
    check._vary_problems.cache_clear()
    monkeypatch.setattr(where, part, fault)
    with pytest.raises((AssertionError, LookupError, TypeError, ValueError)):
        tried(name, 4 * _INPUTS, seed=1)
    target._parse_cached.cache_clear()
    check._vary_problems.cache_clear()


def test_how_a_stream_is_cut_loses_nothing() -> None:
    stream = bytes(range(256)) * 5
    for how in range(256):
        assert b"".join(case.pieces(stream, how)) == stream
    assert len(case.pieces(stream, 1)) == len(stream)


def test_rows_go_into_the_documents_table_and_nowhere_else() -> None:
    runs = [run.Run("body", 1, 0, 1, 1, "Traceback"), run.Run("head", 1000, 20, 3, 4, None)]
    empty = "before\n<!-- measured -->\n<!-- /measured -->\nafter\n"
    first = run.written(empty, runs)
    lines = list(run.table(runs))
    assert lines[-1] == "| all | 1,001 | 20 | 5 | 4 | 1 |"
    assert first == "\n".join(["before", "<!-- measured -->", *lines, "<!-- /measured -->", "after", ""])
    again = run.Run("body", 7, 2, 2, 3, None)
    assert run.written(first, [again]) == run.written(empty, [again, runs[1]])
    assert run._TABLE.search(run.DOCUMENT.read_text()) is not None


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (script/test --all)")
@pytest.mark.parametrize("name", run.TARGETS)
def test_nothing_is_found_by_coverage(tmp_path: Path, name: str) -> None:
    done = run.fuzz(name, tmp_path, seconds=_SECONDS, inputs=None)
    assert done.finding is None, done.finding
    assert done.inputs > 500
    assert done.accepted > 10


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (script/test --all)")
def test_the_command_tries_what_it_is_told_to() -> None:
    command = [sys.executable, run.__file__, "--seconds", "60", "--inputs", "2000", "entry-url"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "| `entry-url` | 2,000 |" in done.stdout
