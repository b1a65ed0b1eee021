"""Hashes every body of a store, whatever was verified before: what `hermit store verify` does."""

from __future__ import annotations

from dataclasses import dataclass

from hermit_proxy.store.body import BodyCorruptError, BodyMissingError, Store


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Is what was found: bodies and bytes that are good, and an error for each body that was not (now put aside)."""

    bodies: int
    bytes: int
    corrupt: tuple[BodyCorruptError, ...]


def verify(store: Store) -> VerifyReport:
    """Check every body; a body that is deleted meanwhile is passed over."""
    good: list[int] = []
    corrupt: list[BodyCorruptError] = []
    for body in store.bodies():
        try:
            store.check(body.sha256)
        except BodyCorruptError as error:
            corrupt.append(error)
        except BodyMissingError:
            continue
        else:
            good.append(body.size)
    return VerifyReport(len(good), sum(good), tuple(corrupt))
