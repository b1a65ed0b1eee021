"""Attacks of a build on the network: every other way out of its cell than the proxy, tried inside and outside."""

from __future__ import annotations

from tests.integration.hostile.bastion import barred, probed
from tests.integration.hostile.rows import attack


@attack("build-tcp")
def test_a_build_connects_to_no_address_of_the_host() -> None:
    barred("tcp")


@attack("build-udp")
def test_a_build_gets_no_answer_to_a_datagram() -> None:
    barred("udp")


@attack("build-dns")
def test_a_build_resolves_no_name_by_itself() -> None:
    barred("dns")


@attack("build-ipv6")
def test_a_build_has_no_other_version_of_ip_either() -> None:
    barred("ipv6")


@attack("build-raw")
def test_a_build_opens_no_raw_socket() -> None:
    barred("raw")


@attack("build-families")
def test_a_build_has_four_families_of_sockets() -> None:
    barred("family")


@attack("build-abstract")
def test_a_build_sees_no_abstract_socket_of_host_or_neighbour() -> None:
    barred("abstract")


@attack("build-unix")
def test_a_build_sees_no_named_socket_of_the_host() -> None:
    barred("unix")


@attack("build-wire")
def test_a_build_makes_no_interface_address_or_route() -> None:
    barred("wire")


@attack("build-port")
def test_a_build_does_not_listen_in_the_proxys_place() -> None:
    assert probed()["wire"]["port"] == "3128"
    barred("port")


@attack("build-protocols")
def test_a_build_has_no_kernel_module_loaded_by_the_protocol_that_it_asks_for() -> None:
    barred("protocol")


@attack("build-netlink")
def test_a_build_speaks_to_no_part_of_the_kernel_by_netlink_but_that_for_routes() -> None:
    barred("netlink")
