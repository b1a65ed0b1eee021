"""Is an npm registry with one package, which answers with a short or a full document as the client accepts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile

from tests.support.origin import Asked, Origin, Response, file_response

SHORT_TYPE = "application/vnd.npm.install-v1+json"
FULL_TYPE = "application/json"


def publish_package(origin: Origin, host: str, name: str) -> str:
    """Publish version 1.0.0 of a package; give the registry's URL. Only the full document has a homepage."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = json.dumps({"name": name, "version": "1.0.0"}).encode()
        member = tarfile.TarInfo("package/package.json")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    tarball = gzip.compress(buffer.getvalue(), mtime=0)
    path = f"/{name}/-/{name}-1.0.0.tgz"
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(tarball).digest()).decode()}"
    version = {"name": name, "version": "1.0.0", "dist": {"tarball": origin.url(host, path), "integrity": integrity}}
    short = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    full = {**short, "versions": {"1.0.0": {**version, "homepage": "https://example.org/"}}}

    def document(asked: Asked) -> Response:
        wants_short = SHORT_TYPE in asked.headers.get("accept", "")
        chosen, content_type = (short, SHORT_TYPE) if wants_short else (full, FULL_TYPE)
        found = file_response(asked, json.dumps(chosen).encode(), content_type)
        return Response(found.body, found.status, {**found.headers, "vary": "accept-encoding, accept"})

    origin.route(f"/{name}", document)
    origin.route(path, tarball)
    return origin.url(host, "/")
