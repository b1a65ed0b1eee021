"""The record as a whole: finds the one entry that answers a request, or says that there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from hermit_proxy.request.key import Request, acceptability
from hermit_proxy.snapshot.entry import Entry

# An answer without body and type (404, a redirect) suits every Accept, but less than anything that was asked for.
_BODILESS_QUALITY = 0.0001


class Snapshot:
    """Holds entries by key; reusable and free of order, as retries and parallel clients need it."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Take entries of any number of hosts; a later entry replaces an earlier one with the same key and vary."""
        self._by_key: dict[tuple[str, str, str | None], dict[tuple[tuple[str, str], ...], Entry]] = defaultdict(dict)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> Entry | None:
        """Put an entry in and give the one that it replaced."""
        variants = self._by_key[entry.key]
        replaced = variants.get(entry.vary)
        variants[entry.vary] = entry
        return replaced

    def __iter__(self) -> Iterator[Entry]:
        """Give all entries in the order of the files."""
        entries = [entry for variants in self._by_key.values() for entry in variants.values()]
        return iter(sorted(entries, key=lambda entry: entry.sort_key))

    def __len__(self) -> int:
        """Count the entries."""
        return sum(len(variants) for variants in self._by_key.values())

    def variants(self, method: str, url: str, body: str | None = None) -> tuple[Entry, ...]:
        """Give the entries of one key, whatever headers they vary by."""
        return tuple(self._by_key.get((method, url, body), {}).values())

    def find(self, request: Request, url: str | None = None, *, negotiate: bool = True) -> Entry | None:
        """Find the entry that answers a request: its own, or a GET's where a HEAD is asked.

        `url` replaces the target's URL where a rule drops query parameters from the key. With `negotiate` the best of
        the recorded variants will do; without, only what was recorded for these very headers, because a server
        that can be asked may have something better (npm's short document where only the full one was recorded).
        """
        url = url if url is not None else request.target.url
        found = self._choose(request, self.variants(request.method, url, request.body), negotiate=negotiate)
        if found is None and request.method == "HEAD":
            found = self._choose(request, self.variants("GET", url), negotiate=negotiate)
        return found

    @staticmethod
    def _choose(request: Request, variants: tuple[Entry, ...], *, negotiate: bool) -> Entry | None:
        sent = dict(request.varying())
        # The most specific entry first: one that varies by more headers knows more of the request.
        for entry in sorted(variants, key=lambda e: (-len(e.vary), e.vary)):
            if all(sent.get(name) == value for name, value in entry.vary):
                return entry
        return Snapshot._negotiate(sent, variants) if negotiate else None

    @staticmethod
    def _negotiate(sent: dict[str, str], variants: tuple[Entry, ...]) -> Entry | None:
        """Choose as the server would have: a newer client words its Accept differently and means the same."""
        accept = sent.get("accept") or "*/*"
        best: list[Entry] = []
        best_quality = 0.0
        for entry in variants:
            if any(name != "accept" and sent.get(name) != value for name, value in entry.vary):
                continue
            quality = Snapshot._quality(accept, entry)
            if quality > best_quality:
                best, best_quality = [entry], quality
            elif quality == best_quality and quality > 0:
                best.append(entry)
        return best[0] if len({(e.status, e.sha256, e.header("location")) for e in best}) == 1 else None

    @staticmethod
    def _quality(accept: str, entry: Entry) -> float:
        if entry.sha256 is None and entry.header("content-type") is None:
            return _BODILESS_QUALITY
        return acceptability(accept, entry.header("content-type") or "application/octet-stream")
