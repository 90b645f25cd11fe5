"""How many tokens a tokenizer of English makes of each word: punctuation and clitics apart.

datatrove divides by the tokens of spaCy's blank English pipeline. Those need a thousand exceptions; a few rules, below,
come close: over 465 documents in many languages the median difference is 0.06 % (books) to 0.7 % (proposals, code),
and of the decisions at FineWeb's threshold of 0.3 newlines per token none changes. Whitespace words alone are
15 to 40 % fewer, and change one decision in twelve.

- At both ends of a word each mark of punctuation is a token, and so is a run of dots ("..."), "'s", and a last dot
  after a lower-case letter, a digit or two capitals (not in "e.g.", "U.S.").
- Between letters "-", "–", "~", "," and, after a letter or digit, "/", ":", "=", "<", ">" are tokens and divide; a dot
  divides "end.Next"; "'ll" and its like are tokens.
- An address with "://" or "www." is one token.

The readable twin is `dolma/kernels/reference/english_tokens.py`. About 500 MB/s of text whose words are known, on
one core of a 2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

import functools
import string
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import ASCII_DIGITS, ASCII_LETTERS, bits_of, count_bits, last_bit
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.hashing import absorb64, finish64, hash64, start64
from dolma.kernels.reference.english_tokens import AFTER_DIGIT, EDGES, MARKS, NO_SENTENCE_ENDS, NOT_LAST
from dolma.kernels.sentences import terminal_punctuation
from dolma.kernels.unicode import ALNUM, ALPHA, DIGIT, LOWER, SPACE, UPPER, character_classes, decode, skip_spaces
from dolma.kernels.views import ENDING_MARKS, HAS_ALPHA, IS_MARKED, IS_PLAIN, Int64, Words
from dolma.kernels.words64 import (
    HIGHS,
    ONES,
    at_least,
    byte_at,
    first_bit,
    first_bytes,
    first_mark,
    load,
    load_eight,
    spaces_or_beyond_ascii,
)

IS_SOLID, IS_WORD, ENDS_SENTENCE = 2, 4, 8
assert HAS_ALPHA == 1
assert (IS_PLAIN, IS_MARKED) == (1 << 3, 1 << 4)
assert frozenset(map(chr, ENDING_MARKS)) == frozenset(filter(str.isascii, EDGES)) - NOT_LAST

_EDGE = 64
_CASE = np.uint64(0x20) * ONES
_A, _BEYOND_Z, _ZERO, _BEYOND_9, _LETTERS = (np.uint64(byte) * ONES for byte in (0x61, 0x7B, 0x30, 0x3A, 0x40))
_7, _56 = np.uint64(7), np.uint64(56)
_WWW = np.uint64(int.from_bytes(b"www.", "little"))
_0, _1, _2, _3, _4, _ALL = *map(np.uint64, range(5)), np.uint64(0xFFFFFFFFFFFFFFFF)
_edges = bits_of(ord(edge) for edge in EDGES if edge.isascii())
_letters, _digits, _capitals = bits_of(ASCII_LETTERS), bits_of(ASCII_DIGITS), bits_of(string.ascii_uppercase.encode())
_dots, _quotes, _ses, _equals, _signs = bits_of(b"."), bits_of(b"'"), bits_of(b"sS"), bits_of(b"="), bits_of(b"$%")
_pluses, _minuses, _plus_or_minus, _operators = bits_of(b"+"), bits_of(b"-"), bits_of(b"+-"), bits_of(b"+-*^")
_colons, _slashes, _between, _hyphens = bits_of(b":"), bits_of(b"/"), bits_of(b":<>=/"), bits_of(b"-~,")
_PLUS, _MINUS, _DOT, _COMMA, _CARET, _QUOTE, _CURLY_QUOTE, _S = 0x2B, 0x2D, 0x2E, 0x2C, 0x5E, 0x27, 0x2019, 0x73
_SECTION, _EQUALS, _DOLLAR, _POUND, _EURO, _PERCENT = 0xA7, 0x3D, 0x24, 0xA3, 0x20AC, 0x25
assert frozenset(map(ord, AFTER_DIGIT)) == {_DOLLAR, _POUND, _EURO, _PERCENT}
assert frozenset(map(ord, NOT_LAST)) == {_SECTION, _EQUALS, _DOLLAR, _POUND, _EURO, _PERCENT}


def english_tokens(utf8: npt.NDArray[np.uint8], words: Words) -> Int64:
    """The tokens of each document; int64, shape `(n_docs,)`.

    >>> from dolma.kernels.views import word_spans
    >>> text = np.frombuffer(b"It's (well) done.", np.uint8)
    >>> english_tokens(text, word_spans(text, np.array([0, 17]))).tolist()
    [7]
    """
    counts = np.empty(len(words.index) - 1, dtype=np.int64)
    _english_tokens(
        read_only(utf8, np.uint8),
        read_only(words.starts, np.int64),
        read_only(words.ends, np.int64),
        read_only(words.n_characters, np.int32),
        read_only(words.kinds, np.uint8),
        read_only(words.index, np.int64),
        _classes(),
        np.empty(int(words.n_characters.max(initial=0)), dtype=np.int32),
        counts,
    )
    return counts


def english_token_spans(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Words:
    """The tokens of each document, as words whose `kinds` say other things. Meant for `TextBatch.view`.

    `kinds`: uint8, `HAS_ALPHA` (a character for which `str.isalpha`), `IS_SOLID` (a character that is no mark to
    datatrove), `IS_WORD` (a character that is no punctuation to Unicode), `ENDS_SENTENCE` (one character that ends a
    sentence to spaCy).

    >>> tokens = english_token_spans(np.frombuffer(b"It's (well) done.", np.uint8), np.array([0, 17]))
    >>> tokens.starts.tolist()
    [0, 2, 5, 6, 10, 12, 16]
    """
    text, bounds = flat_text(utf8, offsets)
    most, longest = most_tokens(text)
    most += len(bounds)
    spans, hashes = np.empty((2, most), dtype=np.int64), np.empty(most, dtype=np.uint64)
    sizes, kinds = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.uint8)
    index = np.empty(len(bounds), dtype=np.int64)
    n = _english_token_spans(
        text, bounds, _classes(), _facets(), np.empty((3, longest + 1), np.int32), spans, hashes, sizes, kinds, index
    )
    return Words(
        starts=spans[0, :n], ends=spans[1, :n], hashes=hashes[:n], n_characters=sizes[:n], kinds=kinds[:n], index=index
    )


@functools.cache
def _classes() -> npt.NDArray[np.uint8]:
    classes = character_classes().copy()
    classes[[ord(edge) for edge in EDGES]] |= _EDGE
    return read_only(classes, np.uint8)


@functools.cache
def _facets() -> npt.NDArray[np.uint8]:
    """What a code point gives to the `kinds` of its token; uint8, shape `(2 ** 21,)`."""
    facets = np.full(len(character_classes()), IS_SOLID | IS_WORD, dtype=np.uint8)
    facets |= ((character_classes() & ALPHA) != 0) * np.uint8(HAS_ALPHA)
    facets[[ord(mark) for mark in MARKS]] &= ~np.uint8(IS_SOLID)
    ends = np.flatnonzero(terminal_punctuation())
    facets[ends] &= ~np.uint8(IS_SOLID)
    facets[np.setdiff1d(ends, NO_SENTENCE_ENDS)] |= ENDS_SENTENCE
    facets[[point for point in range(0x20000) if unicodedata.category(chr(point))[0] == "P"]] &= ~np.uint8(IS_WORD)
    return read_only(facets, np.uint8)


@kernel
def _english_tokens(
    utf8: Any, starts: Any, ends: Any, sizes: Any, kinds: Any, index: Any, classes: Any, points: Any, counts: Any
) -> None:
    for doc in range(len(counts)):
        first, last = index[doc], index[doc + 1]
        n = last - first
        for at in range(first, last, 8):
            eight = first_bytes(load(kinds, at), last - at)
            marked = eight >> _4 & ONES
            n += count_bits(marked)
            odd = first_bytes(ONES, last - at) & ~(marked | eight >> _3)
            while odd != _0:
                word = at + (first_bit(odd) >> 3)
                odd &= odd - _1
                n += _count_odd(utf8, starts[word], ends[word], sizes[word], classes, points) - 1
        counts[doc] = n


@kernel
def _count_odd(utf8: Any, start: int, end: int, size: int, classes: Any, points: Any) -> int:
    n = 0
    if size == end - start and size < 64 and start + 64 <= len(utf8):
        n = _count_by_bits(utf8, start, size)
    return n if n > 0 else _tokens(utf8, start, end, classes, points)


@inlined
def _count_by_bits(utf8: Any, start: int, size: int) -> int:
    """The tokens of a word of less than 64 characters, all ASCII; 0 for some that are rare: then see `_tokens`.

    Those are words with a run of dots at an end or a "+" in front, and those in "'s" or from "www." on.
    """
    all_of_it = _ALL >> np.uint64(64 - size)
    edges, dots, digits, letters, capitals = (
        _edges(utf8, start) & all_of_it,
        _dots(utf8, start) & all_of_it,
        _digits(utf8, start),
        _letters(utf8, start),
        _capitals(utf8, start),
    )
    first = first_bit(~edges)
    if first >= size:
        return size
    # A mark at the end is a token of its own, but these only after a digit or not at all; and a dot only sometimes.
    signs, quotes = _signs(utf8, start), _quotes(utf8, start)
    closing = edges & ~(signs | _equals(utf8, start)) | signs & digits << _1 & all_of_it
    single = dots & ~(dots << _1) & ~(dots >> _1) & (_ALL << np.uint64(first)) << _1
    ended = digits | edges | letters & ~capitals | _plus_or_minus(utf8, start)
    closing |= single & (ended << _1 & ~(dots << _2) | capitals << _1 & capitals << _2)
    end = last_bit(all_of_it & ~closing & _ALL << np.uint64(first)) + 1
    at_first, at_last = _1 << np.uint64(first), _1 << np.uint64(end - 1)
    odd = at_first & (_pluses(utf8, start) | dots & dots >> _1)
    odd |= at_last & (_ses(utf8, start) & quotes << _1 | dots & dots << _1)
    if odd != _0 or first_bytes(load_eight(utf8, start + first), 4) == _WWW:
        return 0
    n = first + size - end + 1
    within = max(at_last, at_first << _1) - (at_first << _1)
    if within & ~(letters | digits) == _0:
        return n
    colons, slashes = _colons(utf8, start), _slashes(utf8, start)
    if colons & slashes >> _1 & slashes >> _2 & within & ~(at_last >> _1) != _0:
        return n
    after, minuses = letters >> _1, _minuses(utf8, start)
    divides = _hyphens(utf8, start) & letters << _1 & after
    divides |= _between(utf8, start) & (letters | digits) << _1 & after
    divides |= dots & (letters & ~capitals) << _1 & capitals >> _1
    divides |= _operators(utf8, start) & digits << _1 & (digits | minuses) >> _1
    clitics = quotes & letters << _1 & after & (at_last | at_last >> _1 | at_last >> _2)
    return n + 2 * count_bits(divides & within) + count_bits(clitics & within)


@kernel
def most_tokens(utf8: Any) -> tuple[Any, int]:
    """Bounds of the tokens (each begins a document, or at a byte that is no ASCII letter or digit, or after one), and
    of the bytes of a word."""
    n_others, longest, run = np.int64(0), 0, 0
    for i in range(0, len(utf8), 8):
        word = load(utf8, i)
        n_others += 8 - np.int64(((_plain_bytes(word) >> _7) * ONES) >> _56)
        run += 8
        if spaces_or_beyond_ascii(word) & ~word != np.uint64(0):
            longest, run = max(longest, run), 8
    return 2 * n_others, max(longest, run)


@kernel
def _english_token_spans(
    utf8: Any,
    offsets: Any,
    classes: Any,
    facets: Any,
    scratch: Any,
    spans: Any,
    hashes: Any,
    sizes: Any,
    kinds: Any,
    index: Any,
) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        index[doc] = n
        last = offsets[doc + 1]
        start = skip_spaces(utf8, offsets[doc], last, classes)
        while start < last:
            end, plain, ascii_only = _word_end(utf8, start, last, classes)
            first, behind = (start, end) if plain else (-1, -1)
            if ascii_only and not plain:
                first, behind = _plain_core(utf8, start, end, classes)
            if first >= 0:
                for i in range(start, first):
                    n = _put_mark(utf8, i, facets, n, spans, hashes, sizes, kinds)
                if first < behind:
                    spans[0, n], spans[1, n], sizes[n] = first, behind, behind - first
                    hashes[n], letters = _hash_of_plain(utf8, first, behind)
                    kinds[n] = IS_SOLID | IS_WORD | HAS_ALPHA * letters
                    n += 1
                for i in range(behind, end):
                    n = _put_mark(utf8, i, facets, n, spans, hashes, sizes, kinds)
            else:
                n = _put_tokens(utf8, start, end, classes, facets, scratch, n, spans, hashes, sizes, kinds)
            start = skip_spaces(utf8, end, last, classes)
    index[len(offsets) - 1] = n
    return n


@inlined
def _word_end(utf8: Any, i: int, end: int, classes: Any) -> tuple[int, bool, bool]:
    """Where the word ends, whether it has ASCII letters and digits only, and whether it has ASCII only."""
    odd, beyond = np.uint64(0), False
    while i < end:
        word = load(utf8, i)
        n = min(first_mark(spaces_or_beyond_ascii(word)), end - i)
        odd |= first_bytes(_plain_bytes(word) ^ HIGHS, n)
        i += n
        if n == 8:
            continue
        if i >= end or byte_at(utf8, i) < 0x80:
            break
        code_point, width = decode(utf8, i, end)
        if classes[code_point] & SPACE:
            break
        beyond = True
        i += width
    return i, (odd == np.uint64(0)) & (not beyond), not beyond


@inlined
def _plain_bytes(word: Any) -> Any:
    """High bits of the bytes that are ASCII letters or digits."""
    lower = word | _CASE
    plain = at_least(lower, _A) & ~at_least(lower, _BEYOND_Z)
    plain |= at_least(word, _ZERO) & ~at_least(word, _BEYOND_9)
    return plain & ~word


@inlined
def _hash_of_plain(utf8: Any, start: int, end: int) -> tuple[Any, bool]:
    """`hash64` of ASCII letters and digits, and whether there is a letter."""
    state, letters = start64(), np.uint64(0)
    i = start
    while i < end:
        word = first_bytes(load(utf8, i), end - i)
        state = absorb64(state, word)
        letters |= word
        i += 8
    return finish64(state, end - start), letters & _LETTERS != np.uint64(0)


@inlined
def _put_mark(utf8: Any, i: int, facets: Any, n: int, spans: Any, hashes: Any, sizes: Any, kinds: Any) -> int:
    """Writes a token of one ASCII character."""
    spans[0, n], spans[1, n], sizes[n] = i, i + 1, 1
    hashes[n] = finish64(absorb64(start64(), np.uint64(byte_at(utf8, i))), 1)
    kinds[n] = facets[byte_at(utf8, i)]
    return n + 1


@inlined
def _put_tokens(
    utf8: Any,
    first: int,
    last: int,
    classes: Any,
    facets: Any,
    scratch: Any,
    n: int,
    spans: Any,
    hashes: Any,
    sizes: Any,
    kinds: Any,
) -> int:
    """Writes the tokens of a word."""
    points, places, marks = scratch[0], scratch[1], scratch[2]
    size, plain, i = 0, True, first
    while i < last:
        code_point, width = decode(utf8, i, last)
        points[size], places[size], marks[size] = code_point, i - first, 0
        plain &= classes[code_point] & ALNUM != 0
        i += width
        size += 1
    places[size] = last - first
    if not plain:
        _mark_tokens(points, size, classes, marks)
    begin, kind = 0, np.uint8(0)
    for k in range(1, size + 1):
        kind |= facets[points[k - 1]]
        if k == size or marks[k]:
            spans[0, n], spans[1, n], sizes[n] = first + places[begin], first + places[k], k - begin
            hashes[n] = hash64(utf8, first + places[begin], first + places[k])
            kinds[n] = kind if k - begin == 1 else kind & ~np.uint8(ENDS_SENTENCE)
            n += 1
            begin, kind = k, np.uint8(0)
    return n


@inlined
def _mark_tokens(points: Any, last: int, classes: Any, marks: Any) -> None:
    """Marks the code points of a word at which a token begins."""
    start, end = 0, last
    while start < end:
        marks[start] = 1
        width = _edge_after(points, start, end, classes)
        if width == 0:
            break
        start += width
    while end > start:
        width = _edge_before(points, start, end, classes)
        if width == 0:
            break
        end -= width
        marks[end] = 1
    if end - start >= 4 and points[start + 3] == _DOT and _is_www(points, start):
        return
    if end > start:
        _inner(points, start, end, classes, marks)


@inlined
def _plain_core(utf8: Any, start: int, end: int, classes: Any) -> tuple[int, int]:
    """The ASCII letters and digits between the marks at both ends, each a token; -1 for others, and where in doubt."""
    while start < end and byte_at(utf8, start) < 0x80 and classes[byte_at(utf8, start)] & _EDGE:
        start += 1
    while start < end:
        last = byte_at(utf8, end - 1)
        if last == _DOT:
            if end - start < 3 or byte_at(utf8, end - 3) == _DOT:
                return -1, -1
            before = byte_at(utf8, end - 2)
            if before >= 0x80 or classes[before] & (LOWER | DIGIT | _EDGE) == 0:
                return -1, -1
        elif last >= 128 or classes[last] & _EDGE == 0 or last in (_EQUALS, _DOLLAR, _PERCENT):
            break
        end -= 1
    return (start, end) if _is_plain(utf8, start, end) else (-1, -1)


@inlined
def _is_plain(utf8: Any, i: int, end: int) -> bool:
    """Whether the word has ASCII letters and digits only."""
    while i < end:
        if first_bytes(_plain_bytes(load(utf8, i)) ^ HIGHS, end - i) != np.uint64(0):
            return False
        i += 8
    return True


@kernel
def _tokens(utf8: Any, i: int, last: int, classes: Any, points: Any) -> int:
    end = 0
    while i < last:
        points[end], width = byte_at(utf8, i), 1
        if points[end] >= 0x80:
            points[end], width = decode(utf8, i, last)
        i += width
        end += 1
    return _count(points, end, classes)


@kernel
def _count(points: Any, end: int, classes: Any) -> int:
    """The tokens of a word, given its code points."""
    start, n = 0, 0
    while start < end:
        width = _edge_after(points, start, end, classes)
        if width == 0:
            break
        start += width
        n += 1
    while end > start:
        width = _edge_before(points, start, end, classes)
        if width == 0:
            break
        end -= width
        n += 1
    if start == end:
        return n
    if end - start >= 4 and points[start + 3] == _DOT and _is_www(points, start):
        return n + 1
    return n + _inner(points, start, end, classes, points[:0])


@inlined
def _is_www(points: Any, start: int) -> bool:
    return points[start] == 0x77 and points[start + 1] == 0x77 and points[start + 2] == 0x77


@inlined
def _edge_after(points: Any, start: int, end: int, classes: Any) -> int:
    if classes[points[start]] & _EDGE:
        return 1
    if points[start] == _PLUS:
        return 0 if start + 1 < end and classes[points[start + 1]] & DIGIT else 1
    at = start
    while at < end and points[at] == _DOT:
        at += 1
    return at - start if at - start > 1 else 0


@inlined
def _edge_before(points: Any, start: int, end: int, classes: Any) -> int:
    last = points[end - 1]
    before = points[end - 2] if end - 2 >= start else -1
    of = classes[before] if before >= 0 else 0
    if classes[last] & _EDGE:
        after_digit = last in (_DOLLAR, _POUND, _EURO, _PERCENT)
        if not (after_digit or last in (_SECTION, _EQUALS)) or (after_digit and of & DIGIT):
            return 1
    if (last == _S or last == _S - 0x20) and (before in (_QUOTE, _CURLY_QUOTE)) and end - 2 > start:
        return 2
    at = end
    while at > start and points[at - 1] == _DOT:
        at -= 1
    if end - at > 1:
        return end - at
    if end - at == 1 and at > start:
        second = points[at - 2] if at - 2 >= start else -1
        splits = of & (LOWER | DIGIT | _EDGE) != 0 or before in (_MINUS, _PLUS)
        capitals = of & UPPER != 0 and second >= 0 and classes[second] & UPPER != 0
        return 1 if (splits and second != _DOT) or capitals else 0
    return 0


@inlined
def _inner(points: Any, start: int, end: int, classes: Any, marks: Any) -> int:
    """The tokens of what remains between both ends; where they begin is marked, if there are marks."""
    n = 1
    for at in range(start + 1, end - 1):
        here = points[at]
        if classes[here] & ALNUM:
            continue
        before, after = classes[points[at - 1]], classes[points[at + 1]]
        letters = before & after & ALPHA != 0
        more = 0
        if here in (_MINUS, _COMMA, 0x2013, 0x2014, 0x7E):
            more = 2 * letters
        elif here in (0x3A, 0x3C, _EQUALS, 0x3E, 0x2F):
            if here == 0x3A and at < end - 2 and points[at + 1] == 0x2F and points[at + 2] == 0x2F:
                for k in range(start + 1, min(at, len(marks))):
                    marks[k] = 0
                return 1
            more = 2 * (before & ALNUM != 0 and after & ALPHA != 0)
        elif here == _DOT:
            more = 2 * (before & LOWER != 0 and after & UPPER != 0)
        elif here in (_QUOTE, _CURLY_QUOTE):
            more = 1 * (letters and end - at <= 3)
        if more == 0 and here in (_PLUS, _MINUS, 0x2A, _CARET):
            more = 2 * (before & DIGIT != 0 and (after & DIGIT != 0 or points[at + 1] == _MINUS))
        n += more
        if more and len(marks):
            marks[at] = 1
            if more == 2:
                marks[at + 1] = 1
    return n
