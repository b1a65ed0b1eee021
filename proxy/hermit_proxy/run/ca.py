"""Makes the certificate authority of one run: new for each, valid around the build's clock, known to its cell alone."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import struct
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hermit_proxy.errors import HermitError

# The files of a run: the certificate stays, the key goes as soon as the proxy has read it.
CA_CERT = "ca.pem"
CA_KEY = "ca-key.pem"
JKS_PASSWORD = "changeit"  # noqa: S105  Java's own default; the store holds a public certificate

_DAY = 86400
# How far beyond the last of a run's clocks its certificates hold: the longest build, and a clock that runs ahead.
_AHEAD = 60 * _DAY
_BEHIND = 1 * _DAY
# X.509 has no times before 1950, GeneralizedTime ends with 9999; clocks outside are nobody's build.
_EARLIEST, _LATEST = 0.0, 253_370_764_800.0
_MAX_LEAVES = 1024
_MAX_COMMON_NAME = 64


class RunCA:
    """Is an authority and its key.

    `cert_pem` and `key_pem` (PKCS 8, not encrypted) are PEM. All leaves share one key, which is made at the first
    of them and never leaves the process.
    """

    def __init__(self, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Take certificate and key; `create` and `load` are the ways to have them."""
        self._cert = cert
        self._key = key
        self._leaf_key: ec.EllipticCurvePrivateKey | None = None
        self._leaves: OrderedDict[str, bytes] = OrderedDict()

    @classmethod
    def create(cls, clock: Iterable[float] = (), *, run: str = "") -> Self:
        """Make an authority (P-256) that holds now and at every time of `clock` (seconds since the epoch).

        `run` goes into its name, for whoever finds the certificate somewhere.
        """
        times = [min(max(t, _EARLIEST), _LATEST) for t in (time.time(), *clock)]
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hermit {run}".strip()[:_MAX_COMMON_NAME])])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_date(min(times) - _BEHIND))
            .not_valid_after(_date(max(times) + _AHEAD))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(cert, key)

    @classmethod
    def load(cls, cert_pem: bytes, key_pem: bytes) -> Self:
        """Read what `create` made; raise ValueError for anything else."""
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not the key of a run's authority")
        return cls(x509.load_pem_x509_certificate(cert_pem), key)

    @property
    def cert_pem(self) -> bytes:
        """Give the certificate, which is public."""
        return self._cert.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Give the private key."""
        return _pem(self._key)

    def leaf(self, host: str) -> bytes:
        """Give certificate and key (PEM) for a normalised host name or IP literal, valid as long as the authority."""
        known = self._leaves.get(host)
        if known is None:
            known = self._leaves[host] = self._make_leaf(host)
            while len(self._leaves) > _MAX_LEAVES:
                self._leaves.popitem(last=False)
        return known

    def bundle(self, system_bundle: bytes) -> bytes:
        """Give a PEM bundle for tools whose setting replaces the system's trust: the system's and this authority."""
        gap = b"" if not system_bundle or system_bundle.endswith(b"\n") else b"\n"
        return system_bundle + gap + self.cert_pem

    def jks(self) -> bytes:
        """Give a Java key store (JKS version 2) that trusts this authority, with the password JKS_PASSWORD.

        Written by hand, because a machine that builds Java need not have Java outside of the cell. Format:
        sun.security.provider.JavaKeyStore in OpenJDK.
        """
        der = self._cert.public_bytes(serialization.Encoding.DER)
        made = int(self._cert.not_valid_before_utc.timestamp() * 1000)
        entry = struct.pack(">I", 2) + _utf("hermit") + struct.pack(">q", made) + _utf("X.509")
        store = struct.pack(">III", 0xFEEDFEED, 2, 1) + entry + struct.pack(">I", len(der)) + der
        # SHA-1 is what the format says; it detects damage and protects nothing.
        seal = hashlib.sha1(JKS_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store, usedforsecurity=False)
        return store + seal.digest()

    def _make_leaf(self, host: str) -> bytes:
        if self._leaf_key is None:
            self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        public = self._leaf_key.public_key()
        name = [x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= _MAX_COMMON_NAME else []
        cert = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(name))
            .issuer_name(self._cert.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._cert.not_valid_before_utc)
            .not_valid_after(self._cert.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            # Critical where the subject is empty (RFC 5280 section 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=not name)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return cert.public_bytes(serialization.Encoding.PEM) + _pem(self._leaf_key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(max(seconds, _EARLIEST), dt.UTC).replace(microsecond=0)


def _utf(text: str) -> bytes:
    octets = text.encode()
    return struct.pack(">H", len(octets)) + octets


def load_authority(rundir: Path) -> RunCA:
    """Read the run's authority, and leave its key nowhere but in this process."""
    key = rundir / CA_KEY
    try:
        authority = RunCA.load((rundir / CA_CERT).read_bytes(), key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise HermitError(f"the run's authority in {rundir} cannot be read: {error}") from error
    key.unlink()
    return authority
