"""Deliveries: what no secret has signed is not read, and every refusal has its reason."""

from __future__ import annotations

import hashlib
import hmac
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_master.hooks import delivery as module
from hermit_master.hooks import jsontext
from hermit_master.hooks.delivery import GITEA, GITHUB, MAX_BODY, Delivery, Headers, RefusedDeliveryError, open_delivery
from tests.support.deliveries import DELIVERY, SECRET, encoded, push, signed


def refusal(delivery: Delivery, names: Headers = GITHUB, secret: bytes | None = SECRET) -> str:
    with pytest.raises(RefusedDeliveryError) as caught:
        open_delivery(names, delivery, secret)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("names", [GITHUB, GITEA])
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_what_is_signed_is_opened(names: Headers, kind: str) -> None:
    found = open_delivery(names, signed(encoded(push()), "push", names=names, content_type=kind), SECRET)
    assert (found.event, found.delivery, found.payload) == ("push", DELIVERY, push())


def test_the_signature_is_that_which_github_documents() -> None:
    """The example of GitHub's page "Validating webhook deliveries"."""
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    delivery = signed(b"Hello, World!", "push", x_hub_signature_256=f"sha256={digest}")
    assert "not JSON" in refusal(delivery, secret=b"It's a Secret to Everybody")


def sha1(body: bytes) -> str:
    return f"sha1={hmac.new(SECRET, body, hashlib.sha1).hexdigest()}"


BODY = encoded(push())
GOOD = signed(BODY, "push").headers["x-hub-signature-256"]


@pytest.mark.parametrize(
    "signature",
    [
        "sha256=" + "0" * 64,
        "sha256=" + GOOD.removeprefix("sha256=").upper(),
        GOOD.removeprefix("sha256="),
        GOOD[:-1],
        GOOD + "0",
        GOOD + " ",
        " " + GOOD,
        f"{GOOD},{GOOD}",
        "sha1=" + GOOD.removeprefix("sha256="),
        sha1(BODY),
        "sha256=",
        "=",
        "sha256=" + "é" * 64,
        signed(BODY, "push", secret=b"another-secret-here").headers["x-hub-signature-256"],
        signed(BODY + b" ", "push").headers["x-hub-signature-256"],
    ],
)
def test_a_wrong_signature_is_refused(signature: str) -> None:
    assert "not that of a repository" in refusal(signed(BODY, "push", x_hub_signature_256=signature))


def test_sha_1_alone_is_no_signature() -> None:
    delivery = signed(BODY, "push", x_hub_signature=sha1(BODY))
    headers = {name: value for name, value in delivery.headers.items() if name != "x-hub-signature-256"}
    assert "SHA-1, which is not taken" in refusal(Delivery(headers, BODY))
    del headers["x-hub-signature"]
    assert "no signature" in refusal(Delivery(headers, BODY))


def test_a_repository_that_there_is_not_is_answered_as_a_wrong_signature_is() -> None:
    wrong = signed(BODY, "push", secret=b"another-secret-here")
    assert refusal(signed(BODY, "push"), secret=None) == refusal(wrong)
    empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    assert "not that of" in refusal(signed(BODY, "push", x_hub_signature_256=f"sha256={empty}"), secret=None)


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(module, "hmac", SimpleNamespace(new=hmac.new, compare_digest=compare))
    for secret in (SECRET, b"another-secret-here", None):
        delivery = signed(BODY, "push")
        if secret == SECRET:
            open_delivery(GITHUB, delivery, secret)
        else:
            refusal(delivery, secret=secret)
    assert len(compared) == 3
    assert all(len(one) == len(other) == 64 for one, other in compared)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json, text/html",
        "application/json; charset=utf-16",
        "application/jsonx",
        "multipart/form-data; boundary=x",
    ],
)
def test_other_content_types_are_refused(kind: str) -> None:
    assert "application/json" in refusal(signed(BODY, "push", content_type=kind))


def test_a_body_that_is_too_large_is_not_even_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = signed(b" " * (MAX_BODY + 1), "push")
    monkeypatch.setattr(module, "hmac", None)
    assert "more than" in refusal(delivery)


def test_nothing_is_parsed_that_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsontext, "json", None)
    monkeypatch.setattr(jsontext, "_TOKEN", None)
    assert "not that of" in refusal(signed(b"[" * 100_000, "push", secret=b"another-secret-here"))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-github-event": ""}, "no event"),
        ({"x-github-event": "push\n"}, "no event"),
        ({"x-github-event": "__class__.x"}, "no event"),
        ({"x-github-delivery": ""}, "no delivery"),
        ({"x-github-delivery": "../../x"}, "no delivery"),
        ({"x-github-delivery": "a" * 65}, "no delivery"),
    ],
)
def test_a_delivery_has_an_event_and_a_name(headers: dict[str, str], told: str) -> None:
    assert told in refusal(Delivery({**signed(BODY, "push").headers, **headers}, BODY))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a": 1, "a": 2}'])
def test_what_is_signed_and_still_no_payload_is_refused(body: bytes) -> None:
    assert "body" in refusal(signed(body, "push"))


@given(
    st.dictionaries(
        st.sampled_from(["content-type", "x-github-event", "x-github-delivery", "x-hub-signature-256"]), st.text()
    ),
    st.binary(max_size=50),
)
def test_whatever_comes_unsigned_is_refused(headers: dict[str, str], body: bytes) -> None:
    refusal(Delivery({**signed(BODY, "push").headers, **headers}, body))
