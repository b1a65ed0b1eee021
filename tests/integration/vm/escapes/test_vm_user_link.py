"""Attacks of a machine's root whose wire is QEMU's own network: each fails, and works once its namespace was opened."""

from __future__ import annotations

import pytest

from tests.integration.vm.escapes.rows import attack
from tests.integration.vm.escapes.siege import Found
from tests.integration.vm.escapes.test_vm_wire import barred

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(900)]


@attack("vm-user-host-addresses")
def test_a_users_guest_reaches_no_address_of_the_host(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-host-addresses", found_by_user.opened)


@attack("vm-user-loopback")
def test_a_users_guest_reaches_no_loopback_of_the_host(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-loopback", found_by_user.opened)


@attack("vm-user-link-local")
def test_a_users_guest_reaches_no_link_local_address(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-link-local", found_by_user.opened)


@attack("vm-user-metadata")
def test_a_users_guest_reaches_no_metadata_service(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-metadata", found_by_user.opened)


@attack("vm-user-public")
def test_a_users_guest_reaches_the_internet_by_nothing_but_its_proxy(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-public", found_by_user.opened)


@attack("vm-user-dns")
def test_a_users_guest_resolves_no_name_by_itself(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-dns", found_by_user.opened)


@attack("vm-user-icmp")
def test_no_address_of_the_host_answers_a_users_guest_that_pings(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-icmp", found_by_user.opened)


@attack("vm-user-agent-port")
def test_nobody_but_the_agent_gets_to_the_agents_port_in_a_users_guest(found_by_user: Found) -> None:
    barred(found_by_user, "vm-user-agent-port", found_by_user.opened)


@attack("vm-user-wire-ports")
def test_of_the_ports_of_a_users_wire_two_are_there_at_most(found_by_user: Found) -> None:
    assert found_by_user.closed["sweep"] == "reached 1: 3128"  # the agent's listens to nobody any more
    assert found_by_user.opened["sweep"] == "reached 1: 9989"
    assert found_by_user.closed["wire"] == "reached proxy user."


@attack("vm-user-services")
def test_what_qemu_answers_by_itself_is_nothing_of_the_host(found_by_user: Found) -> None:
    own = {name.removeprefix("own "): said for name, said in found_by_user.closed.items() if name.startswith("own ")}
    assert {name for name, said in own.items() if said.startswith("reached")} == {"dhcp", "icmp 10.0.2.2 8 0"} & set(
        own
    )
    assert len(own) == 5
