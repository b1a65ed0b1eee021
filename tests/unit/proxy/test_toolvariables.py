"""Holds the names that a spec may not set."""

from __future__ import annotations

import pytest

from hermit_proxy.toolvariables import INSTEAD, RESERVED, is_reserved


@pytest.mark.parametrize(
    "name",
    [
        *("http_proxy", "HTTPS_PROXY", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "APT_CONFIG"),
        *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_17", "COMMIT", "SECRET_PATH", "HOME"),
    ],
)
def test_these_are_hermits(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["PATH", "TZ", "LC_ALL", "CC", "PYTHONHASHSEED", "MAVEN_OPTS", "GIT_AUTHOR_NAME"])
def test_these_are_the_projects(name: str) -> None:
    assert not is_reserved(name)


def test_a_replacement_is_told_for_names_that_are_refused_only() -> None:
    assert INSTEAD.keys() <= RESERVED
