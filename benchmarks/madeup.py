"""Makes up snapshots of any size as a recording leaves them: URLs as registries have them, bodies, observations."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry, Pairs
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import write_tree
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.observation import Observation, escape_pool

POOL = "bench"
HOSTS = 40
TIME = 1_700_000_000.0
_OBSERVER = "0" * 32
_NPM: Pairs = (("accept", "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"),)
_PIP: Pairs = (("accept", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1"),)
# Path (n: a number, h: a digest), what chose the answer, and its type: the shapes of URLs that the corpus recorded.
_SHAPES: tuple[tuple[str, Pairs, str], ...] = (
    ("/simple/package-{n}/", _PIP, "application/vnd.pypi.simple.v1+json"),
    ("/packages/{h:.2}/{h:.60}/package_{n}-1.{n}.0-py3-none-any.whl", (), "application/zip"),
    ("/package-{n}", _NPM, "application/json"),
    ("/@scope%2Fpackage-{n}", _NPM, "application/json"),
    ("/@scope/package-{n}/-/package-{n}-2.0.{n}.tgz", (), "application/octet-stream"),
    ("/pa/ck/package-{n}", (), "text/plain"),
    ("/api/v1/crates/package-{n}/0.{n}.1/download", (), "application/gzip"),
    ("/example.org/group/package-{n}/@v/v1.{n}.0.mod", (), "text/plain"),
    ("/maven2/org/example/package-{n}/1.{n}/package-{n}-1.{n}.jar", (), "application/java-archive"),
    ("/maven2/org/example/package-{n}/1.{n}/package-{n}-1.{n}.jar.sha1", (), "text/plain"),
    ("/debian/pool/main/p/package-{n}/package-{n}_1.{n}-1_amd64.deb", (), "application/vnd.debian.binary-package"),
    ("/debian/dists/stable/main/by-hash/SHA256/{h}", (), "application/octet-stream"),
)


def body(number: int) -> bytes:
    """Give the body of the entry with this number: no two are the same."""
    return b"body %d\n" % number


def entries(count: int) -> Iterator[Entry]:
    """Make up entries: a few hosts have most of them, half say ETag and Last-Modified, one of 50 is negative."""
    numbers = random.Random(count)  # noqa: S311  the same snapshot in each run
    for number in range(count):
        shape, vary, kind = _SHAPES[number % len(_SHAPES)]
        content = body(number)
        digest = hashlib.sha256(content).hexdigest()
        host = min(int(numbers.expovariate(0.15)), HOSTS - 1)
        url = f"https://registry-{host}.example.org{shape.format(n=number, h=digest)}"
        if number % 50 == 49:  # noqa: PLR2004  one of 50
            yield Entry("GET", url, 404, vary=vary)
            continue
        dated = (("last-modified", f"Mon, {number % 28 + 1:02} Jan 2024 10:{number % 60:02}:00 GMT"),)
        headers = (("content-type", kind), ("etag", f'"{digest[:32]}"'), *dated) if number % 2 else ()
        yield Entry("GET", url, 200, None, vary, digest, len(content), headers or (("content-type", kind),))


def write(network: Path, store: Path, made: list[Entry]) -> None:
    """Write the snapshot of these entries, and their bodies and observations into a store.

    The store's files are written here and not by the store, which would sync each: that would take minutes.
    """
    write_tree(network, Snapshot(made), time=TIME)
    FileStore(store).close()
    observations = store / "pools" / escape_pool(POOL) / "observations"
    for shard in range(256):
        (store / f"bodies/{shard:02x}").mkdir(mode=0o700)
        (observations / f"{shard:02x}").mkdir(mode=0o700, parents=True)
    for number, entry in enumerate(made):
        if entry.sha256 is not None:
            _write(f"{store}/bodies/{entry.sha256[:2]}/{entry.sha256}", body(number), 0o400)
        noted = Observation(entry.id, entry.sha256, _OBSERVER, "made-up", TIME)
        _write(f"{observations}/{entry.id[:2]}/{entry.id}.json", f"{noted.to_json()}\n".encode(), 0o600)


def changed(made: list[Entry]) -> Iterator[Entry]:
    """Give the same entries, one of 100 with another digest and one of 100 in another version or new."""
    for number, entry in enumerate(made):
        if number % 100 == 1:
            yield replace(entry, sha256=hashlib.sha256(entry.url.encode()).hexdigest(), size=entry.size or 0)
        elif number % 100 == 2:  # noqa: PLR2004  one of 100
            newer = entry.url.replace(f".{number}", f".{number}1")
            yield replace(entry, url=newer if newer != entry.url else f"{entry.url}new")
        else:
            yield entry


def write_log(path: Path, old: list[Entry], new: list[Entry]) -> None:
    """Write the log of a recording that began with `old` and asked for all of `new`."""
    known = set(old)
    with path.open("w") as log:
        for entry in new:
            here = entry in known
            outcome = Outcome.REPLAYED if here else Outcome.RECORDED
            event = RequestEvent(TIME, entry.method, entry.url, outcome, entry.status, entry_id=entry.id)
            log.write((event if here else replace(event, entry=entry)).to_json() + "\n")


def _write(path: str, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(descriptor, data)
    os.close(descriptor)
