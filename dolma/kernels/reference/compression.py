"""`dolma.kernels.compression` of one text: the code and its length, defined.

The code is our own, so that its length means the same under every version of every library. A text is parsed from left
to right: at each byte, a hash of the next four leads to the last place with that hash in the document; if the four are
the same, all bytes that go on being the same are one match. Matches and other bytes are symbols of two adaptive codes,
each of which needs -log2 of (times seen before + PRIOR) / (symbols before + PRIOR * size of the alphabet) bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

HASH_BITS, MULTIPLIER = 16, 2654435761
SHORTEST = 4
N_BYTES, N_BITS = 256, 48
"""Symbols: bytes, then matches by the bits of their length less three. Distances: by their bits."""
PRIOR = 0.25


def compressed_bits(text: str) -> float:
    """Length of the code of the text's UTF-8, in bits.

    >>> compressed_bits("") == 0.0, compressed_bits("a" * 1000) < 100
    (True, True)
    """
    data = text.encode()
    symbols: Counter[int] = Counter()
    distances: Counter[int] = Counter()
    extra, i, last_place = 0, 0, dict[int, int]()
    while i < len(data):
        length, distance = _match(data, i, last_place)
        if length:
            n_length, n_distance = (length - SHORTEST + 1).bit_length(), distance.bit_length()
            symbols[N_BYTES + n_length] += 1
            distances[n_distance] += 1
            extra += n_length + n_distance - 2
            _remember(data, i + length - 2, last_place)
            i += length
        else:
            symbols[data[i]] += 1
            i += 1
    return adaptive_bits(symbols.values(), N_BYTES + N_BITS) + adaptive_bits(distances.values(), N_BITS) + extra


def _slot(data: bytes, i: int) -> int:
    """The place of the four bytes at `i` in the table of hashes."""
    return int.from_bytes(data[i : i + SHORTEST], "little") * MULTIPLIER % 2**32 >> (32 - HASH_BITS)


def _remember(data: bytes, i: int, last_place: dict[int, int]) -> None:
    if i + SHORTEST <= len(data):
        last_place[_slot(data, i)] = i


def _match(data: bytes, i: int, last_place: dict[int, int]) -> tuple[int, int]:
    """Length and distance of the match at `i`, zeros if there is none; the place is remembered."""
    candidate = last_place.get(_slot(data, i), -1) if i + SHORTEST <= len(data) else -1
    _remember(data, i, last_place)
    length = 0
    while candidate >= 0 and i + length < len(data) and data[candidate + length] == data[i + length]:
        length += 1
    return (length, i - candidate) if length >= SHORTEST else (0, 0)


def adaptive_bits(counts: Iterable[int], size: int) -> float:
    """Bits that an adaptive code over `size` symbols needs for symbols that occur this often, in whatever order.

    >>> round(adaptive_bits([1], 256), 6)
    8.0
    """
    counts = [n for n in counts if n]
    nats = math.lgamma(sum(counts) + PRIOR * size) - math.lgamma(PRIOR * size)
    return (nats - sum(math.lgamma(n + PRIOR) - math.lgamma(PRIOR) for n in counts)) / math.log(2)


def entropy(items: Sequence[object]) -> float:
    """Shannon entropy of the items' frequencies, bits per item; 0 without items.

    >>> entropy("aabb"), entropy("")
    (1.0, 0.0)
    """
    return -sum(n / len(items) * math.log2(n / len(items)) for n in Counter(items).values()) + 0.0
