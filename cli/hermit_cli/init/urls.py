"""Turns the URLs that projects and tools name into patterns of rules, and keeps credentials out of both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from hermit_proxy.rules.pattern import compile_pattern

_PORTS = {"http": 80, "https": 443}
_META = re.compile(r"[.+*?()\[\]{}|^$\\]")
_URL = re.compile(r"https?://[^\s\"'<>\\)\]},;]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:]+\]")


@dataclass(frozen=True, slots=True)
class Site:
    """Is where a URL leads: host with the port where it is not the scheme's own, path, and whether it held a login."""

    scheme: str
    authority: str
    path: str
    login: bool

    @property
    def url(self) -> str:
        """Give the URL without its login."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def pattern(self, *, narrow: bool) -> str:
        """Give the pattern of a rule for what is below the URL, or for the whole host."""
        folder = _META.sub(r"\\\g<0>", self.path.rstrip("/")) if narrow else ""
        for pattern in (f"{self.authority}{folder}/.*", f"{self.authority}/.*"):
            try:
                compile_pattern(pattern)
            except ValueError:
                continue
            return pattern
        raise ValueError(f"no rule can name {self.authority}")


def site(url: str) -> Site | None:
    """Read a URL of HTTP or HTTPS, also with what tools put before it (`git+`, `sparse+`); None for all else."""
    text = re.sub(r"^(?:git|sparse|registry)\+", "", url.strip())
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
        host = f"[{host}]" if ":" in host else host
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        return None
    authority = host if port in {None, _PORTS[parts.scheme]} else f"{host}:{port}"
    return Site(parts.scheme, authority, parts.path, "@" in parts.netloc)


def urls_in(text: str) -> list[str]:
    """Give the URLs of HTTP and HTTPS that stand in a text, each once, in their order."""
    return list(dict.fromkeys(_URL.findall(text)))
