"""Signs of data within source code: encoded bytes, lines of numbers, tags of templates, and the visible text of HTML.

The readable twin, with all definitions, is `dolma/kernels/reference/code_data.py`. @@@ on one core of a 2-core cloud
machine, 2026-11-26.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.unicode import ALNUM, SPACE, character_classes, count_code_points, decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import ONES, byte_at, equal_to, first_mark, load

LEAST_BASE64, LEAST_ITEMS = 64, 8
_BASE64, _HEX, _NO_NUMBER, _DIGIT, _NO_BLANK, _OF_ITEM, _ALNUM = (1 << bit for bit in range(7))
_NEWLINES, _BRACES, _ANGLES, _SLASHES = (np.uint64(ord(c)) * ONES for c in "\n{<\\")
_0, _1 = np.uint64(0), np.uint64(1)
_SCRIPT_WORD, _STYLE_WORD = (np.uint64(int.from_bytes(name, "little")) for name in (b"script", b"style"))


def data_sums(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """Base64, hexadecimal bytes, escapes, the longest of them; lines, lines of numbers; tags of templates.

    int64, shape `(n_docs, 7)`; the first four in code points.

    >>> data_sums(np.frombuffer(b"ab 12\\n{{ x }}", np.uint8), np.array([0, 13])).tolist()
    [[0, 0, 0, 0, 2, 1, 1]]
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.zeros((len(bounds) - 1, 7), dtype=np.int64)
    _data_sums(text, bounds, character_classes(), _byte_table(), sums)
    return sums


def visible_lengths(utf8: npt.NDArray[np.uint8], offsets: Int64, chosen: npt.NDArray[np.bool_]) -> Int64:
    """Code points of each chosen document that a browser shows of it as HTML, 0 for others; int64, shape `(n_docs,)`.

    >>> page = b"<p>a &amp; b</p>"
    >>> visible_lengths(np.frombuffer(page, np.uint8), np.array([0, len(page)]), np.array([True])).tolist()
    [5]
    """
    text, bounds = flat_text(utf8, offsets)
    found = np.zeros(len(bounds) - 1, dtype=np.int64)
    _visible_lengths(text, bounds, read_only(chosen, np.bool_), _byte_table(), found)
    return found


@functools.cache
def _byte_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        character = chr(byte)
        ascii_alnum = byte < 0x80 and character.isalnum()
        table[byte] |= _BASE64 * (ascii_alnum or character in "+/\n=")
        table[byte] |= _HEX * (character in "0123456789abcdefABCDEF")
        space = character in " \t\r\v\f\n"
        allowed = character in "0123456789abcdefABCDEFxX" or space or (0x21 <= byte < 0x7F and not ascii_alnum)
        # What `\\s` takes beyond these.
        allowed = allowed or 0x1C <= byte <= 0x1F
        table[byte] |= _NO_NUMBER * (not allowed)
        table[byte] |= _DIGIT * (character in "0123456789")
        table[byte] |= _NO_BLANK * (not space)
        of_item = character in "0123456789abcdefABCDEFx\\," or space or 0x1C <= byte <= 0x1F or byte >= 0x80
        table[byte] |= _OF_ITEM * of_item
        table[byte] |= _ALNUM * ascii_alnum
    return read_only(table, np.uint8)


@kernel
def _data_sums(utf8: Any, offsets: Any, classes: Any, table: Any, sums: Any) -> None:
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        sums[doc, 2], longest_escapes, sums[doc, 4], sums[doc, 5], sums[doc, 6] = _marks(utf8, start, end, table)
        sums[doc, 0], longest_base64 = _base64(utf8, start, end, table)
        sums[doc, 1], longest_items = _hexadecimal(utf8, start, end, table, classes)
        sums[doc, 3] = max(longest_escapes, longest_base64, longest_items)


@kernel
def _marks(utf8: Any, start: int, end: int, table: Any) -> tuple[int, int, int, int, int]:
    """Code points of escapes and of their longest run, lines, lines of numbers, tags."""
    escapes, longest, lines, numbers, tags = 0, 0, 0, 0, 0
    escaped, seen = start, _line_classes(utf8, start, end, table)
    for i in range(start, end, 8):
        word = load(utf8, i)
        marks = equal_to(word, _NEWLINES) | equal_to(word, _BRACES) | equal_to(word, _ANGLES) | equal_to(word, _SLASHES)
        while marks != _0:
            k = i + first_mark(marks)
            marks &= marks - _1
            if k >= end:
                break
            byte = byte_at(utf8, k)
            following = byte_at(utf8, k + 1) if k + 1 < end else np.uint8(0)
            if byte == 0x0A:
                lines += seen & _NO_BLANK != 0
                numbers += seen & _NO_NUMBER == 0 and seen & _DIGIT != 0
                seen = _line_classes(utf8, k + 1, end, table)
            elif byte == 0x7B:
                tags += following == 0x7B or following == 0x25
            elif byte == 0x3C:
                tags += following == 0x25 or (following == 0x3F and not _is_xml(utf8, k, end))
            elif following == 0x75 and k >= escaped:
                escaped = _escapes_until(utf8, k, end, table)
                if escaped - k >= 6 * LEAST_ITEMS:
                    escapes += escaped - k
                    longest = max(longest, escaped - k)
    lines += seen & _NO_BLANK != 0
    numbers += seen & _NO_NUMBER == 0 and seen & _DIGIT != 0
    return escapes, longest, lines, numbers, tags


