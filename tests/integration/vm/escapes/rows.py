"""Lists the attempts that docs/threat-model.md speaks of, in the table of all attacks (see hostile/threats.py)."""

from __future__ import annotations

from tests.integration.hostile.rows import ROWS, Row, attack

__all__ = ["attack"]

GUEST = "a build in a VM, as root of the machine with every right"
USER = "the same, where no root runs Hermit"

_WIRE = "in the network namespace of the wire are a tap and two sockets; rules let through these alone (`vm/link.py`)"
_NOBODY = f"{_WIRE}; nobody is there to hear it"
_HOME = "QEMU's own network lives in a namespace with a loopback and two sockets (`vm/born.py`)"
_DEVICES = "the machine has no such device (`vm/domain.py`)"
_HEARD = "what a guest says is read in one place, as if it lied (`vm/protocol.py`); the cell is over"
_KEPT = "a machine sees no file, socket or process of the host"


def _rows(who: str, **rows: tuple[str, str]) -> None:
    ROWS.update({f"vm-{name.replace('_', '-')}": Row(who, *told) for name, told in rows.items()})


_rows(
    GUEST,
    host_addresses=("connects and sends to every address of the host, IPv4 and IPv6", _WIRE),
    loopback_names=("connects to the host's loopback by ten names and spellings", "its loopback is its own"),
    loopback_frames=("sends frames for 127.0.0.1 over the wire", f"{_WIRE}; the kernel takes no such address from it"),
    wire_ports=("knocks at all 65,535 ports of the host's end of the wire", f"{_WIRE}: one answers, one says no"),
    wire_udp=("sends datagrams to eleven ports of the host's end: DHCP, TFTP, NTP, IKE, discovery", _WIRE),
    agent_port=(
        "connects to the agent's port a second time",
        "one connection is taken, before the build (`vm/cell.py`)",
    ),
    ipv4_link_local=("connects to addresses of 169.254.0.0/16", _WIRE),
    metadata=("connects to the metadata addresses of six clouds, fd00:ec2::254 too", _WIRE),
    public=("connects and sends to addresses of the internet past the proxy", f"{_WIRE}; nothing is forwarded"),
    ipv6=("gives itself an IPv6 address and a route", "the namespace has no IPv6 (`vm/link.py`)"),
    ipv6_link_local=(
        "asks all neighbours by ff02::1 for an echo",
        "the namespace has no IPv6 (`vm/link.py`)",
    ),
    multicast=("sends to groups, and asks who is in one (IGMP)", _NOBODY),
    broadcast=("sends to 255.255.255.255 and 10.0.2.255", _NOBODY),
    mdns=("asks for a name by mDNS, IPv4 and IPv6", _NOBODY),
    llmnr=("asks for a name by LLMNR and by NetBIOS", _NOBODY),
    dns_udp=("asks name servers over UDP: the host's, a public one, the wire's end, QEMU's 10.0.2.3", _WIRE),
    dns_tcp=("asks the same over TCP", _WIRE),
    resolv_conf=("writes name servers into /etc/resolv.conf and has the C library ask", _WIRE),
    dhcp=("asks for an address by DHCP", _NOBODY),
    icmp_echo=("pings the wire's end and the host's addresses", f"{_WIRE}; echoes are off"),
    icmp_time=("asks for the host's time by ICMP", _WIRE),
    arp=(
        "asks by ARP for the host's addresses and for others",
        "the namespace answers for its one address (`vm/link.py`)",
    ),
    arp_spoof=(
        "says by ARP that its own, the host's and another address are elsewhere",
        "the entry of the guest is permanent, and no other can be made: one address is on the wire (`vm/link.py`)",
    ),
    mac_spoof=("sends frames from another card's address", _WIRE),
    ip_spoof=("sends packets from another address", _WIRE),
    ethertypes=("sends frames of 22 other kinds: IPX, LLDP, PPPoE, MPLS, 802.1X, AoE, LLC", _NOBODY),
    vlan=("wraps packets in VLAN tags", _WIRE),
    fragments=("cuts the head of a packet in three", f"{_WIRE}, which see it whole"),
    source_route=("has packets pass through the host's end on a route of its own", _WIRE),
    odd_flags=("sends ACK, SYN-ACK and FIN that belong to no connection", _WIRE),
    protocols=("speaks six other protocols of IP: RSVP, EIGRP, OSPF, VRRP, L2TP, an unknown one", _WIRE),
    outgoing=(
        "(control) makes every attempt above while each frame that leaves the host's end is kept",
        f"{_WIRE}: three kinds of frames are seen",
    ),
    flood=("sends frames as fast as it can", "they end in its own namespace; the other guest's wire goes on"),
    neighbour_address=("connects to an address at which another guest waits for it", _WIRE),
    neighbour_frames=("sends frames for everybody, its own twin and groups, for another guest to see", _WIRE),
    neighbour_proxy=(
        "connects to what is another build's proxy at the same address",
        "each build has a namespace of its own",
    ),
    sockets=("connects to the sockets of libvirt, QEMU's monitor and others, by name and abstract", _KEPT),
    store=("reads the host's files by their path, and mounts shares (9p, virtiofs)", f"{_KEPT}; {_DEVICES}"),
    vsock=("connects to the host over vsock", _DEVICES),
    serial=("looks for virtio-serial", _DEVICES),
    balloon=("looks for a memory balloon", _DEVICES),
    devices=("looks for other devices: USB, screen, sound, shared memory, watchdog", _DEVICES),
    io_ports=("goes by I/O ports to debug exit, panic and debug console devices, floppy and others", _DEVICES),
    firmware=(
        "reads what QEMU tells firmware: fw_cfg, DMI, ACPI",
        "the machine is told nothing of the host, and each the same",
    ),
    command_line=(
        "reads the kernel's command line and the first process's environment",
        "there is no secret in either (`vm/domain.py`)",
    ),
    authority_key=(
        "looks for the key of the build's authority on all disks and in all files",
        "it is in the proxy's memory only (`run/ca.py`)",
    ),
    image_disk=(
        "writes to the image's disk, after telling its kernel to let it",
        "QEMU has it open for reading (`vm/domain.py`)",
    ),
    data_disk=("writes to the disk that its files came on", "QEMU has it open for reading (`vm/domain.py`)"),
    scratch_end=("writes beyond the end of its disk", "the disk has the size of `limits: disk`"),
    fills_disk=("fills its disk", "the disk has the size of `limits: disk`"),
    fills_memory=("takes all memory", "the machine has `limits: memory`, and its own kernel ends what asks for more"),
    fills_console=(
        "writes three megabytes to its console",
        "virtlogd keeps two files of one megabyte at most (`vm/layout.py`)",
    ),
    clock=("sets its clock and the machine's RTC ahead by years", "both are the guest's own"),
    restarts=("restarts its machine by SysRq", "a machine that restarts is over (`vm/domain.py`), and no other minds"),
    lies_greeting=("greets as an agent of another kind", _HEARD),
    lies_before_greeting=("speaks before it greets", _HEARD),
    lies_greets_twice=("greets again", _HEARD),
    lies_kind=("says a word that there is none of", _HEARD),
    lies_orders=("gives the host an order", _HEARD),
    lies_length=("says that four gigabytes follow", _HEARD),
    lies_empty=("says empty output", _HEARD),
    lies_nobodys=("ends a command that nobody gave", _HEARD),
    lies_unasked=("answers what nobody asked", _HEARD),
    lies_lease=("says that it is ready for a build that nobody gave it", _HEARD),
    lies_limit=("says that a limit was reached that there is none of", _HEARD),
    lies_ends_twice=("ends a command twice", _HEARD),
    lies_status=("gives a status of two bytes", _HEARD),
    lies_cut=("ends in the middle of a word", "the agent has gone (`vm/agent.py`)"),
    lies_flood=("prints without end", "no more than a frame is held (`vm/agent.py`)"),
    lies_silence=("says nothing", "waits have an end (`vm/cell.py`)"),
    lies_as_agent=("takes the agent's own connection from the first process and speaks in it", _HEARD),
)
_rows(
    USER,
    user_host_addresses=("connects and sends to every address of the host", _HOME),
    user_loopback=("connects and sends to what QEMU takes for the host's loopback: 10.0.2.2, fec0::2", _HOME),
    user_wire_ports=("knocks at 12,000 ports there", f"{_HOME}: the two answer"),
    user_link_local=("connects to addresses of 169.254.0.0/16", _HOME),
    user_metadata=("connects to the metadata addresses of six clouds", _HOME),
    user_public=("connects and sends to addresses of the internet past the proxy", _HOME),
    user_dns=("asks QEMU's name server and the host's", f"{_HOME}; QEMU's passes on to nobody"),
    user_icmp=("pings the host's addresses", _HOME),
    user_agent_port=(
        "connects to the agent's port a second time",
        "one connection is taken, before the build (`vm/cell.py`)",
    ),
    user_services=(
        "asks QEMU's own DHCP, echo, TFTP and SMB servers",
        "QEMU answers the first two by itself; the others are off",
    ),
)
