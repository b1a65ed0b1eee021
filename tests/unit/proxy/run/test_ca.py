"""Tests that a run's certificates hold for its hosts at its clocks, and that Java and OpenSSL read them."""

from __future__ import annotations

import datetime as dt
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification

from hermit_proxy.run.ca import JKS_PASSWORD, RunCA

DAY = 86400


@pytest.fixture(scope="module")
def ca() -> RunCA:
    return RunCA.create(run="7f3a")


def verify(ca: RunCA, host: str, at: float) -> None:
    """Verify a leaf as a strict client would; raises VerificationError."""
    store = verification.Store([x509.load_pem_x509_certificate(ca.cert_pem)])
    leaf = x509.load_pem_x509_certificate(ca.leaf(host))
    when = dt.datetime.fromtimestamp(at, dt.UTC)
    subject = verification.PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(host))
    subject.verify(leaf, [])


@pytest.mark.parametrize("offset", [-3 * 365 * DAY, -DAY, 0, 30 * DAY, 400 * DAY])
def test_leaves_hold_now_and_at_the_clock_of_the_build(offset: float) -> None:
    clock = time.time() + offset
    ca = RunCA.create([clock])
    verify(ca, "files.example.org", clock)
    verify(ca, "files.example.org", time.time())


def test_leaves_do_not_hold_long_after(ca: RunCA) -> None:
    with pytest.raises(verification.VerificationError):
        verify(ca, "files.example.org", time.time() + 365 * DAY)


def test_a_leaf_is_of_its_host_and_authority_alone(ca: RunCA) -> None:
    verify(ca, "files.example.org", time.time())
    with pytest.raises(verification.VerificationError):
        verify_as(ca.leaf("files.example.org"), ca, "other.example.org")
    with pytest.raises(verification.VerificationError):
        verify_as(ca.leaf("files.example.org"), RunCA.create(), "files.example.org")


def verify_as(pem: bytes, ca: RunCA, host: str) -> None:
    store = verification.Store([x509.load_pem_x509_certificate(ca.cert_pem)])
    verifier = verification.PolicyBuilder().store(store).build_server_verifier(x509.DNSName(host))
    verifier.verify(x509.load_pem_x509_certificate(pem), [])


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "x" * 60 + ".example.org", "a_b.example.org"])
def test_leaves_name_addresses_and_long_names(ca: RunCA, host: str) -> None:
    names = x509.load_pem_x509_certificate(ca.leaf(host)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(name.value) for name in names.value] == [host]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert context is not None


def test_clocks_beyond_reason_are_taken_for_the_nearest_possible() -> None:
    ca = x509.load_pem_x509_certificate(RunCA.create([-1e18, 1e18]).cert_pem)
    assert ca.not_valid_before_utc.year <= 1970
    assert ca.not_valid_after_utc.year == 9999


def test_runs_have_different_keys_and_numbers() -> None:
    made = [x509.load_pem_x509_certificate(RunCA.create().cert_pem) for _ in range(2)]
    assert made[0].serial_number != made[1].serial_number
    assert made[0].public_key() != made[1].public_key()


def test_the_authority_says_whose_it_is_and_may_sign_leaves_only(ca: RunCA) -> None:
    cert = x509.load_pem_x509_certificate(ca.cert_pem)
    assert cert.subject.rfc4514_string() == "CN=Hermit 7f3a"
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert len(RunCA.create(run="x" * 200).cert_pem) > 0


def test_the_proxy_reads_what_the_supervisor_wrote(ca: RunCA) -> None:
    loaded = RunCA.load(ca.cert_pem, ca.key_pem)
    verify_as(loaded.leaf("files.example.org"), ca, "files.example.org")
    for wrong in (b"", b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(ValueError, match=r".+"):
            RunCA.load(ca.cert_pem, wrong)


def test_leaves_are_kept_within_bounds(ca: RunCA) -> None:
    fresh = RunCA.load(ca.cert_pem, ca.key_pem)
    first = fresh.leaf("h0.example.org")
    assert fresh.leaf("h0.example.org") is first
    for number in range(1030):
        fresh.leaf(f"h{number}.example.org")
    assert len(fresh._leaves) == 1024


@pytest.mark.parametrize("system", [b"", b"one\n", b"one"])
def test_a_bundle_is_the_systems_and_ours(ca: RunCA, system: bytes) -> None:
    bundle = ca.bundle(system)
    assert bundle.startswith(system)
    assert bundle.endswith(b"\n" + ca.cert_pem if system else ca.cert_pem)


def test_openssl_verifies_a_leaf(ca: RunCA, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem)
    (tmp_path / "leaf.pem").write_bytes(ca.leaf("files.example.org"))
    arguments = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "files.example.org"]
    done = subprocess.run(
        [openssl, *arguments, "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_java_lists_the_key_store(ca: RunCA, tmp_path: Path) -> None:
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("keytool is not installed")
    store = tmp_path / "trust.jks"
    store.write_bytes(ca.jks())
    command = [keytool, "-list", "-keystore", str(store), "-storepass", JKS_PASSWORD]
    listed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "hermit" in listed.stdout
    assert "trustedCertEntry" in listed.stdout
    damaged = bytearray(ca.jks())
    damaged[40] ^= 1
    store.write_bytes(damaged)
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
