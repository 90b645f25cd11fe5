"""Damage of encodings: characters that no sound text has, and UTF-8 that was read as CP1252 or Latin-1 (mojibake).

One pass; ASCII goes by eight bytes at a time. The readable twin, with all definitions, is
`dolma/kernels/reference/encoding.py`. About 1.2 GB/s of English and 600 MB/s of many languages, on one core of a
2-core cloud machine, 2026-11-24.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.reference.encoding import DAMAGED, KINDS, byte_of, evidence_of, kind_of
from dolma.kernels.unicode import ALPHA, LOWER, UPPER, character_classes, decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import HIGHS, ONES, at_least, byte_at, equal_to, first_mark, load

_FIRST_PRINTED, _DELETE = np.uint64(0x20) * ONES, np.uint64(0x7F) * ONES
_N_KINDS = len(KINDS)
_DAMAGED_KIND = 32
_BEYOND_CP1252 = 0x2123
_A_CIRCUMFLEX, _EURO = 0xE2, 0x20AC


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What `encoding_damage` finds.

    `kinds`: code points of each of `KINDS`, int64, `(n_docs, len(KINDS))`. `damaged`: code points in mojibake or of a
    kind that is damage, `twice`: sequences read wrongly twice; int64, `(n_docs,)`. `runs`: mojibake per document, and
    of all runs, in order, `starts`, `ends` (code points, end exclusive) and `sequences`, int64.
    """

    kinds: Int64
    damaged: Int64
    twice: Int64
    runs: Int64
    starts: Int64
    ends: Int64
    sequences: Int64


