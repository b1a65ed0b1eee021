"""The guard: which addresses a build may reach, and which openings the operator can make by address or by name."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.upstream.guard import Allow, own_addresses, parse_allow, refusal

NOBODY = Allow()
NONE: frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address] = frozenset()


def refused(address: str, allow: Allow = NOBODY, host: str = "", port: int = 443) -> str | None:
    return refusal(ipaddress.ip_address(address), allow, NONE, host=host, port=port)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "100.63.0.1"]
)
def test_the_public_internet_is_reachable(address: str) -> None:
    assert refused(address) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104  the address to refuse
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("192.0.0.8", "for IETF protocols"),
        ("192.0.2.1", "for documentation"),
        ("198.51.100.1", "for documentation"),
        ("203.0.113.1", "for documentation"),
        ("2001:db8::1", "for documentation"),
        ("3fff::1", "for documentation"),
        ("198.18.0.1", "for benchmarks"),
        ("2001:2::1", "for benchmarks"),
        ("192.88.99.1", "a 6to4 relay"),
        ("169.254.169.254", "a metadata service"),
        ("169.254.170.2", "a metadata service"),
        ("100.100.100.200", "a metadata service"),
        ("192.0.0.192", "a metadata service"),
        ("168.63.129.16", "a metadata service"),
        ("fd00:ec2::254", "a metadata service"),
        ("fd20:ce::254", "a metadata service"),
        ("100::1", "discarded"),
        ("4000::1", "outside of the part of IPv6"),
        ("5f00::1", "outside of the part of IPv6"),
        ("::ffff:127.0.0.1", "mapped into IPv6: 127.0.0.1, loopback"),
        ("::ffff:8.8.8.8", "mapped into IPv6: 8.8.8.8"),
        ("::ffff:0:10.0.0.1", "translated into IPv6: 10.0.0.1, private"),
        ("::10.0.0.1", "IPv4-compatible IPv6 address: 10.0.0.1, private"),
        ("::8.8.8.8", "IPv4-compatible IPv6 address: 8.8.8.8"),
        ("64:ff9b::7f00:1", "NAT64: 127.0.0.1, loopback"),
        ("64:ff9b::808:808", "NAT64: 8.8.8.8"),
        ("64:ff9b:1::a9fe:a9fe", "NAT64: 169.254.169.254, a metadata service"),
        ("2002:7f00:1::", "6to4: 127.0.0.1, loopback"),
        ("2002:808:808::1", "6to4: 8.8.8.8"),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", "Teredo: 10.0.0.1, private"),
        ("2606:4700::5efe:7f00:1", "ISATAP tunnel: 127.0.0.1, loopback"),
        ("2606:4700::200:5efe:808:808", "ISATAP tunnel: 8.8.8.8"),
    ],
)
def test_everything_else_is_refused_and_named(address: str, kind: str) -> None:
    reason = refused(address)
    assert reason is not None
    assert kind in reason
    assert str(ipaddress.ip_address(address)) in reason


def test_this_machines_own_public_addresses_are_refused() -> None:
    own = frozenset({ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("2606:4700::1")})
    for address in ("1.2.3.4", "2606:4700::1", "2606:4700::1%eth0"):
        reason = refusal(ipaddress.ip_address(address), NOBODY, own)
        assert reason == f"{address} is this machine itself"
    assert refusal(ipaddress.ip_address("1.2.3.5"), NOBODY, own) is None
    opened = parse_allow(["1.2.3.4"])
    assert refusal(ipaddress.ip_address("1.2.3.4"), opened, own) is None


def test_the_own_addresses_are_read_from_the_kernel() -> None:
    own = own_addresses()
    assert ipaddress.ip_address("127.0.0.1") in own
    assert all(isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) for address in own)


@pytest.mark.parametrize(
    ("item", "address", "host", "port", "admitted"),
    [
        ("10.0.0.0/8", "10.1.2.3", "x", 443, True),
        ("10.0.0.0/8", "11.1.2.3", "x", 443, None),
        ("10.0.0.0/8", "192.168.1.1", "x", 443, False),
        ("127.0.0.1", "127.0.0.1", "x", 1, True),
        ("127.0.0.1:8443", "127.0.0.1", "x", 8443, True),
        ("127.0.0.1:8443", "127.0.0.1", "x", 8444, False),
        ("127.0.0.1", "127.0.0.2", "x", 443, False),
        ("::1", "::1", "x", 443, True),
        ("[::1]:8443", "::1", "x", 8443, True),
        ("[::1]:8443", "::1", "x", 443, False),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "x", 443, False),
        ("::ffff:0:0/96", "::ffff:127.0.0.1", "x", 443, True),
        ("mirror.example.org", "10.0.0.1", "mirror.example.org", 443, True),
        ("Mirror.Example.org.", "10.0.0.1", "mirror.example.org", 443, True),
        ("mirror.example.org", "127.0.0.1", "mirror.example.org", 443, True),
        ("mirror.example.org", "fd00::1", "mirror.example.org", 443, True),
        ("mirror.example.org", "10.0.0.1", "other.example.org", 443, False),
        ("mirror.example.org", "10.0.0.1", "a.mirror.example.org", 443, False),
        ("mirror.example.org:8443", "10.0.0.1", "mirror.example.org", 8443, True),
        ("mirror.example.org:8443", "10.0.0.1", "mirror.example.org", 443, False),
        ("mirror.example.org", "169.254.169.254", "mirror.example.org", 443, False),
        ("mirror.example.org", "fd00:ec2::254", "mirror.example.org", 443, False),
        ("mirror.example.org", "168.63.129.16", "mirror.example.org", 443, False),
        ("mirror.example.org", "100.100.100.200", "mirror.example.org", 443, False),
        ("mirror.example.org", "169.254.1.1", "mirror.example.org", 443, False),
        ("mirror.example.org", "::ffff:10.0.0.1", "mirror.example.org", 443, False),
        ("mirror.example.org", "64:ff9b::a9fe:a9fe", "mirror.example.org", 443, False),
        ("mirror.example.org", "224.0.0.1", "mirror.example.org", 443, False),
        ("mirror.example.org", "0.0.0.0", "mirror.example.org", 443, False),  # noqa: S104  the address to refuse
        ("169.254.169.254", "169.254.169.254", "x", 80, True),
        ("169.254.0.0/16", "169.254.169.254", "x", 80, True),
    ],
)
def test_an_opening_opens_what_it_says(item: str, address: str, host: str, port: int, admitted: bool | None) -> None:
    allow = parse_allow([item])
    if admitted is None:
        assert not allow.covers(ipaddress.ip_address(address), port)
    else:
        assert (refused(address, allow, host, port) is None) is admitted
        assert allow.admits(host, port, ipaddress.ip_address(address)) is admitted


def test_without_the_hosts_name_no_opening_by_name_counts() -> None:
    assert refusal(ipaddress.ip_address("10.0.0.1"), parse_allow(["mirror.example.org"]), NONE) is not None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("0.0.0.0/0", "no off switch"),
        ("::/0", "no off switch"),
        ("0.0.0.0/1", "no off switch"),
        ("10.0.0.1/8", "host bits"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.0.0/8:443", "is no network"),
        ("https://example.org", "is no network"),
        ("*.example.org", "is no host"),
        ("*", "is no host"),
        ("", "is no host"),
        ("example.org:0", "is no host"),
        ("example.org:99999", "is no host"),
        ("user@example.org", "is no host"),
        ("127.1", "is no host"),
        ("0x7f000001", "is no host"),
        ("fe80::1%eth0", "is no host"),
        ("exa mple.org", "is no host"),
        ("bücher.example", "is no host"),
    ],
)
def test_an_opening_that_means_nothing_is_refused_and_named(item: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_allow(["good.example.org", item])
    assert repr(item) in str(caught.value)
    assert words in str(caught.value)


@given(st.ip_addresses())
def test_no_address_is_reachable_that_python_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(address, NOBODY, NONE) is None:
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.is_reserved, address.is_loopback))


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "::ffff:0:0:0", "::", "64:ff9b::", "64:ff9b:1::"]))
def test_no_ipv6_form_of_an_ipv4_address_is_reachable(address: ipaddress.IPv4Address, prefix: str) -> None:
    form = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
    by_name = parse_allow(["mirror.example.org", "10.0.0.0/8", "127.0.0.0/8"])
    if form != ipaddress.IPv6Address("::1"):
        assert refusal(form, by_name, NONE, host="mirror.example.org", port=443) is not None


@given(st.text("0123456789abcdef.:/[]%*@- é", max_size=24))
def test_no_opening_crashes_the_reader(item: str) -> None:
    try:
        allow = parse_allow([item])
    except ValueError:
        return
    assert len(allow.hosts) + len(allow.networks) == 1
