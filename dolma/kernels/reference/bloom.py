"""`dolma.kernels.bloom` on Python integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_64 = 0xFFFFFFFFFFFFFFFF


class Filter:
    """A filter into which items are put one after the other.

    >>> filter = Filter(n_blocks=4096, n_hashes=3)
    >>> filter.look_up([7]), filter.look_up([7])
    ([False], [True])
    """

    def __init__(self, *, n_blocks: int, n_hashes: int) -> None:
        self.blocks = [0] * n_blocks
        self.n_hashes = n_hashes

    def look_up(self, hashes: Sequence[int], *, insert: bool = True) -> list[bool]:
        """Whether each hash of a unit is in the filter; all are put in afterwards, unless `insert` is false."""
        masks = [(item * len(self.blocks) >> 64, sum({1 << bit for bit in self.bits(item)})) for item in hashes]
        known = [self.blocks[block] & mask == mask for block, mask in masks]
        for block, mask in masks if insert else ():
            self.blocks[block] |= mask
        return known

    def bits(self, item: int) -> Iterable[int]:
        """The bits of an item in its block."""
        state = (item ^ 0x243F6A8885A308D3) * 0x9E3779B97F4A7C15 & _64
        state ^= state >> 32
        for _ in range(self.n_hashes):
            state = (state * 6364136223846793005 + 1442695040888963407) & _64
            yield state >> 55

    def to_bytes(self) -> bytes:
        """The bits, as in a file."""
        return b"".join(block.to_bytes(64, "little") for block in self.blocks)
