"""Proves what plain downloads need of a replay, with curl and wget: rows 8, 9, 15, 26, 28, 29, 30 and 34."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import subprocess
import sys
import time

import pytest

from hermit_proxy.run.events import Outcome
from tests.integration.wire.conftest import MakeHermit
from tests.support.clients import need
from tests.support.hermit import PRIVATE, UNPLUGGED, explain, need_namespaces
from tests.support.origin import Asked, Origin, Response, file_response, text
from tests.support.registries import rules_for
from tests.support.rows import row

HOST, CDN = "files.example.org", "cdn.example.org"


@row(8, client="curl")
def test_a_conditional_request_records_the_whole_and_is_answered_304(tls: Origin, make_hermit: MakeHermit) -> None:
    tls.route("/file", b"content")
    user = make_hermit(names=[HOST])
    url = tls.url(HOST, "/file")
    etag = hashlib.sha256(b"").hexdigest()
    response = file_response(Asked("GET", "/file", {}, b"", HOST), b"content")
    warm = f"""curl -s -H 'If-None-Match: {response.headers["etag"]}' -o first -w '%{{http_code}} ' {url};
        curl -s -H 'If-None-Match: "{etag}"' -o second -w '%{{http_code}} ' {url};
        curl -s -z 'Thu, 01 Jan 2026 00:00:00 GMT' -o third -w '%{{http_code}} ' {url}"""
    recorded = user.record(warm)
    assert not [asked for asked in tls.asked if {"if-none-match", "if-modified-since"} & set(asked.headers)]
    entry = user.entries()[0]
    assert (entry.status, entry.sha256) == (200, hashlib.sha256(b"content").hexdigest())
    # Fresh from upstream the whole may come; from the snapshot a 304 does, in a recording as in a replay.
    assert recorded.out in {"304 200 304 ", "200 200 304 "}
    assert user.record(warm).out == user.hermetic(warm).out == "304 200 304 "
    assert user.hermetic(f"curl -s {url}").out == "content"


@row(9, client="curl")
@row(9, client="wget")
def test_what_one_client_has_recorded_another_replays(tls: Origin, make_hermit: MakeHermit) -> None:
    need("wget")
    tls.route("/file", b"content")
    user = make_hermit(names=[HOST])
    url = tls.url(HOST, "/file")
    user.record(f"curl -sf -A 'curl on Linux 5' {url}")
    assert user.hermetic(f"wget -q -O - {url}; curl -s -A other {url}").out == "contentcontent"


@row(15, client="curl")
def test_a_client_that_would_speak_http_2_is_offered_what_is_tested(tls: Origin, make_hermit: MakeHermit) -> None:
    tls.route("/file", b"content")
    user = make_hermit(names=[HOST])
    fetch = f"curl -sf --http2 -o /dev/null -w '%{{http_version}} %{{http_code}}' {tls.url(HOST, '/file')}"
    assert user.record(fetch).out == user.hermetic(fetch).out == "1.1 200"


@row(26, client="curl")
def test_a_redirect_to_a_signed_url_replays_after_the_signature_has_expired(
    tls: Origin, make_hermit: MakeHermit
) -> None:
    signatures: list[str] = []

    def sign(_asked: Asked) -> Response:
        signatures.append(f"secret{time.monotonic_ns()}")
        signed = tls.url(CDN, f"/object?X-Amz-Expires=60&X-Amz-Signature={signatures[-1]}")
        return Response(b"", 302, {"location": signed})

    def check(asked: Asked) -> Response:
        good = signatures and asked.query.endswith(signatures[-1])
        return file_response(asked, b"object") if good else text("signature", status=403)

    tls.route("/download", sign, host=HOST)
    tls.route("/object", check, host=CDN)
    user = make_hermit(names=[HOST, CDN])
    fetch = f"curl -sfL -H 'Authorization: Bearer of-the-client' {tls.url(HOST, '/download')}"
    assert user.record(fetch).out == "object"
    assert [asked.headers.get("authorization") for asked in tls.asked if asked.path == "/object"] == [None]
    assert user.holds(signatures[0]) == []
    files = user.files()
    assert user.hermetic(fetch).out == "object"
    # Another signature each time, and yet the same snapshot.
    user.allow_only(rules_for([tls.authority(HOST), tls.authority(CDN)], "REFRESH"))
    files = {name: data for name, data in files.items() if not name.endswith("rules.yaml")}
    assert user.record(fetch).out == "object"
    assert len(set(signatures)) == 2
    assert {name: data for name, data in user.files().items() if not name.endswith("rules.yaml")} == files


@row(26, client="wget")
def test_a_plain_redirect_stays_one_so_that_relative_links_resolve(tls: Origin, make_hermit: MakeHermit) -> None:
    need("wget")
    tls.route("/latest/", Response(b"", 302, {"location": "/v2/"}))
    tls.route("/v2/", text('<a href="file.txt">file</a>', "text/html"))
    tls.route("/v2/file.txt", b"content")
    user = make_hermit(names=[HOST])
    fetch = f"wget -q -r -l 1 -nd {tls.url(HOST, '/latest/')}; cat file.txt"
    assert user.record(fetch).out == "content"
    redirects = [entry for entry in user.entries() if entry.status == 302]
    assert [entry.url for entry in redirects] == [tls.url(HOST, "/latest/")]
    assert redirects[0].header("location") in {"/v2/", tls.url(HOST, "/v2/")}
    assert user.hermetic(fetch).out == "content"


@row(26, client="curl")
def test_a_redirect_to_a_host_that_no_rule_admits_is_refused(tls: Origin, make_hermit: MakeHermit) -> None:
    tls.route("/download", Response(b"", 302, {"location": tls.url(CDN, "/object")}))
    tls.route("/object", b"object")
    user = make_hermit(names=[HOST, CDN], rules=rules_for([tls.authority(HOST)]))
    run = user.record(f"curl -sL {tls.url(HOST, '/download')} >&2", expect=3)
    assert [event.url for event in run.of(Outcome.REFUSED)] == [tls.url(CDN, "/object")]
    assert tls.count("/object") == 0


@row(28, client="curl")
def test_the_stored_bytes_are_identity_whatever_the_client_accepts(tls: Origin, make_hermit: MakeHermit) -> None:
    body = b"content " * 1000

    def negotiate(asked: Asked) -> Response:
        if "gzip" not in asked.headers.get("accept-encoding", ""):
            return Response(body, 200, {"content-type": "text/plain", "vary": "Accept-Encoding"})
        headers = {"content-type": "text/plain", "content-encoding": "gzip", "vary": "Accept-Encoding"}
        return Response(gzip.compress(body), 200, headers)

    tls.route("/negotiated", negotiate)
    insisting = {"content-type": "text/plain", "content-encoding": "gzip"}
    tls.route("/insisting", Response(gzip.compress(body, mtime=0), 200, insisting))
    user = make_hermit(names=[HOST])
    fetch = "".join(
        f"curl -sf {option} {tls.url(HOST, path)} | sha256sum;"
        for path, option in itertools.product(("/negotiated", "/insisting"), ("--compressed", ""))
    )
    plain, packed = (hashlib.sha256(data).hexdigest() for data in (body, gzip.compress(body, mtime=0)))
    expected = [plain, plain, plain, packed]
    for run in (user.record(fetch), user.hermetic(fetch)):
        assert [line.split()[0] for line in run.out.splitlines()] == expected
    assert {entry.sha256 for entry in user.entries()} == {plain, packed}


@row(29, client="curl")
def test_answers_without_a_body_leave_a_kept_alive_tunnel_in_step(tls: Origin, make_hermit: MakeHermit) -> None:
    tls.route("/file", b"content")
    tls.route("/empty", Response(b"", 204))
    etag = file_response(Asked("GET", "/file", {}, b"", HOST), b"content").headers["etag"]
    user = make_hermit(names=[HOST])
    file, empty = tls.url(HOST, "/file"), tls.url(HOST, "/empty")
    written = "-s -w '%{http_code}:%{num_connects} '"
    fetch = (
        f"curl {written} --head -o /dev/null {file} --next {written} {empty}"
        f" --next {written} -H 'If-None-Match: {etag}' {file}"
        f" --next {written} --head -o /dev/null {empty} --next {written} {file}"
    )
    expected = ["200:1", "204:0", "304:0", "204:0", "content200:0"]
    # Fresh from upstream the whole may come in place of the 304.
    fresh = [*expected[:2], "content200:0", *expected[3:]]
    first = user.record(fetch)
    assert first.out.split() in (expected, fresh), explain(first)
    for run in (user.record(fetch), user.hermetic(fetch)):
        assert run.out.split() == expected, explain(run)


@row(30, client="curl")
def test_a_replay_has_no_order_and_is_not_used_up(tls: Origin, make_hermit: MakeHermit) -> None:
    names = [f"/file{number}" for number in range(20)]
    for name in names:
        tls.route(name, name * 100)
    user = make_hermit(names=[HOST])

    def parallel(paths: list[str]) -> str:
        # Each file twice at the same time: the second must wait for the first or be replayed, not be another fetch.
        urls = " ".join(f"-o got{n}-{copy} {tls.url(HOST, p)}" for copy in (1, 2) for n, p in enumerate(paths))
        return f"curl -sf --parallel --parallel-max 16 {urls}; ls got* | wc -l"

    assert user.record(parallel(names)).out.strip() == "40"
    assert all(tls.count(name) == 1 for name in names)
    for order in (names[::-1], names):
        assert user.hermetic(parallel(order)).out.strip() == "40"


@row(30, client="curl")
def test_a_server_that_answers_one_request_in_two_ways_is_reported(tls: Origin, make_hermit: MakeHermit) -> None:
    counter = itertools.count(1)
    tls.route("/counter", lambda _asked: text(str(next(counter))))
    user = make_hermit(names=[HOST], rules=rules_for([tls.authority(HOST)], "REFRESH"))
    url = tls.url(HOST, "/counter")
    run = user.record(f"curl -s {url}; curl -s {url}")
    assert url in run.err, "nobody was told that this request has several answers"


@pytest.mark.parametrize("action", ["REJECT", None])
@row(34, client="curl")
def test_telemetry_is_refused_in_the_open_even_if_the_client_does_not_mind(
    tls: Origin, make_hermit: MakeHermit, action: str | None
) -> None:
    tls.route("/file", b"content")
    tls.route("/telemetry", b"thanks")
    rules = rules_for([f"{tls.authority(HOST)}/file"]).replace("/.*", "")
    if action:
        rules += f'  - pattern: "{tls.authority(CDN)}/.*"\n    action: {action}\n'
    user = make_hermit(names=[HOST, CDN], rules=rules)
    telemetry = tls.url(CDN, "/telemetry")
    fetch = f"curl -sf {tls.url(HOST, '/file')}; curl -sf -d version=1 {telemetry} || true"
    # A refusal that a rule asked for is an expected answer; any other breaks hermeticity, whatever the command says.
    code = 0 if action else 3
    recorded = user.record(fetch, expect=code)
    assert [event.url for event in recorded.of(Outcome.REFUSED)] == [telemetry]
    assert tls.count("/telemetry") == 0
    if not action:
        assert telemetry in recorded.err, "a refusal was hidden"
        user.record(f"curl -sf {tls.url(HOST, '/file')}")
    replayed = user.hermetic(fetch, expect=code)
    assert [event.url for event in replayed.of(Outcome.REFUSED)] == [telemetry]


def test_a_replay_has_no_network_at_all_where_a_recording_has_one(tls: Origin) -> None:
    need_namespaces()
    connect = f"import socket; socket.create_connection(('127.0.0.1', {tls.port}), 5)"
    routes = "print([line for line in open('/proc/net/route') if not line.startswith('Iface')])"

    def code(prefix: list[str], script: str) -> int:
        return subprocess.run([*prefix, sys.executable, "-c", script], capture_output=True, check=False).returncode

    assert code(PRIVATE, connect) == 0
    assert code(UNPLUGGED, connect) == 1
    found = subprocess.run([*UNPLUGGED, sys.executable, "-c", routes], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
