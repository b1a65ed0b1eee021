"""Opens what a forge delivers: signed by HMAC-SHA256 over the very octets, of bounded size and depth, or refused."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hermit_master.hooks.jsontext import BadJsonError, read_object
from hermit_master.names import BadNameError, DeliveryId, parse_delivery
from hermit_proxy.errors import HermitError

# GitHub sends up to 2,048 commits with a push, each with its files; it cuts at 25 MB.
MAX_BODY = 8 << 20
_TYPE = re.compile(r'application/json(?:; *charset="?utf-8"?)?', re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EVENT = re.compile(r"[a-z0-9_]{1,64}")


class RefusedDeliveryError(HermitError, ValueError):
    """Is raised for a delivery that is not believed, in words of ours; Buildbot answers it with status 400."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Is how a forge names its headers; `prefix` stands before the digest."""

    event: str
    delivery: str
    signature: str
    prefix: str = ""


GITHUB = Headers("x-github-event", "x-github-delivery", "x-hub-signature-256", "sha256=")
# Forgejo sends these beside its own.
GITEA = Headers("x-gitea-event", "x-gitea-delivery", "x-gitea-signature")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Is a request as it came: headers by their names in small letters, and the body's octets."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """Is what a forge has signed: the event's name, the delivery's, and the payload."""

    event: str
    delivery: DeliveryId
    payload: Mapping[str, Any]


def open_delivery(names: Headers, delivery: Delivery, secret: bytes | None) -> Opened:
    """Believe a delivery or raise RefusedDeliveryError.

    `secret` None stands for a repository that there is not, and is answered as a wrong signature is.
    """
    if len(delivery.body) > MAX_BODY:
        raise RefusedDeliveryError(f"more than {MAX_BODY:,} bytes")
    if not _TYPE.fullmatch(delivery.headers.get("content-type", "")):
        raise RefusedDeliveryError("set the hook's content type to application/json")
    _check_signature(names, delivery, secret)
    event = delivery.headers.get(names.event, "")
    if not _EVENT.fullmatch(event):
        raise RefusedDeliveryError(f"no event in the header {names.event}")
    try:
        name = parse_delivery(delivery.headers.get(names.delivery, ""))
        return Opened(event, name, read_object(delivery.body))
    except BadNameError as error:
        raise RefusedDeliveryError(f"no delivery in the header {names.delivery}") from error
    except BadJsonError as error:
        raise RefusedDeliveryError(str(error)) from error


def _check_signature(names: Headers, delivery: Delivery, secret: bytes | None) -> None:
    sent = delivery.headers.get(names.signature, "")
    if not sent:
        older = " (X-Hub-Signature is SHA-1, which is not taken)" if "x-hub-signature" in delivery.headers else ""
        raise RefusedDeliveryError(f"no signature in the header {names.signature}{older}")
    # Without a repository there is no secret; that must take as long, and be told in the same words.
    key = secrets.token_bytes(32) if secret is None else secret
    expected = hmac.new(key, delivery.body, hashlib.sha256).hexdigest()
    digest = sent.removeprefix(names.prefix)
    fit = sent.startswith(names.prefix) and _DIGEST.fullmatch(digest) is not None
    same = hmac.compare_digest(expected.encode(), digest.encode() if fit else b"")
    if not same or secret is None:
        raise RefusedDeliveryError("the signature is not that of a repository's secret")
