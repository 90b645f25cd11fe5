"""fastText classification: rows of a text's words, character n-grams and word n-grams, their mean, its probabilities.

Joulin et al. 2016, arXiv:1607.01759 and 1612.03651 (quantised models); the answers are those of the fastText library
(0.9.3), from files that it wrote (`dolma/models/fasttext.py`). As there:

* Words are what stands between space, TAB, LF, VT, FF, CR and NUL, bytes and all. A text ends with the word `</s>`.
* A word's rows are its own, if it is known, and those of its n-grams of `min_chars` to `max_chars` code points, "<"
  before and ">" behind it; n-grams of words and of characters are known by hash, which in pruned models most are not.
* Words that begin with `__label__` have no rows.
* Probabilities are what the library says: 1e-5 is added to each, and in a hierarchical softmax to each branch, where
  what then falls below 1e-5 has no answer (0). Those of `ns` and `ova` come in 512 steps.

Unlike there, LF is a space and `</s>` inside a text is nothing: the library stops reading at either.

Rows are added one by one, as floats, in the library's order: for a text of 25,000 rows any other order gives another
probability in the fifth decimal (measured: 0.41818, where doubles give 0.41814). That is not what costs: to leave the
additions out saves 2 %. Words do, 57 ns each of those met before, whose rows are kept (`Cache`), and five times that of
others, for their n-grams (lid.176, one core of a 2-core cloud machine, 2026-11-26).

`text` is the buffer of a batch, `starts` and `ends` byte spans of it. The readable twin is
`dolma/kernels/reference/fasttext.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from dolma.kernels.bits64 import bits_of
from dolma.kernels.compiled import inlined, intrinsic, kernel, read_only
from dolma.kernels.hashing import hash64, hash64_of_word
from dolma.kernels.words64 import byte_at, first_bit, first_bytes, load, store

Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
LABEL = b"__label__"
END = b"</s>"

_END_HASH = np.uint32(3617362777)
_BASIS, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_WORD_FACTOR = np.uint64(116049371)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_TABLE_BITS = 40
_LESS, _GREATER = 0x3C, 0x3E
_FLOOR = 1e-5
_SIGMOID_RANGE, _SIGMOID_STEPS = 8.0, 512
_CENTROIDS = 256
_WORDS_KEPT, _ROWS_KEPT, _MOST_ROWS = 1 << 17, 1 << 20, 64
_PENDING = 4096
_IS_LABEL, _LABEL_KEPT = -1, 255
_8, _32, _24_BITS, _8_BITS = np.uint64(8), np.uint64(32), np.uint64((1 << 24) - 1), np.uint64(255)
_1, _5, _31 = np.uint32(1), np.uint32(5), np.uint32(31)
_64_gaps = bits_of(b"\0\t\n\v\f\r ")
_BIT, _63 = np.uint64(1), np.uint64(63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """`n_rows` rows of `n_columns` floats, as they are or product-quantised.

    `floats`: uint8, the bytes of little-endian float32, row by row, in no alignment; empty if quantised. Then `codes`
    (uint8) has one item per row and group of `group` columns, `centroids` (float32) 256 vectors for each group, and
    `norms` (float32) a factor per row, or nothing.
    """

    n_rows: int
    n_columns: int
    floats: Bytes
    codes: Bytes
    centroids: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float32]
    group: int

    def row(self, i: int) -> npt.NDArray[np.float32]:
        """Row `i`; float32, shape `(n_columns,)`."""
        if len(self.floats):
            at = 4 * i * self.n_columns
            return np.frombuffer(self.floats[at : at + 4 * self.n_columns].tobytes(), dtype="<f4")
        groups = range(0, self.n_columns, self.group)
        parts = []
        for g, start in enumerate(groups):
            width = min(self.group, self.n_columns - start)
            at = g * _CENTROIDS * self.group + int(self.codes[i * len(groups) + g]) * width
            parts.append(self.centroids[at : at + width])
        row: npt.NDArray[np.float32] = np.concatenate(parts)
        return row * self.norms[i] if len(self.norms) else row


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A classifier. `labels` and rows of `outputs` are in one order; words come before labels in the dictionary.

    `names`: uint8, a buffer with all dictionary entries; entry `i` is `names[name_starts[i]:name_ends[i]]`.
    `pruned`: int32, shape `(n, 2)`, hashes of n-grams (below `bucket`) and where each is behind the rows of words; None
    if all hashes have a row. `label_counts`: int64, how often each label was seen in training.
    """

    loss: int
    word_ngrams: int
    min_chars: int
    max_chars: int
    bucket: int
    n_words: int
    labels: tuple[str, ...]
    label_counts: Int64
    names: Bytes
    name_starts: Int64
    name_ends: Int64
    pruned: npt.NDArray[np.int32] | None
    inputs: Matrix
    outputs: Matrix

    @property
    def dim(self) -> int:
        return self.inputs.n_columns

    def name(self, i: int) -> bytes:
        """Dictionary entry `i`."""
        return self.names[self.name_starts[i] : self.name_ends[i]].tobytes()


