"""Comments and documentation strings of source code, by tables of what opens and closes them in each language.

The readable twin, with all definitions, is `dolma/kernels/reference/comments.py`. Whatever the text, each byte is read
a few times at most: a comment or string that is never closed ends with its line or with the text, and expressions are
of bounded length. About 500 MB/s of code on one core of a 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.reference.comments import _BEFORE_REGEX, _BEFORE_SPACED, LONGEST_REGEX, Syntax
from dolma.kernels.unicode import count_code_points, decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at, load

_KINDS = ("line", "block", "string", "character", "regex", "skip", "leave", "prefix")
_LINE, _BLOCK, _STRING, _CHARACTER, _REGEX, _SKIP, _LEAVE, _PREFIX = range(8)
_FLAGS = ("escapes", "lines", "nests", "first", "column", "spaced", "apart", "documents")
_ESCAPES, _LINES, _NESTS, _FIRST, _COLUMN, _SPACED, _APART, _DOCUMENTS = (1 << bit for bit in range(8))
_CONDITIONS = _FIRST | _COLUMN | _SPACED | _APART
_BEFORE_A_REGEX, _BEFORE_A_SPACED, _OF_WORD = 1, 2, 4
_1 = np.uint32(1)
_0 = np.uint32(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntaxes:
    """Some syntaxes made ready by `syntaxes_of`.

    `firsts`: int64, shape `(n + 1,)`, the tokens of each. `specials`: uint32, shape `(n, 256)`, by byte the tokens that
    begin with it, as bits. `words`: uint64, shape `(n_tokens, 4)`: what opens, a mask of its bytes, what closes, its
    mask. `infos`: int64, shape `(n_tokens, 4)`: kind, flags, bytes of what opens and closes. `enters`: uint64, shape
    `(n, 3)`: what enters, its mask, its bytes.
    """

    firsts: Int64
    specials: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint64]
    infos: Int64
    enters: npt.NDArray[np.uint64]


def syntaxes_of(given: Sequence[Syntax]) -> Syntaxes:
    """The syntaxes made ready.

    Raises:
        ValueError: what opens or closes is empty, beyond ASCII or longer than 8 bytes; or there are over 32 tokens.
    """
    specials = np.zeros((len(given), 256), dtype=np.uint32)
    words, infos, firsts, enters = [], [], [0], []
    for row, syntax in enumerate(given):
        if len(syntax.tokens) > 32:
            raise ValueError(f"a syntax of {len(syntax.tokens)} tokens; expected 32 at most")
        for bit, token in enumerate(syntax.tokens):
            words.append((*_word(token.opens), *_word(token.closes)))
            flags = sum(1 << k for k, flag in enumerate(_FLAGS) if getattr(token, flag))
            infos.append((_KINDS.index(token.kind), flags, len(token.opens), len(token.closes)))
            if token.kind != "prefix":
                specials[row, ord(token.opens[0])] |= np.uint32(1 << bit)
        firsts.append(len(words))
        enters.append((*_word(syntax.enters), len(syntax.enters)) if syntax.enters else (0, 0, 0))
    return Syntaxes(
        firsts=read_only(firsts, np.int64),
        specials=read_only(specials, np.uint32),
        words=read_only(np.array(words, dtype=np.uint64).reshape(-1, 4), np.uint64),
        infos=read_only(np.array(infos, dtype=np.int64).reshape(-1, 4), np.int64),
        enters=read_only(np.array(enters, dtype=np.uint64).reshape(-1, 3), np.uint64),
    )


def _word(text: str) -> tuple[int, int]:
    encoded = text.encode()
    if not 0 < len(encoded) <= 8 or not text.isascii():
        raise ValueError(f"{text!r} has {len(encoded)} bytes; expected 1 to 8 of ASCII")
    return int.from_bytes(encoded, "little"), (1 << 8 * len(encoded)) - 1


def comment_sums(utf8: npt.NDArray[np.uint8], offsets: Int64, syntaxes: Syntaxes, of_documents: Int64) -> Int64:
    """Comments, their code points, those of documentation strings, and where the first comment begins and ends.

    int64, shape `(n_docs, 5)`; the first comment in bytes of the batch, -1 and -1 if there is none. `of_documents`: the
    syntax of each document, below 0 for none: then all is 0.
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.zeros((len(bounds) - 1, 5), dtype=np.int64)
    sums[:, 3:] = -1
    _comment_sums(
        text,
        bounds,
        read_only(of_documents, np.int64),
        syntaxes.firsts,
        syntaxes.specials,
        syntaxes.words,
        syntaxes.infos,
        syntaxes.enters,
        _byte_table(),
        sums,
    )
    return sums


