"""The record as a whole: finds the one entry that answers a request, or says that there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hermit_proxy.request.key import Request, acceptability
from hermit_proxy.snapshot.entry import Entry, Pairs

# An answer without body and type (404, a redirect) suits every Accept, but less than anything that was asked for.
_BODILESS_QUALITY = 0.0001

# What a request is looked up by. Nearly all are a GET without a body, and a tuple for each of these would be a tenth of
# what an entry costs in memory.
_Key = str | tuple[str, str, str | None]


def _key(method: str, url: str, body: str | None) -> _Key:
    return url if method == "GET" and body is None else (method, url, body)


class Snapshot:
    """Holds entries by key; reusable and free of order, as retries and parallel clients need it."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Take entries of any number of hosts; a later entry replaces an earlier one with the same key and vary."""
        # Nearly all keys have one entry; variants stand in a dictionary, so that no number of them makes adding slow.
        self._by_key: dict[_Key, Entry | dict[Pairs, Entry]] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> Entry | None:
        """Put an entry in and give the one that it replaced."""
        key = _key(entry.method, entry.url, entry.body)
        known = self._by_key.get(key)
        if isinstance(known, dict):
            replaced = known.get(entry.vary)
            known[entry.vary] = entry
            return replaced
        if known is None or known.vary == entry.vary:
            self._by_key[key] = entry
            return known
        self._by_key[key] = {known.vary: known, entry.vary: entry}
        return None

    def __iter__(self) -> Iterator[Entry]:
        """Give all entries in the order of the files."""
        return iter(sorted(self.unordered(), key=lambda entry: entry.sort_key))

    def unordered(self) -> Iterator[Entry]:
        """Give all entries as they come, for those who do not need the order of the files."""
        for known in self._by_key.values():
            if isinstance(known, dict):
                yield from known.values()
            else:
                yield known

    def __len__(self) -> int:
        """Count the entries."""
        return sum(len(known) if isinstance(known, dict) else 1 for known in self._by_key.values())

    def variants(self, method: str, url: str, body: str | None = None) -> tuple[Entry, ...]:
        """Give the entries of one key, whatever headers they vary by."""
        known = self._by_key.get(_key(method, url, body))
        if known is None:
            return ()
        return tuple(known.values()) if isinstance(known, dict) else (known,)

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
