"""Finds before a recording what would stop it: an image may have to be made first, which takes minutes."""

from __future__ import annotations

from hermit_proxy.credentials.file import load_bindings
from hermit_proxy.errors import InputError
from hermit_proxy.rules.file import load_rules
from hermit_proxy.run.settings import ProxySettings


def check_rules(proxy: ProxySettings) -> None:
    """Read rules and credentials as the proxy will; raise InputError with every mistake."""
    rules = load_rules(proxy.rules)
    if mistakes := load_bindings(proxy.credentials).check(rules):
        raise InputError(mistakes)
