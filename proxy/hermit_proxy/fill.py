"""Fetches what a snapshot claims and the store lacks, through a recorder of its own, and observes what is equal.

Guard, credentials, verification and recording are those of any recording, because it is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hermit_proxy.policy import Mode
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule, load_rules
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.process import CA_CERT, ProxyProcess, ProxySettings
from hermit_proxy.run.session import LOG_NAME
from hermit_proxy.snapshot.entry import Entry

_PARALLEL = 8
# Seconds without a byte from the recorder, which has its own limits towards upstream.
_TIMEOUT = 330.0
_CHUNK = 1 << 18
_BODILESS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Different:
    """Is an entry whose request is answered differently now; `found` is the entry that it would be."""

    entry: Entry
    found: Entry


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Is an entry that could not be fetched, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class FillReport:
    """Is what came of each entry; what is confirmed is in the store and observed."""

    confirmed: tuple[Entry, ...] = ()
    differing: tuple[Different, ...] = ()
    failed: tuple[Unfetched, ...] = ()


async def fill(settings: ProxySettings, rundir: Path, entries: Iterable[Entry]) -> FillReport:
    """Fetch entries under the rules of `settings`; `rundir` is a new folder for the recorder's files.

    Raise HermitError where the recorder cannot start. Entries that were asked with a body cannot be asked again: only
    its digest is known.
    """
    wanted = list(dict.fromkeys(entries))
    asked = [entry for entry in wanted if entry.body is None and entry.method in _BODILESS]
    reason = "it was asked with a body, of which only the digest is known: record again"
    unasked = tuple(Unfetched(entry, reason) for entry in wanted if entry not in set(asked))
    if asked:
        await _fetch_all(settings, rundir, asked)
    report = _report(asked, read_log(rundir / LOG_NAME) if asked else ())
    return replace(report, failed=(*unasked, *report.failed))


async def _fetch_all(settings: ProxySettings, rundir: Path, entries: list[Entry]) -> None:
    rules = _write_rules(settings, rundir)
    # An empty snapshot: whatever is there would be replayed instead of fetched.
    changed = replace(settings, rules=rules, snapshot=rundir / "network")
    proxy = await ProxyProcess.start(Mode.RECORD, changed, rundir)
    try:
        await proxy.ready()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            proxy.listen(sock)
            port = sock.getsockname()[1]
        context = ssl.create_default_context(cafile=str(rundir / CA_CERT))
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(_PARALLEL, "fill") as pool:
            # Redirects first: what they lead to may need the signature that only they know.
            for group in _in_order(entries):
                await asyncio.gather(*(loop.run_in_executor(pool, _thd_fetch, port, context, entry) for entry in group))
        await proxy.finish()
    finally:
        await proxy.stop()


def _write_rules(settings: ProxySettings, rundir: Path) -> Path:
    rundir.mkdir(mode=0o700, parents=True, exist_ok=True)
    rules = rundir / "rules.yaml"
    rules.write_text(_asking_again(load_rules(settings.rules).rules), encoding="utf-8")
    return rules


def _in_order(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    redirects = [entry for entry in entries if 300 <= entry.status < 400]  # noqa: PLR2004  3xx
    return redirects, [entry for entry in entries if entry not in set(redirects)]


def _thd_fetch(port: int, context: ssl.SSLContext, entry: Entry) -> None:
    """Ask for one entry and read the answer; how it went stands in the recorder's log."""
    target = parse_url(entry.url)
    connection: http.client.HTTPConnection
    if target.scheme == "https":
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=_TIMEOUT)
        connection.set_tunnel(f"[{target.host}]" if ":" in target.host else target.host, target.port)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        asked = target.request_target if target.scheme == "https" else target.url
        connection.putrequest(entry.method, asked, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", target.authority), *entry.vary):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        while response.read(_CHUNK):
            pass


def _asking_again(rules: Iterable[Rule]) -> str:
    """Write rules that admit the same and always ask upstream."""
    return "rules:\n" + "".join(f"  - {_flow(rule)}\n" for rule in rules) if rules else "rules: []\n"


def _flow(rule: Rule) -> str:
    action = Action.REFRESH if rule.action in {Action.ALLOW, Action.LOCKED} else rule.action
    fields: dict[str, object] = {"pattern": rule.pattern.text, "action": action.value}
    if rule.methods is not None:
        fields["method"] = sorted(rule.methods)
    if rule.query != "keep":
        fields["query"] = rule.query if isinstance(rule.query, str) else list(rule.query)
    rest = (("scheme", rule.scheme), ("max_size", rule.max_size), ("credential", rule.credential))
    fields.update((name, value) for name, value in rest if value is not None)
    if rule.fold_redirect:
        fields["fold_redirect"] = True
    # JSON is YAML's flow style, quotes and all.
    return json.dumps(fields)


def _report(entries: list[Entry], events: Iterable[RequestEvent]) -> FillReport:
    found: dict[tuple[str, str], list[RequestEvent]] = defaultdict(list)
    for event in events:
        found[event.method, event.entry.url if event.entry is not None else event.url].append(event)
    confirmed, differing, failed = [], [], []
    for entry in entries:
        candidates = found[entry.method, entry.url]
        recorded = [event.entry for event in candidates if event.entry is not None]
        same = [other for other in recorded if other.vary == entry.vary] or recorded
        if any(other.id == entry.id for other in recorded):
            confirmed.append(entry)
        elif same:
            differing.append(Different(entry, same[-1]))
        else:
            reasons = [event.reason or event.note or event.outcome.value for event in candidates]
            failed.append(Unfetched(entry, reasons[-1] if reasons else "the recorder was not reached"))
    return FillReport(tuple(confirmed), tuple(differing), tuple(failed))
