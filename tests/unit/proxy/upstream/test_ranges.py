"""The table of ranges covers Python's own, and finds the IPv4 address in every IPv6 form."""

from __future__ import annotations

import ipaddress

import pytest

from hermit_proxy.upstream.ranges import REFUSED, embedded_ipv4, refused_range


@pytest.mark.parametrize(
    ("form", "embedded"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:0:10.0.0.1", "10.0.0.1"),
        ("::10.0.0.1", "10.0.0.1"),
        ("64:ff9b::a00:1", "10.0.0.1"),
        ("64:ff9b:1::a00:1", "10.0.0.1"),
        ("2002:a00:1::", "10.0.0.1"),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", "10.0.0.1"),
        ("fe80::5efe:a00:1", "10.0.0.1"),
        ("2606:4700::200:5efe:a00:1", "10.0.0.1"),
        ("::", None),
        ("::1", None),
        ("2606:4700::a00:1", None),
    ],
)
def test_the_ipv4_address_in_a_form_is_found(form: str, embedded: str | None) -> None:
    found = embedded_ipv4(ipaddress.IPv6Address(form))
    assert (None if found is None else str(found)) == embedded


def test_both_ends_of_every_range_are_refused_and_the_neighbours_are_another_range() -> None:
    for refused in REFUSED:
        for address in (refused.network[0], refused.network[-1]):
            assert refused_range(address) is not None


def test_only_ranges_that_a_site_may_use_open_by_name() -> None:
    assert {refused.kind for refused in REFUSED if refused.by_name} == {
        "loopback",
        "private",
        "shared between customers of a carrier",
        "for benchmarks",
        "for documentation",
    }
