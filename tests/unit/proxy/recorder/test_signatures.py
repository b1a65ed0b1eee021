"""Signatures and credentials are cut from URLs, and what names a resource stays."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder.signatures import folded, redacted, secret_parameters, without_signature
from hermit_proxy.request.target import parse_url

BASE = "https://cdn.example.org/blob"


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("X-Amz-Algorithm=A&X-Amz-Credential=k&X-Amz-Expires=1&X-Amz-SignedHeaders=h&X-Amz-Signature=s", None),
        ("X-Goog-Algorithm=A&X-Goog-Credential=k&X-Goog-Signature=s&alt=media", "alt=media"),
        ("sv=2020&se=2021&sr=b&sp=r&sig=abc&rscd=attachment", "rscd=attachment"),
        ("Expires=1&Signature=s&Key-Pair-Id=K&file=a.tar.gz", "file=a.tar.gz"),
        ("token=t&version=2", "version=2"),
        ("x%2Damz-signature=s", None),
    ],
)  # fmt: skip
def test_a_signed_url_loses_its_signature(query: str, left: str | None) -> None:
    cut = without_signature(parse_url(f"{BASE}?{query}"))
    assert cut is not None
    assert cut.url == (BASE if left is None else f"{BASE}?{left}")


@pytest.mark.parametrize("query", ["", "?expires=never&policy=a", "?sp=1", "?page=2&tokens=3", "?token=", "?q=token"])
def test_a_url_without_signature_is_left_alone(query: str) -> None:
    assert without_signature(parse_url(BASE + query)) is None


def test_credentials_in_a_query_are_named() -> None:
    assert secret_parameters("a=1&access_token=x&API_KEY=y&token=") == ("access_token", "API_KEY")


def test_a_log_shows_no_credential() -> None:
    shown = redacted(f"cannot reach {BASE}?a=1&token=geheim&X-Amz-Signature=s")
    assert shown == f"cannot reach {BASE}?a=1&token=...&X-Amz-Signature=..."


@pytest.mark.parametrize(("url", "expected"), [(BASE, "?hermit-fold=1"), (f"{BASE}?a=1", "?a=1&hermit-fold=1")])
def test_a_folded_redirect_comes_back_to_its_own_url(url: str, expected: str) -> None:
    assert folded(parse_url(url)).url == BASE + expected
