"""Tells signatures and credentials in URLs from what names a resource: neither log nor snapshot may hold them."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from hermit_proxy.request.target import Target

FOLD_MARK = "hermit-fold=1"

# A parameter of this name is a signature or a credential by itself.
_SECRET = re.compile(
    r"x-amz-(signature|security-token|credential)|x-goog-(signature|credential)|x-oss-(signature|credential|security-token)"
    r"|q-signature|x-cos-security-token|signature|sig|hmac|jwt|auth|authorization|bearer|pass|passwd|password|secret"
    r"|(access|auth|id|refresh|private|security|session|oauth|job|personal|ci)?[-_]?token|(x[-_]?)?api[-_]?key|apikey|client[-_]secret"
    r"|googleaccessid|awsaccesskeyid|ossaccesskeyid|key-pair-id|hdnea|hdnts|__token__|__gda__|hdntl",
    re.IGNORECASE,
)
# These say how, and until when, a signature holds: they go only where there is one.
_COMPANION = re.compile(
    r"x-amz-.*|x-goog-.*|x-oss-.*|q-.*|expires|exp|policy|se|sp|sv|sr|st|spr|ske|skoid|sks|skt|sktid|skv|sip|si"
    r"|algorithm|signedheaders",
    re.IGNORECASE,
)
_QUERY = re.compile(r"\?([^#]*)")


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def secret_parameters(query: str | None) -> tuple[str, ...]:
    """Name the parameters of a query that look like credentials; one without a value is none."""
    parts = (query or "").split("&")
    return tuple(_name(part) for part in parts if part.partition("=")[2] and _SECRET.fullmatch(_name(part)))


def without_signature(target: Target) -> Target | None:
    """Give the target without signature and credentials; None where it has none.

    AWS, Google, Azure, CloudFront and OSS sign in the query; which parameters, their manuals say.
    """
    if not secret_parameters(target.query):
        return None
    kept = [
        part
        for part in (target.query or "").split("&")
        if not _SECRET.fullmatch(_name(part)) and not _COMPANION.fullmatch(_name(part))
    ]
    return Target(target.scheme, target.host, target.port, target.path, "&".join(kept) if kept else None)


def redacted(url: str) -> str:
    """Give a URL, or any text with one, as a log may show it: credentials replaced by dots."""
    return _QUERY.sub(lambda found: "?" + "&".join(_redact(part) for part in found[1].split("&")), url)


def _redact(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}=..." if equals and value and _SECRET.fullmatch(_name(part)) else part


def folded(target: Target) -> Target:
    """Give the URL that a client is sent back to when a redirect is folded into the first URL."""
    query = f"{target.query}&{FOLD_MARK}" if target.query else FOLD_MARK
    return Target(target.scheme, target.host, target.port, target.path, query)
