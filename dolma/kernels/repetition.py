"""How much of a document repeats itself: word n-grams, lines, paragraphs.

An n-gram that occurs twice is made of two (n-1)-grams that occur twice. So each n-gram is counted only at the places
where its two halves were found to repeat: the work of less than one hash table for ordinary text, not nine, and linear
in the words even of text that does nothing but repeat. It begins with pairs of words. Before they are counted, a byte
for each of many slots says whether n-grams fell there once or more often; of pairs in prose that leaves a third, at a
few steps each and without a branch. Words and pairs are told apart by 64-bit hashes, longer n-grams by the pair of
their halves, exactly. One table is used again for each document.

The readable twin is `dolma/kernels/reference/repetition.py`. N-grams: about 430 MB/s of mixed text whose words are
known on one core of a 2-core cloud machine, 2026-11-26. A table that starts small and grows with the different keys
halves the time of the worst case (115 MB of one text 17 times) and doubles all others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import kernel, read_only
from dolma.kernels.hashing import hash64
from dolma.kernels.unicode import count_code_points
from dolma.kernels.views import Blocks, Int64, Words

LONGEST = 10
"""The longest n-gram counted."""
IS_FIRST, IS_COPY = 1, 2

_LAST_MOST_COMMON = 4
_SLOTS = 8
_MULTIPLIER, _0, _32 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0), np.uint64(32)


def ngram_fractions(words: Words) -> npt.NDArray[np.float64]:
    """Shares of the code points of all words of a document that repeated n-grams cover; float64 0-1, `(n_docs, 9)`.

    Column `n - 2` is for n-grams of `n` words. For n from 2 to 4: those of all occurrences of the most frequent n-gram
    (of equally frequent ones the longest, then the first). For n from 5 to 10: those of all occurrences of all n-grams
    that occur at least twice. Code points in several occurrences count once. 0 where no n-gram occurs twice.
    """
    fractions = np.zeros((len(words.index) - 1, LONGEST - 1), dtype=np.float64)
    _ngram_fractions(
        *ngram_arrays(words),
        fractions,
    )
    return fractions


def duplicate_fractions(utf8: npt.NDArray[np.uint8], blocks: Blocks) -> npt.NDArray[np.float64]:
    """The share of lines, or paragraphs, that occur at least twice, and the share of code points in them.

    float64 0-1, shape `(n_docs, 2)`. All occurrences count, the first too. Blocks are compared, and their code points
    counted, without the whitespace at both ends; blank ones count nowhere. 0 for a document without blocks.
    """
    copies = _copies_among(utf8, blocks.text_starts, blocks.text_ends, blocks.index)
    fractions = np.zeros((len(blocks.index) - 1, 2), dtype=np.float64)
    _duplicate_fractions(
        read_only(utf8, np.uint8),
        read_only(blocks.text_starts, np.int64),
        read_only(blocks.text_ends, np.int64),
        read_only(blocks.index, np.int64),
        copies,
        fractions,
    )
    return fractions


def line_copies(utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks) -> npt.NDArray[np.uint8]:
    """Of each line whether it occurs more than once in its document: `IS_FIRST`, `IS_COPY`, or 0; uint8, `(n_lines,)`.

    Lines are compared with the whitespace at their ends; of blank lines too. For `TextBatch.view`.
    """
    return _copies_among(utf8, lines.starts, lines.ends, lines.index)


def _copies_among(utf8: npt.NDArray[np.uint8], starts: Int64, ends: Int64, index: Int64) -> npt.NDArray[np.uint8]:
    """The same of any spans of bytes; document `i` has the spans `index[i]:index[i + 1]`."""
    copies = np.empty(len(starts), dtype=np.uint8)
    most = int(np.diff(index).max(initial=0))
    _copies(
        read_only(utf8, np.uint8),
        read_only(starts, np.int64),
        read_only(ends, np.int64),
        read_only(index, np.int64),
        *table_for(most),
        np.empty(most, dtype=np.uint64),
        np.empty((2, most), dtype=np.uint32),
        copies,
    )
    return read_only(copies, np.uint8)


class NgramArrays(NamedTuple):
    """What the kernels of n-grams take of words, and their memory.

    Document `i` has the words `bounds[i]:bounds[i + 1]`. `table` and `firsts` are the table of `count_keys`, `marks`
    the slots of `repeated`; `scratch` has rows for counts, places and n-grams.
    """

    hashes: npt.NDArray[np.uint64]
    n_characters: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]
    table: npt.NDArray[np.uint64]
    firsts: npt.NDArray[np.uint32]
    marks: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    scratch: npt.NDArray[np.uint32]


def ngram_arrays(words: Words) -> NgramArrays:
    """Those of the words of a batch; memory for its longest document."""
    most = int(words.per_document().max(initial=0))
    return NgramArrays(
        read_only(words.hashes, np.uint64),
        read_only(words.n_characters, np.int32),
        read_only(words.index, np.int64),
        *table_for(most),
        _marks_for(most),
        np.empty(most, dtype=np.uint64),
        np.empty((3, most), dtype=np.uint32),
    )


def table_for(n_items: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """The memory of a hash table for `count_keys` of at most so many keys: uint64 and uint32, of one length."""
    capacity = 1 << int(_bits(n_items))
    return np.empty(capacity, dtype=np.uint64), np.empty(capacity, dtype=np.uint32)


def _marks_for(n_items: int) -> npt.NDArray[np.uint8]:
    """The memory of the slots that `repeated` needs for at most so many keys."""
    return np.empty(1 << int(_mark_bits(n_items)), dtype=np.uint8)


@kernel
def _mark_bits(n_items: int) -> int:
    """Eight slots or more for each item, as a power of two: one pair in nine meets another by chance."""
    bits = 6
    while 1 << bits < _SLOTS * n_items:
        bits += 1
    return bits


@kernel
def pair_words(hashes: Any, places: Any, keys: Any) -> int:
    """Write each pair of neighbours as one key, and its place; return how many."""
    n = max(len(hashes) - 1, 0)
    for i in range(n):
        places[i], keys[i] = i, hashes[i] * _MULTIPLIER + hashes[i + 1]
    return n


@kernel
def repeated(n_keys: int, keys: Any, places: Any, table: Any, firsts: Any, marks: Any, counts: Any, grams: Any) -> int:
    """Keep, at the front, the places whose key occurs twice or more; write which one is there; return how many.

    `grams[k]` is the same number for places of one n-gram, and `counts` has there how often it occurs.
    """
    if n_keys < 2:
        return 0
    bits = _mark_bits(n_keys)
    shift = np.uint64(64 - bits)
    marks[: 1 << bits] = 0
    for i in range(n_keys):
        slot = np.int64((keys[i] * _MULTIPLIER) >> shift)
        marks[slot] += marks[slot] < 2
    n = 0
    for i in range(n_keys):
        key = keys[i]
        places[n], keys[n] = places[i], key
        n += marks[np.int64((key * _MULTIPLIER) >> shift)] > 1
    count_keys(keys[:n], table, firsts, counts, grams)
    return keep_repeated(n, counts, places, grams)


@kernel
def _bits(n_items: int) -> int:
    """The size of a table for so many items, as a power of two: at most two thirds full, if no two are equal."""
    bits = 2
    while 2 << bits < 3 * n_items:
        bits += 1
    return bits


@kernel
def count_keys(keys: Any, table: Any, firsts: Any, counts: Any, grams: Any) -> None:
    """Write for each key where an equal one first occurs, and at that place how many are equal.

    `table` and `firsts` are an open-addressed hash table, cleared here. 0 marks a free slot; the key 0 counts as 1.
    There is no branch on whether a key is new: in text it would be mispredicted half of the time.
    """
    bits = _bits(len(keys))
    last = np.uint64((1 << bits) - 1)
    shift = np.uint64(64 - bits)
    table[: 1 << bits] = 0
    for i in range(len(keys)):
        key = max(keys[i], np.uint64(1))
        slot = (key * _MULTIPLIER) >> shift
        while (table[slot] != key) & (table[slot] != _0):
            slot = (slot + np.uint64(1)) & last
        held = firsts[slot]
        first = np.uint32(i) if table[slot] == _0 else held
        table[slot], firsts[slot] = key, first
        counts[i] = 0
        counts[first] += np.uint32(1)
        grams[i] = first


@kernel
def _ngram_fractions(
    hashes: Any,
    n_characters: Any,
    index: Any,
    table: Any,
    firsts: Any,
    marks: Any,
    keys: Any,
    scratch: Any,
    fractions: Any,
) -> None:
    # `places`: where the n-grams that repeat begin; `grams`: which n-gram is there, by its first place in that list.
    counts, places, grams = scratch[0], scratch[1], scratch[2]
    for doc in range(len(index) - 1):
        sizes = n_characters[index[doc] : index[doc + 1]]
        total = np.int64(0)
        for i in range(len(sizes)):
            total += sizes[i]
        n_keys = pair_words(hashes[index[doc] : index[doc + 1]], places, keys)
        for n in range(2, LONGEST + 1):
            n_places = repeated(n_keys, keys, places, table, firsts, marks, counts, grams)
            if n_places == 0:
                break
            only = n <= _LAST_MOST_COMMON
            chosen = most_common(places, grams, n_places, counts, sizes, n) if only else np.int64(-1)
            fractions[doc, n - 2] = covered(places, grams, n_places, chosen, sizes, n) / total
            n_keys = pair_neighbours(n_places, places, grams, keys)


@kernel
def keep_repeated(n: int, counts: Any, places: Any, grams: Any) -> int:
    """Keep, at the front, the places whose n-gram occurs twice or more; return how many."""
    kept = 0
    for i in range(n):
        gram = grams[i]
        places[kept], grams[kept] = places[i], gram
        kept += counts[gram] > 1
    return kept


@kernel
def pair_neighbours(n_places: int, places: Any, grams: Any, keys: Any) -> int:
    """Keep, at the front, the places whose successor is kept too; write the two n-grams as one key; return how many."""
    n = 0
    for k in range(n_places - 1):
        place = places[k]
        keys[n] = (np.uint64(grams[k]) + np.uint64(1)) << _32 | np.uint64(grams[k + 1])
        follows = places[k + 1] == place + 1
        places[n] = place
        n += follows
    return n


@kernel
def most_common(places: Any, grams: Any, n_places: int, counts: Any, sizes: Any, n: int) -> Any:
    """The most frequent n-gram; of equals the one of most code points, then the first."""
    best, best_count, best_size = np.int64(-1), 0, np.int64(0)
    for k in range(n_places):
        count = counts[grams[k]]
        if count < best_count or grams[k] == best:
            continue
        size = np.int64(0)
        for i in range(places[k], places[k] + n):
            size += sizes[i]
        if count > best_count or size > best_size:
            best, best_count, best_size = np.int64(grams[k]), count, size
    return best


@kernel
def covered(places: Any, grams: Any, n_places: int, chosen: Any, sizes: Any, n: int) -> Any:
    """Code points of the words under the n-grams at these places, each once; only under `chosen` unless -1."""
    n_points, until = np.int64(0), np.int64(0)
    for k in range(n_places):
        if chosen == -1 or chosen == grams[k]:
            place = np.int64(places[k])
            for i in range(max(until, place), place + n):
                n_points += sizes[i]
            until = place + n
    return n_points


@kernel
def _copies(
    utf8: Any, starts: Any, ends: Any, index: Any, table: Any, firsts: Any, hashes: Any, scratch: Any, copies: Any
) -> None:
    counts, grams = scratch[0], scratch[1]
    for doc in range(len(index) - 1):
        begin = index[doc]
        n = index[doc + 1] - begin
        for i in range(n):
            hashes[i] = hash64(utf8, starts[begin + i], ends[begin + i])
        count_keys(hashes[:n], table, firsts, counts, grams)
        for i in range(n):
            copies[begin + i] = (counts[grams[i]] > 1) * (IS_FIRST if grams[i] == i else IS_COPY)


@kernel
def _duplicate_fractions(utf8: Any, starts: Any, ends: Any, index: Any, copies: Any, fractions: Any) -> None:
    for doc in range(len(index) - 1):
        n, n_repeated, covered, total = 0, 0, np.int64(0), np.int64(0)
        for block in range(index[doc], index[doc + 1]):
            if ends[block] > starts[block]:
                size = count_code_points(utf8, starts[block], ends[block])
                n += 1
                total += size
                if copies[block] != 0:
                    n_repeated += 1
                    covered += size
        if n > 0:
            fractions[doc, 0], fractions[doc, 1] = n_repeated / n, covered / total
