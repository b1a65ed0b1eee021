"""What stands before mitmproxy's reader refuses in Hermit's own words all that mitmproxy would refuse in its own."""

from __future__ import annotations

import pytest
from mitmproxy.net.http import http1

from hermit_proxy.recorder.head import BadHeadError, read_head
from hermit_proxy.recorder.strict_http import _check_readable

HOST = b" HTTP/1.1\r\nHost: files.example.org"


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://files.example.org:/a" + HOST,
        b"GET http://files.example.org?a=b" + HOST,
        b"GET http://xn--a.example.org/ HTTP/1.1\r\nHost: xn--a.example.org",
    ],
)
def test_a_good_request_that_mitmproxy_cannot_read_is_refused(head: bytes) -> None:
    assert read_head(head, None).target is not None
    with pytest.raises(ValueError):  # noqa: PT011  mitmproxy words it
        http1.read_request_head(head.split(b"\r\n"))
    with pytest.raises(BadHeadError, match="cannot be recorded") as caught:
        _check_readable(head)
    assert caught.value.status == 400


def test_what_it_reads_passes() -> None:
    _check_readable(b"POST http://files.example.org/a" + HOST + b"\r\nTransfer-Encoding: chunked")
