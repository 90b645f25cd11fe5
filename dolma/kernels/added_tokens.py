"""Added tokens in a text, as the `tokenizers` library finds them: from the left, the longest, without overlap.

The readable twin is `dolma/kernels/reference/added_tokens.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import BLOCK, equal
from dolma.kernels.compiled import kernel, read_only
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at, first_bit

TEXT, PASSED_OVER = -1, -2
"""As the id of a segment: a piece of text. As the id of a token: it is found, and stays a part of the text."""
MOST_NODES = 1 << 14
MOST_PAIRS = 16
_0, _1 = np.uint64(0), np.uint64(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trie:
    """`following`: int32, `(n_nodes, 256)`, the node behind each byte, 0 for none; node 0 is the root. `ids`: int64, of
    the token that ends at a node, `TEXT` for none. `pairs`: int64, `(n_pairs, 2)`, with what tokens begin: a byte, and
    the next one or -1."""

    following: npt.NDArray[np.int32]
    ids: Int64
    pairs: Int64


def trie_of(tokens: Mapping[str, int]) -> Trie | None:
    """The trie of these tokens; None if they are too many, or begin in too many ways."""
    nodes: list[dict[int, int]] = [{}]
    ids, pairs = [TEXT], set()
    for token, id in tokens.items():
        encoded, node = token.encode(), 0
        pairs.add((encoded[0], encoded[1] if len(encoded) > 1 else -1))
        for byte in encoded:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
                ids.append(TEXT)
            node = nodes[node][byte]
        ids[node] = id
    if len(nodes) > MOST_NODES or len(pairs) > MOST_PAIRS:
        return None
    following = np.zeros((len(nodes), 256), dtype=np.int32)
    for number, node_after in enumerate(nodes):
        following[number, list(node_after)] = list(node_after.values())
    return Trie(
        following=read_only(following, np.int32),
        ids=read_only(ids, np.int64),
        pairs=read_only(sorted(pairs), np.int64),
    )


def segments(text: npt.NDArray[np.uint8], starts: Int64, ends: Int64, trie: Trie) -> tuple[Int64, Int64]:
    """Each span of bytes `[start, end)` cut where there are tokens. Returns rows of segments, and how many each span
    has.

    Rows: start, end, and the id of the token, or `TEXT`; int64, shape `(3, n)`. Each span has a segment at least, which
    may be empty. There must be 64 bytes behind the spans.
    """
    counts = np.empty(len(starts), dtype=np.int64)
    room = 2 * len(starts) + 1024
    while True:
        found = np.empty((3, room), dtype=np.int64)
        n = _segments(
            text,
            read_only(starts, np.int64),
            read_only(ends, np.int64),
            trie.following,
            trie.ids,
            trie.pairs,
            found,
            counts,
        )
        if n <= room:
            return found[:, :n], counts
        room = n


@kernel
def _segments(text: Any, starts: Any, ends: Any, following: Any, ids: Any, pairs: Any, found: Any, counts: Any) -> int:
    """How many segments there are; those that `found` has room for are put there."""
    n, room = 0, found.shape[1]
    for k in range(len(starts)):
        begin, position, before = starts[k], starts[k], n
        for block in range(starts[k], ends[k], BLOCK):
            candidates = _0
            for p in range(len(pairs)):
                one = equal(text, block, np.uint8(pairs[p, 0]))
                if one != _0 and pairs[p, 1] >= 0:
                    one &= equal(text, block + 1, np.uint8(pairs[p, 1]))
                candidates |= one
            while candidates != _0:
                i = block + first_bit(candidates)
                candidates &= candidates - _1
                if i < position:
                    continue
                node, j, id, end = np.int64(0), i, np.int64(TEXT), i
                while j < ends[k]:
                    node = np.int64(following[node, byte_at(text, j)])
                    if node == 0:
                        break
                    j += 1
                    if ids[node] != TEXT:
                        id, end = ids[node], j
                if id == TEXT:
                    continue
                position = end
                if id >= 0:
                    if i > begin:
                        if n < room:
                            found[0, n], found[1, n], found[2, n] = begin, i, TEXT
                        n += 1
                    if n < room:
                        found[0, n], found[1, n], found[2, n] = i, end, id
                    n += 1
                    begin = end
        if begin < ends[k] or n == before:
            if n < room:
                found[0, n], found[1, n], found[2, n] = begin, ends[k], TEXT
            n += 1
        counts[k] = n - before
    return n
