"""Shingles: the hash of each run of `n` words, or characters, of a document. What near-duplicates are compared by.

A word is a run of letters, digits and underscores with the marks that follow them, in lower case; a letter of a script
that is written without spaces is a word by itself. A character is a code point in lower case; white space counts as one
space, and as none at both ends.

A word's hash is the `hash64` of its UTF-8 (`dolma.kernels.hashing`). A shingle's hash absorbs, as `hash64` absorbs its
chunks, the hashes of the words or the code points of the characters, and their number in the place of a length. A
document with fewer than `n` words or characters has one shingle of all of them; one with none has no shingle.

The readable twin is `dolma/kernels/reference/shingles.py`.
"""

from __future__ import annotations

import functools
import itertools
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import ASCII_DIGITS, ASCII_LETTERS, bits_of, first_bits, lowest_bit
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.hashing import absorb64, finish64, start64
from dolma.kernels.scripts import SCRIPTS, script_table
from dolma.kernels.unicode import ALNUM, ALPHA, SPACE, character_classes, decode, trim_spaces
from dolma.kernels.words64 import HIGHS, ONES, byte_at, first_bit, first_bytes, load, load_eight

Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

STANDS_ALONE, IS_MARK = 1 << 24, 1 << 25
_CODE_POINT = (1 << 24) - 1
_WITHOUT_SPACES = ("Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar")
_SPACE_HELD = 0x20
_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)
_FROM_A, _BEYOND_Z = np.uint64(0x80 - ord("A")) * ONES, np.uint64(0x80 - ord("Z") - 1) * ONES
_CONTINUES, _SIX = np.uint64(0x80), np.uint64(0x3F)
_in_words, _beyond = bits_of(ASCII_LETTERS | ASCII_DIGITS | {ord("_")}), bits_of(range(0x80, 0x100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shingles:
    """Hashes, uint64, shape `(n_shingles,)`: those of document `i` are `hashes[index[i]:index[i + 1]]`."""

    hashes: Words
    index: Int64

    def taken(self, documents: Int64) -> Shingles:
        """The shingles of the documents of these numbers, which rise."""
        sizes = np.diff(self.index)
        wanted = np.zeros(len(sizes), bool)
        wanted[documents] = True
        index = np.concatenate([[0], np.cumsum(sizes[wanted])])
        return Shingles(hashes=self.hashes[np.repeat(wanted, sizes)], index=index)

    def sets(self) -> Shingles:
        """The different shingles of each document, in rising order."""
        found, starts = self.hashes.copy(), self.index[:-1]
        for start, end in itertools.pairwise(self.index.tolist()):
            found[start:end].sort()  # 4 times as fast as np.unique, which hashes
        differs = np.append(True, found[1:] != found[:-1])[: len(found)]
        differs[starts[starts < self.index[1:]]] = True
        index = np.concatenate([[0], np.cumsum(differs)])[self.index]
        return Shingles(hashes=found[differs], index=index)


@functools.cache
def folded() -> npt.NDArray[np.uint32]:
    """Each code point in lower case, with flags for `STANDS_ALONE` and `IS_MARK`; 0 where it is part of no word.

    uint32, shape `(2 ** 21,)`, read-only.
    """
    table = np.zeros(1 << 21, np.uint32)
    in_words = np.flatnonzero(character_classes() & ALNUM)
    table[in_words] = _lower(in_words)
    table[ord("_")] = ord("_")
    alone = np.isin(script_table(), [SCRIPTS.index(name) + 1 for name in _WITHOUT_SPACES])
    table[alone & (character_classes() & ALPHA != 0)] |= STANDS_ALONE
    marks = [i for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i))[0] == "M"]
    table[marks] = _lower(np.array(marks)) | IS_MARK
    return read_only(table, np.uint32)


@functools.cache
def lower_case() -> npt.NDArray[np.uint32]:
    """Each code point in lower case; uint32, shape `(2 ** 21,)`, read-only."""
    table = np.arange(1 << 21, dtype=np.uint32)
    letters = np.flatnonzero(character_classes())
    table[letters] = _lower(letters)
    return read_only(table, np.uint32)


@functools.cache
def _as_they_are() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    """As `character_classes` and `lower_case`, where no character is white space or a capital."""
    return read_only(np.zeros(1 << 21, np.uint8), np.uint8), read_only(np.arange(1 << 21, dtype=np.uint32), np.uint32)


