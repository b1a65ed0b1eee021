"""Writes container images as OCI layouts (image-spec 1.0), small enough to read in a test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def make_image(folder: Path, layers: list[dict[str, bytes]], *, tag: str = "1") -> Path:
    """Write an image whose layers hold these files; give the folder, which skopeo calls `oci:<folder>:<tag>`."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    described, diffs = [], []
    for files in layers:
        archive = _tar(files)
        diffs.append(f"sha256:{hashlib.sha256(archive).hexdigest()}")
        described.append(_blob(blobs, gzip.compress(archive, mtime=0), _LAYER))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}, "config": {}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _blob(blobs, json.dumps(config).encode(), _CONFIG),
        "layers": described,
    }
    reference = _blob(blobs, json.dumps(manifest).encode(), _MANIFEST)
    reference["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [reference]}))
    return folder


def layers_of(folder: Path) -> list[dict[str, bytes]]:
    """Read the files of every layer of the one image in a layout."""
    blobs = folder / "blobs" / "sha256"
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(blobs / layer["digest"].partition(":")[2]) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            found.append({member.name: _content(archive, member) for member in members})
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _blob(blobs: Path, data: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
