"""What lines are marked as (list items, headings, rows of tables, fenced code), and how many links a document has.

The readable twin, with all definitions, is `dolma/kernels/reference/structure.py`. Each about 1.3 GB/s of text given
lines, on one core of a 2-core cloud machine, 2026-11-24.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.reference.structure import BULLETS
from dolma.kernels.unicode import character_classes, decode, skip_spaces
from dolma.kernels.views import Blocks, Int64
from dolma.kernels.words64 import ONES, byte_at, equal_to, first_mark, load

_TEXT, _BULLET, _NUMBER, _HEADING, _ROW, _FENCED = range(6)
_PIPE, _TAB, _SPACE = 0x7C, 0x09, 0x20
_PIPES, _TABS = np.uint64(_PIPE) * ONES, np.uint64(_TAB) * ONES
_COLONS, _BRACKETS, _ANGLES, _WS = (np.uint64(ord(c)) * ONES for c in ":]<w")
_CASE = np.uint64(0x20) * ONES
_0 = np.uint64(0)
_NOT_IN_URLS = '"<>()[]`{|}\\^'
_NOT_LAST_IN_URLS = ".,;:!?'*_~"
_IN_URL, _LAST_IN_URL, _ALNUM, _NO_HOST_BEFORE = 1, 2, 4, 8


def line_kinds(utf8: npt.NDArray[np.uint8], lines: Blocks) -> Int64:
    """Lines of each document that are not blank, those of each kind, and fences; int64, shape `(n_docs, 7)`.

    Kinds: items with bullets, items with numbers, headings, rows of tables, lines in fences.
    """
    counts = np.zeros((len(lines.index) - 1, 7), dtype=np.int64)
    _line_kinds(
        read_only(utf8, np.uint8),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
        character_classes(),
        read_only([ord(bullet) for bullet in BULLETS], np.int64),
        counts,
    )
    return counts


def link_sums(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """Links of each document, and code points of its URLs; int64, shape `(n_docs, 2)`.

    >>> link_sums(np.frombuffer(b"see www.a.org.", np.uint8), np.array([0, 14])).tolist()
    [[1, 9]]
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.empty((len(bounds) - 1, 2), dtype=np.int64)
    _link_sums(text, bounds, _url_bytes(), sums)
    return sums


@functools.cache
def _url_bytes() -> npt.NDArray[np.uint8]:
    """What each byte may be in a URL."""
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(0x21, 0x7F):
        character = chr(byte)
        in_url = character not in _NOT_IN_URLS
        table[byte] = _IN_URL * in_url | _LAST_IN_URL * (in_url and character not in _NOT_LAST_IN_URLS)
        table[byte] |= _ALNUM * character.isalnum() | _NO_HOST_BEFORE * (character.isalnum() or character in "/.@-")
    return read_only(table, np.uint8)


@kernel
def _line_kinds(utf8: Any, starts: Any, ends: Any, index: Any, classes: Any, bullets: Any, counts: Any) -> None:
    for doc in range(len(index) - 1):
        fence, above = np.int64(0), -1
        for line in range(index[doc], index[doc + 1]):
            start, end = starts[line], ends[line]
            if start == end:
                above = -1
                continue
            counts[doc, 0] += 1
            mark = _fence_at(utf8, start, end)
            if mark != 0 and (fence == 0 or mark == fence):
                fence = mark - fence
                counts[doc, 6] += fence != 0
                above = _FENCED
            elif fence != 0:
                above = _FENCED
            else:
                above = _kind(utf8, start, end, above, classes, bullets)
            counts[doc, above] += above != _TEXT


@inlined
def _fence_at(utf8: Any, i: int, end: int) -> Any:
    """The mark (` or ~) of a fence at `i`, 0 if there is none."""
    mark = np.int64(byte_at(utf8, i))
    if mark != 0x60 and mark != 0x7E:
        return np.int64(0)
    return mark if _run_of(utf8, i, min(i + 3, end)) == 3 else np.int64(0)


