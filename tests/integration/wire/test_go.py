"""Proves what go needs of a replay: rows 15 to 18."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.clients import need
from tests.support.gitserver import GitServer, git
from tests.support.hermit import Hermit, explain
from tests.support.origin import Asked, Origin, Response, text
from tests.support.rows import row
from tests.support.testca import TestCA

HOST = "go.example.org"
# A package below its module, so that go has to ask which of its parents is the module.
GET = "go mod init example.org/p; go get github.com/kr/text/colwriter@v0.2.0; cat go.sum"


@pytest.fixture
def gopher(make_hermit: MakeHermit) -> Hermit:
    need("go")
    registry = registries.go_registry()
    return make_hermit(allow=registry.allow, rules=registry.rules)


@pytest.mark.registry
@row(15, 16, client="go")
def test_parents_that_are_no_modules_are_part_of_the_recording(gopher: Hermit) -> None:
    recorded = gopher.record(GET)
    missing = [entry for entry in gopher.entries() if entry.status in {403, 404, 410}]
    assert any("/github.com/kr/text/colwriter/" in entry.url for entry in missing)
    assert all(entry.sha256 is None for entry in missing)
    replayed = gopher.hermetic(GET)
    assert replayed.out == recorded.out
    assert 404 in {event.status for event in replayed.events}, explain(replayed)


@pytest.mark.registry
@row(17, client="go")
def test_the_sum_database_verifies_in_the_replay_and_after_it_has_been_recorded_in_two_goes(gopher: Hermit) -> None:
    gopher.record(GET)
    kept = {entry.url: entry for entry in gopher.entries()}
    assert any("/lookup/" in url for url in kept)
    assert any("/tile/" in url for url in kept)
    assert "h1:" in gopher.hermetic(GET).out
    # The database has moved on by the time that one more module is wanted; both heads must agree in the replay.
    more = f"{GET}; go get github.com/google/uuid@v1.6.0; cat go.sum"
    gopher.record(more)
    assert all(entry == kept[entry.url] for entry in gopher.entries() if entry.url in kept)
    assert "github.com/google/uuid v1.6.0 h1:" in gopher.hermetic(more).out


@pytest.fixture
def web(ca: TestCA) -> Iterator[Origin]:
    """Give a server on the port that a module path implies."""
    try:
        origin = Origin(ca, port=443)
    except OSError as error:
        pytest.skip(f"no server can be had on port 443: {error}")
    with origin:
        yield origin


@row(18, client="go")
def test_the_page_for_go_and_the_page_for_people_are_two_answers(
    web: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    need("go", "curl")
    server = GitServer(web, tmp_path / "git")
    tree = server.create("tool")
    (tree / "go.mod").write_text(f"module {HOST}/tool\n\ngo 1.18\n")
    (tree / "tool.go").write_text("package tool\n")
    server.commit(tree, "module")
    git("tag", "v1.0.0", cwd=tree)
    git("push", "-q", "origin", "v1.0.0", cwd=tree)

    def page(asked: Asked) -> Response:
        if "go-get=1" not in asked.query:
            return text("<html>for people</html>", "text/html")
        meta = f'<meta name="go-import" content="{HOST}/tool git {web.url(HOST, "/git/tool.git")}">'
        return text(f"<html><head>{meta}</head></html>", "text/html")

    web.route("/tool", page)
    user = make_hermit(names=[HOST])
    env = {"GOPROXY": "direct", "GOSUMDB": "off", "GOFLAGS": "-mod=mod -modcacherw"}
    fetch = f"go mod init example.org/p; go get {HOST}/tool@v1.0.0; cat go.sum; curl -sf {web.url(HOST, '/tool')}"
    recorded = user.record(fetch, env=env)
    pages = {entry.url: entry.sha256 for entry in user.entries() if entry.url.startswith(web.url(HOST, "/tool"))}
    assert set(pages) == {web.url(HOST, "/tool"), web.url(HOST, "/tool?go-get=1")}
    assert len(set(pages.values())) == 2
    replayed = user.hermetic(fetch, env=env)
    assert replayed.out == recorded.out
    assert replayed.out.endswith("for people</html>")
