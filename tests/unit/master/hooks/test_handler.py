"""The shell around the hooks: whose repository an address names, and whose headers are looked at.

What a real master makes of deliveries is in tests/integration/master/test_hooks.py.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import pytest
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from hermit_master.hooks.delivery import MAX_BODY
from hermit_master.hooks.handler import Dialect, SignedHook, _delivery, _repository, dialects
from hermit_master.settings.configuration import Configuration
from hermit_master.settings.master import Settings
from hermit_proxy.settings import Settings as Machine
from tests.support.deliveries import REPOSITORY

CONFIGURATION = Configuration(
    Settings(Path("hermit.yaml"), "https://ci.example.org/", Path("repositories"), Machine()),
    MappingProxyType({REPOSITORY.id: REPOSITORY}),
)


def dialect(name: str) -> Dialect:
    options = dialects(lambda: CONFIGURATION)[name]
    assert options["custom_class"] is SignedHook
    found = options["dialect"]
    assert isinstance(found, Dialect)
    return found


def request(uri: bytes, body: bytes = b"", **headers: bytes) -> Request:
    made = Request(DummyChannel(), False)  # type: ignore[no-untyped-call]  # Twisted's helper for tests has no types
    made.uri, made.content = uri, BytesIO(body)
    for name, value in headers.items():
        made.requestHeaders.addRawHeader(name.replace("_", "-").encode(), value)
    return made


@pytest.mark.parametrize(
    ("forge", "uri", "found"),
    [
        ("github", b"/change_hook/github/project", True),
        ("github", b"/change_hook/github/project?a=b", True),
        ("gitea", b"/change_hook/gitea/project", False),
        ("github", b"/change_hook/github/other", False),
        ("github", b"/change_hook/github", False),
        ("github", b"/change_hook/github/", False),
        ("github", b"/change_hook/github/project/", False),
        ("github", b"/change_hook/github/%70roject", False),
        ("github", b"/change_hook/github/x/../project", False),
        ("github", b"/change_hook/github/\xff", False),
    ],
)
def test_an_address_names_a_repository_of_that_forge_or_none(forge: str, uri: bytes, found: bool) -> None:
    assert (_repository(dialect(forge), request(uri)) is REPOSITORY) == found


def test_of_a_request_only_what_counts_is_taken() -> None:
    headers = dialect("github").headers
    sent = {"Content_Type": b"a/b", "X_GitHub_Event": b"push", "X_Hub_Signature": b"c", "Cookie": b"d"}
    found = _delivery(request(b"/", b"x" * (MAX_BODY + 9), **sent), headers)
    assert found.headers == {"content-type": "a/b", "x-github-event": "push", "x-hub-signature": "c"}
    assert len(found.body) == MAX_BODY + 1