@inlined
def _run_of(utf8: Any, i: int, end: int) -> int:
    """How many bytes from `i` on are the same."""
    first, n = byte_at(utf8, i), 1
    while i + n < end and byte_at(utf8, i + n) == first:
        n += 1
    return n


@kernel
def _kind(utf8: Any, start: int, end: int, above: int, classes: Any, bullets: Any) -> int:
    first = np.int64(byte_at(utf8, start))
    n = end - start
    if first == 0x23:
        marks = _run_of(utf8, start, min(start + 7, end))
        if marks <= 6 and (
            marks == n or byte_at(utf8, start + marks) == _SPACE or byte_at(utf8, start + marks) == _TAB
        ):
            return _HEADING
    elif first == 0x3D or first == 0x2D:
        marks = _run_of(utf8, start, end)
        if above == _TEXT and marks == n and n >= 3:
            return _HEADING
        two_at_ends = byte_at(utf8, end - 1) == 0x3D and byte_at(utf8, max(end - 2, start)) == 0x3D
        if first == 0x3D and 2 <= marks < n - 2 and two_at_ends:
            return _HEADING
    elif first == 0x3C and n >= 4:
        second, third = byte_at(utf8, start + 1), byte_at(utf8, start + 2)
        last = byte_at(utf8, start + 3)
        if last == _SPACE or last == 0x3E:
            if second == 0x68 and 0x31 <= third <= 0x36:
                return _HEADING
            if second == 0x6C and third == 0x69:
                return _BULLET
            if second == 0x74 and third == 0x72:
                return _ROW
    if _is_bullet_item(utf8, start, end, classes, bullets):
        return _BULLET
    if _is_numbered_item(utf8, start, end, classes):
        return _NUMBER
    return _ROW if _is_row(utf8, start, end) else _TEXT


@inlined
def _bullet_width(utf8: Any, i: int, end: int, bullets: Any) -> int:
    """The width of the bullet at `i`, 0 if there is none."""
    code_point, width = decode(utf8, i, end)
    found = 0
    for k in range(len(bullets)):
        found += code_point == bullets[k]
    return width * found


@kernel
def _is_bullet_item(utf8: Any, start: int, end: int, classes: Any, bullets: Any) -> bool:
    width = _bullet_width(utf8, start, end, bullets)
    if width == 0:
        return False
    text = skip_spaces(utf8, start + width, end, classes)
    if text == start + width or text == end:
        return False
    after = text + _bullet_width(utf8, text, end, bullets)
    # A second bullet by itself: a rule, like "* * *".
    return after == text or (after < end and skip_spaces(utf8, after, end, classes) == after)


@kernel
def _is_numbered_item(utf8: Any, start: int, end: int, classes: Any) -> bool:
    opened = byte_at(utf8, start) == 0x28
    i = start + opened
    digits = 0
    while digits < 3 and i + digits < end and 0x30 <= byte_at(utf8, i + digits) <= 0x39:
        digits += 1
    letter = i < end and 0x61 <= (byte_at(utf8, i) | 0x20) <= 0x7A
    if digits == 0 and not letter:
        return False
    i += max(digits, 1)
    if i + 1 >= end:
        return False
    closed = byte_at(utf8, i) == 0x29 or (byte_at(utf8, i) == 0x2E and digits > 0 and not opened)
    return closed and skip_spaces(utf8, i + 1, end, classes) > i + 1


