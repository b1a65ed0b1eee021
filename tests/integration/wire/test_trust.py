"""Proves that every client trusts the proxy whatever a build does to its trust: rows 31, 32 and 35."""

from __future__ import annotations

import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support.clients import need
from tests.support.hermit import Hermit, explain
from tests.support.index import PackageIndex
from tests.support.origin import Origin
from tests.support.rows import row
from tests.support.wheels import make_wheel

HOST = "files.example.org"
REPLACING = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO", "PIP_CERT", "GIT_SSL_CAINFO")
CHECK = """
import os, ssl, sys
for name in sys.argv[1:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(os.environ[name])
    subjects = [str(certificate["subject"]).lower() for certificate in context.get_ca_certs()]
    print(name, len(subjects), sum("hermit" in subject for subject in subjects))
"""


@row(32, client="python")
def test_every_variable_that_replaces_the_trust_names_a_full_bundle(make_hermit: MakeHermit, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text(CHECK)
    user = make_hermit(names=[HOST])
    user.record("true")
    # The user's own settings of these variables give way: they cannot know the run's authority.
    env = dict.fromkeys(REPLACING, str(tmp_path / "of-the-user.pem"))
    system = len(ssl.create_default_context(cafile=ssl.get_default_verify_paths().cafile).get_ca_certs())
    for run in (user.record(sys.executable, tmp_path / "check.py", *REPLACING, env=env),
                user.hermetic(sys.executable, tmp_path / "check.py", *REPLACING, env=env)):  # fmt: skip
        found = {name: (int(count), int(own)) for name, count, own in map(str.split, run.out.splitlines())}
        assert set(found) == set(REPLACING)
        for name, (count, own) in found.items():
            assert own == 1, f"{name} lacks the run's authority"
            assert count > system * 0.9, f"{name} replaces the system's authorities by {count}"


@row(32, client="curl")
@row(32, client="wget")
@row(32, client="python")
@row(32, client="git")
def test_clients_that_read_the_bundle_trust_the_proxy(tls: Origin, make_hermit: MakeHermit) -> None:
    need("wget")
    tls.route("/file", "content\n")
    user = make_hermit(names=[HOST])
    url = tls.url(HOST, "/file")
    python = f"import urllib.request as r; print(r.urlopen('{url}').read().decode(), end='')"
    fetch = (
        f"""curl -sf {url}; wget -q -O - {url}; {sys.executable} -c "{python}"; git ls-remote -q {url} 2>git || true"""
    )
    for run in (user.record(fetch), user.hermetic(fetch, expect=0)):
        assert run.out == "content\n" * 3, explain(run)
        assert "certificate" not in (run.work / "git").read_text().lower()


@pytest.fixture
def own_etc(make_hermit: MakeHermit, tmp_path: Path) -> Callable[..., Hermit]:
    """Give a user whose certificate folders are copies, so that the step may rewrite them."""
    binds = {}
    for path in ("/etc/ssl", "/etc/ca-certificates", "/usr/local/share/ca-certificates"):
        if Path(path).is_dir():
            binds[path] = tmp_path / path.replace("/", "_")
            shutil.copytree(path, binds[path], symlinks=True)
    return lambda **options: make_hermit(binds=binds, **options)


@row(31, client="update-ca-certificates")
def test_a_step_that_rebuilds_the_certificates_still_trusts_the_proxy(
    tls: Origin, own_etc: Callable[..., Hermit]
) -> None:
    need("update-ca-certificates")
    tls.route("/file", "content\n")
    user = own_etc(names=[HOST])
    before = user.files_in_place_of("/etc/ssl")
    # Without the variables only the system's own files are left to trust.
    fetch = f"env -u SSL_CERT_FILE -u SSL_CERT_DIR -u CURL_CA_BUNDLE curl -sf {tls.url(HOST, '/file')}"
    upgrade = f"{fetch}; update-ca-certificates --fresh >&2; {fetch}; curl -sf {tls.url(HOST, '/file')}"
    for run in (user.record(upgrade), user.hermetic(upgrade)):
        assert run.out == "content\n" * 3, explain(run)
    assert user.files_in_place_of("/etc/ssl") == before, "what a step does to the trust must not stay"


@row(35, client="pip")
def test_a_recording_with_a_warm_cache_is_complete_for_an_empty_one(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    index = PackageIndex(tls)
    for wheel in (make_wheel("foo", requires=("bar",)), make_wheel("bar")):
        index.add(wheel)
    user = make_hermit(names=[HOST])
    options = f"-q --disable-pip-version-check --index-url {tls.url(HOST, '/simple')}"
    pip = f"{sys.executable} -m pip download {options} -d d foo"
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    urls = []
    # Twice with the user's own cache, then as hermit does it: each time all is forgotten but that cache.
    for options in (("--keep-caches",), ("--keep-caches",), ()):
        shutil.rmtree(user.snapshot, ignore_errors=True)
        shutil.rmtree(user.store, ignore_errors=True)
        urls.append(set(user.record(pip, env=home, options=options).urls()))
    cold, warm, recorded = urls
    assert warm < cold, "the cache has thinned nothing out, so this test shows nothing"
    assert recorded == cold
    replayed = user.hermetic(pip, env=home)
    assert {path.name for path in (replayed.work / "d").iterdir()} == {
        f"{name}-1.0-py3-none-any.whl" for name in ("foo", "bar")
    }
