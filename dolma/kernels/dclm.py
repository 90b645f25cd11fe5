"""Words, paragraphs, symbols and repeated n-grams as DCLM counts them.

The readable twin is `dolma/kernels/reference/dclm.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.automata import Automaton, next_state
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.english_tokens import most_tokens
from dolma.kernels.hashing import hash64
from dolma.kernels.repetition import (
    LONGEST,
    covered,
    most_common,
    ngram_arrays,
    pair_neighbours,
    pair_words,
    repeated,
)
from dolma.kernels.unicode import ALNUM, character_classes, count_code_points, decode
from dolma.kernels.views import Blocks, Int64, Words, line_spans
from dolma.kernels.words64 import HIGHS, ONES, at_least, byte_at, first_mark, load

_LAST_MOST_COMMON = 4
_CASE = np.uint64(0x20) * ONES
_A, _BEYOND_Z = np.uint64(0x61) * ONES, np.uint64(0x7B) * ONES


def alnum_segments(utf8: npt.NDArray[np.uint8], offsets: Int64, machine: Automaton) -> Words:
    """The segments whose first character is a letter or a digit (`str.isalnum`), as words; their `kinds` are 0.

    `machine` counts segments first; it must stay in one state while ASCII letters follow each other.
    """
    text, bounds = flat_text(utf8, offsets)
    most = most_tokens(text)[0] + len(bounds)
    spans, hashes = np.empty((2, most), dtype=np.int64), np.empty(most, dtype=np.uint64)
    sizes, index = np.empty(most, dtype=np.int32), np.empty(len(bounds), dtype=np.int64)
    n = _alnum_segments(
        text,
        bounds,
        machine.classes,
        machine.steps,
        next_state(machine, 0, ord("a")),
        character_classes(),
        spans,
        hashes,
        sizes,
        index,
    )
    return Words(
        starts=spans[0, :n],
        ends=spans[1, :n],
        hashes=hashes[:n],
        n_characters=sizes[:n],
        kinds=np.zeros(n, dtype=np.uint8),
        index=index,
    )


def paragraphs_of(utf8: npt.NDArray[np.uint8], lines: Blocks) -> Blocks:
    """The pieces between two newlines, without the whitespace at both ends, blank ones left out.

    `lines` are those of `line_spans`. An empty line divides; one of whitespace does not.
    """
    documents = np.repeat(np.arange(len(lines.index) - 1), lines.per_document())
    # Lines of one paragraph have one document, and as many empty lines before them.
    before = np.cumsum(lines.starts == lines.ends)
    full = np.flatnonzero(lines.text_ends > lines.text_starts)
    opens = np.ones(len(full), dtype=np.bool_)
    opens[1:] = (np.diff(before[full]) != 0) | (np.diff(documents[full]) != 0)
    closes = np.append(opens[1:], np.ones(min(len(full), 1), dtype=np.bool_))
    starts, ends = lines.text_starts[full[opens]], lines.text_ends[full[closes]]
    index = np.zeros(len(lines.index), dtype=np.int64)
    np.cumsum(np.bincount(documents[full[opens]], minlength=len(index) - 1), out=index[1:])
    return Blocks(starts=starts, ends=ends, text_starts=starts, text_ends=ends, index=index)


def paragraph_pieces(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Blocks:
    """`paragraphs_of` the text's lines.

    >>> text = np.frombuffer(b" a\\n \\nb\\n\\n\\nc ", np.uint8)
    >>> pieces = paragraph_pieces(text, np.array([0, 11]))
    >>> pieces.starts.tolist(), pieces.ends.tolist()
    ([1, 9], [6, 10])
    """
    return paragraphs_of(utf8, line_spans(utf8, offsets))


def ngram_shares(words: Words) -> npt.NDArray[np.float64]:
    """Shares of the code points of all words that repeated n-grams have; float64, shape `(n_docs, 9)`.

    Column `n - 2` is for n-grams of `n` words. For n from 2 to 4: of the n-grams that occur most often, the longest,
    times its occurrences, which may overlap: the share may exceed 1. For n from 5 to 10: the words under all n-grams
    that occur at least twice, each once. 0 where no n-gram occurs twice.
    """
    shares = np.zeros((len(words.index) - 1, LONGEST - 1), dtype=np.float64)
    _ngram_shares(
        *ngram_arrays(words),
        shares,
    )
    return shares


def stop_word_counts(utf8: npt.NDArray[np.uint8], words: Words, stop_words: tuple[str, ...]) -> Int64:
    """Words that are stop words in either case, and how many different ones; int64, shape `(n_docs, 2)`.

    `stop_words`: at most 32, of two to four letters a-z.
    """
    counts = np.zeros((len(words.index) - 1, 2), dtype=np.int64)
    _stop_word_counts(
        read_only(utf8, np.uint8),
        read_only(words.starts, np.int64),
        read_only(words.ends, np.int64),
        read_only(words.index, np.int64),
        read_only([int.from_bytes(word.encode(), "little") for word in stop_words], np.uint32),
        counts,
    )
    return counts


def spaced_ellipses(utf8: npt.NDArray[np.uint8], lines: Blocks) -> Int64:
    """Lines that end in ". . ."; int64, shape `(n_docs,)`."""
    counts = np.zeros(len(lines.index) - 1, dtype=np.int64)
    _spaced_ellipses(
        read_only(utf8, np.uint8),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
        counts,
    )
    return counts


@kernel
def _alnum_segments(
    utf8: Any,
    offsets: Any,
    segment_classes: Any,
    steps: Any,
    in_letters: int,
    classes: Any,
    spans: Any,
    hashes: Any,
    sizes: Any,
    index: Any,
) -> int:
    state_bits = np.int64((1 << 24) - 1)
    n = 0
    for doc in range(len(offsets) - 1):
        index[doc] = n
        i, end = offsets[doc], offsets[doc + 1]
        # A boundary may be taken back by what follows: the last one is kept apart.
        start, boundary, state = i, np.int64(-1), np.int64(0)
        while i < end:
            if state == in_letters:
                lower = load(utf8, i) | _CASE
                letters = at_least(lower, _A) & ~at_least(lower, _BEYOND_Z) & ~lower
                i += first_mark(letters ^ HIGHS)
                if letters == HIGHS:
                    continue
                if i >= end:
                    break
            code_point, width = np.int64(byte_at(utf8, i)), 1
            if code_point >= 0x80:
                code_point, width = decode(utf8, i, end)
            step = np.int64(steps[state | np.int64(segment_classes[code_point])])
            state = step & state_bits
            change = ((step >> 24) & 3) - 1
            if change > 0:
                if boundary >= 0:
                    n = _put_alnum(utf8, start, boundary, classes, n, spans, hashes, sizes)
                    start = boundary
                boundary = i
            elif change < 0:
                boundary = np.int64(-1)
            i += width
        if boundary >= 0:
            n = _put_alnum(utf8, start, boundary, classes, n, spans, hashes, sizes)
            start = boundary
        n = _put_alnum(utf8, start, end, classes, n, spans, hashes, sizes)
    index[len(offsets) - 1] = n
    return n


@inlined
def _put_alnum(utf8: Any, start: Any, end: Any, classes: Any, n: int, spans: Any, hashes: Any, sizes: Any) -> int:
    """Writes the segment if it is not empty and begins with a letter or digit."""
    if start >= end:
        return n
    code_point, _ = decode(utf8, start, end)
    if classes[code_point] & ALNUM == 0:
        return n
    spans[0, n], spans[1, n] = start, end
    hashes[n], sizes[n] = hash64(utf8, start, end), count_code_points(utf8, start, end)
    return n + 1


@kernel
def _ngram_shares(
    hashes: Any,
    n_characters: Any,
    index: Any,
    table: Any,
    firsts: Any,
    marks: Any,
    keys: Any,
    scratch: Any,
    shares: Any,
) -> None:
    counts, places, grams = scratch[0], scratch[1], scratch[2]
    for doc in range(len(index) - 1):
        sizes = n_characters[index[doc] : index[doc + 1]]
        total = np.int64(0)
        for i in range(len(sizes)):
            total += sizes[i]
        n_keys = pair_words(hashes[index[doc] : index[doc + 1]], places, keys)
        for n in range(2, LONGEST + 1):
            n_places = repeated(n_keys, keys, places, table, firsts, marks, counts, grams)
            if n_places == 0:
                break
            if n <= _LAST_MOST_COMMON:
                best = most_common(places, grams, n_places, counts, sizes, n)
                shares[doc, n - 2] = counts[best] * _size_of(best, places, grams, sizes, n) / total
            else:
                shares[doc, n - 2] = covered(places, grams, n_places, np.int64(-1), sizes, n) / total
            n_keys = pair_neighbours(n_places, places, grams, keys)


@inlined
def _size_of(gram: Any, places: Any, grams: Any, sizes: Any, n: int) -> Any:
    """Code points of an n-gram."""
    k = 0
    while grams[k] != gram:
        k += 1
    size = np.int64(0)
    for i in range(places[k], places[k] + n):
        size += sizes[i]
    return size


@kernel
def _stop_word_counts(utf8: Any, starts: Any, ends: Any, index: Any, stop_words: Any, counts: Any) -> None:
    for doc in range(len(index) - 1):
        n, seen = 0, np.uint64(0)
        for word in range(index[doc], index[doc + 1]):
            size = ends[word] - starts[word]
            if size < 2 or size > 4:
                continue
            letters = np.uint32(0)
            for k in range(size):
                letters |= np.uint32(byte_at(utf8, starts[word] + k) | 0x20) << np.uint32(8 * k)
            for k in range(len(stop_words)):
                if letters == stop_words[k]:
                    n += 1
                    seen |= np.uint64(1) << np.uint64(k)
        n_different = 0
        while seen != 0:
            seen &= seen - np.uint64(1)
            n_different += 1
        counts[doc, 0], counts[doc, 1] = n, n_different


@kernel
def _spaced_ellipses(utf8: Any, starts: Any, ends: Any, index: Any, counts: Any) -> None:
    for doc in range(len(counts)):
        n = 0
        for line in range(index[doc], index[doc + 1]):
            end = ends[line]
            if end - starts[line] >= 5 and byte_at(utf8, end - 1) == 0x2E:
                n += (
                    (byte_at(utf8, end - 2) == 0x20)
                    & (byte_at(utf8, end - 3) == 0x2E)
                    & (byte_at(utf8, end - 4) == 0x20)
                    & (byte_at(utf8, end - 5) == 0x2E)
                )
        counts[doc] = n
