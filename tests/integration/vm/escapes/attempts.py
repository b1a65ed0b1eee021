"""Lists what is tried from within a guest, by row of docs/threat-model.md; attack.pl knows the kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hermit_workers.vm import protocol
from hermit_workers.vm.protocol import GREETING, Order, Word, frame

HOST = "10.0.2.2"
NEIGHBOUR = ("10.0.2.16", 7777)  # what the other guest calls itself as well, where it waits for this one
CARD = "02aabbccddee"
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254")
LINK_LOCAL = ("169.254.7.7", "169.254.1.1")
PUBLIC = ("198.51.100.7", "203.0.113.7", "2001:db8::7")
SERVERS = ("10.0.2.3", "198.51.100.53")
SIX = "fd00:9::2"  # the host's end, where a test opens IPv6; the guest is fd00:9::15 to itself
UDP_PORTS = (67, 69, 111, 123, 161, 500, 1900, 3128, 4789, 9989)
ETHERTYPES = (
    "0842 22f0 6003 8035 809b 8137 8808 8809 8847 8848 8863 8864 888e 88a2 88b5 88b8 88cc 88e5 88f7 8906 9000 0040"
)
NAMES = (
    "localhost",
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "0",
    "0x7f000001",
    "2130706433",
    "::1",
    "::ffff:127.0.0.1",
    "::",
)

Attempts = Mapping[str, Sequence[Sequence[object]]]


def network(hosts: Sequence[str], servers: Sequence[str], port: int) -> Attempts:
    """Give what is tried on the wire: `hosts` are the machine's own addresses, `servers` its name servers.

    All of it succeeds where siege.open_wire has been.
    """
    four = [host for host in hosts if ":" not in host]
    named = [*SERVERS, *(server for server in servers if ":" not in server)]
    return {
        "vm-host-addresses": [(kind, host, port) for kind in ("tcp", "udp") for host in hosts],
        "vm-loopback-frames": [("syn", host, port) for host in ("127.0.0.1", "127.0.0.53")],
        "vm-wire-udp": [("udp", HOST, one) for one in (*UDP_PORTS, port)],
        "vm-ipv4-link-local": [("tcp", host, port) for host in LINK_LOCAL],
        "vm-metadata": [("tcp", host, 80) for host in METADATA],
        "vm-public": [(kind, host, port) for kind in ("tcp", "udp") for host in PUBLIC],
        "vm-ipv6": [("tcp", SIX, port), ("udp", SIX, port)],
        "vm-ipv6-link-local": [("icmp6", "ff02::1", 128, 129, "00010001")],
        "vm-multicast": [("udp", "224.0.0.251", port), ("udp", "239.255.255.250", 1900), ("igmp",)],
        "vm-broadcast": [("udp", "255.255.255.255", port), ("udp", "10.0.2.255", port)],
        "vm-mdns": [("dns", "224.0.0.251", 5353), ("dns", "ff02::fb%eth0", 5353)],
        "vm-llmnr": [("dns", "224.0.0.252", 5355), ("dns", "10.0.2.255", 137)],
        "vm-dns-udp": [("dns", host) for host in (HOST, *named)],
        "vm-dns-tcp": [("dnstcp", host) for host in (HOST, *named)],
        "vm-resolv-conf": [("resolve", HOST, *named[:2])],
        "vm-dhcp": [("dhcp",)],
        "vm-icmp-echo": [("icmp", host, 8, 0) for host in (HOST, *four)],
        "vm-icmp-time": [("icmp", host, 13, 14) for host in (HOST, *four)],
        "vm-arp": [("arp", host) for host in (*four, "10.0.2.3", METADATA[0])],
        "vm-mac-spoof": [("syn", HOST, 3128, "mac", CARD)],
        "vm-ip-spoof": [("syn", HOST, 3128, "from", "10.0.2.77")],
        "vm-ethertypes": [("ether", kind) for kind in ETHERTYPES.split()],
        "vm-vlan": [("syn", HOST, port, "vlan", 0)],
        "vm-fragments": [("syn", HOST, port, "fragments", 1)],
        "vm-source-route": [("syn", host, port, "via", HOST) for host in four],
        "vm-odd-flags": [("syn", HOST, port, "flags", flags) for flags in ("10", "12", "19")],
        "vm-protocols": [("proto", HOST, number) for number in (46, 88, 89, 112, 115, 253)],
        "vm-agent-port": [("tcp", HOST, 9989)],
    }  # fmt: skip


def lines(attempts: Attempts) -> str:
    """Give attempts as attack.pl takes them; the name of each is its row and its arguments."""
    return "".join(
        "\t".join([f"{row} {' '.join(map(str, one))}", *map(str, one)]) + "\n"
        for row, several in attempts.items()
        for one in several
    )


_HELLO = frame(Word.HELLO, 0, GREETING)
_END = frame(Word.EXITED, 1, b"\0") + frame(Word.CLOSED, 1)

# What a guest says before its first order, what it says then, and the host's reason to hear no more of it.
LIES: dict[str, tuple[bytes, bytes, str]] = {
    "vm-lies-greeting": (frame(Word.HELLO, 0, b"x" * len(GREETING)), b"", "greets with"),
    "vm-lies-before-greeting": (frame(Word.OUTPUT, 1, b"x"), b"", "before its greeting"),
    "vm-lies-greets-twice": (_HELLO, _HELLO + _END, "again"),
    "vm-lies-kind": (_HELLO, b"\xff" + bytes(8) + _END, "no word of its language"),
    "vm-lies-orders": (_HELLO, frame(Order.RUN, 1, b"/\0000\0000\0id\0") + _END, "no word of its language"),
    "vm-lies-length": (_HELLO, b"\x11" + b"\0\0\0\1" + b"\xff" * 4 + _END, "with 4294967295 bytes"),
    "vm-lies-empty": (_HELLO, frame(Word.OUTPUT, 1) + _END, "with 0 bytes"),
    "vm-lies-nobodys": (_HELLO, frame(Word.EXITED, 99, b"\0") + _END, "which nobody gave it"),
    "vm-lies-unasked": (_HELLO, frame(Word.CLEARED, 0) + _END, "what nobody asked"),
    "vm-lies-lease": (_HELLO, frame(Word.LEASED, 0) + _END, "what nobody asked"),
    "vm-lies-limit": (_HELLO, frame(Word.EXCEEDED, 0, b"?") + _END, "speaks of the limit"),
    "vm-lies-ends-twice": (_HELLO, frame(Word.EXITED, 1, b"\0") * 2 + frame(Word.CLOSED, 1), "twice"),
    "vm-lies-status": (_HELLO, frame(Word.EXITED, 1, b"\0\0") + _END, "with 2 bytes"),
}
HONEST = (_HELLO, frame(Word.OUTPUT, 1, b"said") + _END)
CUT = (_HELLO, frame(Word.OUTPUT, 1, b"x" * 100)[:50])
SILENT = (b"", b"")
FLOOD = (_HELLO, frame(Word.OUTPUT, 1, b"x" * protocol.MOST_PAYLOAD))
GARBAGE = b"\xff" * 64
