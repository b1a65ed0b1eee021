"""Fuzzes the answers: ranges and conditions against arithmetic, and what a recorder keeps of a server's headers."""

from __future__ import annotations

import hashlib
import re

import h11

from hermit_proxy.recorder.capture import entry_for, is_token, token_entry
from hermit_proxy.recorder.ranges import window_of
from hermit_proxy.recorder.signatures import redacted, secret_parameters, without_signature
from hermit_proxy.replayer.answer import Answer, answer
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import BadTargetError, parse_url
from hermit_proxy.snapshot import check as entry_check
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.format import dump, parse
from tests.fuzz.case import Case, attempt, lines_of
from tests.fuzz.files import PATH

_URL = "https://registry.example.org/a"
_MAX_BODY = 10_000
_CONDITIONS = frozenset({"if-none-match", "if-modified-since"})
_PRECONDITIONS = frozenset({"if-match", "if-unmodified-since"})


def _pairs(lines: list[str], mark: str) -> dict[str, str]:
    found = (line[1:].partition(":") for line in lines if line.startswith(mark))
    return {name.strip().lower(): value.strip(" \t") for name, _, value in found}


def answered(data: bytes) -> bool:
    """Answer from an entry: the first line is `METHOD recorded-method status size stand-in`, `<` recorded, `>` sent."""
    first, rest = lines_of(data)
    method, recorded, status, size, *more = [*first.split(" "), "", "", "", ""][:5]
    if not re.fullmatch(r"[A-Z]{1,9}", method) or not re.fullmatch(r"[1-9][0-9]{2}", status):
        return False
    length = int(size) if re.fullmatch(r"[0-9]{1,15}", size) else None
    digest = None if length is None or recorded == "HEAD" else hashlib.sha256(size.encode()).hexdigest()
    entry = Entry(
        recorded, _URL, int(status), None, (), digest, length, tuple(sorted(_pairs(rest, "<").items())), more[0] or None
    )
    if entry_check.problems(entry) or (recorded != method and (recorded, method) != ("GET", "HEAD")):
        return False
    sent = _pairs(rest, ">")
    found = answer(entry, method, sent)
    _check_answer(entry, method, sent, found)
    if found.size <= _MAX_BODY:
        _check_wire(method, found)
    return True


def _check_answer(entry: Entry, method: str, sent: dict[str, str], found: Answer) -> None:
    size = entry.size or 0
    assert 0 <= found.start <= found.stop
    assert found.sha256 is None or (found.stop <= size == found.total and found.sha256 == entry.sha256)
    if found.status == entry.status:
        return
    headers = dict(found.headers)
    assert entry.status == 200, "only an OK has parts and conditions"
    if found.status == 206:
        window = window_of(sent.get("range"), size)
        assert method == "GET"
        assert window is not None, "the recorder would send the whole"
        assert (window.start, window.end) == (found.start, found.stop)
        assert headers["content-range"] == f"bytes {found.start}-{found.stop - 1}/{size}"
        assert found.length == found.stop - found.start > 0
    elif found.status == 416:
        assert "range" in sent
        assert window_of(sent["range"], size) is None
        assert headers["content-range"] == f"bytes */{size}"
    elif found.status == 304:
        assert _CONDITIONS & set(sent)
        assert found.length is None
        assert found.size == 0
    else:
        assert found.status == 412
        assert _PRECONDITIONS & set(sent)


def _check_wire(method: str, found: Answer) -> None:
    """Have h11 read it as the client would."""
    for close in (False, True):
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("host", "registry.example.org")]))
        client.send(h11.EndOfMessage())
        client.receive_data(found.head(close=close) + (b"x" * found.size if found.sha256 is not None else found.inline))
        if found.length is None and found.status not in {204, 304} and method != "HEAD":
            client.receive_data(b"")
        response = client.next_event()
        assert isinstance(response, h11.Response)
        assert response.status_code == found.status
        assert len(response.headers) == len(found.headers) + (found.length is not None) + close
        read = 0
        while isinstance(event := client.next_event(), h11.Data):
            read += len(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert read == found.size
        assert client.trailing_data[0] == b""


def captured(data: bytes) -> bool:
    """Make an entry of a request and a server's answer: whatever it says, the entry can be written and read."""
    first, rest = lines_of(data)
    method, _, rest_of_line = first.partition(" ")
    status, _, text = rest_of_line.partition(" ")
    target = attempt(lambda: parse_url(text), BadTargetError)
    if target is None or target.host != "registry.example.org" or not re.fullmatch(r"[A-Z]{1,9}", method):
        return False
    if not re.fullmatch(r"[1-9][0-9]{2}", status) or not entry_check.recordable(int(status)):
        return False
    _check_signatures(text)
    headers = _pairs(rest, "<")
    sent = {name: value for name, value in _pairs(rest, ">").items() if re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value)}
    request = Request(method, target, sent)
    digest = hashlib.sha256(data).hexdigest()
    kept = entry_for(request, target.url, int(status), headers, sha256=digest, size=len(data))
    for entry in (kept, token_entry(request, target.url, headers)):
        written = dump([entry])
        if entry_check.file_name_of(entry.url) == PATH.name:
            assert parse(written, PATH) == [entry], "written, and not read back"
    is_token(data)
    return True