class Cache(NamedTuple):
    """The rows of words met before. Answers do not depend on it.

    `table`: uint64, shape `(n_slots, 2)`, by hash; the last word in a slot stays. First the hash, then fastText's own
    hash (32 bits), where in `rows` the word's rows begin (24 bits) and how many they are (8 bits; `_LABEL_KEPT` for a
    label, which has none). `rows`: int32, filled up to `used[0]`; when full, everything is forgotten.
    """

    table: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int32]
    used: Int64

    @classmethod
    def of(cls, n_slots: int, n_rows: int) -> Cache:
        """An empty one; `n_slots` is a power of two, `n_rows` from `_MOST_ROWS` to 2^24."""
        return cls(
            table=np.zeros((n_slots, 2), dtype=np.uint64),
            rows=np.zeros(n_rows, dtype=np.int32),
            used=np.zeros(1, dtype=np.int64),
        )


class _Rows(NamedTuple):
    """A `Matrix` as kernels take it."""

    floats: Bytes
    codes: Bytes
    centroids: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float32]
    dim: int
    group: int

    @classmethod
    def of(cls, matrix: Matrix) -> _Rows:
        return cls(matrix.floats, matrix.codes, matrix.centroids, matrix.norms, matrix.n_columns, matrix.group)


class _Vocabulary(NamedTuple):
    """The words of a model: entries by hash (`table`, open addressing, -1 where there is none), and which is `</s>`."""

    names: Bytes
    starts: Int64
    ends: Int64
    table: npt.NDArray[np.int32]
    n_words: int
    end_word: int

    @classmethod
    def of(cls, model: Model) -> _Vocabulary:
        table, end = _word_table(model), _id_of_end(model)
        return cls(model.names, model.name_starts, model.name_ends, table, model.n_words, end)


class _Grams(NamedTuple):
    """The n-grams of a model: which there are, and the rows of those that pruning left (`n_pruned`; -1 for all).

    `pruned`: hash and row by hash, open addressing. `kept`: a bit per bucket.
    """

    pruned: npt.NDArray[np.int32]
    kept: npt.NDArray[np.uint32]
    n_pruned: int
    n_words: int
    bucket: int
    min_chars: int
    max_chars: int
    word_ngrams: int

    @classmethod
    def of(cls, model: Model) -> _Grams:
        return cls(
            pruned=_pruned_table(model.pruned),
            kept=_kept_bits(model),
            n_pruned=-1 if model.pruned is None else len(model.pruned),
            n_words=model.n_words,
            bucket=model.bucket,
            min_chars=model.min_chars,
            max_chars=model.max_chars,
            word_ngrams=model.word_ngrams,
        )


