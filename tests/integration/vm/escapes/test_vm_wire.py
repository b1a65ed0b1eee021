"""Attacks of a machine's root on the wire: each fails in the guest, and works there once a test has opened the wire."""

from __future__ import annotations

import pytest

from tests.integration.vm.escapes import attempts
from tests.integration.vm.escapes.besieged import FLOOD
from tests.integration.vm.escapes.rows import attack
from tests.integration.vm.escapes.siege import Found

pytestmark = [pytest.mark.registry, pytest.mark.timeout(900)]

ANSWERS = {
    f"arp 2 {attempts.HOST}",
    f"ip 6 {attempts.HOST} 10.0.2.15 from 3128",
    f"ip 6 {attempts.HOST} 10.0.2.15 from 9989",
}


def barred(found: Found, row: str, control: dict[str, str]) -> None:
    """See that every attempt of a row failed, and that each works where the barrier is absent."""
    tried = {name: said for name, said in found.closed.items() if name.startswith(f"{row} ")}
    assert tried
    assert {name: said for name, said in tried.items() if said.startswith(("reached", "signal"))} == {}
    assert {name: control[name] for name in tried if not control[name].startswith("reached")} == {}


@attack("vm-host-addresses")
def test_a_guest_reaches_no_address_of_the_host(found: Found) -> None:
    barred(found, "vm-host-addresses", found.opened)


@attack("vm-loopback-frames")
def test_a_guest_reaches_the_hosts_loopback_by_no_frame(found: Found) -> None:
    barred(found, "vm-loopback-frames", found.opened)


@attack("vm-wire-udp")
def test_a_guest_gets_no_answer_to_a_datagram(found: Found) -> None:
    barred(found, "vm-wire-udp", found.opened)


@attack("vm-agent-port")
def test_nobody_but_the_agent_gets_to_the_agents_port(found: Found) -> None:
    barred(found, "vm-agent-port", found.opened)


@attack("vm-ipv4-link-local")
def test_a_guest_reaches_no_link_local_address(found: Found) -> None:
    barred(found, "vm-ipv4-link-local", found.opened)


@attack("vm-metadata")
def test_a_guest_reaches_no_metadata_service(found: Found) -> None:
    barred(found, "vm-metadata", found.opened)


@attack("vm-public")
def test_a_guest_reaches_the_internet_by_nothing_but_its_proxy(found: Found) -> None:
    barred(found, "vm-public", found.opened)


@attack("vm-ipv6")
def test_a_guest_has_no_ipv6_but_its_own(found: Found) -> None:
    barred(found, "vm-ipv6", found.opened)


@attack("vm-ipv6-link-local")
def test_no_neighbour_answers_by_ipv6(found: Found) -> None:
    barred(found, "vm-ipv6-link-local", found.opened)


@attack("vm-multicast")
def test_no_group_answers_a_guest(found: Found) -> None:
    barred(found, "vm-multicast", found.opened)


@attack("vm-broadcast")
def test_nobody_answers_what_a_guest_says_to_everybody(found: Found) -> None:
    barred(found, "vm-broadcast", found.opened)


@attack("vm-mdns")
def test_a_guest_finds_no_name_by_mdns(found: Found) -> None:
    barred(found, "vm-mdns", found.opened)


@attack("vm-llmnr")
def test_a_guest_finds_no_name_by_llmnr_or_netbios(found: Found) -> None:
    barred(found, "vm-llmnr", found.opened)


@attack("vm-dns-udp")
def test_no_name_server_answers_a_datagram_of_a_guests(found: Found) -> None:
    barred(found, "vm-dns-udp", found.opened)


@attack("vm-dns-tcp")
def test_no_name_server_takes_a_connection_of_a_guests(found: Found) -> None:
    barred(found, "vm-dns-tcp", found.opened)


@attack("vm-resolv-conf")
def test_a_guest_resolves_no_name_whatever_its_settings_say(found: Found) -> None:
    barred(found, "vm-resolv-conf", found.opened)


@attack("vm-dhcp")
def test_a_guest_is_offered_no_address(found: Found) -> None:
    barred(found, "vm-dhcp", found.opened)


