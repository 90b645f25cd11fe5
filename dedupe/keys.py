"""What is compared: the key of a document (its text, one field) or of each of its paragraphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.fields import JsonField
from dolma.data.urls import normal_url
from dolma.dedupers.clusters import salts
from dolma.dedupers.paragraphs import split_paragraphs, takes_part
from dolma.errors import ConfigError
from dolma.kernels.hashing import hash128_spans
from dolma.kernels.normalize import normalized
from dolma.kernels.views import code_points

Ints = npt.NDArray[np.int64]
Mode = Literal["text", "field", "paragraphs"]

URL = "url"
_STRING_SEED, _VALUE_SEED = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which keys take part; the others are never duplicates. `min_length` in code points, `min_words` by whitespace."""

    skip_empty: bool = True
    min_length: int = 0
    min_words: int = 0

    def __call__(self, utf8: npt.NDArray[np.uint8], starts: Ints, ends: Ints) -> npt.NDArray[np.bool_]:
        """Whether each byte span takes part; bool, shape `(n_spans,)`."""
        least_words = max(self.min_words, 1 if self.skip_empty else 0)
        return takes_part(utf8, starts, ends, min_length=self.min_length, min_words=least_words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of a batch that take part, in corpus order.

    Per key: `hashes`, uint64 of shape `(n_keys, 2)`, and `first` and `last`, the code points `[first, last)` of a
    paragraph in its document. Per document, int64 of shape `(n_docs,)`: `counts` of keys, `characters` (code points),
    and `paragraphs`, gated ones included. `without` counts the documents that lack the field.
    """

    hashes: npt.NDArray[np.uint64]
    counts: Ints
    first: Ints
    last: Ints
    characters: Ints
    paragraphs: Ints
    without: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOf:
    """The function from a batch to its keys: the picklable form of `by`. `field` is empty except in mode "field".

    `normalize` has words of `dolma.kernels.normalize`, or "url"; the gate looks at what they have left. With
    `within_source` keys are equal in documents of one source alone.
    """

    mode: Mode
    field: tuple[str, ...] = ()
    gate: Gate
    normalize: tuple[str, ...] = ()
    within_source: bool = False

    def __call__(self, batch: TextBatch) -> Keys:
        """The keys of the batch; it must hold records in mode "field"."""
        keys = self._keys(batch)
        if not self.within_source or not len(batch):
            return keys
        return replace(keys, hashes=keys.hashes ^ np.repeat(salts(batch), keys.counts, axis=0))

    def _keys(self, batch: TextBatch) -> Keys:
        if self.mode == "paragraphs":
            return self._paragraphs(batch)
        if self.mode == "field":
            return self._field(batch)
        spans = self._normalized(batch.utf8, batch.offsets[:-1], batch.offsets[1:])
        return _of_documents(batch, hash128_spans(*spans, seed=_STRING_SEED), self.gate(*spans))

    def _normalized(self, utf8: npt.NDArray[np.uint8], starts: Ints, ends: Ints) -> tuple[Any, Ints, Ints]:
        if not self.normalize:
            return utf8, starts, ends
        utf8, offsets = normalized(utf8, starts, ends, self.normalize)
        return utf8, offsets[:-1], offsets[1:]

    def _paragraphs(self, batch: TextBatch) -> Keys:
        found = split_paragraphs(batch.utf8, batch.offsets)
        utf8, starts, ends = self._normalized(batch.utf8, found.starts, found.ends)
        keep = self.gate(utf8, starts, ends)
        document = np.repeat(np.arange(len(batch)), found.counts)
        return Keys(
            hashes=hash128_spans(utf8, starts[keep], ends[keep], seed=_STRING_SEED),
            counts=np.bincount(document[keep], minlength=len(batch)),
            first=found.first[keep],
            last=found.last[keep],
            characters=found.characters,
            paragraphs=found.counts,
        )

    def _field(self, batch: TextBatch) -> Keys:
        if batch.records is None:
            raise ValueError("dedupe by a field reads records: read_batches(..., records=True)")
        of_url = self.normalize == (URL,)
        values = list(field_values(batch.records, self.field, normal_url if of_url else None))
        encoded = [b"" if value is None else value[0] for value in values]
        utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        offsets = offsets_of(encoded)
        other = np.fromiter((value is not None and not value[1] for value in values), bool, count=len(values))
        starts, ends = offsets[:-1], offsets[1:]
        spans = (utf8, starts, ends) if of_url else self._normalized(utf8, starts, ends)
        hashes, keep = hash128_spans(*spans, seed=_STRING_SEED), self.gate(*spans)
        hashes[other] = hash128_spans(utf8, starts[other], ends[other], seed=_VALUE_SEED)
        keep[other] = self.gate(utf8, starts[other], ends[other])
        there = np.fromiter((value is not None for value in values), bool, count=len(values))
        keep &= there
        return _of_documents(batch, hashes, keep, without=int(np.count_nonzero(~there)))


def key_of(by: str, gate: Gate, normalize: tuple[str, ...] = ()) -> KeyOf:
    """The key that `by` names: "text", "paragraphs", or a field as `metadata.url`, `.metadata.url`, `$.metadata.url`.

    >>> key_of("$.metadata.url", Gate()).field
    ('metadata', 'url')

    Raises:
        ConfigError: the field has an empty part.
    """
    if by == "text":
        return KeyOf(mode="text", gate=gate, normalize=normalize)
    if by == "paragraphs":
        return KeyOf(mode="paragraphs", gate=gate, normalize=normalize)
    field = tuple(by.removeprefix("$").removeprefix(".").split("."))
    if not all(field):
        raise ConfigError(
            f"{by!r} is no key\n  expected 'text', 'paragraphs', or a field such as 'metadata.url'", path="$.dedupe.by"
        )
    return KeyOf(mode="field", field=field, gate=gate, normalize=normalize)


def field_values(
    records: Iterable[bytes], field: tuple[str, ...], normal: Callable[[str], str] | None = None
) -> Iterator[tuple[bytes, bool] | None]:
    """For each record the field's value, and whether it is a string; None where it is absent or null.

    A string is its UTF-8, of its `normal` form where one is asked for; anything else is its canonical JSON, so that `1`
    and `"1"` can be told apart.

    >>> list(field_values([b'{"a": {"b": "x"}}', b'{"a": {"b": {"d": 1, "c": 2}}}', b'{"a": 3}'], ("a", "b")))
    [(b'x', True), (b'{"c":2,"d":1}', False), None]
    """
    wanted = JsonField(field, kind=msgspec.Raw)
    for record in records:
        raw = wanted.of(record)
        value = None if raw is None else msgspec.json.decode(raw)
        if value is None:
            yield None
        elif isinstance(value, str):
            yield (value if normal is None else normal(value)).encode(errors="surrogatepass"), True
        else:
            yield msgspec.json.encode(value, order="deterministic"), False


def _of_documents(
    batch: TextBatch, hashes: npt.NDArray[np.uint64], keep: npt.NDArray[np.bool_], *, without: int = 0
) -> Keys:
    nowhere = np.zeros(int(np.count_nonzero(keep)), dtype=np.int64)
    return Keys(
        hashes=hashes[keep],
        first=nowhere,
        last=nowhere,
        counts=keep.astype(np.int64),
        characters=batch.view(code_points),
        paragraphs=np.zeros(len(batch), dtype=np.int64),
        without=without,
    )