def _byte_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        character = chr(byte)
        table[byte] |= _BEFORE_A_REGEX * (character in _BEFORE_REGEX)
        table[byte] |= _BEFORE_A_SPACED * (byte <= 0x20 or character in _BEFORE_SPACED)
        table[byte] |= _OF_WORD * (byte >= 0x80 or character.isalnum() or character == "_")
    return read_only(table, np.uint8)


@inlined
def _stands(utf8: Any, i: int, end: int, word: Any, mask: Any, n: int) -> bool:
    return i + n <= end and load(utf8, i) & mask == word


@kernel
def _find(utf8: Any, i: int, end: int, word: Any, mask: Any, n: int) -> int:
    """Where the word is next; -1 if nowhere."""
    first = np.uint8(word & np.uint64(0xFF))
    while i + n <= end:
        if byte_at(utf8, i) == first and load(utf8, i) & mask == word:
            return i
        i += 1
    return -1


@kernel
def _line_end(utf8: Any, i: int, end: int) -> int:
    while i < end and byte_at(utf8, i) != 0x0A:
        i += 1
    return i


@kernel
def _entered(utf8: Any, i: int, end: int, enters: Any, s: int) -> int:
    n: Any = np.int64(enters[s, 2])
    found = _find(utf8, i, end, enters[s, 0], enters[s, 1], n)
    return end if found < 0 else found + n


@kernel
def _begins(utf8: Any, start: int, end: int, s: int, firsts: Any, words: Any, infos: Any, enters: Any) -> int:
    i = start
    if enters[s, 2] > 0:
        i = _entered(utf8, i, end, enters, s)
    if start + 2 <= end and byte_at(utf8, start) == 0x23 and byte_at(utf8, start + 1) == 0x21:
        i = max(i, _line_end(utf8, start, end))
    while True:
        j = i
        while j < end and byte_at(utf8, j) <= 0x20:
            j += 1
        close = -1
        for t in range(firsts[s], firsts[s + 1]):
            if infos[t, 0] == _PREFIX and _stands(utf8, j, end, words[t, 0], words[t, 1], infos[t, 2]):
                close = _find(utf8, j + infos[t, 2], end, words[t, 2], words[t, 3], infos[t, 3])
                if close >= 0:
                    i = close + infos[t, 3]
                break
        if close < 0:
            return i


@kernel
def _is_placed(utf8: Any, start: int, i: int, flags: int, table: Any) -> bool:
    if flags & _FIRST:
        k = i
        while k > start and byte_at(utf8, k - 1) <= 0x20 and byte_at(utf8, k - 1) != 0x0A:
            if not (byte_at(utf8, k - 1) == 0x20 or 0x09 <= byte_at(utf8, k - 1) <= 0x0D):
                return False
            k -= 1
        return k == start or byte_at(utf8, k - 1) == 0x0A
    before = byte_at(utf8, i - 1) if i > start else np.uint8(0x0A)
    if flags & _COLUMN and before != 0x0A:
        return False
    if flags & _SPACED and not table[before] & _BEFORE_A_SPACED:
        return False
    return not (flags & _APART and table[before] & _OF_WORD)


@kernel
def _character_end(utf8: Any, i: int, end: int) -> int:
    if i + 1 >= end:
        return 0
    if byte_at(utf8, i + 1) == 0x5C:
        for k in range(i + 2, min(i + 13, end)):
            byte = byte_at(utf8, k)
            if byte == 0x0A or byte >= 0x80:
                return 0
            if byte == 0x27 and k > i + 2:
                return k + 1
        return 0
    code_point, width = decode(utf8, i + 1, end)
    close = i + 1 + width
    if code_point == 0x27 or code_point == 0x0A or close >= end or byte_at(utf8, close) != 0x27:
        return 0
    return close + 1


@kernel
def _regex_end(utf8: Any, start: int, i: int, end: int, table: Any) -> int:
    k = i
    while k > start and (byte_at(utf8, k - 1) == 0x20 or byte_at(utf8, k - 1) == 0x09):
        k -= 1
    if k > start and not table[byte_at(utf8, k - 1)] & _BEFORE_A_REGEX:
        return 0
    j, in_class = i + 1, False
    if j >= end or byte_at(utf8, j) == 0x2A or byte_at(utf8, j) == 0x2F:
        return 0
    left = LONGEST_REGEX - 1
    while j < end and left > 0:
        byte = byte_at(utf8, j)
        if byte == 0x0A:
            return 0
        if byte == 0x5C:
            j += 1
            left -= 1
            # The character behind, whole.
            while j + 1 < end and byte_at(utf8, j + 1) & 0xC0 == 0x80:
                j += 1
        elif byte == 0x5B:
            in_class = True
        elif byte == 0x5D:
            in_class = False
        elif byte == 0x2F and not in_class:
            return j + 1
        j += 1
        left -= j < end and byte_at(utf8, j) & 0xC0 != 0x80
    return 0