def encoding_damage(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Damage:
    """The damage in each document.

    >>> text = np.frombuffer("cafÃ©".encode(), np.uint8)
    >>> found = encoding_damage(text, np.array([0, len(text)]))
    >>> found.starts.tolist(), found.ends.tolist(), found.sequences.tolist()
    ([3], [5], [1])
    """
    text, bounds = flat_text(utf8, offsets)
    counts = np.zeros((len(bounds) - 1, _N_KINDS + 3), dtype=np.int64)
    spans = np.empty((3, len(text) // 3 + 1), dtype=np.int64)
    n = _damage(text, bounds, character_classes(), _kinds(), *_bytes(), counts, spans)
    starts, ends, sequences = spans[:, :n]
    return Damage(
        kinds=counts[:, :_N_KINDS],
        damaged=counts[:, _N_KINDS],
        twice=counts[:, _N_KINDS + 1],
        runs=counts[:, _N_KINDS + 2],
        starts=starts,
        ends=ends,
        sequences=sequences,
    )


@functools.cache
def _kinds() -> npt.NDArray[np.uint8]:
    """The number of each code point's kind, `_DAMAGED_KIND` added where that is damage; uint8, `(2 ** 21,)`."""
    codes = {kind: i | (_DAMAGED_KIND if kind in DAMAGED else 0) for i, kind in enumerate(KINDS)}
    table = np.zeros(1 << 21, dtype=np.uint8)
    # Planes 2 and 3 have ideographs only; 4 to 13 have no character but two noncharacters each, nor has the most of 14;
    # 15 and 16 are for private use.
    ideographs = np.strings.isalpha(np.arange(0x20000, 0x40000, dtype=np.uint32).view("U1"))
    table[0x20000:0x40000] = np.where(ideographs, codes["ordinary"], codes["unassigned"])
    table[0x40000:0xF0000] = codes["unassigned"]
    table[0xF0000:0x110000] = codes["private_use"]
    for code_point in (*range(0x20000), *range(0xE0000, 0xE0200)):
        table[code_point] = codes[kind_of(chr(code_point))]
    for plane in range(0x11):
        table[(plane << 16) + 0xFFFE : (plane + 1) << 16] = codes["noncharacters"]
    return read_only(table, np.uint8)


@functools.cache
def _bytes() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Of the code points that CP1252 or Latin-1 have, the byte and its evidence; uint8, `(0x2123,)`."""
    characters = [chr(code_point) for code_point in range(_BEYOND_CP1252)]
    return read_only([*map(byte_of, characters)], np.uint8), read_only([*map(evidence_of, characters)], np.uint8)


@kernel
def _damage(
    utf8: Any, offsets: Any, classes: Any, kinds: Any, codes: Any, evidence: Any, counts: Any, spans: Any
) -> int:
    n_runs = 0
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        point, before, looked, damaged_to = np.int64(0), np.int64(0x20), i, i
        damaged, twice, runs_before = 0, 0, n_runs
        while i < end:
            word = load(utf8, i)
            marks = (at_least(word, _FIRST_PRINTED) ^ HIGHS) | (word & HIGHS) | equal_to(word, _DELETE)
            n = min(first_mark(marks), end - i)
            if n > 0:
                # A broken sequence may end in a space.
                damaged += min(max(damaged_to - i, 0), n)
                i, point, before = i + n, point + n, np.int64(byte_at(utf8, i + n - 1))
                continue
            code_point, width = decode(utf8, i, end)
            if i >= looked and 0xC2 <= code_point <= 0xF4:
                looked, points, sequences, pairs, sound = _run(utf8, i, end, before, classes, codes, evidence)
                if sound or sequences > 1:
                    spans[0, n_runs], spans[1, n_runs], spans[2, n_runs] = point, point + points, sequences
                    n_runs += 1
                    damaged_to, twice = looked, twice + pairs
            kind = kinds[code_point]
            counts[doc, kind & 31] += 1
            damaged += i < damaged_to or kind & _DAMAGED_KIND != 0
            i, point, before = i + width, point + 1, code_point
        for kind in range(1, _N_KINDS):
            point -= counts[doc, kind]
        counts[doc, 0] = point
        counts[doc, _N_KINDS], counts[doc, _N_KINDS + 1], counts[doc, _N_KINDS + 2] = (
            damaged,
            twice,
            n_runs - runs_before,
        )
    return n_runs


@inlined
def _code_of(code_point: Any, codes: Any) -> Any:
    return np.int64(codes[code_point]) if code_point < _BEYOND_CP1252 else np.int64(0)


@kernel
def _run(
    utf8: Any, i: Any, end: int, before: Any, classes: Any, codes: Any, evidence: Any
) -> tuple[int, Any, int, int, Any]:
    """Of the run of sequences at `i`: its end, code points, sequences, those read twice, and whether one convinces."""
    points, sequences, twice, last, sound = np.int64(0), 0, 0, np.int64(0), False
    while i < end:
        lead, lead_width = decode(utf8, i, end)
        after = i + lead_width
        if lead < 0xC2 or lead > 0xF4:
            break
        size = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
        stands_for, second = lead & (0xFF >> (size + 1)), np.int64(0)
        most, total = np.int64(0), np.int64(0)
        final, rest, n = lead, after, 1
        while n < size and rest < end:
            code_point, width = decode(utf8, rest, end)
            code = _code_of(code_point, codes)
            if code < 0x80 or code >= 0xC0:
                break
            second = code if n == 1 else second
            stands_for = stands_for << 6 | (code & 0x3F)
            weight = np.int64(evidence[code_point])
            most, total, final = most if most > weight else weight, total + weight, code_point
            rest, n = rest + width, n + 1
        if n == size and _is_utf8(lead, second):
            following, _ = decode(utf8, rest, end) if rest < end else (np.int64(0x20), 1)
            if lead >= 0xE0:
                sound |= total + (lead == _A_CIRCUMFLEX) >= 2
            elif lead == 0xC2 or lead == 0xC3:
                sound |= most == 2 or classes[before] & UPPER == 0 or classes[following] & LOWER != 0
            elif lead != 0xD7 and lead != 0xD8 and lead != 0xDF:
                sound |= most == 2 or classes[before] & LOWER != 0
        elif after < end and _is_broken(utf8, lead, after, end, before, classes):
            final, last_width = decode(utf8, after, end)
            stands_for, rest, n, sound = np.int64(0xFFFD), after + last_width, 2, True
        else:
            break
        code = _code_of(stands_for, codes)
        twice += int(0xC2 <= last <= 0xF4 and 0x80 <= code < 0xC0)
        i, before, last = rest, final, stands_for
        points, sequences = points + n, sequences + 1
    return i, points, sequences, twice, sound


@inlined
def _is_utf8(lead: int, second: Any) -> bool:
    """Whether a sequence of the right length is neither overlong, nor a surrogate, nor beyond the last code point."""
    if lead == 0xE0:
        return second >= 0xA0
    if lead == 0xED:
        return second < 0xA0
    if lead == 0xF0:
        return second >= 0x90
    return lead != 0xF4 or second < 0x90


@inlined
def _is_broken(utf8: Any, lead: Any, after: Any, end: int, before: Any, classes: Any) -> bool:
    code_point, _ = decode(utf8, after, end)
    if lead == _A_CIRCUMFLEX:
        return code_point == _EURO
    if lead > 0xC3 or code_point != 0x20:
        return False
    return classes[before] & LOWER != 0 or (lead == 0xC2 and before != 0x20 and classes[before] & ALPHA == 0)
