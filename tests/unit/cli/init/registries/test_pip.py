"""Tests what the real pip says of its index."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hermit_cli.init.registries.asking import without
from hermit_cli.init.registries.pip import ask, ask_for_uv

BARE = {**without(os.environ, "pip_"), "PIP_CONFIG_FILE": os.devnull}


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b'<a href="https://files.example.org/a.whl#sha256=0">a</a><a href="../../b.whl">b</a><a>c</a>'
        self.send_response(200)
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()
        thread.join()


def test_pip_that_is_not_set_up_is_asked_what_it_is_made_with() -> None:
    found = ask(BARE)
    assert [one.why for one in found.asked] == ["pip's own registry", "pip's own registry, its files"]
    assert (found.environment, found.unknown, found.notes) == ({}, (), ())


def test_an_index_of_ones_own_is_asked_where_its_files_are(index: str) -> None:
    found = ask({**BARE, "PIP_INDEX_URL": index})
    host = index.removesuffix("simple")
    assert [one.url for one in found.asked] == [index, "https://files.example.org/", host]
    assert found.environment == {"PIP_INDEX_URL": index}
    assert found.unknown == ()


def test_uv_gets_the_same_by_its_own_variable(index: str) -> None:
    found = ask_for_uv({**BARE, "PIP_INDEX_URL": index})
    assert found.environment == {"UV_DEFAULT_INDEX": index}
    assert ask_for_uv(BARE).environment == {}


def test_no_login_of_pips_is_written_anywhere() -> None:
    own = {
        "PIP_INDEX_URL": "https://user:hunter2@127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "https://user:hunter2@b.example.org/simple",
        "PIP_FIND_LINKS": "https://user:hunter2@c.example.org/x /opt/files",
    }
    found = ask({**BARE, **own})
    assert "hunter2" not in repr(found)
    assert found.environment == {
        "PIP_INDEX_URL": "https://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "https://b.example.org/simple",
    }
    assert found.unknown == ("the host of the files, if it is another one than that of https://127.0.0.1:9/simple",)
    assert any("/opt/files" in note for note in found.notes)
