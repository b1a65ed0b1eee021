"""Records what a build fetches: mitmproxy, held to a decision before every connection, hosted by Twisted."""
