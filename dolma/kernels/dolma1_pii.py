"""E-mail addresses, telephone numbers and IPv4 addresses in the sense of Dolma 1.x, in one pass.

What they are is said in `dolma/taggers/dolma1/pii.py`; the readable twin, `dolma/kernels/reference/dolma1_pii.py`, says
it by regular expressions. Only digits, "@" and what is not ASCII is looked at: eight bytes without them are passed over
at once. Each character before or behind a mark is read a fixed number of times, so the time is linear in the text.

Views, meant for `TextBatch.view`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.unicode import DIGIT, SPACE, character_classes, decode, trim_spaces
from dolma.kernels.views import Int64
from dolma.kernels.words64 import HIGHS, ONES, at_least, byte_at, equal_to, first_mark, load

EMAIL, PHONE, IP = 0, 1, 2
WINDOW, LONGEST_HOST = 100, 253

_AT, _FROM_0, _BEYOND_9 = (np.uint64(ord(c)) * ONES for c in "@0:")
_0 = np.uint64(0)
# What may surround an address in the pattern of 1.x, and what is taken from its ends here besides.
_AROUND, _QUOTES = 1, 2
_MARKS = np.zeros(256, dtype=np.uint8)
_MARKS[list(b".,?!;:)(")] = _AROUND
_MARKS[list(b"<>[]{}\"'`")] = _QUOTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What was found, in the order of the text; those of one kind do not overlap.

    `kinds`: uint8. `documents`, `starts`, `ends`: int64, bytes in the buffer. A telephone number begins with the
    whitespace before it; `paragraph_starts` is where it begins if nothing before its line counts, else as `starts`.
    """

    kinds: npt.NDArray[np.uint8]
    documents: Int64
    starts: Int64
    ends: Int64
    paragraph_starts: Int64


