"""Text as it is compared: without differences of case, white space, punctuation, digits or Unicode form.

    nfc, nfkc      one of the forms of Unicode (UAX 15)
    accents        without the marks that NFD takes apart from their letters (category Mn)
    lower          each code point in lower case, as one code point
    punctuation    without Unicode's punctuation (categories P) and that of ASCII (`string.punctuation`)
    digits         each run of decimal digits is one 0
    spaces         each run of white space is one space; none at both ends

They are applied in this order, whatever the order in which they are given. `simplify_text` of datatrove, which FineWeb
was compared by, has all of them but the forms; CCNet (Wenzek et al. 2020, arXiv:1911.00359, section 3.1) the same for
lines, with a 0 for each digit.

Forms are Python's own, and asked only of texts in which a code point may change; all else is one pass over the bytes.
The readable twin is `dolma/kernels/reference/normalize.py`.
"""

from __future__ import annotations

import functools
import string
import sys
import unicodedata
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.shingles import lower_case
from dolma.kernels.unicode import DIGIT, SPACE, character_classes, decode
from dolma.kernels.words64 import HIGHS, ONES, byte_at, equal_to, first_mark, load_eight, store

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_NAMES: dict[str, Literal["NFC", "NFKC", "NFD"]] = {"nfc": "NFC", "nfkc": "NFKC", "accents": "NFD"}
FORMS = tuple(_NAMES)
WORDS = (*FORMS, "lower", "punctuation", "digits", "spaces")
_DROPPED = 0x1FFFFF
_IS_SPACE, _IS_DIGIT = 1 << 24, 1 << 25
_CODE_POINT = (1 << 24) - 1
_ASSIGNED = (range(0x40000), range(0xE0000, 0x110000))
_2, _8, _FIRST = np.uint64(2), np.uint64(8), np.uint64(0x80)
_SPACES, _TO_LOWER = np.uint64(0x20) * ONES, np.uint64(0x20) * ONES
_FROM_A, _BEYOND_Z = np.uint64(0x80 - ord("a")) * ONES, np.uint64(0x80 - ord("z") - 1) * ONES
_SECOND_JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