def _check_signatures(text: str) -> None:
    target = parse_url(text)
    shown = redacted(target.url)
    assert redacted(shown) == shown
    bare = without_signature(target)
    assert (bare is None) == (not secret_parameters(target.query))
    if bare is not None:
        assert not secret_parameters(bare.query)
        assert parse_url(bare.url) == bare
        assert redacted(bare.url) == bare.url


_MEMORY = (
    b"\n>range: bytes=",
    b"\n>if-range: ",
    b"\n>if-none-match: ",
    b"\n>if-match: *",
    b"\n>if-modified-since: ",
    b"\n<etag: ",
    b"\n<last-modified: ",
)
CASES = (
    Case(
        "answer",
        answered,
        [
            b"GET GET 200 1000\n>range: bytes=0-99",
            b'GET GET 200 1000\n>range: bytes=-5\n>if-range: "a"\n<etag: "a"',
            b"HEAD GET 200 1000\n>range: bytes=5-",
            b"GET GET 200 0\n>range: bytes=0-0",
            b'GET GET 200 7\n<etag: W/"a"\n>if-none-match: "b", W/"a"',
            b"HEAD HEAD 200 9",
            b"HEAD HEAD 204 ",
            (
                b"GET GET 200 7\n<last-modified: Wed, 21 Oct 2015 07:28:00 GMT\n"
                b">if-modified-since: Wed, 21 Oct 2015 07:28:00 GMT"
            ),
            b"GET GET 204 ",
            b"POST POST 200 5",
            b'GET GET 200 7\n<etag: "a"\n>if-match: "b"',
            b"GET GET 404 ",
            b"GET GET 302 \n<location: /b",
            b"GET GET 200  token",
            b"HEAD GET 200  token",
            (
                b"GET GET 200 7\n<last-modified: Wed, 21 Oct 2015 07:28:00 GMT\n"
                b">if-unmodified-since: Wed, 21 Oct 2014 07:28:00 GMT"
            ),
            b'GET GET 401 \n<www-authenticate: Bearer realm="a"',
        ],
        (
            *_MEMORY,
            b"bytes=0-0,2-3",
            b"bytes = 1-2",
            b"-",
            b"999999999999999999",
            b"BYTES=",
            b"W/",
            b'"a"',
            b"*",
            b" -0000",
            b"Oct 9999",
            b"GMT",
            b"HEAD ",
            b"204",
            b"205",
            b"299",
        ),
        600,
    ),
    Case(
        "capture",
        captured,
        [
            (
                b'GET 200 https://registry.example.org/a?X-Amz-Signature=b&c=d\n<content-type: text/html\n<etag: "x"\n'
                b"<location: https://a.example.org/?sig=b"
            ),
            (
                b"GET 401 https://registry.example.org/v2/\n"
                b'<www-authenticate: Bearer realm="https://a.example.org/t",service="s",scope="a:b",nonce="x\\"y"'
            ),
            (
                b"HEAD 200 https://registry.example.org/v2/\n<content-length: 12\n<vary: Accept, Origin\n"
                b">accept: a/b, c/d;q=0.1\n<docker-content-digest: sha256:aa"
            ),
            (
                b'POST 200 https://registry.example.org/token\n{"token":"a"}\n'
                b"<content-type: application/json; charset=utf-8\n>git-protocol: version=2"
            ),
        ],
        (
            b"\n<location: ",
            b"\n<link: ",
            b"\n<vary: ",
            b"\n<content-disposition: ",
            b"\n>accept: ",
            b"\n>accept-language: ",
            b"\n<content-length: ",
            b"%2525",
            b"token=",
            b"\xa0",
            b"\x85",
            b"\xff",
            b"\t",
            b"?",
            b"#",
            b"&",
            b"X-Goog-Signature=a",
            b"%58-amz-signature=",
            b"Expires=1",
            b'"',
            b"\\",
            b"'",
        ),
        1500,
    ),
)
