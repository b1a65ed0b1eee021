"""Proves that a command uses a private index without ever seeing the token that the proxy adds."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from hermit_proxy.run.events import Outcome
from tests.integration.wire.conftest import MakeHermit
from tests.support.hermit import explain
from tests.support.index import PackageIndex
from tests.support.origin import Origin
from tests.support.wheels import make_wheel

HOST = "private.example.org"
TOKEN = "pypi-a-token-of-this-test"


def test_pip_installs_from_a_private_index_and_the_token_is_nowhere(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    PackageIndex(tls, token=TOKEN).add(make_wheel("foo"))
    authority = tls.authority(HOST)
    rules = f'rules:\n  - pattern: "{authority}/.*"\n    action: ALLOW\n'
    user = make_hermit(names=[HOST], rules=rules)
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    binding = {
        "host": f"https://{authority}",
        "path": "/",
        "as": "basic",
        "user": "__token__",
        "secret_file": str(secret),
    }
    credentials = user.settings.parent / "credentials.yaml"
    credentials.write_text(yaml.safe_dump({"credentials": {"index": binding}}))
    credentials.chmod(0o600)
    pip = f"{sys.executable} -m pip -q --disable-pip-version-check download --no-input"
    download = f"{pip} --index-url {tls.url(HOST, '/simple')} -d d foo; env > environment"
    without = user.record(download, expect=1)
    assert 401 in {event.status for event in without.events}, explain(without)
    user.allow_only(f"{rules}    credential: index\n")
    runs = [user.record(download), user.hermetic(download)]
    for run in runs:
        assert (run.work / "d/foo-1.0-py3-none-any.whl").exists()
    assert {event.outcome for event in runs[1].events} == {Outcome.REPLAYED}
    assert user.holds(TOKEN) == []
    assert all(asked.headers["authorization"].startswith("Basic ") for asked in tls.asked[-2:])
