"""Says which requests are the same request: the key that snapshots, observations and replays share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hermit_proxy.request.target import Target

# Header names whose value may choose among answers. Everything else (User-Agent, Range, npm-session,
# Authorization, conditionals) never does: a client upgrade must not invalidate a recording.
VARYING = ("accept", "accept-language", "git-protocol")
# Requests with these headers choose their answer by them even where the server forgets `Vary`.
_ALWAYS_VARYING = ("git-protocol",)
_NEGOTIATED_TYPES = ("application/vnd.",)
_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?")  # RFC 9110 section 12.4.2, of any length


@dataclass(frozen=True, slots=True)
class Request:
    """Is a request as the core sees it: normalised target, lower-case header names, body as a digest.

    `body` is the SHA-256 (hex) of the decoded, normalised body (see gitbody), None where there is none.
    `headers` holds what was sent; repeated names are joined with `, `.
    """

    method: str
    target: Target
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None

    def varying(self) -> tuple[tuple[str, str], ...]:
        """Give the headers that may choose the answer, normalised and sorted."""
        return tuple((name, normalise_header(self.headers[name])) for name in VARYING if name in self.headers)


def normalise_header(value: str) -> str:
    """Fold white space, case and empty elements (RFC 9110 section 5.6.1): `A/B,  C/d,` and `a/b, c/d` are the same."""
    return ", ".join(folded for part in value.lower().split(",") if (folded := " ".join(part.split())))


def vary_of(request: Request, response_vary: str | None, content_type: str | None) -> tuple[tuple[str, str], ...]:
    """Choose the request headers that an entry is keyed by, from what the response says it varies by.

    `Accept` counts too where request or response speak a vendor's media type: Debian's docker-registry
    negotiates manifests, and mirrors negotiate package documents, without saying `Vary`.
    """
    named = {name.strip().lower() for name in (response_vary or "").split(",")}
    named.update(_ALWAYS_VARYING)
    spoken = (content_type or "").lower(), request.headers.get("accept", "").lower()
    if any(prefix in text for prefix in _NEGOTIATED_TYPES for text in spoken):
        named.add("accept")
    return tuple((name, value) for name, value in request.varying() if name in named)


def acceptability(accept: str, content_type: str) -> float:
    """Give the quality, 0 to 1, that an Accept header grants a media type (RFC 9110 section 12.5.1)."""
    media_type = content_type.partition(";")[0].strip().lower()
    main = media_type.partition("/")[0]
    best_precision, quality = 0, 0.0
    for part in accept.lower().split(","):
        wanted, _, parameters = part.strip().partition(";")
        wanted = wanted.strip()
        precision = 3 if wanted == media_type else 2 if wanted == f"{main}/*" else 1 if wanted == "*/*" else 0
        if precision > best_precision:
            best_precision, quality = precision, _quality(parameters.split(";"))
    return quality


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            # Not float() alone: it reads `nan`, which is neither more nor less than anything, and `1_0`.
            return float(value) if _WEIGHT.fullmatch(value.strip()) else 0.0
    return 1.0
