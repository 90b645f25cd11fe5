"""Ids of pre-tokens from a table that a tokenizer has filled: what has been met before is not encoded again.

A batch is cut into pre-tokens and each is looked up. Ids that are known go out at once; what is not known is listed,
each pre-token once, for the tokenizer. Its answers are kept, and put into the gaps.

A slot has four words: 15 bytes of the pre-token and how many there are, or, of a longer one, two hashes; how many ids,
and where the bytes of a longer one lie; the ids, or where they lie. The table is bounded: when it is full, it is
emptied. So the answers are those of the tokenizer, whatever was in the table. The readable twin is
`dolma/kernels/reference/token_table.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.pretokens import cut
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at, first_bit, first_bytes, load_eight, prefetch, word_at

Ids = npt.NDArray[np.uint32]
Answer = Callable[[npt.NDArray[np.uint8], Int64], tuple[Ids, Int64]]

SLOT_BITS = 20
"""2^20 slots of 32 bytes: 32 MiB."""
LONGEST = 240
"""Bytes of the longest pre-token that is kept, and the most ids of one."""
_KEPT_BYTES, _KEPT_IDS = 32 << 20, 8 << 20
_PROBES = 12
_IDS = 1 << 20
_UNKNOWN = 1 << 15
_LISTED = 1 << 18
_AT_ONCE = 512
_INLINE = 15
_LONG = np.uint64(0xFF << 56)
_TOP, _LOW_BYTES = np.uint64(56), np.uint64((1 << 56) - 1)
_MIX_1, _MIX_2, _MIX_3 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_0, _16, _24, _29, _32 = (np.uint64(n) for n in (0, 16, 24, 29, 32))
_64, _128, _53, _ALL = np.uint64(64), np.uint64(128), np.uint64(53), np.uint64(0xFFFFFFFFFFFFFFFF)
_1, _2 = np.uint64(1), np.uint64(2)
_COUNT, _PENDING = np.uint64(0xFFFF), np.uint64(0xFFFF)
_ID = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """What a batch consists of: pieces of text, and tokens that were found in it before.

    `starts`, `ends`: int64, bytes of the batch. `tokens`: int64, the id of each token; -1 for a piece of text. `text`
    is the batch, with the bytes behind it that `pretokens.with_room` gives."""

    text: npt.NDArray[np.uint8]
    starts: Int64
    ends: Int64
    tokens: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How text is cut into pre-tokens: what `pretokens.pretoken_ends` takes."""

    form: int
    digits: int
    classes: npt.NDArray[np.uint8]


