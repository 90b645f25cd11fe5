"""Pre-tokens: where the published patterns of byte-level tokenizers cut a text, without a regular expression.

A form is a family of patterns:

- `GPT2`: GPT-2, GPT-NeoX, OLMo 1; what `ByteLevel` does with `use_regex`;
- `CL100K`: cl100k, dolma2, Llama 3; with runs of one digit, Qwen 2;
- `O200K`: o200k.

`pattern_of` has the expressions. The whole text is cut: nothing lies between two pre-tokens, and where one begins
follows from where the one before ends. What a character is, the tables in `pretoken_classes.py` say, by the version of
Unicode that the library has. The readable twin is `dolma/kernels/reference/pretokens.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import ASCII_DIGITS, ASCII_LETTERS, BLOCK, bits_of, equal, first_bits, last_bit, lowest_bit
from dolma.kernels.code_points import table_of
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.pretoken_classes import UNICODE_16, UNICODE_17
from dolma.kernels.unicode import decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at, first_bit

GPT2, CL100K, O200K = range(3)
UNLIMITED = 0
"""As the number of digits that a pre-token may have."""
LETTER, NUMBER, SPACE, NEWLINE, UPPER, LOWER, LIKE_S = 1, 2, 4, 8, 16, 32, 64
r"""Bits of a class: `\p{L}`, `\p{N}`, `\s`, `[\r\n]`, `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`,
and whether the long s is an `s` in any case, as it is for tokenizers 0.2x."""

_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_SUFFIX = rf"(?i:{_CONTRACTIONS})"
_CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WHITE_SPACE = r"\s+(?!\S)|\s+"
_PREFIX, _RUNS = r"[^\r\n\p{L}\p{N}]?", r"|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+"
_PATTERNS = {
    GPT2: rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_WHITE_SPACE}",
    CL100K: rf"{_SUFFIX}|{_PREFIX}\p{{L}}+{_RUNS}[\r\n]*|\s*[\r\n]+|{_WHITE_SPACE}",
    O200K: rf"{_PREFIX}{_CASED[0]}*{_CASED[1]}+{_SUFFIX}?|{_PREFIX}{_CASED[0]}+{_CASED[1]}*{_SUFFIX}?"
    rf"{_RUNS}[\r\n/]*|\s*[\r\n]+|{_WHITE_SPACE}",
}
_ascii_letters, _ascii_digits, _ascii_spaces = map(bits_of, (ASCII_LETTERS, ASCII_DIGITS, b"\t\n\v\f\r "))
_newlines, _continuations, _beyond = map(bits_of, (b"\r\n", range(0x80, 0xC0), range(0x80, 0x100)))
_0, _1, _2, _3 = (np.uint64(n) for n in range(4))
_BLANK_BYTE, _QUOTE_BYTE = np.uint8(0x20), np.uint8(0x27)
_BLANK, _QUOTE, _SLASH, _LONG_S = 0x20, 0x27, 0x2F, 0x17F
PADDING = 2 * BLOCK
"""How many bytes of any value there must be behind a text."""


def pattern_of(form: int, *, digits: int) -> str:
    """The regular expression, with runs of at most so many digits; `digits` is `UNLIMITED` for `GPT2`."""
    return _PATTERNS[form].replace("DIGITS", "" if digits == 1 else f"{{1,{digits}}}")


@functools.cache
def classes_of(unicode: int) -> npt.NDArray[np.uint8]:
    """The class of each code point by Unicode 16 or 17; uint8, shape `(2 ** 21,)`, read-only."""
    return table_of({16: UNICODE_16, 17: UNICODE_17}[unicode])


def with_room(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The text with zeros behind it, so that kernels may read beyond its end; uint8, read-only."""
    return read_only(np.concatenate([text, np.zeros(PADDING, np.uint8)]), np.uint8)


