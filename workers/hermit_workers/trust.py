"""Makes the files that let a cell's tools trust the proxy: bundles, hashed links, and where the host keeps its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography import x509

from hermit_workers.hostparts import Bind
from hermit_workers.imagetree import read_inside

CERTIFICATES = Path("/etc/ssl/certs")
ANCHORS = Path("/usr/local/share/ca-certificates")
# Where distributions keep the one-file bundle; the first that is there is the host's trust (Go's list, root_linux.go).
BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
_ASN1_UTF8_STRING = 0x0C


def system_bundle() -> bytes:
    """Give the host's own bundle, or nothing where there is none."""
    return next((path.read_bytes() for path in BUNDLES if path.is_file()), b"")


def image_bundle(root: Path) -> bytes:
    """Give the bundle of an image's tree, or nothing where it has none."""
    return next((found for path in BUNDLES if (found := read_inside(root, path)) is not None), b"")


def write_trust(folder: Path, certificate: bytes, bundle: bytes) -> tuple[Bind, ...]:
    """Write what replaces the host's trust into `folder` and say where the cell sees it.

    `certificate` is the run's CA (PEM), `bundle` the host's bundle with it. The copies are writable: a step that
    runs update-ca-certificates works, keeps the CA because it stands among the anchors too, and changes nothing of
    the host (row 31).
    """
    binds = [_certificates(folder / "ssl-certs", certificate, bundle), _anchors(folder / "anchors", certificate)]
    replaced = folder / "ca-bundle.crt"
    replaced.write_bytes(bundle)
    real = {path.resolve() for path in BUNDLES if path.is_file()}
    binds += [Bind(replaced, path, writable=True) for path in sorted(real) if not path.is_relative_to(CERTIFICATES)]
    return tuple(bind for bind in binds if bind.target.exists())


def subject_hash(certificate: bytes) -> str:
    """Give the name under which OpenSSL looks a CA up in a folder (X509_NAME_hash, openssl-x509(1) -subject_hash).

    It is SHA-1 over the canonical name: every value as UTF-8, in lower case, with single spaces.
    """
    canonical = b""
    for part in x509.load_pem_x509_certificate(certificate).subject.rdns:
        encoded = b"".join(sorted(_attribute(attribute) for attribute in part))
        canonical += _tlv(0x31, encoded)
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _attribute(attribute: x509.NameAttribute) -> bytes:
    value = attribute.value if isinstance(attribute.value, str) else attribute.value.decode()
    text = " ".join(value.lower().split()).encode()
    return _tlv(0x30, _identifier(attribute.oid.dotted_string) + _tlv(_ASN1_UTF8_STRING, text))


def _identifier(dotted: str) -> bytes:
    first, second, *rest = (int(number) for number in dotted.split("."))
    octets = bytearray()
    for number in [40 * first + second, *rest]:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return _tlv(0x06, bytes(octets))


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:  # noqa: PLR2004  the short form of a length in DER
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def _certificates(copy: Path, certificate: bytes, bundle: bytes) -> Bind:
    _copy(CERTIFICATES, copy)
    _replace(copy / "ca-certificates.crt", bundle)
    name = copy / "hermit.pem"
    _replace(name, certificate)
    if ANCHORS.is_dir():  # as update-ca-certificates links its anchors, so that it finds its own work there
        name.unlink()
        name.symlink_to(ANCHORS / "hermit.crt")
    link = copy / f"{subject_hash(certificate)}.0"
    link.unlink(missing_ok=True)
    link.symlink_to(name.name)
    return Bind(copy, CERTIFICATES, writable=True)


def _anchors(copy: Path, certificate: bytes) -> Bind:
    _copy(ANCHORS, copy)
    _replace(copy / "hermit.crt", certificate)
    return Bind(copy, ANCHORS, writable=True)


def _replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _copy(source: Path, copy: Path) -> None:
    """Copy links as links, and of files what is readable: private keys may stand beside certificates.

    shutil.copytree takes 0.1 s for the 300 links of a Debian, and every run waits for it.
    """
    copy.mkdir()
    if not source.is_dir():
        return
    with os.scandir(source) as entries:
        for entry in entries:
            target = copy / entry.name
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
            elif entry.is_dir():
                _copy(Path(entry.path), target)
            elif entry.is_file() and entry.name != "ca-certificates.crt" and os.access(entry.path, os.R_OK):
                target.write_bytes(Path(entry.path).read_bytes())
