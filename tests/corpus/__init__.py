"""Real projects as data, and one command that records, unplugs, replays and compares them (docs/corpus.md)."""
