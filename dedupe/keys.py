"""What is compared: the key of a document, which is its text or a field; what is evened out in it; what takes part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.fields import JsonField
from dolma.data.urls import normal_url
from dolma.dedupers.clusters import salts
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.paragraphs import takes_part
from dolma.errors import ConfigError
from dolma.kernels.hashing import hash128_spans
from dolma.kernels.normalize import WORDS, normalized
from dolma.printable import counted

Ints = npt.NDArray[np.int64]
Mode = Literal["text", "field"]

URL = "url"
_STRING_SEED, _VALUE_SEED = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which keys take part; the others are never duplicates. `min_length` in code points, `min_words` by whitespace."""

    skip_empty: bool = True
    min_length: int = 0
    min_words: int = 0

    @classmethod
    def of(cls, config: DedupeConfig) -> Gate:
        """The gate of these settings."""
        return cls(skip_empty=config.skip_empty, min_length=config.min_length, min_words=config.min_words)

    @property
    def described(self) -> str:
        """What takes no part."""
        found = ["blank ones"] if self.skip_empty else []
        found += [f"those of fewer than {counted(self.min_words, 'word')}"] if self.min_words else []
        found += [f"those of fewer than {counted(self.min_length, 'character')}"] if self.min_length else []
        return ", ".join(found) or "none"

    def __call__(
        self, utf8: npt.NDArray[np.uint8], starts: Ints, ends: Ints, *, window: int = 1
    ) -> npt.NDArray[np.bool_]:
        """Whether each byte span takes part, with those after it of its window; bool, shape `(n_spans,)`."""
        least_words = max(self.min_words, 1 if self.skip_empty else 0)
        return takes_part(utf8, starts, ends, min_length=self.min_length, min_words=least_words, window=window)


def words_of(config: DedupeConfig) -> tuple[str, ...]:
    """The words of `normalize`, in the order in which they are done."""
    return tuple(word for word in (*WORDS, URL) if word in (config.normalize or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of the documents of a batch.

    `takes_part`: whether each document has one, bool of shape `(n_docs,)`. `hashes`: of those that have, uint64 of
    shape `(n_keys, 2)`. `without` counts the documents that lack the field.
    """

    hashes: npt.NDArray[np.uint64]
    takes_part: npt.NDArray[np.bool_]
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
        return replace(keys, hashes=keys.hashes ^ salts(batch)[keys.takes_part])

    def _keys(self, batch: TextBatch) -> Keys:
        if self.mode == "field":
            return self._field(batch)
        spans = evened(batch.utf8, batch.offsets[:-1], batch.offsets[1:], self.normalize)
        keep = self.gate(*spans)
        return Keys(hashes=hash128_spans(*spans, seed=_STRING_SEED)[keep], takes_part=keep)

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
        spans = (utf8, starts, ends) if of_url else evened(utf8, starts, ends, self.normalize)
        hashes, keep = hash128_spans(*spans, seed=_STRING_SEED), self.gate(*spans)
        hashes[other] = hash128_spans(utf8, starts[other], ends[other], seed=_VALUE_SEED)
        keep[other] = self.gate(utf8, starts[other], ends[other])
        there = np.fromiter((value is not None for value in values), bool, count=len(values))
        keep &= there
        return Keys(hashes=hashes[keep], takes_part=keep, without=int(np.count_nonzero(~there)))


def evened(
    utf8: npt.NDArray[np.uint8], starts: Ints, ends: Ints, words: tuple[str, ...]
) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """What the words of `dolma.kernels.normalize` leave of byte spans: a buffer, and where each begins and ends."""
    if not words:
        return utf8, starts, ends
    utf8, offsets = normalized(utf8, starts, ends, words)
    return utf8, offsets[:-1], offsets[1:]


def key_of(by: str, gate: Gate, normalize: tuple[str, ...] = ()) -> KeyOf:
    """The key that `by` names: "text", or a field as `metadata.url`, `.metadata.url`, `$.metadata.url`.

    >>> key_of("$.metadata.url", Gate()).field
    ('metadata', 'url')

    Raises:
        ConfigError: the field has an empty part.
    """
    if by == "text":
        return KeyOf(mode="text", gate=gate, normalize=normalize)
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