@kernel
def _closed(utf8: Any, i: int, end: int, words: Any, infos: Any, t: int) -> int:
    """Behind a block or string that opens at `i`."""
    flags, opens, closes = infos[t, 1], infos[t, 2], infos[t, 3]
    escapes, nests = flags & _ESCAPES != 0, flags & _NESTS != 0
    at_line_end = infos[t, 0] == _STRING and flags & _LINES == 0
    first_close, first_open = np.uint8(words[t, 2] & np.uint64(0xFF)), np.uint8(words[t, 0] & np.uint64(0xFF))
    depth, j = 1, i + opens
    while j < end:
        byte = byte_at(utf8, j)
        if escapes and byte == 0x5C:
            j += 2
        elif byte == first_close and _stands(utf8, j, end, words[t, 2], words[t, 3], closes):
            depth -= 1
            j += closes
            if depth == 0:
                return j
        elif nests and byte == first_open and _stands(utf8, j, end, words[t, 0], words[t, 1], opens):
            depth += 1
            j += opens
        elif at_line_end and byte == 0x0A:
            return j
        else:
            j += 1
    return end


@kernel
def _last_before(utf8: Any, i: int, from_: int) -> int:
    """The last byte above the space in `[from_, i)`; -1 if there is none."""
    while i > from_:
        if byte_at(utf8, i - 1) > 0x20:
            return byte_at(utf8, i - 1) + 0
        i -= 1
    return -1


@kernel
def _begins_line(utf8: Any, i: int, begin: int) -> int:
    """Where the line's text begins, if only the string at `i` with a prefix is before `i`; -1 otherwise."""
    k = i
    if k > begin:
        letter = byte_at(utf8, k - 1) | 0x20
        if letter == 0x72 or letter == 0x75 or letter == 0x62:
            k -= 1
    first = k
    while k > begin and (byte_at(utf8, k - 1) == 0x20 or byte_at(utf8, k - 1) == 0x09):
        k -= 1
    return first if k == begin or byte_at(utf8, k - 1) == 0x0A else -1


@kernel
def _comment_sums(
    utf8: Any,
    offsets: Any,
    of_documents: Any,
    firsts: Any,
    specials: Any,
    words: Any,
    infos: Any,
    enters: Any,
    table: Any,
    sums: Any,
) -> None:
    for doc in range(len(of_documents)):
        s = of_documents[doc]
        if s < 0 or firsts[s] == firsts[s + 1]:
            continue
        start, end = offsets[doc], offsets[doc + 1]
        begin = _begins(utf8, start, end, s, firsts, words, infos, enters)
        n, points, documented = 0, 0, 0
        head, head_end, in_head = -1, -1, True
        last_end, before_comments = begin, -1
        i = begin
        while i < end:
            bits = specials[s, byte_at(utf8, i)]
            if bits == _0:
                i += 1
                continue
            t, to = firsts[s], -1
            while bits != _0:
                if bits & _1 and _stands(utf8, i, end, words[t, 0], words[t, 1], infos[t, 2]):
                    kind, flags = infos[t, 0], infos[t, 1]
                    if flags & _CONDITIONS == 0 or _is_placed(utf8, start, i, flags, table):
                        if kind == _LINE:
                            to = _line_end(utf8, i, end)
                        elif kind <= _STRING:
                            to = _closed(utf8, i, end, words, infos, t)
                        elif kind == _CHARACTER:
                            to = _character_end(utf8, i, end)
                        elif kind == _REGEX:
                            to = _regex_end(utf8, start, i, end, table)
                        elif kind == _SKIP:
                            to = min(i + infos[t, 2] + (infos[t, 2] == 1), end)
                        else:
                            to = _entered(utf8, i + infos[t, 2], end, enters, s)
                        if to > 0:
                            break
                bits >>= _1
                t += 1
            if to <= 0:
                i += 1
                continue
            if infos[t, 0] <= _BLOCK:
                before = _last_before(utf8, i, last_end)
                n += 1
                points += count_code_points(utf8, i, to)
                if in_head:
                    in_head = before < 0 and (n == 1 or _newlines(utf8, last_end, i) <= 1)
                    if in_head:
                        head = i if n == 1 else head
                        head_end = to
                if before >= 0:
                    before_comments = before
                last_end = to
            elif infos[t, 1] & _DOCUMENTS:
                first = _begins_line(utf8, i, begin)
                if first >= 0:
                    before = _last_before(utf8, first, last_end)
                    before = before if before >= 0 else before_comments
                    if before < 0 or before == 0x3A:
                        documented += count_code_points(utf8, i, to)
            i = to
        sums[doc, 0], sums[doc, 1], sums[doc, 2], sums[doc, 3], sums[doc, 4] = n, points, documented, head, head_end


@kernel
def _newlines(utf8: Any, i: int, end: int) -> int:
    n = 0
    for k in range(i, end):
        n += byte_at(utf8, k) == 0x0A
    return n
