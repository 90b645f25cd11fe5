"""MinHash signatures, their bands, and the joining of documents that are verified to be alike.

Signatures are those of datasketch 2 with the scheme `affine32` (Broder 1997; permutations `a * x + b` modulo 2^32 with
odd `a`, after the finalizer of MurmurHash3): with the same shingles, seed and number of permutations they are equal
bit by bit. `x` is the low half of a shingle's hash (`dolma.kernels.shingles`).

Documents are joined bucket by bucket. In a bucket, a document is compared with the members of each cluster it is not in
yet, until one is alike: many copies of one text cost one comparison each, and an answer that is known already costs
none. So the clusters are those of the graph of all pairs that share a bucket and are alike, whatever the order.

The readable twin is `dolma/kernels/reference/minhash.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.hashing import absorb64, finish64, start64
from dolma.kernels.shingles import Shingles

Int64 = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]

_16, _13 = np.uint32(16), np.uint32(13)
_M1, _M2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_KNOWN = 1 << 16  # pairs that were found not to be alike, of those that are remembered
_MIX = np.uint64(0x9E3779B97F4A7C15)


@functools.lru_cache(maxsize=4)
def permutations(n: int, seed: int) -> tuple[Signatures, Signatures]:
    """The factors, which are odd, and the summands of `n` permutations; uint32, shape `(n,)` each."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, n, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return read_only(factors, np.uint32), read_only(generator.randint(0, 1 << 32, n, dtype=np.uint32), np.uint32)


def signatures(shingles: Shingles, *, n: int, seed: int) -> Signatures:
    """The signature of each document; uint32, shape `(n_docs, n)`, all ones for a document without shingles.

    >>> signatures(Shingles(hashes=np.array([7, 7], np.uint64), index=np.array([0, 1, 2])), n=2, seed=1).tolist()
    [[1143669496, 2705891044], [1143669496, 2705891044]]
    """
    found = np.full((len(shingles.index) - 1, n), 0xFFFFFFFF, np.uint32)
    _sign(read_only(shingles.hashes, np.uint64), read_only(shingles.index, np.int64), *permutations(n, seed), found)
    return found