def personal_data_1x(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Matches:
    """All matches of a batch.

    >>> found = personal_data_1x(np.frombuffer(b"me: <a@b.de>, 1.2.3.4", np.uint8), np.array([0, 21]))
    >>> found.kinds.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 2], [5, 14], [11, 21])
    """
    text, bounds = flat_text(utf8, offsets)
    # The shortest, "a@b.", has four bytes of its own. What is not written to takes no memory.
    most = len(text) // 2 + 1
    kinds, places = np.empty(most, dtype=np.uint8), np.empty((4, most), dtype=np.int64)
    n = _matches(text, bounds, character_classes(), _MARKS, kinds, places)
    documents, starts, ends, paragraph_starts = places[:, :n]
    return Matches(kinds=kinds[:n], documents=documents, starts=starts, ends=ends, paragraph_starts=paragraph_starts)


def doubtful_1x(utf8: npt.NDArray[np.uint8], offsets: Int64, matches: Matches) -> npt.NDArray[np.bool_]:
    """Which matches their surroundings make doubtful; bool, shape `(n_matches,)`.

    A telephone number or an IP address with "#", "isbn" or "doi" (in either case) in the 100 code points before or
    behind it, and a telephone number that a host name and "/" go on.
    """
    text, bounds = flat_text(utf8, offsets)
    answers = np.empty(len(matches.kinds), dtype=np.bool_)
    kinds, documents = read_only(matches.kinds, np.uint8), read_only(matches.documents, np.int64)
    starts, ends = read_only(matches.starts, np.int64), read_only(matches.ends, np.int64)
    _doubtful(text, bounds, kinds, documents, starts, ends, answers)
    return answers


@kernel
def _matches(utf8: Any, offsets: Any, classes: Any, marks: Any, kinds: Any, places: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        first, end = offsets[doc], offsets[doc + 1]
        # How many octets "." has joined up to the last run of digits, its end, and the end of the last phone number.
        chain, chain_start, run_end, phone_end = 0, first, -1, first
        i = _next_mark(utf8, first, end)
        while i < end:
            if byte_at(utf8, i) == 0x40:
                start, stop = _email_bounds(utf8, i, first, end, classes, marks)
                if stop > 0:
                    kinds[n], places[0, n], places[1, n], places[2, n], places[3, n] = EMAIL, doc, start, stop, start
                    n += 1
                i = _next_mark(utf8, i + 1, end)
                continue
            width = _digit_width(utf8, i, end, classes)
            if width == 0:
                _, width = decode(utf8, i, end)
                i = _next_mark(utf8, i + width, end)
                continue
            stop, value = i, 0
            while width > 0:
                digit = int(byte_at(utf8, stop)) - 0x30 if width == 1 else 1000
                value = min(10 * value + digit, 1000)
                stop += width
                width = _digit_width(utf8, stop, end, classes)
            octet = (stop - i <= 3) & (value <= 255)
            if chain == 0 or run_end != i - 1 or byte_at(utf8, i - 1) != 0x2E:
                chain, chain_start = 0, i
            chain = chain + 1 if octet else 0
            run_end = stop
            if chain == 4:
                kinds[n], places[0, n], places[1, n], places[2, n], places[3, n] = (
                    IP,
                    doc,
                    chain_start,
                    stop,
                    chain_start,
                )
                n += 1
                chain = 0
            number_end = _phone_end(utf8, i, end, classes) if i >= phone_end else 0
            if number_end > 0:
                start = i - 1 if i > first and byte_at(utf8, i - 1) == 0x28 else i
                spaces = trim_spaces(utf8, first, start, classes)
                if spaces < start or start == first:
                    phone_end = number_end
                    kinds[n], places[0, n], places[1, n], places[2, n] = PHONE, doc, spaces, number_end
                    while start > spaces and byte_at(utf8, start - 1) != 0x0A:
                        start -= 1
                    places[3, n] = start
                    n += 1
            i = _next_mark(utf8, stop, end)
    return n


@inlined
def _next_mark(utf8: Any, i: int, end: int) -> int:
    """The first position in `[i, end)` that holds a digit, "@" or a byte that is not ASCII, or `end`."""
    while i < end:
        word = load(utf8, i)
        digits = at_least(word, _FROM_0) & ~at_least(word, _BEYOND_9)
        found = (digits | equal_to(word, _AT) | word) & HIGHS
        if found != _0:
            return min(i + first_mark(found), end)
        i += 8
    return end


@inlined
def _digit_width(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The bytes of the decimal digit, of any script, at `i`; 0 if there is none."""
    if i >= end:
        return 0
    byte = byte_at(utf8, i)
    if byte < 0x80:
        return 1 if 0x30 <= byte <= 0x39 else 0
    code_point, width = decode(utf8, i, end)
    return width if classes[code_point] & DIGIT else 0


@inlined
def _digits(utf8: Any, i: int, end: int, n: int, classes: Any) -> int:
    """The end of `n` digits that begin at `i`; -1 if there are fewer."""
    for _ in range(n):
        width = _digit_width(utf8, i, end, classes)
        if width == 0:
            return -1
        i += width
    return i


@kernel
def _phone_end(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The end of the ten digits, in groups of three, three and four, that begin at `i`; 0 if there are none."""
    i = _digits(utf8, i, end, 3, classes)
    if i < 0:
        return 0
    if i < end and byte_at(utf8, i) == 0x29:
        i += 1
    while i < end and _is_separator(byte_at(utf8, i)):
        i += 1
    i = _digits(utf8, i, end, 3, classes)
    if i < 0:
        return 0
    if i < end and _is_separator(byte_at(utf8, i)):
        i += 1
    return max(_digits(utf8, i, end, 4, classes), 0)


@inlined
def _is_separator(byte: Any) -> bool:
    return (byte == 0x20) | (byte == 0x2D) | (byte == 0x2E)


@kernel
def _email_bounds(utf8: Any, at: int, first: int, end: int, classes: Any, marks: Any) -> tuple[int, int]:
    """Start and end of the address whose "@" is at `at`; `(0, 0)` if there is none."""
    start = at
    while start > first:
        i = start - 1
        while i > first and byte_at(utf8, i) & 0xC0 == 0x80:
            i -= 1
        code_point, _ = decode(utf8, i, end)
        if code_point == 0x40 or classes[code_point] & SPACE:
            break
        start = i
    stop, n_dots = at + 1, 0
    while stop < end:
        code_point, width = decode(utf8, stop, end)
        dot = code_point == 0x2E
        if classes[code_point] & SPACE or code_point == 0x40:
            break
        if code_point < 0x80 and marks[code_point] == _AROUND and not dot:
            break
        n_dots += dot
        stop += width
    if start == at or n_dots == 0 or not _ends_behind(utf8, stop, end, classes, marks):
        return 0, 0
    last = at - 1
    while last > start and byte_at(utf8, last) & 0xC0 == 0x80:
        last -= 1
    while start < last and byte_at(utf8, start) < 0x80 and marks[byte_at(utf8, start)] > 0:
        start += 1
    while stop > at + 2 and (byte_at(utf8, stop - 1) == 0x2E or marks[byte_at(utf8, stop - 1)] == _QUOTES):
        n_dots -= byte_at(utf8, stop - 1) == 0x2E
        stop -= 1
    if n_dots == 0 or (last == start and byte_at(utf8, last) == 0x28):
        return 0, 0
    return start, stop


@inlined
def _ends_behind(utf8: Any, i: int, end: int, classes: Any, marks: Any) -> bool:
    """Whether the text ends at `i`, or whitespace follows, at once or behind one of the marks that may surround."""
    if i < end and (byte_at(utf8, i) == 0x40 or marks[byte_at(utf8, i)] == _AROUND):
        i += 1
    if i >= end:
        return True
    code_point, _ = decode(utf8, i, end)
    return classes[code_point] & SPACE != 0


@kernel
def _doubtful(utf8: Any, offsets: Any, kinds: Any, documents: Any, starts: Any, ends: Any, answers: Any) -> None:
    for k in range(len(kinds)):
        answers[k] = False
        if kinds[k] == EMAIL:
            continue
        first, end = offsets[documents[k]], offsets[documents[k] + 1]
        start, n_points = starts[k], 0
        while start > first and n_points < WINDOW:
            start -= 1
            n_points += byte_at(utf8, start) & 0xC0 != 0x80
        stop, n_points = ends[k], 0
        while stop < end and (n_points < WINDOW or byte_at(utf8, stop) & 0xC0 == 0x80):
            n_points += byte_at(utf8, stop) & 0xC0 != 0x80
            stop += 1
        answers[k] = _has_veto(utf8, start, stop) or (kinds[k] == PHONE and _goes_on_as_host(utf8, ends[k], end))


@inlined
def _has_veto(utf8: Any, start: int, end: int) -> bool:
    recent = 0  # the last four bytes, letters in lower case
    for i in range(start, end):
        byte = int(byte_at(utf8, i))
        recent = (recent << 8 | byte | (0x20 if 0x41 <= byte <= 0x5A else 0)) & 0xFFFFFFFF
        if byte == 0x23 or recent == 0x6973626E or recent & 0xFFFFFF == 0x646F69:
            return True
    return False


@inlined
def _goes_on_as_host(utf8: Any, i: int, end: int) -> bool:
    """Whether a label of two to four letters behind a "." and then "/" end the host name that goes on at `i`."""
    start, n_letters, behind_dot = i, 0, False
    while i < end and i - start < LONGEST_HOST:
        byte = byte_at(utf8, i)
        lower = byte | 0x20
        if byte == 0x2F:
            return behind_dot and 2 <= n_letters <= 4
        if byte == 0x2E:
            behind_dot, n_letters = True, 0
        elif 0x61 <= lower <= 0x7A:
            n_letters += 1
        elif 0x30 <= byte <= 0x39 or byte == 0x2D:
            behind_dot = False
        else:
            return False
        i += 1
    return False