def normalized(utf8: Bytes, starts: Ints, ends: Ints, words: Collection[str]) -> tuple[Bytes, Ints]:
    """The byte spans `[start, end)`, normalized, one after the other, and their offsets, int64 of `(n_spans + 1,)`.

    >>> text = np.frombuffer("É,  b".encode(), np.uint8)
    >>> found, offsets = normalized(text, np.array([0]), np.array([6]), {"lower", "punctuation", "spaces"})
    >>> found.tobytes().decode(), offsets.tolist()
    ('é b', [0, 4])
    """
    text, starts, ends = read_only(utf8, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64)
    for form in FORMS:
        if form in words:
            text, starts, ends = _in_form(text, starts, ends, form)
    wanted = tuple(word for word in WORDS if word in words and word not in FORMS)
    out = np.empty(int((ends - starts).sum()) * 3 // 2 + 8, np.uint8)  # ⱥ has 3 bytes, Ⱥ has 2
    offsets = np.zeros(len(starts) + 1, np.int64)
    capitals = _TO_LOWER if "lower" in wanted else np.uint64(0)
    _rewrite(text, starts, ends, _table(wanted), capitals, "spaces" in wanted, out, offsets)
    return out[: offsets[-1]], offsets


def _in_form(text: Bytes, starts: Ints, ends: Ints, form: str) -> tuple[Bytes, Ints, Ints]:
    """The spans in a form; the very same arrays if none of them changes."""
    odd = np.zeros(len(starts), np.bool_)
    _find_odd(text, starts, ends, _may_change(form), odd)
    if not odd.any():
        return text, starts, ends
    changed = {i: _formed(text[starts[i] : ends[i]].tobytes(), form) for i in np.flatnonzero(odd).tolist()}
    added = np.frombuffer(b"".join(changed.values()), np.uint8)
    sizes = np.array([len(one) for one in changed.values()], np.int64)
    starts, ends, at = starts.copy(), ends.copy(), np.flatnonzero(odd)
    ends[at] = len(text) + np.cumsum(sizes)
    starts[at] = ends[at] - sizes
    return read_only(np.concatenate([text, added]), np.uint8), read_only(starts, np.int64), read_only(ends, np.int64)


def _formed(encoded: bytes, form: str) -> bytes:
    text = encoded.decode(errors="surrogatepass")
    text = unicodedata.normalize(_NAMES[form], text)
    if form == "accents":
        text = "".join(one for one in text if unicodedata.category(one) != "Mn")
    return text.encode(errors="surrogatepass")


@functools.cache
def _may_change(form: str) -> npt.NDArray[np.bool_]:
    """Whether a text with this code point may have another form; bool, shape `(2 ** 21,)`, read-only.

    Not so where it is in the form by itself, is no mark, and is not the second of two that are composed into one.
    """
    table = np.zeros(1 << 21, np.bool_)
    for i in (i for plane in _ASSIGNED for i in plane):
        character = chr(i)
        table[i] |= unicodedata.combining(character) > 0 or not unicodedata.is_normalized(_NAMES[form], character)
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            table[int(parts[1], 16)] = True
    if form == "accents":
        table |= np.array([i <= sys.maxunicode and unicodedata.category(chr(i)) == "Mn" for i in range(1 << 21)])
    table[list(_SECOND_JAMO)] = True
    return read_only(table, np.bool_)


@functools.cache
def _table(words: tuple[str, ...]) -> npt.NDArray[np.uint32]:
    """What becomes of each code point, and whether it is of a run that is one; uint32, shape `(2 ** 21,)`."""
    table = lower_case().copy() if "lower" in words else np.arange(1 << 21, dtype=np.uint32)
    if "punctuation" in words:
        marks = [i for plane in _ASSIGNED for i in plane if unicodedata.category(chr(i)).startswith("P")]
        table[[*marks, *map(ord, string.punctuation)]] = _DROPPED
    if "digits" in words:
        table[character_classes() & DIGIT != 0] = ord("0") | _IS_DIGIT
    if "spaces" in words:
        table[character_classes() & SPACE != 0] = ord(" ") | _IS_SPACE
    return read_only(table, np.uint32)


@kernel
def _find_odd(utf8: Any, starts: Any, ends: Any, changes: Any, odd: Any) -> None:
    for span in range(len(starts)):
        i, end = starts[span], ends[span]
        while i < end:
            if byte_at(utf8, i) < 0x80:
                i += 1
                continue
            code_point, width = decode(utf8, i, end)
            if changes[code_point]:
                odd[span] = True
                break
            i += width


@kernel
def _rewrite(
    utf8: Any, starts: Any, ends: Any, table: Any, capitals: Any, joins_spaces: Any, out: Any, offsets: Any
) -> None:
    n = 0
    for span in range(len(starts)):
        i, end = starts[span], ends[span]
        first, space, digit = n, False, False
        while i < end:
            if i + 8 <= end:
                # Letters of ASCII with single spaces between them: up to eight bytes at a time.
                chunk = load_eight(utf8, i)
                folded = chunk | _TO_LOWER
                letters = (folded + _FROM_A) & ~(folded + _BEYOND_Z) & ~chunk & HIGHS
                spaces = equal_to(chunk, _SPACES)
                if joins_spaces:
                    spaces &= ~(spaces << _8)
                    if space or n == first:
                        spaces &= ~_FIRST
                size = first_mark(~(letters | spaces) & HIGHS)
                if size > 0:
                    if space:
                        if n > first:
                            out[n] = 0x20
                            n += 1
                        space = False
                    store(out, n, chunk | ((letters >> _2) & capitals))
                    i, n, digit = i + size, n + size, False
                    if joins_spaces and byte_at(utf8, i - 1) == 0x20:
                        n, space = n - 1, True
                    continue
            code_point, width = decode(utf8, i, end)
            i += width
            entry = np.int64(table[code_point])
            if entry == _DROPPED:
                continue
            if entry & _IS_SPACE:
                space, digit = True, False
                continue
            if space:
                if n > first:
                    out[n] = 0x20
                    n += 1
                space = False
            is_digit = entry & _IS_DIGIT != 0
            if not (digit and is_digit):
                n = _put(out, n, entry & _CODE_POINT)
            digit = is_digit
        offsets[span + 1] = n


@inlined
def _put(out: Any, n: int, code_point: Any) -> int:
    """Write the UTF-8 of a code point; where the next one goes."""
    if code_point < 0x80:
        out[n] = code_point
        return n + 1
    last = 0x80 | code_point & 0x3F
    if code_point < 0x800:
        out[n], out[n + 1] = 0xC0 | code_point >> 6, last
        return n + 2
    middle = 0x80 | code_point >> 6 & 0x3F
    if code_point < 0x10000:
        out[n], out[n + 1], out[n + 2] = 0xE0 | code_point >> 12, middle, last
        return n + 3
    out[n], out[n + 1] = 0xF0 | code_point >> 18, 0x80 | code_point >> 12 & 0x3F
    out[n + 2], out[n + 3] = middle, last
    return n + 4