class _Room(NamedTuple):
    """Where a span is worked on: where its words begin and end, their hashes, fastText's own hashes (uint32).

    `frame` holds "<word>"; `pending` the rows that are to be added next (int32), `total` the sum of those before.
    """

    edges: Int64
    hashes: npt.NDArray[np.uint64]
    words: npt.NDArray[np.uint32]
    frame: Bytes
    pending: npt.NDArray[np.int32]
    total: npt.NDArray[np.float32]

    @classmethod
    def for_spans(cls, longest: int, *, max_chars: int, dim: int) -> _Room:
        """Enough for spans of up to `longest` bytes. Memory that is never written to is never given out."""
        return cls(
            edges=np.empty(longest + 2, dtype=np.int64),
            hashes=np.empty(longest // 2 + 1, dtype=np.uint64),
            words=np.empty(longest // 2 + 2, dtype=np.uint32),
            frame=np.empty(longest + 16, dtype=np.uint8),
            pending=np.empty(_PENDING + max_chars, dtype=np.int32),
            total=np.empty(dim, dtype=np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A model made ready: tables to look words and n-grams up in, the tree of labels, a cache. For one thread."""

    model: Model
    _vocabulary: _Vocabulary = field(init=False, repr=False)
    _grams: _Grams = field(init=False, repr=False)
    _inputs: _Rows = field(init=False, repr=False)
    _outputs: _Rows = field(init=False, repr=False)
    _tree: npt.NDArray[np.int32] = field(init=False, repr=False)
    _sigmoid: npt.NDArray[np.float32] = field(init=False, repr=False)
    _cache: Cache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        model, put = self.model, object.__setattr__
        put(self, "_vocabulary", _Vocabulary.of(model))
        put(self, "_grams", _Grams.of(model))
        put(self, "_inputs", _Rows.of(model.inputs))
        put(self, "_outputs", _Rows.of(model.outputs))
        put(self, "_tree", label_tree(model.label_counts) if model.loss == HIERARCHICAL else np.empty((0, 2), np.int32))
        put(self, "_sigmoid", _sigmoid_table())
        put(self, "_cache", Cache.of(_WORDS_KEPT, _ROWS_KEPT))

    def probabilities(
        self, text: Bytes, starts: Int64, ends: Int64, *, labels: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """The probability of each label, or of some, for each span of the text; float32, shape `(n_spans, n_labels)`.

        0 where there is none: for all labels if no word of the span is known in any way. Fewer labels cost less, but
        for a softmax.

        Raises:
            ValueError: a span ends before it begins or lies outside the text.
        """
        hidden, n_rows = self.means(text, starts, ends)
        chosen = read_only(range(len(self.model.labels)) if labels is None else labels, np.int64)
        found = np.zeros((len(hidden), len(chosen)), dtype=np.float32)
        if self.model.loss == HIERARCHICAL:
            self._by_tree(hidden, n_rows, chosen, found, margin=-1)
        elif self.model.loss == SOFTMAX:
            logits = np.empty(len(self.model.labels), dtype=np.float64)
            _by_softmax(hidden, n_rows, self._outputs, chosen, logits, found)
        else:
            _by_steps(hidden, n_rows, self._outputs, self._sigmoid, chosen, found)
        return found

    def best(
        self, text: Bytes, starts: Int64, ends: Int64, *, labels: Sequence[int]
    ) -> tuple[Int64, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The most probable label of each span (int64), its probability, and those of some labels, all cut at 1.

        The first of labels that are equally probable; label 0 with probability 0 if none has one. The probabilities
        are float32, of shape `(n_spans,)` and `(n_spans, n_labels)`. In a hierarchical softmax, labels that cannot be
        the best cost nothing.

        Raises:
            ValueError: as `probabilities`.
        """
        if self.model.loss == HIERARCHICAL:
            hidden, n_rows = self.means(text, starts, ends)
            found = np.zeros((len(hidden), len(labels)), dtype=np.float32)
            # From each branch to the next a score may rise by the 1e-5 that is added there.
            margin = 2 * _FLOOR * len(self.model.labels)
            best, top = self._by_tree(hidden, n_rows, read_only(labels, np.int64), found, margin=margin)
        else:
            everything = np.minimum(self.probabilities(text, starts, ends), 1)
            best, found = everything.argmax(axis=1), everything[:, labels]
            top = everything[np.arange(len(best)), best]
        return best, np.minimum(top, 1), np.minimum(found, 1)

    def _by_tree(
        self,
        hidden: npt.NDArray[np.float32],
        n_rows: Int64,
        chosen: Int64,
        found: npt.NDArray[np.float32],
        *,
        margin: float,
    ) -> tuple[Int64, npt.NDArray[np.float32]]:
        """Fill `found`; the best label of each span, and its probability, unless the margin is negative."""
        inner = read_only(_above(self._tree, chosen.tolist()), np.int64)
        is_inner = np.zeros(len(self._tree), dtype=np.bool_)
        is_inner[inner] = True
        scores = np.empty(2 * len(self.model.labels), dtype=np.float64)
        todo = np.empty(len(scores), dtype=np.int64)
        best, top = np.zeros(len(hidden), dtype=np.int64), np.zeros(len(hidden), dtype=np.float32)
        _by_tree(
            hidden, n_rows, self._outputs, self._tree, inner, is_inner, chosen, margin, scores, todo, found, best, top
        )
        return best, top

    def means(self, text: Bytes, starts: Int64, ends: Int64) -> tuple[npt.NDArray[np.float32], Int64]:
        """The mean of each span's rows (float32, shape `(n_spans, dim)`), and how many rows there are (int64).

        Raises:
            ValueError: as `probabilities`.
        """
        text, starts, ends = read_only(text, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64)
        if len(starts) != len(ends) or (starts < 0).any() or (ends < starts).any() or (ends > len(text)).any():
            raise ValueError(f"spans must lie in the {len(text)} bytes of the text and end at or after their beginning")
        longest = int((ends - starts).max(initial=0))
        n_rows = np.zeros(len(starts), dtype=np.int64)
        hidden = np.zeros((len(starts), self.model.dim), dtype=np.float32)
        _means(
            text,
            starts,
            ends,
            self._vocabulary,
            self._grams,
            self._inputs,
            self._cache,
            _Room.for_spans(longest, max_chars=self.model.max_chars, dim=self.model.dim),
            n_rows,
            hidden,
        )
        return hidden, n_rows


def fnv(word: bytes) -> int:
    """The hash by which fastText knows words and n-grams: 32-bit FNV-1a of bytes taken as signed.

    >>> fnv(b"</s>"), fnv("é".encode())
    (3617362777, 1023043777)
    """
    return int(_fnv(np.frombuffer(word, dtype=np.uint8)))


def label_tree(counts: Int64) -> npt.NDArray[np.int32]:
    """fastText's Huffman tree over labels: the left and right child of each inner node; int32, `(n_labels - 1, 2)`.

    Nodes below `n_labels` are labels, node `n_labels + i` is row `i`; children come before parents, the root is last.

    >>> label_tree(np.array([5, 2, 1])).tolist()
    [[2, 1], [3, 0]]
    """
    n = len(counts)
    weights = [*counts.tolist(), *[10**15] * (n - 1)]
    children = np.empty((max(n - 1, 0), 2), dtype=np.int32)
    leaf, node = n - 1, n
    for i in range(n - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[i, side], leaf = leaf, leaf - 1
            else:
                children[i, side], node = node, node + 1
        weights[n + i] = weights[children[i, 0]] + weights[children[i, 1]]
    return children


def _above(tree: npt.NDArray[np.int32], chosen: Sequence[int]) -> list[int]:
    """The inner nodes on the ways from the root to these labels, the root first."""
    n_labels = len(tree) + 1
    parents = {int(child): i for i, pair in enumerate(tree.tolist()) for child in pair}
    found: set[int] = set()
    for label in chosen:
        node = label
        while node in parents and parents[node] not in found:
            found.add(parents[node])
            node = n_labels + parents[node]
    return sorted(found, reverse=True)


def _id_of_end(model: Model) -> int:
    """The dictionary's number of the word `</s>`, -1 if it has none."""
    (found,) = np.nonzero(model.name_ends - model.name_starts == len(END))
    return next((int(i) for i in found if model.name(int(i)) == END), -1)


def _word_table(model: Model) -> npt.NDArray[np.int32]:
    """Dictionary entries by hash, open addressing; int32, -1 where there is none."""
    bits = max(4, int(2 * len(model.name_starts)).bit_length())
    table = np.full(1 << bits, -1, dtype=np.int32)
    _fill_words(model.names, model.name_starts, model.name_ends, table)
    return read_only(table, np.int32)


def _pruned_table(pruned: npt.NDArray[np.int32] | None) -> npt.NDArray[np.int32]:
    """Hash and row by hash, open addressing; int32, shape `(n, 2)`, -1 where there is none."""
    entries = np.empty((0, 2), np.int32) if pruned is None else pruned
    table = np.full((1 << max(1, (2 * len(entries)).bit_length()), 2), -1, dtype=np.int32)
    _fill_pruned(read_only(entries, np.int32), table)
    return read_only(table, np.int32)


def _kept_bits(model: Model) -> npt.NDArray[np.uint32]:
    """A bit per bucket, set if the bucket has a row; empty if all have."""
    if model.pruned is None:
        return read_only(np.empty(0), np.uint32)
    bits = np.zeros(-(-model.bucket // 32) * 32, dtype=np.uint8)
    bits[model.pruned[:, 0]] = 1
    return read_only(np.packbits(bits, bitorder="little").view("<u4"), np.uint32)


def _sigmoid_table() -> npt.NDArray[np.float32]:
    at = np.arange(_SIGMOID_STEPS + 1, dtype=np.float32) * np.float32(2 * _SIGMOID_RANGE / _SIGMOID_STEPS)
    return (1 / (1 + np.exp(-(at - np.float32(_SIGMOID_RANGE))))).astype(np.float32)


@intrinsic("float32", None, "intp")
def _float_at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The float32 whose four bytes begin at `data[index]`. The caller has checked that they are there."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    address = builder.gep(array.data, [arguments[1]])
    value = builder.load(builder.bitcast(address, ir.FloatType().as_pointer()))
    value.align = 1
    return value


@intrinsic("void", None, "intp", None, "intp", None, "intp")
def _add_sixteen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`total[place:place + 16] += ` sixteen float32 of each of the rows `rows[:n]`, one after the other.

    Row `r` is the `dim` float32 whose bytes begin at `data[4 * r * dim]`. All are there. The sums stay in registers.
    """
    from numba.core import cgutils

    eight = ir.VectorType(ir.FloatType(), 8)
    totals, floats, numbers = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 4))
    size, place = arguments[1].type, arguments[1]
    slots = []
    for half in range(2):
        at = builder.add(place, ir.Constant(size, 8 * half))
        address = builder.bitcast(builder.gep(totals.data, [at]), eight.as_pointer())
        value = builder.load(address)
        value.align = 4
        slots.append((address, cgutils.alloca_once_value(builder, value)))
    width = builder.mul(arguments[3], ir.Constant(size, 4))
    offset = builder.mul(place, ir.Constant(size, 4))
    with cgutils.for_range(builder, arguments[5]) as loop:
        row = builder.load(builder.gep(numbers.data, [loop.index]))
        at = builder.add(builder.mul(builder.sext(row, size), width), offset)
        for half, (_, slot) in enumerate(slots):
            here = builder.gep(floats.data, [builder.add(at, ir.Constant(size, 32 * half))])
            addends = builder.load(builder.bitcast(here, eight.as_pointer()))
            addends.align = 1
            builder.store(builder.fadd(builder.load(slot), addends), slot)
    for address, slot in slots:
        builder.store(builder.load(slot), address).align = 4
    return context.get_dummy_value()


@intrinsic("void", None, "intp", None, "intp")
def _copy_eight(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`target[place:place + 8] = source[index:index + 8]`, all int32. All are there."""
    eight = ir.VectorType(ir.IntType(32), 8).as_pointer()
    targets, sources = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2))
    value = builder.load(builder.bitcast(builder.gep(sources.data, [arguments[3]]), eight))
    value.align = 4
    builder.store(value, builder.bitcast(builder.gep(targets.data, [arguments[1]]), eight)).align = 4
    return context.get_dummy_value()


@inlined
def _absorb(state: Any, byte: Any) -> Any:
    signed = np.uint32(np.int32(np.int8(byte)))
    return np.uint32((state ^ signed) * _PRIME)


@kernel
def _fnv(word: Any) -> Any:
    state = _BASIS
    for byte in word:
        state = _absorb(state, byte)
    return state


@kernel
def _fill_words(names: Any, starts: Any, ends: Any, table: Any) -> None:
    mask = len(table) - 1
    for i in range(len(starts)):
        state = _BASIS
        for k in range(starts[i], ends[i]):
            state = _absorb(state, byte_at(names, k))
        slot = np.int64(state) & mask
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = i


@inlined
def _spread(key: Any, mask: Any) -> Any:
    return np.int64((np.uint64(np.int64(key)) * _SPREAD) >> np.uint64(_TABLE_BITS)) & mask


@kernel
def _fill_pruned(entries: Any, table: Any) -> None:
    mask = len(table) - 1
    for i in range(len(entries)):
        slot = _spread(entries[i, 0], mask)
        while table[slot, 0] >= 0 and table[slot, 0] != entries[i, 0]:
            slot = (slot + 1) & mask
        table[slot, 0], table[slot, 1] = entries[i, 0], entries[i, 1]


@inlined
def _is_kept(hashed: Any, grams: Any) -> Any:
    """1 if an n-gram of this hash (below `bucket`) has a row, else 0."""
    if grams.n_pruned < 0:
        return np.int64(1)
    return np.int64((grams.kept[hashed >> _5] >> (np.uint32(hashed) & _31)) & _1)


@inlined
def _to_rows(pending: Any, first: Any, end: Any, grams: Any) -> None:
    """Rows instead of hashes, which all have one, in `pending[first:end]`."""
    for k in range(first, end):
        hashed = pending[k]
        pending[k] = grams.n_words + (hashed if grams.n_pruned < 0 else _found(np.int64(hashed), grams.pruned))


@kernel
def _found(hashed: Any, pruned: Any) -> Any:
    mask = len(pruned) - 1
    slot = _spread(hashed, mask)
    while pruned[slot, 0] != hashed:
        slot = (slot + 1) & mask
    return np.int64(pruned[slot, 1])


@inlined
def _add_all(pending: Any, n: Any, rows: Any, total: Any) -> None:
    """`total += ` each of the rows `pending[:n]`, in this order."""
    floats, dim = rows.floats, rows.dim
    if len(floats) > 0:
        place = 0
        while place + 16 <= dim:
            _add_sixteen(total, place, floats, dim, pending, n)
            place += 16
        for k in range(n):
            at = 4 * np.int64(pending[k]) * dim
            for d in range(place, dim):
                total[d] += _float_at(floats, at + 4 * d)
    else:
        for k in range(n):
            _add_quantised(np.int64(pending[k]), rows, total)


@kernel
def _add_quantised(row: Any, rows: Any, total: Any) -> None:
    dim, group = rows.dim, rows.group
    n_groups = (dim + group - 1) // group
    norm = rows.norms[row] if len(rows.norms) > 0 else np.float32(1)
    for g in range(n_groups):
        width = min(group, dim - g * group)
        at = g * _CENTROIDS * group + np.int64(rows.codes[row * n_groups + g]) * width
        for d in range(width):
            total[g * group + d] += norm * rows.centroids[at + d]


@kernel
def _dot(row: Any, rows: Any, hidden: Any, span: int) -> Any:
    """The product of the row and `hidden[span]`, added up as floats from left to right."""
    dim, group, total = rows.dim, rows.group, np.float32(0)
    if len(rows.floats) > 0:
        at = 4 * row * dim
        for d in range(dim):
            total += _float_at(rows.floats, at + 4 * d) * hidden[span, d]
        return total
    n_groups = (dim + group - 1) // group
    for g in range(n_groups):
        width = min(group, dim - g * group)
        at = g * _CENTROIDS * group + np.int64(rows.codes[row * n_groups + g]) * width
        for d in range(width):
            total += rows.centroids[at + d] * hidden[span, g * group + d]
    return total * rows.norms[row] if len(rows.norms) > 0 else total


@inlined
def _is_space(byte: Any) -> bool:
    return byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0


@inlined
def _gaps(text: Any, at: int) -> Any:
    """Bit `k` of a uint64: whether `text[at + k]` is between words, as what is beyond the text is."""
    if at + 64 <= len(text):
        return _64_gaps(text, at)
    words = np.uint64(0)
    for k in range(len(text) - at):
        words |= np.uint64(not _is_space(byte_at(text, at + k))) << np.uint64(k)
    return ~words


@inlined
def _find_words(text: Any, start: int, end: int, edges: Any) -> int:
    """How many words `text[start:end]` has; in `edges`, where each begins and where it ends."""
    n, inside = 0, np.uint64(0)
    for block in range(start, end, 64):
        words = ~_gaps(text, block)
        if end - block < 64:
            words &= (_BIT << np.uint64(end - block)) - _BIT
        changes = words ^ (words << _BIT | inside)
        inside = words >> _63
        while changes != 0:
            edges[n] = block + first_bit(changes)
            changes &= changes - _BIT
            n += 1
    if n % 2 == 1:
        edges[n] = end
        n += 1
    return n // 2


@inlined
def _hash_of(text: Any, start: int, end: int) -> Any:
    return hash64_of_word(text, start, end - start) if start + 16 <= len(text) else hash64(text, start, end)


@inlined
def _is_equal(text: Any, start: int, n: int, names: Any, at: int) -> bool:
    k = 0
    while k < n and byte_at(text, start + k) == byte_at(names, at + k):
        k += 1
    return k == n


@inlined
def _is_label(text: Any, start: int, end: int) -> bool:
    """Whether the word begins with `__label__`."""
    if end - start < 9 or byte_at(text, start) != 0x5F or byte_at(text, start + 1) != 0x5F:
        return False
    return load(text, start) == np.uint64(0x5F6C6562616C5F5F) and byte_at(text, start + 8) == 0x5F


@inlined
def _is_end(text: Any, start: int, end: int) -> bool:
    return end - start == 4 and first_bytes(load(text, start), 4) == np.uint64(0x3E732F3C)


@inlined
def _frame(text: Any, start: int, end: int, frame: Any) -> int:
    """Write "<word>" to `frame`, and a 0; how many bytes it has without that."""
    n = end - start
    for k in range(0, n, 8):
        store(frame, 1 + k, load(text, start + k))
    frame[0], frame[n + 1], frame[n + 2] = _LESS, _GREATER, 0
    return n + 2


@inlined
def _entry_of(text: Any, start: int, end: int, hashed: Any, vocabulary: Any) -> Any:
    """The dictionary's number of the word; -1 if it is not there."""
    starts, ends, table = vocabulary.starts, vocabulary.ends, vocabulary.table
    mask = len(table) - 1
    slot = np.int64(hashed) & mask
    while table[slot] >= 0:
        entry = np.int64(table[slot])
        same_size = ends[entry] - starts[entry] == end - start
        if same_size and _is_equal(text, start, end - start, vocabulary.names, starts[entry]):
            return entry
        slot = (slot + 1) & mask
    return np.int64(-1)


@inlined
def _character_ngrams(frame: Any, size: int, first: int, grams: Any, pending: Any, n_pending: Any) -> tuple[Any, Any]:
    """Add the rows of n-grams that begin at byte `first` or behind it to `pending`, while it has room.

    Where those begin that are still to come (`size` if none are), and how many rows are pending.
    """
    bucket, begin = np.uint32(grams.bucket), n_pending
    share = np.uint64((1 << 32) // max(grams.bucket, 1))
    while first < size and n_pending + grams.max_chars <= len(pending):
        if byte_at(frame, first) & 0xC0 != 0x80:
            state, k, n = _BASIS, first, 1
            while k < size and n <= grams.max_chars:
                state = _absorb(state, byte_at(frame, k))
                k += 1
                while byte_at(frame, k) & 0xC0 == 0x80:
                    state = _absorb(state, byte_at(frame, k))
                    k += 1
                if n >= grams.min_chars and not (n == 1 and (first == 0 or k == size)):
                    # The remainder without a division: with this quotient it is right or one bucket too large.
                    hashed = state - bucket * np.uint32((np.uint64(state) * share) >> _32)
                    hashed = min(hashed, hashed - bucket)
                    # Most have no row, and which do cannot be foreseen: so no branch.
                    pending[n_pending] = hashed
                    n_pending += _is_kept(hashed, grams)
                n += 1
        first += 1
    _to_rows(pending, begin, n_pending, grams)
    return first, n_pending


@inlined
def _word_ngrams(hashes: Any, first: int, end: int, grams: Any, pending: Any, n_pending: Any) -> Any:
    """Add the rows of n-grams of words that begin with word `first` to `pending`; how many rows are pending."""
    begin = n_pending
    state = np.uint64(np.int64(np.int32(hashes[first])))
    for k in range(first + 1, min(first + grams.word_ngrams, end)):
        state = state * _WORD_FACTOR + np.uint64(np.int64(np.int32(hashes[k])))
        hashed = state % np.uint64(grams.bucket)
        pending[n_pending] = hashed
        n_pending += _is_kept(hashed, grams)
    _to_rows(pending, begin, n_pending, grams)
    return n_pending


@inlined
def _keep(cache: Any, key: Any, hashed: Any, pending: Any, first: Any, n: Any) -> None:
    """Keep the word's rows `pending[first:first + n]`."""
    table, used = cache.table, cache.used
    if used[0] + _MOST_ROWS > len(cache.rows):
        used[0] = 0
        for k in range(len(table)):
            table[k, 0] = 0
    slot = np.int64(key & np.uint64(len(table) - 1))
    what = np.uint64(hashed) << _32 | np.uint64(used[0]) << _8
    table[slot, 0], table[slot, 1] = key, what | np.uint64(n if n != _IS_LABEL else _LABEL_KEPT)
    for k in range(n):
        cache.rows[used[0] + k] = pending[first + k]
    used[0] += max(n, 0)


@kernel
def _add_pending(n: Any, inputs: Any, room: Any, span: int, n_rows: Any) -> Any:
    """Add the pending rows to the sum, and count them; how many are pending then."""
    _add_all(room.pending, n, inputs, room.total)
    n_rows[span] += n
    return 0


@kernel
def _means(
    text: Any,
    starts: Any,
    ends: Any,
    vocabulary: Any,
    grams: Any,
    inputs: Any,
    cache: Any,
    room: Any,
    n_rows: Any,
    hidden: Any,
) -> None:
    table, pending, edges = cache.table, room.pending, room.edges
    mask = np.uint64(len(table) - 1)
    for span in range(len(starts)):
        for d in range(inputs.dim):
            room.total[d] = 0
        n_words, n_hashed, n_pending = _find_words(text, starts[span], ends[span], edges), 0, np.int64(0)
        # All hashes before all visits to the cache: so many of these are under way at a time.
        for w in range(n_words):
            room.hashes[w] = _hash_of(text, edges[2 * w], edges[2 * w + 1])
        for w in range(n_words):
            if n_pending + _MOST_ROWS > len(pending):
                n_pending = _add_pending(n_pending, inputs, room, span, n_rows)
            key = room.hashes[w]
            slot = np.int64(key & mask)
            if table[slot, 0] == key and key != 0:
                what = table[slot, 1]
                hashed, n = np.uint32(what >> _32), np.int64(what & _8_BITS)
                if n == _LABEL_KEPT:
                    continue
                first = np.int64((what >> _8) & _24_BITS)
                _copy_eight(pending, n_pending, cache.rows, first)
                for k in range(8, n, 8):
                    _copy_eight(pending, n_pending + k, cache.rows, first + k)
                n_pending += n
            else:
                start, end = edges[2 * w], edges[2 * w + 1]
                if _is_end(text, start, end):
                    continue
                size = _frame(text, start, end, room.frame)
                hashed = _BASIS
                for k in range(1, size - 1):
                    hashed = _absorb(hashed, byte_at(room.frame, k))
                entry = _entry_of(text, start, end, hashed, vocabulary)
                if entry >= vocabulary.n_words or (entry < 0 and _is_label(text, start, end)):
                    _keep(cache, key, hashed, pending, n_pending, np.int64(_IS_LABEL))
                    continue
                begin, is_whole = n_pending, True
                if entry >= 0:
                    pending[n_pending] = entry
                    n_pending += 1
                at = 0 if grams.max_chars > 0 else size
                while at < size:
                    at, n_pending = _character_ngrams(room.frame, size, at, grams, pending, n_pending)
                    if at < size:
                        n_pending = _add_pending(n_pending, inputs, room, span, n_rows)
                        is_whole = False
                if is_whole and n_pending - begin <= _MOST_ROWS:
                    # To take one word for another, 64 bits of hash must be the same.
                    _keep(cache, key, hashed, pending, begin, n_pending - begin)
            if grams.word_ngrams > 1:
                room.words[n_hashed] = hashed
                n_hashed += 1
        if n_pending == len(pending):
            n_pending = _add_pending(n_pending, inputs, room, span, n_rows)
        if vocabulary.end_word >= 0:
            pending[n_pending] = vocabulary.end_word
            n_pending += 1
        if grams.word_ngrams > 1:
            room.words[n_hashed] = _END_HASH
            for w in range(n_hashed):
                if n_pending + grams.word_ngrams > len(pending):
                    n_pending = _add_pending(n_pending, inputs, room, span, n_rows)
                n_pending = _word_ngrams(room.words, w, n_hashed + 1, grams, pending, n_pending)
        _add_pending(n_pending, inputs, room, span, n_rows)
        if n_rows[span] > 0:
            share = np.float32(1 / n_rows[span])
            for d in range(inputs.dim):
                hidden[span, d] = room.total[d] * share


@inlined
def _branch(i: Any, outputs: Any, tree: Any, hidden: Any, span: int, scores: Any) -> None:
    """The scores of the children of inner node `i`, logarithms of probabilities, from its own."""
    score = scores[len(tree) + 1 + i]
    x = _dot(i, outputs, hidden, span)
    # Rounded as there: next to 1e-5, what is left of 1 is mostly rounding.
    right = np.float32(1 / np.float64(np.float32(1) + np.float32(np.exp(np.float64(-x)))))
    scores[tree[i, 0]] = score + np.log(np.float64(np.float32(1 - np.float64(right))) + _FLOOR)
    scores[tree[i, 1]] = score + np.log(np.float64(right) + _FLOOR)


@kernel
def _by_tree(
    hidden: Any,
    n_rows: Any,
    outputs: Any,
    tree: Any,
    inner: Any,
    is_inner: Any,
    chosen: Any,
    margin: float,
    scores: Any,
    todo: Any,
    found: Any,
    best: Any,
    top: Any,
) -> None:
    n_labels = len(tree) + 1
    lowest = np.log(_FLOOR)
    for span in range(len(hidden)):
        if n_rows[span] == 0:
            continue
        for node in range(2 * n_labels - 1):
            scores[node] = -np.inf
        scores[2 * n_labels - 2] = 0
        for i in inner:
            if scores[n_labels + i] >= lowest:
                _branch(i, outputs, tree, hidden, span, scores)
        highest = lowest
        for k in range(len(chosen)):
            score = scores[chosen[k]]
            highest = max(highest, score)
            if score >= lowest:
                found[span, k] = np.exp(score)
        # What lies below a node that is less probable than the best label so far need not be looked at.
        todo[0], n_todo = 2 * n_labels - 2, 1 if margin >= 0 else 0
        while n_todo > 0:
            n_todo -= 1
            node = todo[n_todo]
            if scores[node] < max(lowest, highest - margin):
                continue
            if node < n_labels:
                highest = max(highest, scores[node])
                probability = np.float32(np.exp(scores[node]))
                if probability > top[span] or (probability == top[span] and node < best[span]):
                    best[span], top[span] = node, probability
                continue
            i = node - n_labels
            if not is_inner[i]:
                _branch(i, outputs, tree, hidden, span, scores)
            # The likelier child is looked at first.
            first = 1 if scores[tree[i, 1]] > scores[tree[i, 0]] else 0
            todo[n_todo], todo[n_todo + 1] = tree[i, 1 - first], tree[i, first]
            n_todo += 2


@kernel
def _by_softmax(
    hidden: Any,
    n_rows: Any,
    outputs: Any,
    chosen: Any,
    logits: Any,
    found: Any,
) -> None:
    for span in range(len(hidden)):
        if n_rows[span] == 0:
            continue
        most, total = -np.inf, 0.0
        for label in range(len(logits)):
            logits[label] = _dot(label, outputs, hidden, span)
            most = max(most, logits[label])
        for label in range(len(logits)):
            logits[label] = np.exp(logits[label] - most)
            total += logits[label]
        for k in range(len(chosen)):
            found[span, k] = logits[chosen[k]] / total + _FLOOR


@kernel
def _by_steps(
    hidden: Any,
    n_rows: Any,
    outputs: Any,
    sigmoid: Any,
    chosen: Any,
    found: Any,
) -> None:
    for span in range(len(hidden)):
        if n_rows[span] == 0:
            continue
        for k in range(len(chosen)):
            x = np.float64(_dot(chosen[k], outputs, hidden, span))
            if x < -_SIGMOID_RANGE:
                found[span, k] = _FLOOR
            elif x > _SIGMOID_RANGE:
                found[span, k] = 1 + _FLOOR
            else:
                step = np.int64((x + _SIGMOID_RANGE) * (_SIGMOID_STEPS / _SIGMOID_RANGE / 2))
                found[span, k] = sigmoid[step] + _FLOOR
