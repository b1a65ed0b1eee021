"""Makes a program for a guest's root that goes by I/O ports, past every driver; no compiler is needed for it."""

from __future__ import annotations

import struct

_BASE = 0x400000
_HEAD = 64 + 56
_CODE = bytes.fromhex(
    "b8ac000000 bf03000000 0f05"  # iopl(3)
    "85c0 7545"  # or end with 1
    "4883ec10"
    "31c0 31ff 4889e6 ba04000000 0f05"  # again: read an order: whether to write, what, and the port (two bytes)
    "83f804 7535"  # or end with 0
    "0fb7542402 0fb6442401 803c2400 7404 66ef ebd9"  # write (as 16 bits), and again
    "ec 880424 b801000000 bf01000000 4889e6 ba01000000 0f05 ebbf"  # read a byte, tell it, and again
    "bf01000000 eb02 31ff b83c000000 0f05"
)
FW_CFG_SELECT, FW_CFG_DATA = 0x510, 0x511
FW_CFG_SIGNATURE, FW_CFG_CMDLINE, FW_CFG_UUID, FW_CFG_FILES = 0x00, 0x15, 0x02, 0x19
# Devices that QEMU has for others: a way to stop it, to tell it things, to read its clipboard or its files.
OTHERS = {
    "debug exit": 0x501,
    "panic": 0x505,
    "debug console": 0x402,
    "second debug console": 0xE9,
    "second serial port": 0x2FA,
    "parallel port": 0x37A,
    "floppy": 0x3F4,
    "screen": 0x3CC,
}
SERIAL = 0x3FA
NOBODY = 0xFF  # what a port gives that nothing is behind


def program() -> bytes:
    """Give an ELF program that takes orders from its input, and prints a byte for each that reads."""
    head = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEAD, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    size = _HEAD + len(_CODE)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000) + _CODE


def read(port: int, count: int = 1) -> bytes:
    """Give the orders to read a port so often."""
    return struct.pack("<BBH", 0, 0, port) * count


def fw_cfg(item: int, count: int) -> bytes:
    """Give the orders to read an item of what QEMU tells the firmware (fw_cfg, in its legacy form)."""
    return struct.pack("<BBH", 1, item, FW_CFG_SELECT) + read(FW_CFG_DATA, count)
