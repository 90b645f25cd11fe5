"""Stretches of a text that are compared byte by byte: tokens, and the seeds by which equal windows of units meet.

A unit is a byte or a token. A token is a run of letters, digits and underscores, a letter of a script that is written
without spaces, or a run of other characters that are no white space; marks belong to what stands before them.

A window is `size` neighbouring units of one document. Its seed is the least hash of the runs of `size // 2` units in it
(winnowing: Schleimer, Wilkerson and Aiken 2003), so that equal windows have equal seeds, wherever they stand.
Neighbouring windows have one seed in common most of the time: about `4 / size` seeds for each unit tell of all windows.

The readable twin is `dolma/kernels/reference/substrings.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import ASCII_DIGITS, ASCII_LETTERS, ASCII_SPACES, bits_of, first_bits, lowest_bit
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.hashing import hash64, hash64_of_word
from dolma.kernels.shingles import IS_MARK, STANDS_ALONE, folded
from dolma.kernels.unicode import SPACE, character_classes, decode
from dolma.kernels.words64 import first_bit

Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_SPACE, _WORD, _OTHER, _ALONE, _MARK = 0, 1, 2, 4, 8
_KIND = _WORD | _OTHER
_BASE, _LAST = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD
_0, _1, _32, _ALL = (np.uint64(n) for n in (0, 1, 32, 0xFFFFFFFFFFFFFFFF))
_in_words, _spaces = bits_of(ASCII_LETTERS | ASCII_DIGITS | {ord("_")}), bits_of(ASCII_SPACES)
_beyond = bits_of(range(0x80, 0x100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of a batch, in order. `starts` and `ends`: int64, bytes; `hashes`: uint64, `hash64` of their bytes.

    Those of document `i` are `index[i]` to `index[i + 1]`.
    """

    starts: Int64
    ends: Int64
    hashes: Words
    index: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """The seeds of a batch, in order: `hashes`, uint64, and whose they are: `counts` windows from the unit `first` on.

    `index`, int64, shape `(n_docs + 1,)`: those of document `i` are `index[i]` to `index[i + 1]`.
    """

    hashes: Words
    first: Int64
    counts: Int64
    index: Int64


@functools.cache
def _classes() -> npt.NDArray[np.uint8]:
    """What each code point is to tokens; uint8, shape `(2 ** 21,)`, read-only."""
    table = folded()
    found = np.where(character_classes() & SPACE != 0, _SPACE, _OTHER).astype(np.uint8)
    found[table != 0] = _WORD
    found[table & STANDS_ALONE != 0] |= _ALONE
    found[table & IS_MARK != 0] |= _MARK
    return read_only(found, np.uint8)


