"""Where the words and phrases of a list occur in a text: all of the list in one pass, ASCII letters in either case.

Every entry is given two of its trigrams of bytes, an odd number of bytes apart, so that few and rare trigrams serve the
whole list; one of the two is at an even place of the document. The text is read at these places against a table of
32 kB; only where that answers are the entries that have the trigram compared. Work per byte is bounded by the entries
that share a trigram, whatever the text.

Case: A-Z in the text equal a-z in the list, and other bytes only themselves. For other letters give `lowered` text,
whose letters keep their place: see there.

The readable twin is `dolma/kernels/reference/phrases.py`. 400 English entries: about 900 MB/s of English on one core
of a 2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.unicode import ALNUM, SPACE, character_classes, decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import HIGHS, ONES, byte_at, first_mark, load, load_eight

ANYWHERE, BETWEEN_SPACES, BETWEEN_WORDS = 0, 1, 2
"""Where an entry counts: anywhere; between whitespace, as a word of `str.split()`; between characters that are neither
letter, digit nor `_`. The ends of the text do for both."""

_TABLE_BITS = 15
_MULTIPLIER = 0xFF51AFD7ED558CCD
_MULTIPLY, _SHIFT = np.uint64(_MULTIPLIER), np.uint64(64 - _TABLE_BITS)
_CASE = np.uint64(0x20) * ONES
_TRIGRAM = np.uint64(0xFFFFFF)
_0, _1, _7, _23, _39 = (np.uint64(n) for n in (0, 1, 7, 23, 39))
# How often the letters and the space occur in 10,000 characters of English: a guide to rare trigrams, no more.
_FREQUENCIES = {
    ord(letter): frequency
    for letters, frequency in {
        " ": 1800, "e": 1040, "t": 740, "a": 670, "oi": 590, "nsh": 530, "rd": 420, "luc": 310, "mwfgypb": 190,
        "vk": 70, "jxqz": 10,
    }.items()
    for letter in letters
}  # fmt: skip
_OTHER_FREQUENCY = 60
# Pairs that occur far more often than their letters.
_PAIRS = frozenset(
    b"th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le si ar ve ra ld "
    b"ur me ch ll ic ro ri co io ce li ne ma om ca us ut pe tr la el ta ct ec ac em di ho ss wh ow ck gh ig im pl un "
    b"mo so".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """A list made ready by `phrases_of`.

    `table`: uint8 by hash of a trigram; bit `b` tells that an entry may have it, and then a byte whose low three bits
    are `b`. `heads`: int32, by the same hash, the first place among `places`, -1 for none. `places`: int32, shape
    `(n, 3)`: an entry, where in it the trigram is (-1: one byte before it), the next place or -1. `windows`: uint64,
    shape `(n, 2)`: the first eight bytes of that entry, each with bit 0x20 set, and a mask of them. `starts`: int64,
    shape `(n_entries + 1,)`, in `letters`, the bytes of all entries. `borders`: int64, where each counts.
    """

    table: npt.NDArray[np.uint8]
    heads: npt.NDArray[np.int32]
    places: npt.NDArray[np.int32]
    windows: npt.NDArray[np.uint64]
    starts: Int64
    letters: npt.NDArray[np.uint8]
    borders: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """Occurrences of entries in a batch, in order of document, start and end.

    `documents`, `starts`, `ends`, `entries`: int64; positions are bytes in the batch, ends exclusive.
    """

    documents: Int64
    starts: Int64
    ends: Int64
    entries: Int64


def phrases_of(entries: Sequence[tuple[str, int]]) -> Phrases:
    """The list of `(text, border)` made ready: see `ANYWHERE` and its like.

    Raises:
        ValueError: an entry is empty or has an ASCII capital letter, or one byte only.
    """
    encoded = [text.encode() for text, _ in entries]
    for text in encoded:
        if len(text) < 2 or text != text.lower():
            raise ValueError(f"entries must have two bytes or more, letters A-Z in lower case; given {text.decode()!r}")
    table = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)
    heads = np.full(1 << _TABLE_BITS, -1, dtype=np.int32)
    places: list[tuple[int, int, int]] = []
    for entry, offset in _anchors(encoded):
        following = encoded[entry][offset + 3 : offset + 4]
        for trigram in _trigrams_at(encoded[entry], offset, border=entries[entry][1]):
            slot = _slot(trigram)
            table[slot] |= 1 << (following[0] & 7) if following else 255
            known = heads[slot]
            while known >= 0 and places[known][:2] != (entry, offset):
                known = places[known][2]
            if known < 0:
                places.append((entry, offset, int(heads[slot])))
                heads[slot] = len(places) - 1
    return Phrases(
        table=read_only(table, np.uint8),
        heads=read_only(heads, np.int32),
        places=read_only(np.array(places, dtype=np.int32).reshape(-1, 3), np.int32),
        windows=read_only(
            np.array([_window(encoded[entry]) for entry, _, _ in places], np.uint64).reshape(-1, 2), np.uint64
        ),
        starts=read_only(np.cumsum([0, *map(len, encoded)]), np.int64),
        letters=read_only(np.frombuffer(b"".join(encoded), np.uint8), np.uint8),
        borders=read_only([border for _, border in entries], np.int64),
    )


def occurrences(utf8: npt.NDArray[np.uint8], offsets: Int64, phrases: Phrases) -> Occurrences:
    """Every occurrence of every entry.

    >>> found = occurrences(np.frombuffer(b"A cat", np.uint8), np.array([0, 5]), phrases_of([("cat", ANYWHERE)]))
    >>> found.starts.tolist(), found.ends.tolist()
    ([2], [5])
    """
    text, bounds = flat_text(utf8, offsets)
    capacity = 1024 + len(text) // 256
    while True:
        found = np.empty((4, capacity), dtype=np.int64)
        n = _occurrences(
            text,
            bounds,
            character_classes(),
            phrases.table,
            phrases.heads,
            phrases.places,
            phrases.windows,
            phrases.starts,
            phrases.letters,
            phrases.borders,
            found,
        )
        if n <= capacity:
            break
        capacity = n
    found = found[:, :n]
    documents, starts, ends, entries = found[:, np.lexsort((found[2], found[1], found[0]))]
    return Occurrences(documents=documents, starts=starts, ends=ends, entries=entries)


def lowered(utf8: npt.NDArray[np.uint8], offsets: Int64) -> npt.NDArray[np.uint8]:
    """The text with each letter in lower case, if that has as many bytes; uint8, of the same shape.

    Letters in Unicode's simple lower case, each for itself. What has fewer bytes or more, as "İ", "K" (Kelvin) and
    "ẞ", stays as it is; `lowered_text` does the same to a string.

    >>> lowered(np.frombuffer("ÀİB".encode(), np.uint8), np.array([0, 5])).tobytes().decode()
    'àİb'
    """
    text, _ = flat_text(utf8, offsets)
    lower = np.empty(len(text), dtype=np.uint8)
    _lowered(text, _lower_case(), lower)
    return lower


def lowered_text(text: str) -> str:
    """`lowered` of one string.

    >>> lowered_text("ÀİB")
    'àİb'
    """
    return "".join(c.lower() if len(c.lower().encode()) == len(c.encode()) else c for c in text)


@functools.cache
def _lower_case() -> npt.NDArray[np.int32]:
    """By code point its lower case of as many bytes, or itself; int32, shape `(2 ** 21,)`."""
    table = np.arange(1 << 21, dtype=np.int32)
    for code_point in itertools.chain(range(0xD800), range(0xE000, 0x20000)):
        table[code_point] = ord(lowered_text(chr(code_point)))
    return read_only(table, np.int32)


def _anchors(entries: Sequence[bytes]) -> list[tuple[int, int]]:
    """For each entry, twice, its number and where in it one of its trigrams is: at an even place, and at an odd one.

    Where an entry of two or three bytes has none, that is 0, with any third byte, or -1, with any first byte.
    """
    places = {
        (i, parity): sorted(
            range(parity, len(text) - 2, 2) or [-parity], key=lambda at, text=text: (_frequency(text, at), at)
        )
        for i, text in enumerate(entries)
        for parity in (0, 1)
    }
    chosen: list[tuple[int, int]] = []
    used: set[bytes] = set()
    # Those with no rare trigram come first: what they cannot avoid serves others for nothing.
    for i, parity in sorted(places, key=lambda key: (-_frequency(entries[key[0]], places[key][0]), key)):
        text = entries[i]
        at = next((at for at in places[i, parity] if _known_of(text, at) in used), places[i, parity][0])
        used.add(_known_of(text, at))
        chosen.append((i, at))
    return sorted(chosen)


def _known_of(text: bytes, at: int) -> bytes:
    """The bytes of the trigram at this place, without those before and behind the text."""
    return text[max(at, 0) : at + 3]


def _trigrams_at(text: bytes, at: int, *, border: int) -> list[bytes]:
    """All trigrams that there can be at this place."""
    known = _known_of(text, at)
    if at < 0:
        return [bytes([byte]) + known for byte in range(256) if _may_precede(byte, border)]
    return [known] if len(known) == 3 else [known + bytes([byte]) for byte in range(256)]


def _may_precede(byte: int, border: int) -> bool:
    """Whether the byte may be the last before an entry that counts."""
    if byte >= 0x80 or border == ANYWHERE:
        return True
    return chr(byte).isspace() if border == BETWEEN_SPACES else not (chr(byte).isalnum() or byte == 0x5F)


def _frequency(text: bytes, at: int) -> float:
    """About how often this trigram occurs in English, and the more often the fewer bytes of it are known."""
    known = _known_of(text, at)
    frequency = 10_000.0 ** (3 - len(known))
    for byte in known:
        frequency *= _FREQUENCIES.get(byte, _OTHER_FREQUENCY)
    return frequency * 4.0 ** sum(known[k : k + 2] in _PAIRS for k in range(len(known) - 1))


def _slot(trigram: bytes) -> int:
    key = int.from_bytes(bytes(byte | 0x20 for byte in trigram), "little")
    return (key * _MULTIPLIER & 0xFFFFFFFFFFFFFFFF) >> (64 - _TABLE_BITS)


def _window(entry: bytes) -> tuple[int, int]:
    first = entry[:8]
    return int.from_bytes(bytes(byte | 0x20 for byte in first), "little"), (1 << 8 * len(first)) - 1


@kernel
def _occurrences(
    utf8: Any,
    offsets: Any,
    classes: Any,
    table: Any,
    heads: Any,
    places: Any,
    windows: Any,
    starts: Any,
    letters: Any,
    borders: Any,
    found: Any,
) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        i = _next_known(utf8, i, end, table)
        while i < end:
            word = load(utf8, i) | _CASE
            known = (_known(word, 0, table) & _1) << _7 | (_known(word, 16, table) & _1) << _23
            known |= (_known(word, 32, table) & _1) << _39
            while known != _0:
                k = first_mark(known)
                known &= known - _1
                place = heads[_slot_at(word, 8 * k)]
                while place >= 0:
                    at = i + k - places[place, 1]
                    if at >= offsets[doc] and (load(utf8, at) | _CASE) & windows[place, 1] == windows[place, 0]:
                        entry = places[place, 0]
                        to = at + starts[entry + 1] - starts[entry]
                        if (
                            to <= end
                            and _is_equal(utf8, at, letters, starts[entry], starts[entry + 1])
                            and _is_bordered(utf8, offsets[doc], at, to, end, borders[entry], classes)
                        ):
                            if n < found.shape[1]:
                                found[0, n], found[1, n], found[2, n], found[3, n] = doc, at, to, entry
                            n += 1
                    place = places[place, 2]
            i = _next_known(utf8, i + 6, end, table)
    return n


@kernel
def _next_known(utf8: Any, i: int, end: int, table: Any) -> int:
    """Where, in steps of 6 from `i`, the table knows one of three places; beyond `end` if nowhere. Text has few."""
    while i < end:
        word = (load_eight(utf8, i) if i + 8 <= len(utf8) else load(utf8, i)) | _CASE
        if (_known(word, 0, table) | _known(word, 16, table) | _known(word, 32, table)) & _1:
            break
        i += 6
    return i


@inlined
def _slot_at(word: Any, shift: int) -> Any:
    return np.int64((((word >> np.uint64(shift)) & _TRIGRAM) * _MULTIPLY) >> _SHIFT)


@inlined
def _known(word: Any, shift: int, table: Any) -> Any:
    """Lowest bit: whether an entry may have the four bytes from bit `shift` on."""
    return np.uint64(byte_at(table, _slot_at(word, shift))) >> ((word >> np.uint64(shift + 24)) & _7)


@inlined
def _is_equal(utf8: Any, at: int, letters: Any, start: int, end: int) -> bool:
    for k in range(end - start):
        byte = byte_at(utf8, at + k)
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != byte_at(letters, start + k):
            return False
    return True


@inlined
def _is_bordered(utf8: Any, first: int, start: int, end: int, last: int, border: int, classes: Any) -> bool:
    if border == ANYWHERE:
        return True
    if start > first:
        i = start - 1
        while i > first and byte_at(utf8, i) & 0xC0 == 0x80:
            i -= 1
        code_point, _ = decode(utf8, i, last)
        if not _is_border(code_point, border, classes):
            return False
    if end < last:
        code_point, _ = decode(utf8, end, last)
        return _is_border(code_point, border, classes)
    return True


@inlined
def _is_border(code_point: int, border: int, classes: Any) -> bool:
    if border == BETWEEN_SPACES:
        return classes[code_point] & SPACE != 0
    return classes[code_point] & ALNUM == 0 and code_point != 0x5F


@kernel
def _lowered(utf8: Any, lower_case: Any, lower: Any) -> None:
    i = 0
    while i < len(utf8):
        if i + 8 <= len(utf8) and load(utf8, i) & HIGHS == 0:
            for k in range(i, i + 8):
                byte = byte_at(utf8, k)
                lower[k] = byte | (0x20 * ((byte >= 0x41) & (byte <= 0x5A)))
            i += 8
            continue
        code_point, width = decode(utf8, i, len(utf8))
        small = lower_case[code_point]
        if width == 1:
            lower[i] = small if code_point < 0x80 else byte_at(utf8, i)
        elif width == 2:
            lower[i], lower[i + 1] = 0xC0 | small >> 6, 0x80 | (small & 0x3F)
        elif width == 3:
            lower[i], lower[i + 1], lower[i + 2] = 0xE0 | small >> 12, 0x80 | (small >> 6 & 0x3F), 0x80 | (small & 0x3F)
        else:
            for k in range(4):
                lower[i + k] = byte_at(utf8, i + k)
            if small != code_point:
                lower[i + 1], lower[i + 2], lower[i + 3] = (
                    0x80 | (small >> 12 & 0x3F),
                    0x80 | (small >> 6 & 0x3F),
                    0x80 | (small & 0x3F),
                )
        i += width
