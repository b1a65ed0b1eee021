"""Digests the body of a request so that the same question has the same key, however it was packed (WIRE rows 1-3)."""

from __future__ import annotations

import hashlib
import zlib
from urllib.parse import unquote_plus

from hermit_proxy.request import git as gitbody

BODY_LIMIT = 64 << 20

_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15  # wbits of zlib.decompressobj
_ENCODINGS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _RAW_DEFLATE)}
# Each further member costs a copy of what follows; git and curl write one.
_MAX_MEMBERS = 16
_FORM = "application/x-www-form-urlencoded"
# Fields of token requests (RFC 6749) and log-ins: a digest in the repository would let anyone try passwords.
_SECRET_FIELDS = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "assertion",
        "auth",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "id_token",
        "passwd",
        "password",
        "private_token",
        "refresh_token",
        "secret",
        "subject_token",
        "token",
    }
)


class BodyTooLargeError(ValueError):
    """Is raised where a request's body, sent or unpacked, is over the limit; the request is refused (413)."""


class _UndecodableError(ValueError):
    """Is raised inside for a body that is not what its Content-Encoding says."""


def body_digest(
    content_type: str | None, content_encoding: str | None, raw: bytes, *, limit: int = BODY_LIMIT
) -> str | None:
    """Give the SHA-256 (hex) of the decoded, normalised body; None for no body.

    gzip and deflate are unpacked, never to more than `limit` bytes (BodyTooLargeError); what cannot be unpacked counts
    as it is. Upload-pack requests lose what names the client, forms lose the values that are secrets.
    """
    if len(raw) > limit:
        raise BodyTooLargeError(f"the body has {len(raw)} bytes; the limit is {limit}")
    if not raw:
        return None
    body = _decoded(content_encoding, raw, limit)
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == gitbody.UPLOAD_PACK_REQUEST:
        body = gitbody.normalise_request(body)
    elif media_type == _FORM:
        body = _without_secrets(body)
    return hashlib.sha256(body).hexdigest()


def _decoded(content_encoding: str | None, raw: bytes, limit: int) -> bytes:
    for wbits in _ENCODINGS.get((content_encoding or "").strip().lower(), ()):
        try:
            return _unpack(raw, wbits, limit)
        except _UndecodableError:
            continue
    return raw


def _unpack(raw: bytes, wbits: int, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = raw
    while rest:
        if len(parts) == _MAX_MEMBERS:
            raise _UndecodableError
        decoder = zlib.decompressobj(wbits)
        try:
            part = decoder.decompress(rest, limit - size + 1)
        except zlib.error as error:
            raise _UndecodableError from error
        size += len(part)
        if size > limit:
            raise BodyTooLargeError(f"the body unpacks to more than {limit} bytes")
        if not decoder.eof or (wbits != _GZIP and decoder.unused_data):
            raise _UndecodableError
        parts.append(part)
        rest = decoder.unused_data  # a gzip file may have several members (RFC 1952 section 2.2)
    return b"".join(parts)


def _without_secrets(body: bytes) -> bytes:
    fields = body.split(b"&")
    return b"&".join(field.partition(b"=")[0] if _is_secret(field) else field for field in fields)


def _is_secret(field: bytes) -> bool:
    name = field.partition(b"=")[0]
    return unquote_plus(name.decode("latin-1")).strip().lower() in _SECRET_FIELDS
