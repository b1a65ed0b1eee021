"""Counts what an image takes and who works on it, while programs of packages, which may be hostile, write to it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hermit_workers.sandbox.namespaces.holder import ROOT, Child, Holder

# ioctl_ns(2): the pid namespace around the one of a descriptor.
_NS_GET_PARENT = 0xB702
# The length counts where it is more than the blocks: all of a sparse file is read when the tree is packed. Told as
# sandbox.limits.disk does: at 2 % of a core, the total and how often all was counted, 8 bytes each, and three
# numbers for what has no name, of which find(1) knows nothing.
_COUNT = r"""
my ($tree, $least) = @ARGV;
sub total {
    my ($sum, %several) = (0);
    open my $found, "-|", "find", $tree, "-xdev", "-printf", '%n %y %s %b %D:%i\n' or exit 1;
    while (<$found>) {
        my ($names, $kind, $length, $blocks, $place) = split;
        next if $names > 1 && $kind ne "d" && $several{$place}++;
        $length = 0 if $kind ne "f";
        my $most = $blocks * 512 > $length ? $blocks * 512 : $length;
        $sum += $most > $least ? $most : $least;
    }
    close $found;
    return $sum;
}
for (my $walks = 1; ; $walks++) {
    my @before = times;
    syswrite STDOUT, pack("Q<5", total(), $walks, 0, 0, 0) or exit;
    my @after = times;
    my $spent = 0;
    $spent += $after[$_] - $before[$_] for 0 .. 3;
    select undef, undef, undef, 1 + 50 * $spent;
}
"""
_LEAST = 4096


class CountingHolder(Holder):
    """Is a holder around a folder that has no layer: what counts is all of the tree `root` in it."""

    async def count(self, output: int, *, nameless: bool = False) -> Child:  # noqa: ARG002  find(1) sees none
        """Have the tree's size told to a pipe again and again, by programs of the host (mmdebstrap needs perl)."""
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            command = ["perl", "-e", _COUNT, f"{ROOT}/root", str(_LEAST)]
            return await self.spawn(command, descriptors={0: nothing, 1: output, 2: nothing})
        finally:
            os.close(nothing)


class Namespace:
    """Is the pid namespace of what runs now, as an open descriptor.

    States: none -> known (`take`), again with each program -> none (`close`).
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._outer = -1
        self._inner = -1

    def take(self, descriptor: int) -> None:
        """Take over the descriptor of the namespace that the next program is started in."""
        self.close()
        self._outer = descriptor

    def now(self) -> int:
        """Give the namespace whose processes count: mmdebstrap makes one of its own in ours; -1 for none."""
        if self._inner >= 0:
            os.close(self._inner)
        self._inner = -1 if self._outer < 0 else _inside(self._outer)
        return self._outer if self._inner < 0 else self._inner

    def close(self) -> None:
        """Let go of it; doing it twice is safe."""
        for descriptor in {self._outer, self._inner} - {-1}:
            os.close(descriptor)
        self._outer = self._inner = -1


def _inside(outer: int, proc: Path = Path("/proc")) -> int:
    """Open the first namespace found whose parent is `outer`, -1 where there is none."""
    wanted = os.fstat(outer)
    for process in os.listdir(proc):
        if not process.isdecimal():
            continue
        try:
            found = os.open(proc / process / "ns" / "pid", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # gone, or another user's
            continue
        if _has_parent(found, wanted):
            return found
        os.close(found)
    return -1


def _has_parent(namespace: int, wanted: os.stat_result) -> bool:
    try:
        parent = fcntl.ioctl(namespace, _NS_GET_PARENT)
    except OSError:  # it is this process's own, or one around it
        return False
    try:
        return os.path.samestat(os.fstat(parent), wanted)
    finally:
        os.close(parent)
