"""The commands about snapshot, rules and store, on what real runs of `hermit run` have left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import load_rules
from tests.support.gitserver import git
from tests.support.hermit import Hermit, need_namespaces
from tests.support.origin import Origin

HOST = "files.example.org"


@dataclass
class Site:
    """Is a user of hermit, and the server that a project fetches from."""

    hermit: Hermit
    origin: Origin
    host: str = HOST

    def url(self, path: str) -> str:
        return self.origin.url(self.host, path)

    def fetch(self, *paths: str) -> list[str]:
        """Give the command line that fetches these paths, loopback addresses by the proxy too."""
        return [
            "curl",
            "-sS",
            "--fail",
            "--noproxy",
            "",
            *(part for path in paths for part in ("-o", "/dev/null", self.url(path))),
        ]

    def call(self, *arguments: str | Path, expect: int = 0) -> tuple[str, str]:
        """Run `hermit` in the project as the user would; give what it printed."""
        done = subprocess.run(
            self.hermit.command_line(*arguments),
            cwd=self.hermit.project,
            env=self.hermit.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout, done.stderr

    def data(self, *arguments: str | Path, expect: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call(*arguments, "--json", expect=expect)[0])
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a project that has recorded two files, and committed the record."""
    need_namespaces()
    with Origin() as origin:
        origin.route("/one", "one")
        origin.route("/two", "two two")
        hermit = Hermit(tmp_path / "user", names=[HOST])
        site = Site(hermit, origin)
        git("init", "-q", "-b", "main", cwd=hermit.project)
        hermit.record(*site.fetch("/one", "/two"))
        git("add", "-A", cwd=hermit.project)
        git("commit", "-q", "-m", "recorded", cwd=hermit.project)
        yield site


def test_what_was_recorded_is_shown_and_verified(site: Site) -> None:
    (host,) = site.data("snapshot", "show", HOST)["hosts"]
    assert [(one["url"], one["size"]) for one in host["requests"]] == [(site.url("/one"), 3), (site.url("/two"), 7)]
    assert site.data("snapshot", "verify")["good"] == 2
    assert "The snapshots say the same." in site.call("snapshot", "diff")[0]


def test_a_body_that_changed_upstream_is_the_alarm_of_the_difference(site: Site) -> None:
    site.hermit.rules.write_text(site.hermit.rules.read_text().replace("ALLOW", "REFRESH"))
    site.origin.route("/one", "other")
    site.hermit.record(*site.fetch("/one", "/two"))
    shown = site.data("snapshot", "diff")
    assert [change["new"]["url"] for change in shown["changed"]] == [site.url("/one")]
    assert not shown["added"] + shown["removed"] + shown["headers"]


def test_a_digest_that_was_edited_by_hand_is_named_and_not_replayed(site: Site) -> None:
    file = next(site.hermit.snapshot.iterdir())
    one, two = (entry.sha256 or "" for entry in site.hermit.entries())
    file.write_text(file.read_text().replace(two, one).replace("size: 7", "size: 3"))
    bad = site.data("snapshot", "verify", expect=3)["bad"]
    assert [(one["url"], one["problem"]) for one in bad] == [(site.url("/two"), "nobody observed this answer")]
    site.hermit.hermetic(*site.fetch("/one"), expect=3)


def test_prune_goes_by_the_last_run_that_succeeded(site: Site) -> None:
    site.hermit.hermetic(*site.fetch("/one"))
    site.hermit.hermetic(*site.fetch("/two"), "--no-such-option", expect=1)
    shown = site.data("snapshot", "prune")
    assert [one["url"] for one in shown["dropped"]] == [site.url("/two")]
    assert [entry.url for entry in site.hermit.entries()] == [site.url("/one")]
    site.hermit.hermetic(*site.fetch("/one"))


def test_the_last_run_is_exported_as_a_har_file(site: Site) -> None:
    site.hermit.hermetic(*site.fetch("/two"))
    site.call("snapshot", "export", "--har", "run.har")
    entries = json.loads((site.hermit.project / "run.har").read_text())["log"]["entries"]
    assert [(one["request"]["url"], one["_hermit"]["outcome"]) for one in entries] == [(site.url("/two"), "replayed")]


def test_rules_that_were_suggested_admit_the_next_recording(site: Site) -> None:
    site.hermit.allow_only("rules: []\n")
    site.hermit.record(*site.fetch("/one", "/two"), expect=3)
    site.hermit.allow_only(site.call("rules", "suggest")[0])
    assert site.call("rules", "check")[0].endswith("no mistake\n")
    site.hermit.record(*site.fetch("/one", "/two"))
    assert load_rules(site.hermit.rules).match("GET", parse_url(site.origin.url("other.example.org", "/one"))) is None


def test_the_store_is_counted_checked_and_tidied(site: Site) -> None:
    stats = site.data("store", "stats")
    assert (stats["bodies"], stats["bytes"], stats["pools"]) == (2, 10, {"tests": 2})
    assert site.data("store", "verify")["good"] == 2
    assert site.data("store", "gc", "--grace", "0s")["deleted"] == 0
    site.hermit.hermetic(*site.fetch("/one"))
    site.call("snapshot", "prune")
    git("add", "-A", cwd=site.hermit.project)
    git("commit", "-q", "--amend", "-m", "pruned", cwd=site.hermit.project)
    shown = site.data("store", "gc", "--grace", "0s")
    assert (shown["deleted"], shown["bytes"], shown["kept"]) == (1, 7, 1)
    site.hermit.hermetic(*site.fetch("/one"))


def test_output_that_nobody_reads_to_the_end_is_no_error(site: Site) -> None:
    command = subprocess.list2cmdline(site.hermit.command_line("snapshot", "show", HOST))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | true"],
        cwd=site.hermit.project,
        env=site.hermit.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