def bands(signatures: Signatures, *, n: int, rows: int) -> npt.NDArray[np.uint64]:
    """The hash of each band, its number included; uint64, shape `(n_docs, n)`, of the first `n * rows` values."""
    found = np.empty((len(signatures), n), np.uint64)
    _hash_bands(read_only(signatures, np.uint32), rows, found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What `join` found: `leaders`, int64, the first document of each document's cluster.

    `compared` counts the pairs whose shingles were looked at, `alike` those of them that were alike enough.
    """

    leaders: Int64
    compared: int
    alike: int


def join(buckets: Int64, index: Int64, sets: Shingles, *, threshold: float) -> Joined:
    """Join the documents of each bucket that are at least this alike; all of a bucket where `threshold` is 0.

    Bucket `i` holds the documents `buckets[index[i]:index[i + 1]]`, by number; `sets` are sorted and without repeats.
    """
    n_docs = len(sets.index) - 1
    leaders = np.arange(n_docs, dtype=np.int64)
    longest = int(np.diff(index).max(initial=0))
    members, clusters = np.empty((2, longest), np.int64), np.empty((2, longest), np.int64)
    known = np.full((_KNOWN, 2), -1, np.int64)
    compared, alike = _join(
        read_only(buckets, np.int64),
        read_only(index, np.int64),
        read_only(sets.hashes, np.uint64),
        read_only(sets.index, np.int64),
        threshold,
        leaders,
        members,
        clusters,
        known,
    )
    settle(leaders)
    return Joined(leaders=leaders, compared=compared, alike=alike)


def unite(leaders: Int64, left: Int64, right: Int64) -> None:
    """Note in `leaders` that the documents of each pair are in one cluster."""
    _unite(leaders, read_only(left, np.int64), read_only(right, np.int64))


def settle(leaders: Int64) -> None:
    """Make each document's leader the first of its cluster."""
    _settle(leaders)


def jaccard(sets: Shingles, left: Int64, right: Int64) -> npt.NDArray[np.float64]:
    """The Jaccard similarity of pairs of documents; float64, shape `(n_pairs,)`. Sets are sorted, without repeats."""
    found = np.empty(len(left), np.float64)
    _jaccards(
        read_only(sets.hashes, np.uint64),
        read_only(sets.index, np.int64),
        read_only(left, np.int64),
        read_only(right, np.int64),
        found,
    )
    return found


@kernel
def _sign(hashes: Any, index: Any, factors: Any, summands: Any, found: Any) -> None:
    n = len(factors)
    for doc in range(len(index) - 1):
        for at in range(index[doc], index[doc + 1]):
            value = np.uint32(hashes[at])
            value = np.uint32(np.uint32(value ^ value >> _16) * _M1)
            value = np.uint32(np.uint32(value ^ value >> _13) * _M2)
            value = np.uint32(value ^ value >> _16)
            for k in range(n):
                permuted = np.uint32(factors[k] * value + summands[k])
                found[doc, k] = min(found[doc, k], permuted)


@kernel
def _hash_bands(signatures: Any, rows: int, found: Any) -> None:
    for doc in range(found.shape[0]):
        for band in range(found.shape[1]):
            state = absorb64(start64(), np.uint64(band))
            for row in range(band * rows, (band + 1) * rows):
                state = absorb64(state, np.uint64(signatures[doc, row]))
            found[doc, band] = finish64(state, rows)


@inlined
def leader_of(leaders: Any, doc: int) -> int:
    while leaders[doc] != doc:
        leaders[doc] = leaders[leaders[doc]]
        doc = leaders[doc]
    return doc


@kernel
def _unite(leaders: Any, left: Any, right: Any) -> None:
    for pair in range(len(left)):
        one, other = leader_of(leaders, left[pair]), leader_of(leaders, right[pair])
        leaders[max(one, other)] = min(one, other)


@kernel
def _settle(leaders: Any) -> None:
    for doc in range(len(leaders)):
        leaders[doc] = leader_of(leaders, doc)


@inlined
def _jaccard(hashes: Any, index: Any, left: int, right: int, least: float) -> float:
    """The similarity of two documents; -1 as soon as it is known to be below `least`."""
    i, i_end = index[left], index[left + 1]
    j, j_end = index[right], index[right + 1]
    smaller, larger = min(i_end - i, j_end - j), max(i_end - i, j_end - j)
    if larger == 0:
        return 1.0
    if smaller < least * larger:
        return -1.0
    together, shared = i_end - i + j_end - j, 0
    while i < i_end and j < j_end:
        one, other = hashes[i], hashes[j]
        shared += one == other
        i += one <= other
        j += other <= one
    return shared / (together - shared)


@kernel
def _jaccards(hashes: Any, index: Any, left: Any, right: Any, found: Any) -> None:
    for pair in range(len(left)):
        found[pair] = _jaccard(hashes, index, left[pair], right[pair], 0.0)


@kernel
def _join(
    buckets: Any,
    starts: Any,
    hashes: Any,
    index: Any,
    threshold: float,
    leaders: Any,
    members: Any,
    clusters: Any,
    known: Any,
) -> tuple[int, int]:
    # Of the bucket at hand: `members` is a list for each cluster (a document's position, then the next one's or -1);
    # `clusters` has the first and the last position in the list of each.
    n_compared, n_alike = 0, 0
    for bucket in range(len(starts) - 1):
        first, n_clusters = starts[bucket], 0
        for at in range(starts[bucket + 1] - first):
            doc = buckets[first + at]
            members[0, at], members[1, at] = doc, -1
            mine, c = -1, 0
            while c < n_clusters:
                is_alike = threshold <= 0 or leader_of(leaders, members[0, clusters[0, c]]) == leader_of(leaders, doc)
                member = clusters[0, c]
                while member >= 0 and not is_alike:
                    other = members[0, member]
                    low, high = min(doc, other), max(doc, other)
                    slot = np.int64((np.uint64(low) * _MIX ^ np.uint64(high)) * _MIX >> np.uint64(48))
                    if known[slot, 0] != low or known[slot, 1] != high:
                        n_compared += 1
                        is_alike = _jaccard(hashes, index, low, high, threshold) >= threshold
                        if is_alike:
                            n_alike += 1
                        else:
                            known[slot, 0], known[slot, 1] = low, high
                    member = members[1, member]
                if not is_alike:
                    c += 1
                    continue
                one, another = leader_of(leaders, members[0, clusters[0, c]]), leader_of(leaders, doc)
                leaders[max(one, another)] = min(one, another)
                if mine < 0:
                    members[1, clusters[1, c]] = at
                    clusters[1, c] = at
                    mine = c
                    c += 1
                else:
                    members[1, clusters[1, mine]] = clusters[0, c]
                    clusters[1, mine] = clusters[1, c]
                    n_clusters -= 1
                    clusters[0, c], clusters[1, c] = clusters[0, n_clusters], clusters[1, n_clusters]
            if mine < 0:
                clusters[0, n_clusters], clusters[1, n_clusters] = at, at
                n_clusters += 1
    return n_compared, n_alike