@attack("vm-icmp-echo")
def test_the_host_does_not_answer_a_guests_ping(found: Found) -> None:
    barred(found, "vm-icmp-echo", found.opened)


@attack("vm-icmp-time")
def test_the_host_does_not_tell_a_guest_the_time(found: Found) -> None:
    barred(found, "vm-icmp-time", found.opened)


@attack("vm-arp")
def test_the_host_answers_arp_for_one_address_only(found: Found) -> None:
    barred(found, "vm-arp", found.opened)


@attack("vm-mac-spoof")
def test_a_frame_from_another_card_is_not_answered(found: Found) -> None:
    barred(found, "vm-mac-spoof", found.opened)


@attack("vm-ip-spoof")
def test_a_packet_from_another_address_is_not_answered(found: Found) -> None:
    barred(found, "vm-ip-spoof", found.opened)


@attack("vm-ethertypes")
def test_no_frame_of_another_kind_is_answered(found: Found) -> None:
    barred(found, "vm-ethertypes", found.opened)


@attack("vm-vlan")
def test_a_tag_leads_past_no_rule(found: Found) -> None:
    barred(found, "vm-vlan", found.opened)


@attack("vm-fragments")
def test_a_packet_in_pieces_leads_past_no_rule(found: Found) -> None:
    barred(found, "vm-fragments", found.opened)


@attack("vm-source-route")
def test_a_packet_with_a_route_of_its_own_leads_nowhere(found: Found) -> None:
    barred(found, "vm-source-route", found.opened)


@attack("vm-odd-flags")
def test_a_segment_of_no_connection_is_not_answered(found: Found) -> None:
    barred(found, "vm-odd-flags", found.opened)


@attack("vm-protocols")
def test_no_other_protocol_of_ip_is_answered(found: Found) -> None:
    barred(found, "vm-protocols", found.opened)


@attack("vm-neighbour-address")
def test_another_guest_is_out_of_reach(found: Found) -> None:
    barred(found, "vm-neighbour-address", found.opened)


@attack("vm-loopback-names")
def test_no_name_of_loopback_is_the_hosts(found: Found) -> None:
    barred(found, "vm-loopback-names", found.host)


@attack("vm-wire-ports")
def test_of_all_ports_of_the_wire_two_are_there(found: Found) -> None:
    assert found.closed["sweep"] == "reached 2: 3128 9989"
    count = int(found.opened["sweep"].split()[1].rstrip(":"))
    assert count > 100  # frames are lost where there are many


@attack("vm-outgoing")
def test_of_all_that_a_guest_sends_nothing_else_is_answered(found: Found) -> None:
    answers = set(found.facts["answers"])
    assert answers
    assert answers <= ANSWERS
    assert len(found.facts["answers with open barriers"]) > 2 * len(ANSWERS)


@attack("vm-arp-spoof")
def test_what_a_guest_says_by_arp_is_not_believed(found: Found) -> None:
    assert found.closed["claim"] == "reached: sent"
    tap = found.facts["tap"]
    assert found.facts["entries"] == [f"10.0.2.15 dev {tap} lladdr 52:54:00:00:02:15 PERMANENT"]
    claimed = f"{attempts.NEIGHBOUR[0]} dev {tap} lladdr {bytes.fromhex(attempts.CARD).hex(':')} "
    assert any(entry.startswith(claimed) for entry in found.facts["entries of an open net"])


@attack("vm-neighbour-frames")
def test_no_frame_of_one_guest_comes_to_another_or_to_the_host(found: Found) -> None:
    marked = found.facts["marked"]
    assert marked["own"] > 0
    assert marked["other"] == marked["host"] == 0
    assert found.facts["marked with a cable"] > 0


@attack("vm-neighbour-proxy")
def test_one_address_is_each_builds_own_proxy(found: Found) -> None:
    assert found.facts["wires"] == ["reached proxy one.", "reached proxy other."]


@attack("vm-flood")
def test_a_flood_is_in_its_own_namespace(found: Found) -> None:
    own, other = found.facts["flooded"]
    sent = int(found.facts["flood"].split()[-1])
    assert FLOOD // 2 < sent <= FLOOD
    assert own > FLOOD // 2
    assert other < FLOOD // 10
    assert found.facts["beside a flood"] == "reached proxy other."