def _lower(code_points: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    return np.array([ord(chr(i).lower()[:1]) for i in code_points.tolist()], np.uint32)


def word_shingles(utf8: npt.NDArray[np.uint8], offsets: Int64, *, n: int) -> Shingles:
    """The shingles of `n` words of each document, in order.

    >>> text = np.frombuffer(b"A b, c!", np.uint8)
    >>> len(word_shingles(text, np.array([0, 7]), n=2).hashes)
    2
    """
    return runs_of(word_hashes(utf8, offsets), n=n)


def word_hashes(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Shingles:
    """The hash of each word of each document, in order."""
    text, bounds = flat_text(utf8, offsets)
    return _words_of(text, bounds[:-1], bounds[1:])


def word_bounds(utf8: npt.NDArray[np.uint8], n_words: int) -> Int64:
    """Where the first `n_words` words of a text lie, in code points; int64, shape `(n_words, 2)`, the end exclusive.

    >>> word_bounds(np.frombuffer("é, ab 東京".encode(), np.uint8), 4).tolist()
    [[0, 1], [3, 5], [6, 7], [7, 8]]
    """
    found = np.empty((n_words, 2), np.int64)
    _find_words(read_only(utf8, np.uint8), folded(), found)
    return found


def span_shingles(
    utf8: npt.NDArray[np.uint8], starts: Int64, ends: Int64, *, n: int, least: int = 1, stride: int = 1
) -> Shingles:
    """The same of each byte span `[start, end)`; spans do not overlap.

    A shingle begins at each `stride`-th word. A span with fewer than `least` words has none.
    """
    return runs_of(_words_of(read_only(utf8, np.uint8), starts, ends), n=n, least=least, stride=stride)


def _words_of(text: npt.NDArray[np.uint8], starts: Int64, ends: Int64) -> Shingles:
    most = len(text) // 2 + len(starts) + 1 if text.size and text.max() < 0x80 else len(text) + 1
    words = np.empty(most, np.uint64)
    index = np.zeros(len(starts) + 1, np.int64)
    _hash_words(text, read_only(starts, np.int64), read_only(ends, np.int64), folded(), words, index)
    return Shingles(hashes=words[: index[-1]], index=index)


def character_shingles(utf8: npt.NDArray[np.uint8], offsets: Int64, *, n: int, folded: bool = True) -> Shingles:
    """The shingles of `n` characters of each document, in order; of the code points as they are, if not `folded`."""
    text, bounds = flat_text(utf8, offsets)
    characters = np.empty(len(text) + 1, np.uint64)
    index = np.zeros(len(bounds), np.int64)
    classes, lower = (character_classes(), lower_case()) if folded else _as_they_are()
    _read_characters(text, bounds, classes, lower, characters, index)
    return runs_of(Shingles(hashes=characters, index=index), n=n)


def runs_of(parts: Shingles, *, n: int, least: int = 1, stride: int = 1) -> Shingles:
    """The shingles of `n` of these parts, words by their hashes or code points, of each document.

    One begins at each `stride`-th part. A document with fewer than `least` parts has none.
    """
    if n < 1:
        raise ValueError(f"shingles of {n} parts; expected 1 or more")
    counts, index = np.diff(parts.index), read_only(parts.index, np.int64)
    n_shingles = np.where(counts >= least, np.maximum(counts - n, 0) // stride + 1, 0)
    found = np.concatenate([[0], np.cumsum(n_shingles)])
    hashes = np.empty(found[-1], np.uint64)
    _hash_runs(read_only(parts.hashes, np.uint64), index, n, stride, read_only(found, np.int64), hashes)
    return Shingles(hashes=hashes, index=found)


@kernel
def _hash_words(utf8: Any, starts: Any, ends: Any, table: Any, words: Any, index: Any) -> None:
    n = _0
    for doc in range(len(starts)):
        i, end = starts[doc], ends[doc]
        while i < end:
            if i + 64 + 16 <= len(utf8):
                # No word began before `i`. Of the 64 bytes from there, all words of ASCII that end among them are
                # taken in one go, as where the next one is does not wait for what this one is.
                inside, beyond = _in_words(utf8, i), _beyond(utf8, i)
                if end - i < 64:
                    inside = first_bits(inside, end - i)
                    beyond = first_bits(beyond, end - i)
                between = ~(inside | beyond)
                firsts = inside & ~(inside << _1)
                stops = between & inside << _1 & (lowest_bit(beyond) - _1)
                while stops != _0:
                    first, stop = lowest_bit(firsts), lowest_bit(stops)
                    firsts ^= first
                    stops ^= stop
                    words[n] = _hash_lower(utf8, i + first_bit(first), first_bit(stop) - first_bit(first))
                    n += _1
                if firsts == _0 and beyond == _0:
                    i += 64
                    continue
                # A word that ends beyond these bytes, or that may not be of ASCII.
                i += first_bit(firsts | lowest_bit(beyond))
            i, n = _odd_words(utf8, i, end, table, words, n)
        index[doc + 1] = n


@inlined
def _hash_lower(utf8: Any, start: int, size: int) -> Any:
    """`hash64` of a word of ASCII in lower case; 16 bytes from its start on are there."""
    state = absorb64(start64(), _lower_eight(first_bytes(load_eight(utf8, start), size)))
    longer = absorb64(state, _lower_eight(first_bytes(load_eight(utf8, start + 8), max(size - 8, 0))))
    state = longer if size > 8 else state
    for k in range(16, size, 8):
        state = absorb64(state, _lower_eight(first_bytes(load(utf8, start + k), size - k)))
    return finish64(state, size)


@inlined
def _lower_eight(chunk: Any) -> Any:
    """Eight bytes of ASCII in lower case."""
    capitals = (chunk + _FROM_A) & ~(chunk + _BEYOND_Z) & HIGHS
    return chunk | capitals >> _2


@kernel
def _odd_words(utf8: Any, i: int, end: int, table: Any, words: Any, n: Any) -> tuple[int, Any]:
    """Hash the words from `i` to the next code point that is in none, one code point at a time."""
    size, alone, state, chunk = 0, False, start64(), _0
    while i < end:
        code_point, width = decode(utf8, i, end)
        entry = np.int64(table[code_point])
        i += width
        begins = entry & IS_MARK == 0 and (alone or entry & STANDS_ALONE != 0)
        if size > 0 and (entry == 0 or begins):
            words[n] = finish64(absorb64(state, chunk) if size & 7 else state, size)
            n += _1
            size, state, chunk = 0, start64(), _0
        if entry == 0:
            break
        if size == 0:
            alone = entry & STANDS_ALONE != 0
        encoded, n_bytes = _encode(entry & _CODE_POINT)
        filled = size & 7
        chunk |= encoded << np.uint64(8 * filled)
        if filled + n_bytes >= 8:
            state = absorb64(state, chunk)
            chunk = encoded >> np.uint64(8 * (8 - filled)) if filled > 0 else _0
        size += n_bytes
    if size > 0:
        words[n] = finish64(absorb64(state, chunk) if size & 7 else state, size)
        n += _1
    return i, n


@kernel
def _find_words(utf8: Any, table: Any, found: Any) -> None:
    n, i, at = 0, 0, 0
    inside = alone = False
    while i < len(utf8):
        code_point, width = decode(utf8, i, len(utf8))
        entry = np.int64(table[code_point])
        begins = entry & IS_MARK == 0 and (alone or entry & STANDS_ALONE != 0)
        if inside and (entry == 0 or begins):
            found[n - 1, 1] = at
            inside = False
        if n == len(found) and not inside:
            return
        if entry != 0 and not inside:
            found[n, 0] = at
            n += 1
            inside, alone = True, entry & STANDS_ALONE != 0
        i += width
        at += 1
    if inside:
        found[n - 1, 1] = at


@inlined
def _encode(code_point: Any) -> tuple[Any, int]:
    """The UTF-8 of a code point, its first byte lowest, and how many bytes there are."""
    value = np.uint64(code_point)
    if code_point < 0x80:
        return value, 1
    last = _CONTINUES | value & _SIX
    if code_point < 0x800:
        return np.uint64(0xC0) | value >> np.uint64(6) | last << np.uint64(8), 2
    before = _CONTINUES | value >> np.uint64(6) & _SIX
    if code_point < 0x10000:
        return np.uint64(0xE0) | value >> np.uint64(12) | before << np.uint64(8) | last << np.uint64(16), 3
    second = _CONTINUES | value >> np.uint64(12) & _SIX
    first = np.uint64(0xF0) | value >> np.uint64(18)
    return first | second << np.uint64(8) | before << np.uint64(16) | last << np.uint64(24), 4


@kernel
def _read_characters(utf8: Any, offsets: Any, classes: Any, lower: Any, characters: Any, index: Any) -> None:
    n = 0
    for doc in range(len(offsets) - 1):
        i = offsets[doc]
        end = trim_spaces(utf8, i, offsets[doc + 1], classes)
        after_space = True
        while i < end:
            byte = byte_at(utf8, i)
            code_point, width = (np.int64(byte), 1) if byte < 0x80 else decode(utf8, i, end)
            i += width
            is_space = classes[code_point] & SPACE != 0
            if not (is_space and after_space):
                characters[n] = np.uint64(_SPACE_HELD if is_space else lower[code_point])
                n += 1
            after_space = is_space
        index[doc + 1] = n


@kernel
def _hash_runs(parts: Any, index: Any, n: int, stride: int, found: Any, hashes: Any) -> None:
    for doc in range(len(index) - 1):
        first, size = index[doc], min(n, index[doc + 1] - index[doc])
        for k in range(found[doc + 1] - found[doc]):
            state = start64()
            for at in range(first + k * stride, first + k * stride + size):
                state = absorb64(state, parts[at])
            hashes[found[doc] + k] = finish64(state, size)
