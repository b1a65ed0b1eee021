"""Holds the trust files against OpenSSL, which is who reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hermit_proxy.run.ca import RunCA
from hermit_workers import trust


def named(*attributes: x509.NameAttribute) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(list(attributes))
    now = __import__("datetime").datetime(2024, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now.replace(year=2034))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def openssl_hash(pem: bytes) -> str:
    command = ["openssl", "x509", "-noout", "-subject_hash"]
    return subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize(
    "pem",
    [
        RunCA.create(run="20240101T000000-123456abcd").cert_pem,
        named(x509.NameAttribute(NameOID.COMMON_NAME, "  Many   Spaces and CAPITALS  ")),
        named(
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Org"),
            x509.NameAttribute(NameOID.COMMON_NAME, "x" * 64),
        ),
    ],
    ids=["a run's", "spaces and capitals", "several parts"],
)
def test_the_hash_is_the_one_that_openssl_looks_for(pem: bytes) -> None:
    assert trust.subject_hash(pem) == openssl_hash(pem)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    certificates, anchors = tmp_path / "host/certs", tmp_path / "host/anchors"
    (certificates / "java").mkdir(parents=True)
    anchors.mkdir()
    (certificates / "ca-certificates.crt").write_bytes(b"host's\n")
    (certificates / "Example.pem").symlink_to("../anchors/example.crt")
    (certificates / "java/cacerts").write_bytes(b"store")
    (anchors / "example.crt").write_bytes(b"pem")
    monkeypatch.setattr(trust, "CERTIFICATES", certificates)
    monkeypatch.setattr(trust, "ANCHORS", anchors)
    monkeypatch.setattr(trust, "BUNDLES", (certificates / "ca-certificates.crt", tmp_path / "host/ca-bundle.crt"))
    return tmp_path / "host"


def test_the_copies_hold_what_the_host_has_and_the_ca_everywhere(host: Path, tmp_path: Path) -> None:
    (host / "ca-bundle.crt").write_bytes(b"another place\n")
    pem = RunCA.create().cert_pem
    folder = tmp_path / "cell"
    folder.mkdir()
    binds = {bind.target: bind for bind in trust.write_trust(folder, pem, b"host's\n" + pem)}
    copy, anchors = binds[host / "certs"].source, binds[host / "anchors"].source
    assert (copy / "ca-certificates.crt").read_bytes() == b"host's\n" + pem
    assert (copy / "Example.pem").readlink() == Path("../anchors/example.crt")
    assert (copy / "java/cacerts").read_bytes() == b"store"
    assert (copy / f"{openssl_hash(pem)}.0").readlink() == Path("hermit.pem")
    assert (anchors / "hermit.crt").read_bytes() == pem
    assert binds[host / "ca-bundle.crt"].source.read_bytes() == b"host's\n" + pem
    assert all(bind.writable for bind in binds.values())
    assert (host / "certs/ca-certificates.crt").read_bytes() == b"host's\n"


def test_a_host_without_certificates_gets_no_mounts_but_the_bundle_is_there(host: Path, tmp_path: Path) -> None:
    __import__("shutil").rmtree(host)
    folder = tmp_path / "cell"
    folder.mkdir()
    pem = RunCA.create().cert_pem
    assert trust.write_trust(folder, pem, pem) == ()
    assert (folder / "ca-bundle.crt").read_bytes() == pem
