"""Gives mitmproxy's layers the options that they ask for, without the addons that declare them.

`mitmproxy.addons` imports a web application, LDAP and more: two thirds of the recorder's start, and none of it is used.
"""

from __future__ import annotations

from collections.abc import Sequence

from mitmproxy import options

_FIXED: dict[str, tuple[type, bool | int | str]] = {
    "connection_strategy": (str, "lazy"),
    "http2": (bool, False),
    "http3": (bool, False),
    "keep_host_header": (bool, False),
    "normalize_outbound_headers": (bool, True),
    "rawtcp": (bool, False),
    "server": (bool, False),
    "store_streamed_bodies": (bool, False),
    "tcp_timeout": (int, 600),
    "upstream_cert": (bool, False),
    "validate_inbound_headers": (bool, True),
    "websocket": (bool, False),
}
# Bodies are bounded elsewhere: unset in all versions.
_UNSET: Sequence[str] = ("body_size_limit", "stream_large_bodies")


def layer_options() -> options.Options:
    """Make the options; what this version of mitmproxy does not know is declared, so that any version finds its own."""
    made = options.Options()
    for name, (kind, value) in _FIXED.items():
        if name not in made:
            made.add_option(name, kind, value, "")
    for name in _UNSET:
        if name not in made:
            made.add_option(name, str | None, None, "")
    made.update(**{name: value for name, (_, value) in _FIXED.items()})  # type: ignore[no-untyped-call]  # mitmproxy is half typed
    return made
