"""Proves what container tools need of a replay: rows 25, 27 and 33."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support.clients import need
from tests.support.hermit import explain
from tests.support.images import layers_of, make_image
from tests.support.origin import Origin
from tests.support.registry import PUSHER, Registry, TokenServer, registry
from tests.support.rows import row
from tests.support.testca import TestCA

HOST, TOKEN_HOST = "registry.example.org", "token.example.org"
SKOPEO = "skopeo --insecure-policy"


@pytest.fixture
def pushed(ca: TestCA, tls: Origin, tmp_path: Path) -> Iterator[Callable[..., tuple[Registry, TokenServer | None]]]:
    """Give a function that runs a registry with one image under two names, behind a token server or open."""
    need("skopeo", "docker-registry")
    with ExitStack() as stack:

        def run(*, tokens: bool) -> tuple[Registry, TokenServer | None]:
            server = TokenServer(tls, tmp_path / "tokens") if tokens else None
            realm = (server, tls.url(TOKEN_HOST, "/token")) if server else None
            # To push, skopeo stands on this side: it finds the registry and the token server as localhost.
            local = (server, tls.url("localhost", "/token")) if server else None
            image = make_image(tmp_path / "image", [{"a": b"1"}, {"b": b"2" * 50_000}])
            with registry(ca, tmp_path / "registry", "localhost", local) as here:
                for name in ("app", "other/app"):
                    options = ["--dest-creds", PUSHER] if tokens else []
                    command = ["copy", *options, f"oci:{image}:1", f"docker://{here.authority}/{name}:1"]
                    env = {"SSL_CERT_FILE": str(ca.ca), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
                    subprocess.run(["skopeo", "--insecure-policy", *command], env=env, check=True, capture_output=True)
            return stack.enter_context(registry(ca, tmp_path / "registry", HOST, realm)), server

        yield run


@row(25, client="skopeo")
def test_a_challenged_pull_replays_and_no_token_is_kept(
    pushed: Callable[..., tuple[Registry, TokenServer]], make_hermit: MakeHermit, tls: Origin
) -> None:
    running, tokens = pushed(tokens=True)
    user = make_hermit(names=[HOST, TOKEN_HOST])
    pull = f"{SKOPEO} copy -q docker://{running.authority}/app:1 oci:out:1"
    recorded = user.record(pull)
    assert 401 in {event.status for event in recorded.events}, explain(recorded)
    stand_ins = [entry for entry in user.entries() if entry.stand_in == "token"]
    assert [entry.url.startswith(tls.url(TOKEN_HOST, "/token?")) for entry in stand_ins] == [True]
    assert tokens.issued
    for token in tokens.issued:
        assert user.holds(token) == []
        assert user.holds(token.rpartition(".")[2]) == []
    count = len(tokens.issued)
    replayed = user.hermetic(pull)
    assert layers_of(replayed.work / "out") == layers_of(recorded.work / "out")
    assert len(tokens.issued) == count
    # Recorded again with the snapshot there: what is missing must be had with a real token, not with the stand-in.
    other = f"{pull}; {SKOPEO} inspect --raw docker://{running.authority}/other/app:1 > raw"
    user.record(other)
    user.hermetic(other)


@row(27, client="skopeo")
def test_one_blob_under_two_names_is_stored_once_and_manifests_keep_type_and_digest(
    pushed: Callable[..., tuple[Registry, None]], make_hermit: MakeHermit
) -> None:
    running, _ = pushed(tokens=False)
    user = make_hermit(names=[HOST])
    reference = f"docker://{running.authority}"
    both = (
        f"{SKOPEO} copy -q {reference}/app:1 oci:one:1; {SKOPEO} copy -q {reference}/other/app:1 oci:two:1;"
        f" {SKOPEO} inspect --format '{{{{.Digest}}}}' {reference}/app:1 | tee digest;"
        f" {SKOPEO} copy -q {reference}/app@$(cat digest) oci:three:1;"
        f" curl -sf --head -o head https://{running.authority}/v2/app/manifests/$(cat digest)"
        " -H 'Accept: application/vnd.oci.image.manifest.v1+json'"
    )
    recorded = user.record(both)
    digest = recorded.out.strip()
    blobs = [entry for entry in user.entries() if "/blobs/sha256:" in entry.url and entry.method == "GET"]
    assert len({entry.url for entry in blobs}) == 2 * len({entry.sha256 for entry in blobs})
    assert all(entry.url.endswith(f"{entry.sha256}") for entry in blobs)
    for sha256 in {entry.sha256 for entry in blobs}:
        assert len(list((user.store / "bodies").rglob(f"*{sha256}*"))) == 1
    manifests = [entry for entry in user.entries() if "/manifests/" in entry.url]
    assert {entry.header("docker-content-digest") for entry in manifests} == {digest}
    replayed = user.hermetic(both)
    assert replayed.out == recorded.out
    head = (replayed.work / "head").read_text().lower()
    assert f"docker-content-digest: {digest}" in head
    assert "content-type: application/vnd.oci.image.manifest.v1+json" in head
    for name in ("one", "two", "three"):
        assert layers_of(replayed.work / name)[1]["b"] == b"2" * 50_000


@row(27, client="skopeo")
def test_a_tag_that_has_moved_is_the_recorded_one_until_it_is_refreshed(
    ca: TestCA, pushed: Callable[..., tuple[Registry, None]], make_hermit: MakeHermit, tmp_path: Path
) -> None:
    running, _ = pushed(tokens=False)
    user = make_hermit(names=[HOST])
    inspect = f"{SKOPEO} inspect --format '{{{{.Digest}}}}' docker://{running.authority}/app:1"
    before = user.record(inspect).out
    image = make_image(tmp_path / "moved", [{"c": b"3"}])
    local = running.authority.replace(HOST, "localhost")
    env = {"SSL_CERT_FILE": str(ca.ca), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = ["skopeo", "--insecure-policy", "copy", f"oci:{image}:1", f"docker://{local}/app:1"]
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert user.record(inspect).out == before
    assert user.hermetic(inspect).out == before
    user.allow_only(f'rules:\n  - pattern: "{running.authority}/.*"\n    action: REFRESH\n')
    after = user.record(inspect).out
    assert after != before
    assert user.hermetic(inspect).out == after


@row(33, client="umoci")
def test_an_image_that_is_built_behind_the_proxy_holds_nothing_of_its_authority(
    pushed: Callable[..., tuple[Registry, None]], make_hermit: MakeHermit, tls: Origin
) -> None:
    need("umoci")
    running, _ = pushed(tokens=False)
    tls.route("/fetched.txt", "fetched\n")
    user = make_hermit(names=[HOST])
    build = (
        f"{SKOPEO} copy -q docker://{running.authority}/app:1 oci:built:1; umoci unpack --rootless --image built:1 b;"
        f" mkdir -p b/rootfs/etc/ssl/certs; curl -sf {tls.url(HOST, '/fetched.txt')} -o b/rootfs/fetched.txt;"
        " umoci repack --image built:1 b; cp $CURL_CA_BUNDLE bundle.pem;"
        " curl -sf http://hermit.internal/ca.pem -o ca.pem"
    )
    for run in (user.record(build), user.hermetic(build)):
        authority = (run.work / "ca.pem").read_bytes().strip()
        assert authority in (run.work / "bundle.pem").read_bytes(), "the authority that is looked for is another"
        files = {name: data for layer in layers_of(run.work / "built") for name, data in layer.items()}
        assert files["fetched.txt"] == b"fetched\n"
        assert files["b"] == b"2" * 50_000
        for name, data in files.items():
            assert not [line for line in authority.splitlines()[1:-1] if line in data], name