@kernel
def _line_classes(utf8: Any, i: int, end: int, table: Any) -> Any:
    """The classes of the line's bytes, up to the first that no line of numbers has."""
    seen = np.uint8(0)
    while i < end:
        byte = byte_at(utf8, i)
        if byte == 0x0A:
            break
        seen |= table[byte]
        if seen & _NO_NUMBER:
            break
        i += 1
    return np.int64(seen)


@kernel
def _base64(utf8: Any, start: int, end: int, table: Any) -> tuple[int, int]:
    """Code points of all runs that are long enough, and of the longest: each has a byte at a multiple of the least."""
    total, longest, done = 0, 0, start
    at = start + LEAST_BASE64 - 1
    while at < end:
        first = at
        while first >= done and table[byte_at(utf8, first)] & _BASE64:
            first -= 1
        last = at
        if first < at:
            while last < end and table[byte_at(utf8, last)] & _BASE64:
                last += 1
            if last - first - 1 >= LEAST_BASE64:
                total += last - first - 1
                longest = max(longest, last - first - 1)
        done = last
        at += LEAST_BASE64 * (1 + max(last - 1 - at, 0) // LEAST_BASE64)
    return total, longest


@kernel
def _hexadecimal(utf8: Any, start: int, end: int, table: Any, classes: Any) -> tuple[int, int]:
    """Code points of all runs of items, and of the longest. Looked into are stretches that could be one."""
    total, longest, done = 0, 0, start
    step = 3 * LEAST_ITEMS - 1
    at = start + step - 1
    while at < end:
        first = at
        while first >= done and table[byte_at(utf8, first)] & _OF_ITEM:
            first -= 1
        last = at
        if first < at:
            while last < end and table[byte_at(utf8, last)] & _OF_ITEM:
                last += 1
            if last - first - 1 >= step:
                n, most = _items(utf8, first + 1, last, start, end, table, classes)
                total += n
                longest = max(longest, most)
        done = last
        at += step * (1 + max(last - 1 - at, 0) // step)
    return total, longest


@kernel
def _items(utf8: Any, i: int, last: int, start: int, end: int, table: Any, classes: Any) -> tuple[int, int]:
    total, longest, pairs, done = 0, 0, 0, i
    while i < last:
        pairs = pairs + 1 if table[byte_at(utf8, i)] & _HEX else 0
        if pairs == 2 and i > done:
            first = _item_begin(utf8, i - 1, done, start, classes)
            if first >= 0:
                done, items = _items_until(utf8, first, start, end, table, classes)
                if items >= LEAST_ITEMS:
                    n = count_code_points(utf8, first, done)
                    total += n
                    longest = max(longest, n)
        i += 1
    return total, longest


@inlined
def _is_xml(utf8: Any, i: int, end: int) -> bool:
    return (
        i + 4 < end and byte_at(utf8, i + 2) == 0x78 and byte_at(utf8, i + 3) == 0x6D and byte_at(utf8, i + 4) == 0x6C
    )


@kernel
def _escapes_until(utf8: Any, i: int, end: int, table: Any) -> int:
    """Where the `\\uXXXX` that begin at `i` end."""
    while i + 6 <= end and byte_at(utf8, i) == 0x5C and byte_at(utf8, i + 1) == 0x75:
        for k in range(i + 2, i + 6):
            if not table[byte_at(utf8, k)] & _HEX:
                return i
        i += 6
    return i


@kernel
def _is_word(utf8: Any, i: int, end: int, classes: Any) -> bool:
    if i >= end:
        return False
    code_point, _ = decode(utf8, i, end)
    return classes[code_point] & ALNUM != 0 or code_point == 0x5F


@kernel
def _is_word_before(utf8: Any, i: int, start: int, classes: Any) -> bool:
    if i <= start:
        return False
    k = i - 1
    while k > start and byte_at(utf8, k) & 0xC0 == 0x80:
        k -= 1
    return _is_word(utf8, k, i, classes)


@kernel
def _item_begin(utf8: Any, pair: int, from_: int, start: int, classes: Any) -> int:
    """Where the item begins whose two digits are at `pair`, at `from_` or later; -1 if it is none."""
    if pair - 2 >= from_ and byte_at(utf8, pair - 1) == 0x78:
        prefix = byte_at(utf8, pair - 2)
        if prefix == 0x30:
            return pair - 2 if not _is_word_before(utf8, pair - 2, start, classes) else -1
        if prefix == 0x5C:
            return pair - 2 if _is_word_before(utf8, pair - 2, start, classes) else -1
    return -1 if pair < from_ or _is_word_before(utf8, pair, start, classes) else pair


@kernel
def _items_until(utf8: Any, first: int, start: int, end: int, table: Any, classes: Any) -> tuple[int, int]:
    """Where the items that begin at `first` end, and how many they are."""
    i, items = first, 0
    while True:
        pair = i
        if pair + 1 < end and byte_at(utf8, pair + 1) == 0x78:
            pair += 2 * (byte_at(utf8, pair) == 0x30 or byte_at(utf8, pair) == 0x5C)
        if pair + 1 >= end or not table[byte_at(utf8, pair)] & _HEX or not table[byte_at(utf8, pair + 1)] & _HEX:
            break
        is_slash = byte_at(utf8, i) == 0x5C
        if _is_word_before(utf8, i, start, classes) != is_slash:
            break
        k = pair + 2
        if k < end and byte_at(utf8, k) == 0x2C:
            i = k + 1
            items += 1
            continue
        if _is_word(utf8, k, end, classes):
            break
        while k < end:
            code_point, width = decode(utf8, k, end)
            if not classes[code_point] & SPACE:
                break
            k += width
        i = k
        items += 1
    return max(i, first + 1), items


@kernel
def _visible_lengths(utf8: Any, offsets: Any, chosen: Any, table: Any, found: Any) -> None:
    for doc in range(len(offsets) - 1):
        if not chosen[doc]:
            continue
        i, end, n = offsets[doc], offsets[doc + 1], 0
        while i < end:
            byte = byte_at(utf8, i)
            if byte == 0x3C and i + 1 < end and _opens_tag(byte_at(utf8, i + 1)):
                i = _tag_end(utf8, i, end, table)
            elif byte == 0x26:
                n += 1
                i = _entity_end(utf8, i, end, table)
            else:
                n += byte & 0xC0 != 0x80
                i += 1
        found[doc] = n


@inlined
def _opens_tag(byte: int) -> bool:
    return 0x61 <= byte | 0x20 <= 0x7A or byte == 0x2F or byte == 0x21 or byte == 0x3F


@kernel
def _entity_end(utf8: Any, i: int, end: int, table: Any) -> int:
    """Behind the character reference at `i`, or behind the "&" if it is none."""
    k = i + 1
    if k < end and byte_at(utf8, k) == 0x23:
        k += 1
    first = k
    while k < end and k - first < 31 and table[byte_at(utf8, k)] & _ALNUM:
        k += 1
    return k + 1 if k > first and k < end and byte_at(utf8, k) == 0x3B else i + 1


@kernel
def _tag_end(utf8: Any, i: int, end: int, table: Any) -> int:
    if i + 4 <= end and byte_at(utf8, i + 1) == 0x21 and byte_at(utf8, i + 2) == 0x2D and byte_at(utf8, i + 3) == 0x2D:
        k = i + 4
        while k + 3 <= end:
            if byte_at(utf8, k) == 0x2D and byte_at(utf8, k + 1) == 0x2D and byte_at(utf8, k + 2) == 0x3E:
                return k + 3
            k += 1
        return end
    j, quote = i + 1, np.uint8(0)
    while j < end:
        byte = byte_at(utf8, j)
        if quote != 0:
            if byte == quote:
                quote = np.uint8(0)
        elif (byte == 0x22 or byte == 0x27) and byte_at(utf8, j - 1) == 0x3D:
            quote = byte
        elif byte == 0x3E:
            break
        j += 1
    j = min(j + 1, end)
    for name in (_SCRIPT_WORD, _STYLE_WORD):
        size = 6 if name == _SCRIPT_WORD else 5
        if _is_named(utf8, i + 1, end, name, size) and i + 1 + size < end:
            following = byte_at(utf8, i + 1 + size)
            if following == 0x20 or 0x09 <= following <= 0x0D or following == 0x3E or following == 0x2F:
                while j < end:
                    if (
                        byte_at(utf8, j) == 0x3C
                        and j + 1 < end
                        and byte_at(utf8, j + 1) == 0x2F
                        and _is_named(utf8, j + 2, end, name, size)
                    ):
                        return j
                    j += 1
                return end
    return j


@kernel
def _is_named(utf8: Any, i: int, end: int, name: Any, size: int) -> bool:
    if i + size > end:
        return False
    same = 0
    for k in range(size):
        same += byte_at(utf8, i + k) | 0x20 == np.int64((name >> np.uint64(8 * k)) & np.uint64(0xFF))
    return same == size