@inlined
def _is_row(utf8: Any, start: int, end: int) -> bool:
    """Whether the line has two single pipes or two runs of tabs."""
    i, pipes, tabs = start, 0, 0
    while i < end:
        word = load(utf8, i)
        n = first_mark(equal_to(word, _PIPES) | equal_to(word, _TABS))
        i += n
        if n == 8:
            continue
        if i >= end:
            break
        byte, before = byte_at(utf8, i), byte_at(utf8, max(i - 1, start)) if i > start else np.uint8(0)
        if byte == _TAB:
            tabs += before != _TAB
        else:
            pipes += before != _PIPE and (i + 1 == end or byte_at(utf8, i + 1) != _PIPE)
        if tabs == 2 or pipes == 2:
            return True
        i += 1
    return False


@kernel
def _link_sums(utf8: Any, offsets: Any, of_urls: Any, sums: Any) -> None:
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        i, links, points = start, 0, np.int64(0)
        while i < end:
            word = load(utf8, i)
            marks = equal_to(word, _COLONS) | equal_to(word, _BRACKETS) | equal_to(word, _ANGLES)
            n = first_mark(marks | equal_to(word | _CASE, _WS))
            i += n
            if n == 8:
                continue
            if i + 1 >= end:
                break
            byte, following = byte_at(utf8, i), byte_at(utf8, i + 1)
            url = -1
            if byte == 0x5D:
                links += following == 0x28
            elif byte == 0x3C:
                links += following | 0x20 == 0x61 and i + 2 < end and _is_ascii_space(byte_at(utf8, i + 2))
            elif byte == 0x3A:
                url = _scheme_before(utf8, i, start, end, of_urls)
            else:
                url = _host_at(utf8, i, start, end, of_urls)
            i += 1
            if url >= 0:
                last = url
                while i < end and of_urls[byte_at(utf8, i)] & _IN_URL:
                    if of_urls[byte_at(utf8, i)] & _LAST_IN_URL:
                        last = i
                    i += 1
                points += last + 1 - url
                links += not _is_in_link(utf8, url, start)
        sums[doc, 0], sums[doc, 1] = links, points


@inlined
def _is_ascii_space(byte: int) -> bool:
    return byte == 0x20 or 0x09 <= byte <= 0x0D


@inlined
def _scheme_before(utf8: Any, i: int, start: int, end: int, of_urls: Any) -> int:
    """Where the URL begins whose scheme ends with the colon at `i`; -1 if there is none."""
    if i + 2 >= end or byte_at(utf8, i + 1) != 0x2F or byte_at(utf8, i + 2) != 0x2F or i - start < 3:
        return -1
    first = i
    while first > start and i - first < 5 and of_urls[byte_at(utf8, first - 1)] & _ALNUM:
        first -= 1
    if first > start and of_urls[byte_at(utf8, first - 1)] & _ALNUM:
        return -1
    scheme = np.uint64(0)
    for k in range(first, i):
        scheme = scheme << np.uint64(8) | np.uint64(byte_at(utf8, k) | 0x20)
    known = scheme == np.uint64(0x667470) or scheme == np.uint64(0x68747470) or scheme == np.uint64(0x6874747073)
    return first if known else -1


@inlined
def _host_at(utf8: Any, i: int, start: int, end: int, of_urls: Any) -> int:
    """`i` if "www." and a letter or digit stand there, and nothing before that such a name goes on from; else -1."""
    if i + 4 >= end or byte_at(utf8, i + 1) | 0x20 != 0x77 or byte_at(utf8, i + 2) | 0x20 != 0x77:
        return -1
    if byte_at(utf8, i + 3) != 0x2E or of_urls[byte_at(utf8, i + 4)] & _ALNUM == 0:
        return -1
    return -1 if i > start and of_urls[byte_at(utf8, i - 1)] & _NO_HOST_BEFORE else i


@inlined
def _is_in_link(utf8: Any, url: int, start: int) -> bool:
    """Whether the URL is the target of a link in Markdown or the value of an attribute."""
    if url - start < 2:
        return False
    first, second = byte_at(utf8, url - 2), byte_at(utf8, url - 1)
    return (first == 0x5D and second == 0x28) or (first == 0x3D and (second == 0x22 or second == 0x27))