def tokens(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Tokens:
    """The tokens of each document.

    >>> text = "a_1 --> 東京!".encode()
    >>> found = tokens(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    >>> [text[i:j].decode() for i, j in zip(found.starts.tolist(), found.ends.tolist())]
    ['a_1', '-->', '東', '京', '!']
    """
    text, bounds = flat_text(utf8, offsets)
    spans = np.empty((2, len(text)), np.int64)
    hashes = np.empty(len(text), np.uint64)
    index = np.zeros(len(bounds), np.int64)
    _find_tokens(text, bounds, _classes(), spans, hashes, index)
    starts, ends = spans[:, : index[-1]]
    return Tokens(starts=starts, ends=ends, hashes=hashes[: index[-1]], index=index)


def seeds(
    units: npt.NDArray[np.uint64] | npt.NDArray[np.uint8], index: Int64, *, size: int, apart: bool = False
) -> Seeds:
    """The seeds of the windows of `size` units, which are the values `units[index[i]:index[i + 1]]` of document `i`.

    Neighbours with equal seeds are told as one; where they are to be `apart`, only if it is the same place of the text
    that both have it of, so that of two equal windows each has a seed of its own.
    """
    if size < 1:
        raise ValueError(f"windows of {size} units; expected 1 or more")
    run = max(size // 2, 1)
    n_windows = int(np.maximum(np.diff(index) - size + 1, 0).sum())
    hashes, windows = np.empty(n_windows, np.uint64), np.empty((2, n_windows), np.int64)
    found = np.zeros(len(index), np.int64)
    _find_seeds(
        read_only(units, units.dtype),
        read_only(index, np.int64),
        size,
        run,
        apart,
        np.uint64(pow(_BASE, run - 1, 1 << 64)),
        np.empty(size - run + 1, np.uint64),
        hashes,
        windows,
        found,
    )
    n = found[-1]
    return Seeds(hashes=hashes[:n], first=windows[0, :n], counts=windows[1, :n], index=found)


@kernel
def _find_tokens(utf8: Any, offsets: Any, classes: Any, spans: Any, hashes: Any, index: Any) -> None:
    n = 0
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        while i < end:
            if i + 64 + 16 <= len(utf8):
                # No token began before `i`. Of the 64 bytes from there, all tokens of ASCII that end among them are
                # taken in one go, as where the next one is does not wait for what this one is.
                words, spaces, beyond = _in_words(utf8, i), _spaces(utf8, i), _beyond(utf8, i)
                if end - i < 64:
                    words, beyond = first_bits(words, end - i), first_bits(beyond, end - i)
                    spaces |= ~first_bits(_ALL, end - i)
                others = ~(words | spaces | beyond)
                firsts = words & ~(words << _1) | others & ~(others << _1)
                stops = (words << _1 & ~words | others << _1 & ~others) & (lowest_bit(beyond) - _1)
                while stops != _0:
                    first, stop = lowest_bit(firsts), lowest_bit(stops)
                    firsts ^= first
                    stops ^= stop
                    start, size = i + first_bit(first), first_bit(stop) - first_bit(first)
                    spans[0, n], spans[1, n] = start, start + size
                    hashes[n] = hash64_of_word(utf8, start, size)
                    n += 1
                done = first_bit(firsts | lowest_bit(beyond))
                if done > 0:
                    i += done
                    continue
            i, n = _odd_token(utf8, i, end, classes, spans, hashes, n)
        index[doc + 1] = n


@inlined
def _odd_token(utf8: Any, i: int, end: int, classes: Any, spans: Any, hashes: Any, n: int) -> tuple[int, int]:
    """Take the token that begins at `i`, one code point at a time; where none does, pass over one code point."""
    code_point, width = decode(utf8, i, end)
    entry = np.int64(classes[code_point])
    start, kind, alone = i, entry & _KIND, entry & _ALONE != 0
    i += width
    if kind == _SPACE:
        return i, n
    while i < end:
        code_point, width = decode(utf8, i, end)
        entry = np.int64(classes[code_point])
        if entry & _MARK == 0 and (alone or entry & _ALONE != 0 or entry & _KIND != kind):
            break
        i += width
    spans[0, n], spans[1, n] = start, i
    hashes[n] = hash64(utf8, start, i)
    return i, n + 1


@kernel
def _find_seeds(
    units: Any,
    index: Any,
    size: int,
    run: int,
    apart: Any,
    power: Any,
    ring: Any,
    hashes: Any,
    windows: Any,
    found: Any,
) -> None:
    """`ring` has room for the hashes of all runs of a window; `power` is the base to the power of `run - 1`."""
    base, last, n_runs = np.uint64(_BASE), np.uint64(_LAST), len(ring)
    n = 0
    for doc in range(len(index) - 1):
        first, end, before = index[doc], index[doc + 1], n
        if end - first >= size:
            state, dropped = _0, _0
            for i in range(first, first + run - 1):
                state = state * base + np.uint64(units[i])
            best, age, slot = _ALL, 0, 0  # `age`: of the latest run that has the least hash
            latest = first  # where that run was, for the window before
            for i in range(first + run - 1, end):
                state = (state - dropped) * base + np.uint64(units[i])
                dropped = power * np.uint64(units[i - run + 1])
                key = (state ^ (state >> _32)) * last
                key ^= key >> _32
                ring[slot] = key
                age += 1
                if key <= best:
                    best, age = key, 0
                elif age >= n_runs:
                    best = key
                    for k in range(n_runs):
                        best = min(best, ring[k])
                    age = slot
                    while ring[age] != best:
                        age = age - 1 if age > 0 else n_runs - 1
                    age = slot - age if age <= slot else slot - age + n_runs
                slot = slot + 1 if slot + 1 < n_runs else 0
                window = i - size + 1
                if window >= first:
                    seed = best * base  # the least of many is small, and ranges of seeds are of one size
                    is_new = n == before or hashes[n - 1] != seed or (apart and i - age != latest)
                    latest = i - age
                    if not is_new:
                        windows[1, n - 1] += 1
                    else:
                        hashes[n], windows[0, n], windows[1, n] = seed, window, 1
                        n += 1
        found[doc + 1] = n