def pretoken_ends(
    utf8: npt.NDArray[np.uint8], offsets: Int64, *, form: int, digits: int, classes: npt.NDArray[np.uint8]
) -> Int64:
    """Where each pre-token of each document ends, in bytes of the batch; int64, shape `(n,)`.

    >>> text = np.frombuffer(b"It's 2025!", np.uint8)
    >>> pretoken_ends(text, np.array([0, 10]), form=CL100K, digits=3, classes=classes_of(17)).tolist()
    [2, 4, 5, 8, 9, 10]
    """
    text, bounds = flat_text(utf8, offsets)
    ends = np.empty(len(text) + BLOCK, dtype=np.int64)
    n = _pretoken_ends(with_room(text), bounds, form, digits, classes, ends)
    return ends[:n].copy()


@kernel
def _pretoken_ends(utf8: Any, offsets: Any, form: int, digits: int, classes: Any, ends: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        n, _ = cut(utf8, offsets[doc], offsets[doc + 1], form, digits, classes, ends, n)
    return n


@inlined
def cut(utf8: Any, i: int, end: int, form: int, digits: int, classes: Any, ends: Any, n: int) -> tuple[int, int]:
    """Put the ends of pre-tokens into `ends` from `n` on, from byte `i`, where one begins, to `end`, or until fewer
    than 64 places are left. Returns how many ends there are then, and where the next pre-token begins.

    What is decided among the next 64 bytes is taken at once; the rest, and what is rare, one by one.
    """
    while i < end and n + BLOCK <= len(ends):
        starts = _0
        if form != O200K and end - i > 8:
            starts = _starts(utf8, i, end, form, digits, classes)
        if starts == _0:
            i = end_of(utf8, i, end, form, digits, classes)
            ends[n] = i
            n += 1
        else:
            first = i
            while starts != _0:
                i = first + first_bit(starts)
                starts &= starts - _1
                ends[n] = i
                n += 1
    return n, i


@inlined
def _starts(utf8: Any, i: int, end: int, form: int, digits: int, classes: Any) -> Any:
    """Bits of the bytes `utf8[i:i + 64]` at which a pre-token begins, if one begins at `i`; but for `i`, and for those
    that follow the last one that is certain. Letters, numbers, white space and other characters are bits of their
    bytes."""
    letters, numbers, spaces = _ascii_letters(utf8, i), _ascii_digits(utf8, i), _ascii_spaces(utf8, i)
    beyond = _beyond(utf8, i)
    known = min(end - i, BLOCK)  # what is from here on is not looked at
    continued = _continuations(utf8, i)
    leads = beyond & ~continued
    while leads != _0:
        at = first_bit(leads)
        leads &= leads - _1
        if at >= known:
            break
        point, width = decode(utf8, i + at, end)
        cls = np.int64(classes[point])
        if cls & (NUMBER | SPACE) or at + width > known:
            known = at
        elif cls & LETTER:
            letters |= ((_1 << np.uint64(width)) - _1) << np.uint64(at)
    if known < 3:
        return _0
    blanks, newlines = equal(utf8, i, _BLANK_BYTE), _newlines(utf8, i)
    others = ~(letters | numbers | spaces)
    behind_blank, behind_letter = blanks << _1, letters << _1
    other_starts = others & ~(others << _1) & ~behind_blank
    alone = other_starts  # one other character
    if beyond != _0:
        alone |= alone << _1 & continued
        alone |= alone << _1 & continued
        alone |= alone << _1 & continued
    last_spaces = spaces & ~(spaces >> _1)
    letter_starts = letters & ~behind_letter
    number_starts = numbers & ~(numbers << _1)
    if form == GPT2:
        letter_starts &= ~behind_blank
        number_starts &= ~behind_blank
        space_starts = spaces & ~(spaces << _1) | last_spaces
    else:
        letter_starts &= ~((spaces & ~newlines) << _1) & ~(alone << _1)
        if digits == 1:
            number_starts = numbers
        elif numbers & numbers << _1 & numbers << _2 & numbers << _3 != _0 or digits != 3:
            number_starts |= _groups(numbers, digits)
        taken = newlines & ~(newlines + (newlines & others << _1))  # by other characters before them
        rest = spaces & ~taken
        inner = rest & ~newlines
        behind_newline = inner & (rest & newlines) << _1
        if (inner + behind_newline) & ~inner & newlines != _0:
            behind_newline = _not_before(behind_newline, inner, newlines)
        space_starts = rest & ~(rest << _1) | (last_spaces & ~newlines) | behind_newline
    quotes = equal(utf8, i, _QUOTE_BYTE) & other_starts & letters >> _1
    starts = letter_starts | number_starts | space_starts | other_starts
    while quotes != _0:
        at = first_bit(quotes)
        quotes &= quotes - _1
        j = _contraction(utf8, i + at, end, form != GPT2, classes) - i
        if j > at:
            starts &= ~(_2 << np.uint64(at))
            starts |= letters & _1 << np.uint64(j) if j < BLOCK else _0
    # Certain is what begins before the last character that is known, and not within white space that may go on.
    within = first_bits(spaces, known)
    certain = known - 1
    if within >> np.uint64(known - 1) & _1 != _0:
        certain = last_bit(first_bits(~spaces, known)) + 1
    return first_bits(starts, certain) & ~_1


@inlined
def _groups(numbers: Any, digits: int) -> Any:
    """Where groups of at most so many digits begin."""
    starts, run = _0, 0
    rest = numbers
    while rest != _0:
        at = first_bit(rest)
        run = 0
        while at < BLOCK and numbers >> np.uint64(at) & _1 != _0:
            if run % digits == 0:
                starts |= _1 << np.uint64(at)
            run += 1
            rest &= ~(_1 << np.uint64(at))
            at += 1
    return starts


@inlined
def _not_before(starts: Any, runs: Any, newlines: Any) -> Any:
    """Those of the starts of runs behind whose run there is no newline."""
    kept, rest = _0, starts
    while rest != _0:
        start = lowest_bit(rest)
        rest ^= start
        if (runs + start) & ~runs & newlines == _0:
            kept |= start
    return kept


@inlined
def end_of(utf8: Any, i: int, end: int, form: int, digits: int, classes: Any) -> int:
    """Where the pre-token that begins at `i` ends. Reads up to `PADDING` bytes beyond `end`."""
    byte = np.int64(byte_at(utf8, i))
    if form != O200K:
        # Most pre-tokens: letters of ASCII, with a blank before them.
        word = i + (byte == _BLANK)
        j = word + first_bit(~_ascii_letters(utf8, word))
        if j > word and j < word + BLOCK and (j >= end or byte_at(utf8, j) < 0x80):
            return min(j, end)
        if byte == _QUOTE:
            j = _contraction(utf8, i, end, form != GPT2, classes)
            if j > i:
                return j
    first, width = _class_at(utf8, i, end, classes)
    after = i + width
    second = 0
    if after < end:
        second, _ = _class_at(utf8, after, end, classes)
    if form == GPT2:
        if byte == _BLANK and after < end and not second & SPACE:
            first = second
        if first & (LETTER | NUMBER):
            return _run_of(utf8, after, end, first & (LETTER | NUMBER), classes)
        if not first & SPACE:
            return _run_without(utf8, after, end, LETTER | NUMBER | SPACE, classes)
        return _white_space(utf8, i, end, False, classes)
    if form == CL100K:
        if first & LETTER or (second & LETTER and not first & (NUMBER | NEWLINE)):
            return _run_of(utf8, after, end, LETTER, classes)
    else:
        j = _cased(utf8, i, end, classes)
        if j > i:
            return j
    if first & NUMBER:
        return _digits(utf8, i, end, digits, classes)
    if not first & SPACE or (byte == _BLANK and after < end and not second & (LETTER | NUMBER | SPACE)):
        j = _run_without(utf8, after, end, LETTER | NUMBER | SPACE, classes)
        while j < end:
            follows = byte_at(utf8, j)
            if not (follows == 0x0A or follows == 0x0D or (follows == _SLASH and form == O200K)):
                break
            j += 1
        return j
    return _white_space(utf8, i, end, True, classes)


@inlined
def _class_at(utf8: Any, i: int, end: int, classes: Any) -> tuple[Any, int]:
    byte = np.int64(byte_at(utf8, i))
    if byte < 0x80:
        return np.int64(classes[byte]), 1
    code_point, width = decode(utf8, i, end)
    return np.int64(classes[code_point]), width


@inlined
def _run_of(utf8: Any, i: int, end: int, bits: int, classes: Any) -> int:
    """Behind the characters that have one of the bits, from `i` on."""
    while i < end:
        cls, width = _class_at(utf8, i, end, classes)
        if not cls & bits:
            break
        i += width
    return i


@inlined
def _run_without(utf8: Any, i: int, end: int, bits: int, classes: Any) -> int:
    """Behind the characters that have none of the bits, from `i` on."""
    while i < end:
        cls, width = _class_at(utf8, i, end, classes)
        if cls & bits:
            break
        i += width
    return i


@inlined
def _digits(utf8: Any, i: int, end: int, most: int, classes: Any) -> int:
    n = 0
    while i < end and n < most:
        cls, width = _class_at(utf8, i, end, classes)
        if not cls & NUMBER:
            break
        i += width
        n += 1
    return i


@inlined
def _white_space(utf8: Any, i: int, end: int, newlines: Any, classes: Any) -> int:
    """Behind the last newline of white space that has one, where these matter; else all of it, but for the last
    character before something else, unless that is the only one."""
    j, last, behind_newline = i, i, i
    while j < end:
        cls, width = _class_at(utf8, j, end, classes)
        if not cls & SPACE:
            break
        last = j
        j += width
        if cls & NEWLINE:
            behind_newline = j
    if newlines and behind_newline > i:
        return behind_newline
    return j if j == end or last == i else last


@inlined
def _contraction(utf8: Any, i: int, end: int, any_case: Any, classes: Any) -> int:
    """Behind the contraction that begins with the quote at `i`; `i` if there is none."""
    if i + 1 >= end:
        return i
    first = np.int64(byte_at(utf8, i + 1))
    second = np.int64(byte_at(utf8, i + 2)) if i + 2 < end else 0
    if any_case:
        if first == 0xC5 and second == 0xBF and classes[_LONG_S] & LIKE_S:
            return i + 3
        first |= 0x20
        second |= 0x20
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
        return i + 2
    if ((first == 0x72 or first == 0x76) and second == 0x65) or (first == 0x6C and second == 0x6C):  # re ve ll
        return i + 3
    return i


@inlined
def _cased(utf8: Any, i: int, end: int, classes: Any) -> int:
    """Behind the letters and marks of `O200K` from `i` on, with what may stand before and behind; `i` for none.

    Its two alternatives are tried in turn, each with a character before the letters and without.
    """
    cls, width = _class_at(utf8, i, end, classes)
    start = i if cls & (LETTER | NUMBER | NEWLINE) else i + width
    upper = _run_of(utf8, start, end, UPPER, classes)
    j = _lower_end(utf8, start, upper, end, classes)
    found = j > start
    if not found and start > i:
        j = _lower_end(utf8, i, _run_of(utf8, i, end, UPPER, classes), end, classes)
        found = j > i
    if not found:
        j = upper
        found = j > start
    if not found and start > i:
        j = _run_of(utf8, i, end, UPPER, classes)
        found = j > i
    if found and j < end and byte_at(utf8, j) == _QUOTE:
        j = _contraction(utf8, j, end, True, classes)
    return j if found else i


@inlined
def _lower_end(utf8: Any, start: int, upper: int, end: int, classes: Any) -> int:
    """Behind `[upper]*[lower]+`, where `[upper]*` goes from `start` to `upper` at the most; `start` if it fails."""
    j = _run_of(utf8, upper, end, LOWER, classes)
    if j > upper:
        return j
    while j > start:  # what is both may be given back
        i = j - 1
        while i > start and byte_at(utf8, i) & 0xC0 == 0x80:
            i -= 1
        cls, _ = _class_at(utf8, i, end, classes)
        if cls & LOWER:
            return j
        j = i
    return start
