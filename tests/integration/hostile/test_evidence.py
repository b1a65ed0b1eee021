"""Attacks on the record: a snapshot edited by hand, a body swapped in the store, a recorder that fails inside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError, NotHermeticError, UsageError
from hermit_proxy.run.events import Outcome
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.open import open_store
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import EVIL, OPEN_RULES, World
from tests.integration.hostile.wire import ask, eventually

URL = "http://pinned.example.org/pkg"
TRUE, FALSE = b"what was recorded", b"what the attacker wants"
LOCKED = "rules:\n- {pattern: 'good.example.org:[0-9]+/.*', action: ALLOW}\n- {pattern: '.*/.*', action: LOCKED}\n"


def refused_at_start(world: World, url: str) -> None:
    """See that a hermetic run does not even begin, and says which entry is at fault."""
    with pytest.raises(NotHermeticError, match=url) as raised:
        world.start("hermetic")
    assert raised.value.exit_code == 3


def refused_while_recording(world: World, url: str, unwanted: bytes) -> None:
    """See that a recording under LOCKED refuses the entry, while it lives on."""
    with world.start("record", rules=LOCKED) as proxy:
        reply = proxy.get(url)
        assert reply.refused, reply
        assert unwanted not in reply.body
        proxy.verdict(Outcome.REFUSED, "nobody observed")


@attack("edited-digest")
def test_a_digest_edited_by_hand_is_named_and_not_replayed(world: World) -> None:
    world.remember(URL, TRUE)
    with world.start("hermetic") as proxy:
        assert proxy.get(URL).body == TRUE
    store = open_store(str(world.store_folder), environ={})
    with store.writer() as writer:  # the attacker's body is in the store already: an upload gets it there
        writer.write(FALSE)
        writer.commit()
    store.close()
    world.edit(URL, hashlib.sha256(TRUE).hexdigest(), hashlib.sha256(FALSE).hexdigest())
    world.edit(URL, f"size: {len(TRUE)}", f"size: {len(FALSE)}")
    refused_at_start(world, URL)
    refused_while_recording(world, URL, FALSE)


@attack("edited-answer")
def test_any_other_part_edited_by_hand_is_named_and_not_replayed(world: World) -> None:
    world.remember(URL, TRUE)
    for old, new in (("status: 200", "status: 203"), ("text/plain", "text/html"), ("/pkg", "/pkg2")):
        world.edit(URL, old, new)
        refused_at_start(world, "pinned.example.org/pkg")
        world.edit(URL, new, old)
    with world.start("hermetic") as proxy:
        assert proxy.get(URL).body == TRUE


@attack("unobserved")
def test_an_entry_that_nobody_observed_is_named_and_not_replayed(world: World) -> None:
    world.remember(URL, FALSE, observed=False)
    refused_at_start(world, URL)
    refused_while_recording(world, URL, FALSE)


@attack("uploaded-evidence")
def test_an_upload_observes_nothing(world: World) -> None:
    with world.start("record") as proxy:
        digest = hashlib.sha256(FALSE).hexdigest()
        url = f"http://hermit.internal/upload/sha256/{digest}"
        assert proxy.send(ask(url, method="PUT", body=FALSE), method="PUT").status == 201
    world.remember(URL, FALSE, observed=False, stored=False)
    refused_at_start(world, URL)


@attack("other-pool")
def test_what_another_repositorys_pool_observed_counts_for_nothing(world: World) -> None:
    world.remember(URL, TRUE)
    with pytest.raises(NotHermeticError, match=URL):
        world.start("hermetic", pool="another")


def body_file(world: World, body: bytes) -> Path:
    sha256 = hashlib.sha256(body).hexdigest()
    return world.store_folder / "bodies" / sha256[:2] / sha256


@attack("swapped-body")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_body_swapped_in_the_store_is_named_and_not_replayed(world: World, mode: str) -> None:
    world.remember(URL, TRUE)
    path = body_file(world, TRUE)
    with world.start(mode, rules=LOCKED) as proxy:
        path.chmod(0o600)
        path.write_bytes(FALSE[: len(TRUE)].ljust(len(TRUE)))
        reply = proxy.get(URL)
        assert reply.status != 200, reply
        assert FALSE[:10] not in reply.body
        event = proxy.verdict(Outcome.FAILED)
        assert hashlib.sha256(TRUE).hexdigest() in (event.reason or "")
        assert event.broken  # so that a command which takes no offence at the 502 does not make a good run
    assert not path.exists()  # put aside, so that `hermit store fill` mends it


@attack("swapped-body-later")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_body_swapped_after_it_was_once_good_is_not_replayed(world: World, mode: str) -> None:
    large = TRUE * 600_000  # more than the replayer keeps in memory
    world.remember(URL, large)
    path = body_file(world, large)
    with world.start(mode, rules=LOCKED) as proxy:
        assert proxy.get(URL).body == large
        other = path.with_name("other")
        other.write_bytes(b"x" * len(large))
        other.replace(path)
        reply = proxy.get(URL)
        assert b"xxxx" not in reply.body
        assert reply.status != 200
        assert eventually(lambda: [e for e in proxy.events() if e.url == URL and e.outcome is Outcome.FAILED])
        proxy.still_good()


@attack("linked-body")
def test_a_link_in_the_store_is_not_followed(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(TRUE)
    world.remember(URL, TRUE)
    path = body_file(world, TRUE)
    path.unlink()
    path.symlink_to(outside)
    with world.start("record", rules=LOCKED) as proxy:
        reply = proxy.get(URL)
        assert reply.status != 200
        assert TRUE not in reply.body
        assert proxy.verdicts()[0].outcome in {Outcome.FAILED, Outcome.REFUSED}
    with pytest.raises(HermitError, match=r"pinned\.example\.org"):
        world.start("hermetic")
    assert outside.read_bytes() == TRUE


@attack("foreign-files")
def test_a_snapshot_file_is_where_its_host_says(world: World, tmp_path: Path) -> None:
    world.remember(URL, TRUE)
    good = (world.network / "pinned.example.org.yaml").read_bytes()
    for name in ("other.example.org.yaml", "..yaml", "PINNED.example.org.yaml", "pinned.example.org.yaml.bak.yaml"):
        (world.network / name).write_bytes(good)
        with pytest.raises(UsageError):
            world.start("hermetic")
        (world.network / name).unlink()
    (tmp_path / "linked.yaml").write_bytes(good)
    (world.network / "linked.example.org.yaml").symlink_to(tmp_path / "linked.yaml")
    with pytest.raises(UsageError):
        world.start("hermetic")


@attack("forged-entry")
def test_an_entry_cannot_split_the_answer_that_is_made_of_it(world: World) -> None:
    world.remember(URL, TRUE)
    for value in ('"text/plain\\r\\nX-Injected: y"', '"text/plain\\0"', '"a\\nb"'):
        path = world.network / "pinned.example.org.yaml"
        before = path.read_text()
        path.write_text(before.replace("text/plain", value) if "text/plain" in before else before)
        with pytest.raises(UsageError):
            world.start("hermetic")
        path.write_text(before)
    entry = Entry(
        "GET",
        URL,
        200,
        sha256=hashlib.sha256(TRUE).hexdigest(),
        size=len(TRUE),
        headers=(("content-type", "a\r\nb: c"),),
    )
    with pytest.raises((ValueError, HermitError)):
        world.remember(URL, TRUE, entry=entry)


SABOTAGE = """
import runpy, sys
from mitmproxy import http
def broken(self, flow, *rest):
    if "evil" in flow.request.pretty_url or "evil" in flow.request.host or b"evil" in flow.request.data.path:
        raise RuntimeError("planted fault")
    return {original}(self, flow, *rest)