class TokenTable:
    """The ids of the pre-tokens that were met. `answer` gives those of unknown ones.

    `answer(joined, bounds)` is given pre-tokens one behind the other, uint8, and where each begins and the last one
    ends, int64. It returns all their ids, uint32, and how many each has."""

    def __init__(self, answer: Answer, *, slot_bits: int = SLOT_BITS) -> None:
        self._answer = answer
        self._slots = np.zeros(4 << slot_bits, dtype=np.uint64)
        self._kept_bytes = np.zeros(_KEPT_BYTES, dtype=np.uint8)
        self._kept_ids = np.zeros(_KEPT_IDS, dtype=np.uint32)
        self._sizes = np.zeros(3, dtype=np.int64)  # entries, bytes and ids that are kept
        self._ids = np.empty(_IDS, dtype=np.uint32)
        self._out = np.empty(_IDS, dtype=np.uint32)
        self._gaps = np.empty((2, _LISTED), dtype=np.int64)  # ids before the gap; what goes there
        self._cuts, self._keys = np.empty(_AT_ONCE, dtype=np.int64), np.empty((_AT_ONCE, 3), dtype=np.uint64)
        self._unknown = np.empty((3, _UNKNOWN), dtype=np.int64)  # start, end, slot or -1

    def ids_of(self, segments: Segments, cutting: Cutting) -> tuple[Ids, Int64]:
        """All ids, in a buffer that the next call may use, and how many each segment has; int64, shape
        `(n_segments,)`."""
        n_segments = len(segments.starts)
        found: list[Ids] = []
        counts = np.zeros(n_segments, dtype=np.int64)
        ends = np.empty((2, n_segments), dtype=np.int64)  # ids and gaps when each segment of a scan ends
        segment, position = 0, int(segments.starts[0]) if n_segments else 0
        while segment < n_segments:
            first = segment
            n_ids, n_gaps, n_unknown, segment, position = _scan(
                segments.text, segments.starts, segments.ends, segments.tokens, segment, position,
                cutting.form, cutting.digits, cutting.classes,
                self._slots, self._kept_bytes, self._kept_ids, self._sizes,
                self._ids, self._gaps, self._unknown, ends, self._cuts, self._keys,
            )  # fmt: skip
            answers, bounds = self._answers(segments.text, n_unknown)
            sizes = np.diff(bounds)[self._gaps[1, :n_gaps]]
            out = self._room(n_ids + int(sizes.sum()))
            _spliced(self._ids, n_ids, self._gaps, n_gaps, bounds, answers, out)
            if segment < n_segments or found:
                out = out.copy()
            found.append(out)
            filled = np.concatenate([[0], np.cumsum(sizes)])
            upto = ends[0, first:segment] + filled[ends[1, first:segment]]
            counts[first:segment] += np.diff(upto, prepend=0)
            if segment < n_segments:
                counts[segment] += len(out) - (upto[-1] if len(upto) else 0)
        return (found[0] if len(found) == 1 else np.concatenate([np.zeros(0, np.uint32), *found])), counts

    def _room(self, n: int) -> Ids:
        """A part of a buffer that is used again: memory that the system gives anew costs as much as what is put
        there."""
        if n > len(self._out):
            self._out = np.empty(n + n // 4, dtype=np.uint32)
        return self._out[:n]

    def _answers(self, text: npt.NDArray[np.uint8], n_unknown: int) -> tuple[Ids, Int64]:
        """The ids of the unknown pre-tokens, which are kept, and where those of each begin and the last one's end."""
        sizes = self._unknown[1, :n_unknown] - self._unknown[0, :n_unknown]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        if n_unknown == 0:
            return np.zeros(0, np.uint32), starts
        joined = np.empty(starts[-1], dtype=np.uint8)
        _joined(text, self._unknown, starts, joined)
        try:
            answers, counts = self._answer(joined, starts)
        except BaseException:
            self._empty()  # of slots that wait for these answers
            raise
        bounds = np.concatenate([[0], np.cumsum(counts)])
        answers = read_only(answers, np.uint32)
        full = _settle(
            joined, starts, bounds, answers, self._unknown,
            self._slots, self._kept_bytes, self._kept_ids, self._sizes,
        )  # fmt: skip
        if full:
            self._empty()
        return answers, bounds

    def _empty(self) -> None:
        self._slots.fill(0)
        self._sizes.fill(0)


@kernel
def _scan(
    text: Any, starts: Any, ends: Any, tokens: Any, k: int, i: int,
    form: int, digits: int, classes: Any,
    slots: Any, kept_bytes: Any, kept_ids: Any, sizes: Any,
    ids: Any, gaps: Any, unknown: Any, upto: Any, cuts: Any, keys: Any,
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Look pre-tokens up from byte `i` of segment `k` on, until all is done or a buffer is full."""
    n: Any = 0
    n_gaps, n_unknown = 0, 0
    most, down = _most_entries(slots), np.uint64(64 - first_bit(np.uint64(len(slots) // 4)))
    while k < len(starts):
        if tokens[k] >= 0:
            if n == _IDS:
                return n, n_gaps, n_unknown, k, i
            ids[n] = tokens[k]
            n += 1
            i = ends[k]
        while i < ends[k]:
            if n + _AT_ONCE * LONGEST > _IDS or n_gaps + _AT_ONCE > _LISTED or n_unknown + _AT_ONCE > _UNKNOWN:
                return n, n_gaps, n_unknown, k, i
            n_cuts, upto_here = cut(text, i, ends[k], form, digits, classes, cuts, 0)
            j = i
            for c in range(n_cuts):  # so that memory is waited for once
                size = cuts[c] - j
                if size <= LONGEST:
                    first, second = _key(text, j, size)
                    number = _hashed(first, second) >> down
                    prefetch(slots, np.int64(number << _2))
                    keys[c, 0], keys[c, 1], keys[c, 2] = first, second, number
                j = cuts[c]
            for c in range(n_cuts):
                j = cuts[c]
                size = j - i
                at = -1
                first, second = keys[c, 0], keys[c, 1]
                if size <= LONGEST:
                    at = _slot_of(text, i, size, first, second, keys[c, 2], slots, kept_bytes, unknown)
                if at >= 0 and word_at(slots, at + 1) != _0:
                    count, word = word_at(slots, at + 2) & _COUNT, word_at(slots, at + 3)
                    if count <= np.uint64(2):
                        ids[n] = word & _ID
                        ids[n + 1] = word >> _32
                        n += np.int64(count)
                    elif count == _PENDING:
                        gaps[0, n_gaps], gaps[1, n_gaps] = n, np.int64(word)
                        n_gaps += 1
                    else:
                        kept = np.int64(word)
                        for m in range(np.int64(count)):
                            ids[n + m] = kept_ids[kept + m]
                        n += np.int64(count)
                else:
                    if sizes[0] >= most:
                        at = -1
                    if at >= 0:
                        slots[at], slots[at + 1] = first, second
                        slots[at + 2], slots[at + 3] = _PENDING | np.uint64(size) << _16, np.uint64(n_unknown)
                        sizes[0] += 1
                    unknown[0, n_unknown], unknown[1, n_unknown], unknown[2, n_unknown] = i, j, at
                    gaps[0, n_gaps], gaps[1, n_gaps] = n, n_unknown
                    n_gaps += 1
                    n_unknown += 1
                i = j
            i = upto_here
        upto[0, k], upto[1, k] = n, n_gaps
        k += 1
        if k < len(starts):
            i = starts[k]
    return n, n_gaps, n_unknown, k, i


@inlined
def _key(text: Any, i: int, size: int) -> tuple[Any, Any]:
    """The first two words of the slot of a pre-token."""
    if size <= _INLINE:
        first, second = load_eight(text, i), load_eight(text, i + 8)
        bits = np.uint64(8 * size)
        if size <= 8:
            return first & (_ALL >> (_64 - bits)), bits << _53
        return first, second & (_ALL >> (_128 - bits)) | bits << _53
    one, other = np.uint64(size) * _MIX_3, np.uint64(size) * _MIX_2
    j, end = i, i + size
    while j < end:
        word = first_bytes(load_eight(text, j), end - j)
        one = (one ^ word) * _MIX_1
        one ^= one >> _29
        other = (other ^ word) * _MIX_3
        other ^= other >> _32
        j += 8
    return one, (other & _LOW_BYTES) | _LONG


@inlined
def _hashed(first: Any, second: Any) -> Any:
    """What decides where this key is looked for first, in its high bits."""
    mixed = first * _MIX_1 ^ second * _MIX_2
    return (mixed ^ mixed >> _32) * _MIX_3


@inlined
def _slot_of(
    text: Any, i: int, size: int, first: Any, second: Any, number: Any, slots: Any, kept_bytes: Any, unknown: Any
) -> Any:
    """Where the slot with this pre-token begins, or else an empty one; -1 if there is neither nearby."""
    for _ in range(_PROBES):
        at = number << _2
        if word_at(slots, at + _1) == second and word_at(slots, at) == first:
            if size <= _INLINE or _is_same(text, i, size, at, slots, kept_bytes, unknown):
                return np.int64(at)
        elif word_at(slots, at + _1) == _0:
            return np.int64(at)
        number = (number + _1) & np.uint64(len(slots) // 4 - 1)
    return -1


@inlined
def _is_same(text: Any, i: int, size: int, at: int, slots: Any, kept_bytes: Any, unknown: Any) -> Any:
    """Whether the bytes of the pre-token are those of the long one in this slot."""
    meta = slots[at + 2]
    if np.int64(meta >> _16) & 0xFF != size:
        return False
    if meta & _COUNT == _PENDING:
        start = unknown[0, np.int64(slots[at + 3])]
        for k in range(size):
            if byte_at(text, start + k) != byte_at(text, i + k):
                return False
    else:
        start = np.int64(meta >> _24)
        for k in range(size):
            if byte_at(kept_bytes, start + k) != byte_at(text, i + k):
                return False
    return True


@kernel
def _joined(text: Any, unknown: Any, starts: Any, joined: Any) -> None:
    for k in range(len(starts) - 1):
        for m in range(starts[k + 1] - starts[k]):
            joined[starts[k] + m] = text[unknown[0, k] + m]


@kernel
def _settle(
    joined: Any, starts: Any, bounds: Any, answers: Any, unknown: Any,
    slots: Any, kept_bytes: Any, kept_ids: Any, sizes: Any,
) -> bool:  # fmt: skip
    """Put the ids of the unknown pre-tokens into their slots. Returns whether the table is full, or one has more ids
    than a slot may have; the table is then not to be used."""
    for k in range(len(bounds) - 1):
        at = unknown[2, k]
        if at < 0:
            continue
        size, count = starts[k + 1] - starts[k], bounds[k + 1] - bounds[k]
        if count > LONGEST or sizes[1] + size > _KEPT_BYTES or sizes[2] + count > _KEPT_IDS:
            return True
        meta = np.uint64(count) | np.uint64(size) << _16
        if size > _INLINE:
            meta |= np.uint64(sizes[1]) << _24
            for m in range(size):
                kept_bytes[sizes[1] + m] = joined[starts[k] + m]
            sizes[1] += size
        if count <= 2:
            word = _0
            for m in range(count):
                word |= np.uint64(answers[bounds[k] + m]) << np.uint64(32 * m)
        else:
            word = np.uint64(sizes[2])
            for m in range(count):
                kept_ids[sizes[2] + m] = answers[bounds[k] + m]
            sizes[2] += count
        slots[at + 2], slots[at + 3] = meta, word
    return sizes[0] >= _most_entries(slots)


@inlined
def _most_entries(slots: Any) -> int:
    return len(slots) // 4 * 5 // 8


@kernel
def _spliced(ids: Any, n_ids: int, gaps: Any, n_gaps: int, bounds: Any, answers: Any, out: Any) -> None:
    """The ids with what goes into the gaps between them."""
    n, i = 0, 0
    for gap in range(n_gaps + 1):
        upto = gaps[0, gap] if gap < n_gaps else n_ids
        for _ in range(upto - i):
            out[n] = ids[i]
            n += 1
            i += 1
        if gap < n_gaps:
            number = gaps[1, gap]
            for m in range(bounds[number], bounds[number + 1]):
                out[n] = answers[m]
                n += 1


def framed(
    ids: Ids, counts: Int64, *, bos: int | None, eos: int, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], Int64]:
    """The ids of all texts with a begin token before, if there is one, and an end token behind each text that has any
    ids; and how many each text then has.

    >>> framed(np.array([5, 6, 7], np.uint32), np.array([2, 0, 1]), bos=None, eos=1, dtype="<u2")[0].tolist()
    [5, 6, 1, 7, 1]
    """
    sizes = np.where(counts > 0, counts + (1 if bos is None else 2), 0)
    out = np.empty(int(sizes.sum()), dtype=dtype)
    _framed(read_only(ids, np.uint32), read_only(counts, np.int64), -1 if bos is None else bos, eos, out)
    return out, sizes


@kernel
def _framed(ids: Any, counts: Any, bos: int, eos: int, out: Any) -> None:
    n, i = 0, 0
    for k in range(len(counts)):
        if counts[k] > 0:
            if bos >= 0:
                out[n] = bos
                n += 1
            for _ in range(counts[k]):
                out[n] = ids[i]
                n += 1
                i += 1
            out[n] = eos
            n += 1
