"""Proves what cargo needs of a replay: rows 8, 14 and 15."""

from __future__ import annotations

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.clients import need
from tests.support.crates import CRATE, publish_crate
from tests.support.hermit import explain
from tests.support.origin import Origin
from tests.support.rows import row

HOST = "crates.example.org"


def _project(dependency: str) -> str:
    manifest = f'[package]\\nname = "p"\\nversion = "0.1.0"\\nedition = "2021"\\n[dependencies]\\n{dependency}\\n'
    return f"mkdir -p src; : > src/lib.rs; printf '{manifest}' > Cargo.toml"


@pytest.mark.registry
@row(8, 14, 15, client="cargo")
def test_a_crate_of_the_real_registry_replays_over_http_1(make_hermit: MakeHermit) -> None:
    need("cargo")
    registry = registries.cargo_registry()
    user = make_hermit(allow=registry.allow, rules=registry.rules)
    project = _project('itoa = "=1.0.11"')
    # The second look is a conditional one: the index's ETag comes from cargo's cache.
    user.record(f"{project}; cargo fetch -q; rm Cargo.lock; cargo update -q")
    replayed = user.hermetic(
        f"{project}; CARGO_HTTP_DEBUG=true CARGO_LOG=network=debug cargo fetch 2>log; cat Cargo.lock"
    )
    assert 'name = "itoa"' in replayed.out
    log = (replayed.work / "log").read_text()
    assert "HTTP/1.1 200" in log, log[-2000:]
    assert "HTTP/2 200" not in log


@row(8, 14, client="cargo")
def test_a_sparse_index_over_plain_http_replays_warm_and_cold(plain: Origin, make_hermit: MakeHermit) -> None:
    need("cargo")
    index = publish_crate(plain, HOST)
    user = make_hermit(names=[HOST])
    project = _project(f'{CRATE} = {{ version = "1", registry = "own" }}')
    env = {"CARGO_REGISTRIES_OWN_INDEX": index}
    twice = f"{project}; cargo fetch -q; rm Cargo.lock; cargo update -q; cargo fetch -q; grep checksum Cargo.lock"
    recorded = user.record(twice, env=env)
    asked = [dict(asked.headers) for asked in plain.asked]
    assert asked
    assert not [headers for headers in asked if {"upgrade", "if-none-match", "http2-settings"} & set(headers)]
    assert 304 in {event.status for event in recorded.events}, explain(recorded)
    warm, cold = (
        user.hermetic(twice, env=env),
        user.hermetic(f"{project}; cargo fetch -q; grep checksum Cargo.lock", env=env),
    )
    assert recorded.out == warm.out == cold.out
    assert 304 in {event.status for event in warm.events}, explain(warm)
