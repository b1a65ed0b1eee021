"""`hermit store fill` confirms a record by a recorder of its own, or names what it could not confirm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import write_tree
from tests.integration.test_cli_after_runs import Site
from tests.support.gitserver import git
from tests.support.hermit import Hermit, need_namespaces
from tests.support.origin import Origin

HOST = "127.0.0.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a project that has recorded two files from a server on loopback, which the user's settings allow."""
    need_namespaces()
    with Origin() as origin:
        origin.route("/one", "one")
        origin.route("/two", "two two")
        rules = f'rules:\n  - pattern: "127.0.0.1:{origin.port}/.*"\n    action: ALLOW\n'
        hermit = Hermit(tmp_path / "user", allow=[f"127.0.0.1:{origin.port}"], rules=rules)
        git("init", "-q", cwd=hermit.project)
        site = Site(hermit, origin, HOST)
        hermit.record(*site.fetch("/one", "/two"))
        origin.forget()
        yield site


def test_a_complete_store_asks_for_nothing(site: Site) -> None:
    assert "2 entries, nothing to fetch" in site.call("store", "fill")[0]
    assert site.origin.asked == []


def test_a_store_on_another_machine_is_filled_and_then_replays(site: Site) -> None:
    shutil.rmtree(site.hermit.store)
    site.hermit.hermetic(*site.fetch("/one"), expect=3)
    shown = site.data("store", "fill")
    assert [one["url"] for one in shown["confirmed"]] == [site.url("/one"), site.url("/two")]
    assert (shown["asked"], shown["differing"], shown["failed"]) == (2, [], [])
    site.hermit.hermetic(*site.fetch("/one", "/two"))


def test_a_corrupt_body_is_fetched_again(site: Site) -> None:
    (body,) = (
        path for path in (site.hermit.store / "bodies").rglob("*") if path.is_file() and path.stat().st_size == 7
    )
    body.chmod(0o600)
    body.write_bytes(b"two tow")
    assert [one["url"] for one in site.data("store", "fill")["confirmed"]] == [site.url("/two")]
    assert body.read_bytes() == b"two two"
    assert site.data("store", "stats")["quarantined"] == 1


def test_an_edited_entry_is_named_and_stays_unconfirmed(site: Site) -> None:
    one, two = site.hermit.entries()
    write_tree(site.hermit.snapshot, Snapshot([one, replace(two, sha256=one.sha256, size=one.size)]))
    shown = site.data("store", "fill", expect=3)
    assert shown["confirmed"] == []
    assert [(d["entry"]["url"], d["found"]["sha256"]) for d in shown["differing"]] == [(two.url, two.sha256)]
    assert shown["differing"][0]["only_headers"] is False
    told = site.call("store", "fill", expect=3)[0]
    assert "UPSTREAM ANSWERS DIFFERENTLY (1)" in told
    site.hermit.hermetic(*site.fetch("/two"), expect=3)


def test_edited_headers_are_told_apart_from_edited_content(site: Site) -> None:
    one, two = site.hermit.entries()
    write_tree(site.hermit.snapshot, Snapshot([one, replace(two, headers=(("content-type", "text/html"),))]))
    shown = site.data("store", "fill", expect=3)
    assert [(d["entry"]["url"], d["only_headers"]) for d in shown["differing"]] == [(two.url, True)]


def test_what_the_rules_do_not_admit_is_not_fetched(site: Site) -> None:
    shutil.rmtree(site.hermit.store)
    site.hermit.allow_only("rules: []\n")
    shown = site.data("store", "fill", expect=3)
    assert [failure["entry"]["url"] for failure in shown["failed"]] == [site.url("/one"), site.url("/two")]
    assert site.origin.asked == []


def test_the_guard_stands_before_a_fill_as_before_any_recording(site: Site) -> None:
    shutil.rmtree(site.hermit.store)
    settings = yaml.safe_load(site.hermit.settings.read_text())
    del settings["upstream"]
    site.hermit.settings.write_text(yaml.safe_dump(settings))
    shown = site.data("store", "fill", expect=3)
    assert ["loopback" in failure["reason"] for failure in shown["failed"]] == [True, True]
    assert site.origin.asked == []


def test_a_fill_leaves_no_run_behind(site: Site) -> None:
    shutil.rmtree(site.hermit.store)
    runs = sorted((site.hermit.folder / "state").rglob("*"))
    site.data("store", "fill")
    assert sorted((site.hermit.folder / "state").rglob("*")) == runs
