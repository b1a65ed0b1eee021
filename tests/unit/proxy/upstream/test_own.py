"""The kernel's list of own addresses agrees with what binding a socket proves."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.upstream import own as ownaddresses
from hermit_proxy.upstream.own import own_addresses


def test_each_address_is_this_machines_own() -> None:
    for address in own_addresses():
        if address.is_link_local:
            continue  # binding those needs the interface
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((str(address), 0))


def test_the_address_that_packets_leave_from_is_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
        chosen.connect(("127.0.0.1", 9))
        assert ipaddress.ip_address(chosen.getsockname()[0]) in own_addresses()


def test_a_kernel_that_does_not_tell_is_an_error_and_not_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    # A namespace without netlink cannot be made in a test; the address family is the next best thing.
    monkeypatch.setattr(ownaddresses.socket, "AF_NETLINK", 9999)
    with pytest.raises(HermitError, match="own addresses cannot be read"):
        own_addresses()
