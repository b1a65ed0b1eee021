"""Is a sparse cargo registry (RFC 2789) with one crate, over plain http or TLS."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

from tests.support.origin import Origin

CRATE = "tinycrate"


def publish_crate(origin: Origin, host: str, version: str = "1.0.0") -> str:
    """Publish the crate; give the URL of the index as cargo's configuration has it."""
    files = {
        "Cargo.toml": f'[package]\nname = "{CRATE}"\nversion = "{version}"\nedition = "2021"\n',
        "src/lib.rs": f'pub const VERSION: &str = "{version}";\n',
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CRATE}-{version}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    data = gzip.compress(buffer.getvalue(), mtime=0)
    line = {
        "name": CRATE,
        "vers": version,
        "deps": [],
        "cksum": hashlib.sha256(data).hexdigest(),
        "features": {},
        "yanked": False,
    }
    origin.route("/index/config.json", json.dumps({"dl": origin.url(host, "/crates")}))
    origin.route(f"/index/{CRATE[:2]}/{CRATE[2:4]}/{CRATE}", json.dumps(line) + "\n")
    origin.route(f"/crates/{CRATE}/{version}/download", data)
    return f"sparse+{origin.url(host, '/index/')}"
