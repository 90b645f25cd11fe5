"""Seeds for each use of randomness, derived from the one seed of a run."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def derive_seed(seed: int, *parts: str | int) -> int:
    """A seed in `[0, 2**64)` that depends on `seed` and the parts, in order, and on nothing else, for ever.

    Parts are told apart by type and length, so `("a", "b")`, `("ab",)` and `("a", 1)`, `("a", "1")` all differ.

    >>> derive_seed(0, "shuffle", "books/0000.jsonl", 3)
    592103025514740476
    """
    digest = hashlib.blake2b(digest_size=8, person=b"dolma-seed")
    for part in (seed, *parts):
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise TypeError(f"a seed is made of integers and strings, not {type(part).__name__} {part!r}")
        encoded = part.encode() if isinstance(part, str) else str(int(part)).encode()
        digest.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"i", len(encoded)))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def draws(seed: int, purpose: str, shard: str, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """One uniform number per line of a shard, for one purpose; uint64, the shape of `lines`.

    A line's draw depends on nothing but seed, purpose, shard and line. The mixer is splitmix64 (Steele et al. 2014,
    doi:10.1145/2714064.2660195).

    >>> draws(0, "sample", "books/0000.jsonl", np.array([1, 2])).tolist() == draws(
    ...     0, "sample", "books/0000.jsonl", np.array([2, 1])).tolist()[::-1]
    True
    """
    state = np.uint64(derive_seed(seed, purpose, shard))
    with np.errstate(over="ignore"):
        z = state + lines.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
