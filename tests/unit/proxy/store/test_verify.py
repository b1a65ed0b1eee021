"""A verification finds every corrupt body, and what it has seen before does not blind it."""

from __future__ import annotations

from pathlib import Path

from hermit_proxy.store.files import FileStore
from hermit_proxy.store.verify import verify


def test_every_corrupt_body_is_named_and_put_aside(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    bodies = []
    for number in range(10):
        with store.writer() as writer:
            writer.write(b"%d" % number * 100)
            bodies.append(writer.commit())
    for body in bodies[:2]:
        path = store.path(*body)
        path.chmod(0o600)
        path.write_bytes(b"x" * body.size)
    report = verify(store)
    assert {error.sha256 for error in report.corrupt} == {body.sha256 for body in bodies[:2]}
    assert (report.bodies, report.bytes) == (8, 800)
    assert verify(store).corrupt == ()
