"""Proves what npm and Node need of a replay: rows 10 to 13."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome
from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.clients import need
from tests.support.hermit import Hermit, explain
from tests.support.npmregistry import FULL_TYPE, SHORT_TYPE, publish_package
from tests.support.origin import Origin
from tests.support.rows import row

HOST = "node.example.org"
INSTALL = "npm init -y >/dev/null; npm install --ignore-scripts is-number@7.0.0"


@pytest.fixture
def npm(make_hermit: MakeHermit) -> Hermit:
    """Give a user whose own settings of npm say nothing of audits: hermit's have to."""
    need("npm")
    registry = registries.npm_registry()
    return make_hermit(allow=registry.allow, rules=registry.rules)


def _env(user: Hermit) -> dict[str, str]:
    config = user.folder / "npmrc"
    config.write_text("update-notifier=false\n")
    return {"npm_config_registry": registries.npm_registry().url, "npm_config_userconfig": str(config)}


@row(10, client="npm")
@row(10, client="old npm")
def test_the_short_and_the_full_document_of_a_package_are_both_recorded(
    tls: Origin, make_hermit: MakeHermit, old_npm: Path
) -> None:
    registry = publish_package(tls, HOST, "tiny")
    user = make_hermit(names=[HOST])
    env = {"npm_config_registry": registry}
    # A new npm wants the full document for everything, an old one for `view` only.
    old = f"PATH={old_npm}:$PATH; mkdir old; cd old; npm init -y >/dev/null; npm install tiny >&2; cd .."
    view = "npm view tiny homepage"
    recorded = user.record(f"{view}; {old}", env=env)
    documents = {entry.header("content-type") for entry in user.entries() if entry.url == f"{registry}tiny"}
    assert documents == {SHORT_TYPE, FULL_TYPE}
    replayed = user.hermetic(f"{old}; {view}", env=env)
    assert recorded.out == replayed.out == "https://example.org/\n"
    assert (replayed.work / "old/node_modules/tiny/package.json").exists()


@pytest.mark.registry
@row(11, client="npm")
def test_an_install_posts_no_audit_and_survives_where_one_is_refused(npm: Hermit) -> None:
    recorded = npm.record(INSTALL, env=_env(npm))
    assert recorded.urls()
    assert not recorded.urls("POST"), explain(recorded)
    host = registries.npm_registry().hosts[0]
    refusal = f'rules:\n  - pattern: "{host}/-/npm/v1/security/.*"\n    action: REJECT\n'
    npm.allow_only(refusal + registries.npm_registry().rules.removeprefix("rules:\n"))
    audited = f"{INSTALL} --audit"
    for run in (npm.record(audited, env=_env(npm)), npm.hermetic(audited, env=_env(npm))):
        refused = run.of(Outcome.REFUSED)
        assert refused, "npm has sent no audit, so this test shows nothing"
        assert {event.method for event in refused} == {"POST"}
        assert (run.work / "node_modules/is-number/index.js").exists()


@pytest.mark.registry
@row(12, client="npm")
def test_a_clean_install_replays_what_an_install_has_recorded(npm: Hermit) -> None:
    recorded = npm.record(INSTALL, env=_env(npm))
    lock = json.loads((recorded.work / "package-lock.json").read_text())
    resolved = lock["packages"]["node_modules/is-number"].get("resolved")
    names = {name for entry in npm.entries() for name, _ in entry.vary}
    assert names <= {"accept"}, "a session or command header has become part of a key"
    # npm ci sends another npm-command, another session, and asks for the tarball alone.
    clean = f"cp {recorded.work}/package*.json .; npm ci --ignore-scripts"
    replayed = npm.hermetic(clean, env=_env(npm))
    assert (replayed.work / "node_modules/is-number/index.js").exists(), resolved


@row(13, client="new node")
def test_fetch_goes_through_the_proxy_and_trusts_it(tls: Origin, make_hermit: MakeHermit, new_node: Path) -> None:
    tls.route("/data.json", b'{"answer": 42}')
    user = make_hermit(names=[HOST])
    script = f"fetch('{tls.url(HOST, '/data.json')}').then(r => r.json()).then(d => console.log(d.answer))"
    # What the environment brings of its own must not be what helps.
    env = {"NODE_EXTRA_CA_CERTS": "", "NODE_OPTIONS": ""}
    assert user.record(new_node, "-e", script, env=env).out == "42\n"
    assert user.hermetic(new_node, "-e", script, env=env).out == "42\n"
    assert tls.count("/data.json") == 1


@pytest.mark.registry
@row(13, client="node")
@row(12, client="old npm")
def test_an_older_npm_replays_what_a_newer_one_has_recorded(npm: Hermit, old_npm: Path) -> None:
    env = {**_env(npm), "NODE_EXTRA_CA_CERTS": "", "npm_config_cafile": ""}
    npm.record(INSTALL, env=env)
    replayed = npm.hermetic(INSTALL, env={**env, "PATH": f"{old_npm}:{os.environ['PATH']}"})
    assert (replayed.work / "node_modules/is-number/index.js").exists()