from hermit_proxy.recorder.addons.{module} import {cls}
{original} = {cls}.{hook}
{cls}.{hook} = {wrapper}
sys.argv = sys.argv[0:1] + sys.argv[1:]
runpy.run_module("hermit_proxy.run.early", run_name="__main__", alter_sys=True)
"""


@attack("addon-fault")
@pytest.mark.parametrize(
    ("module", "cls", "hook"),
    [
        ("decide", "Decide", "request"),
        ("intake", "Intake", "request"),
        ("intake", "Intake", "requestheaders"),
        ("redirects", "Redirects", "request"),
        ("credentials", "Credentials", "request"),
        ("headers", "Headers", "request"),
        ("report", "Report", "request"),
        ("credentials", "Reflections", "responseheaders"),
        ("headers", "Headers", "responseheaders"),
        ("record", "Record", "responseheaders"),
        ("report", "Report", "responseheaders"),
        ("record", "Record", "response"),
    ],
)
def test_a_fault_in_an_addon_forwards_nothing_and_records_nothing(
    world: World, tmp_path: Path, module: str, cls: str, hook: str
) -> None:
    script = tmp_path / "sabotage.py"
    asynchronous = (cls, hook) == ("Record", "response")
    wrapper = "broken"
    text = SABOTAGE.format(module=module, cls=cls, hook=hook, original="original", wrapper=wrapper)
    if asynchronous:
        text = text.replace("def broken", "async def broken").replace("return original", "return await original")
    script.write_text(text)
    world.origin.route("/evil", b"evil")
    with world.start("record", sabotage=script, rules=OPEN_RULES) as proxy:
        reply = proxy.get(world.origin.url(EVIL, "/evil"))
        # When the last octet has passed, a fault in making the record can only keep it out of the record.
        assert hook == "response" or not (reply.status == 200 and reply.whole), reply
        if hook in {"request", "requestheaders"}:
            assert world.origin.count("/evil") == 0
        event = proxy.verdict(Outcome.FAILED, "the proxy failed")
        assert event.entry is None
    assert not [
        path
        for path in (world.store_folder / "pools").rglob("*.json")
        if hashlib.sha256(b"evil").hexdigest() in path.read_text()
    ]
