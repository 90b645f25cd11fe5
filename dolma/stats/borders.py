"""Borders of buckets with as many documents in each, exactly, in bounded memory: values are sorted on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from dolma.data.borders import AttributeBorders, Bordered, ranks_of
from dolma.data.exchange import RunWriter, Table, read_sorted, whole_runs
from dolma.errors import DataError
from dolma.runner.task import TaskResult
from dolma.stats.describe import Column
from dolma.stats.numbers import ordered_bits, value_of_bits

VALUES = Table(name="values", schema=pa.schema([("label", pa.uint64()), ("bits", pa.uint64())]), key=("label", "bits"))
_MOST_LABELS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An attribute that gets borders, by the values of another one if there is one."""

    attribute: str
    buckets: int
    values: Column
    by: str | None
    labels: Column | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBorders:
    """Finds the borders of an attribute. Called with it."""

    work: str
    memory: int

    def __call__(self, of: Measured) -> TaskResult:
        names, counts = dict[str, int](), np.zeros(_MOST_LABELS, np.int64)
        with RunWriter(VALUES, self.work, of.attribute, memory=self.memory) as out:
            for values, labels in _paired(of):
                codes = np.array([names.setdefault(label, len(names)) for label in labels.dictionary.to_pylist()])
                if len(names) > _MOST_LABELS:
                    raise DataError(
                        f"{of.by} has more than {_MOST_LABELS:,} values, each of which would have borders"
                        "\n  take one that has fewer, such as a topic"
                    )
                numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
                finite = np.isfinite(numbers) & ~labels.is_null().to_numpy(zero_copy_only=False)
                chosen = codes[labels.indices.fill_null(0).to_numpy()[finite]] if len(codes) else np.zeros(0, np.int64)
                counts += np.bincount(chosen, minlength=_MOST_LABELS)
                bits = ordered_bits(numbers[finite] + 0.0)
                out.add(
                    pa.RecordBatch.from_arrays([*map(pa.array, (chosen.astype(np.uint64), bits))], schema=VALUES.schema)
                )
        ends = np.cumsum(counts)
        places = {
            label: [int(ends[code] - counts[code]) + rank for rank in ranks_of(int(counts[code]), of.buckets)]
            for label, code in names.items()
            if counts[code]
        }
        found = _at([place for of_label in places.values() for place in of_label], self._sorted(out))
        borders = AttributeBorders(
            attribute=of.attribute,
            buckets=of.buckets,
            by=of.by,
            of={
                label: Bordered(count=int(counts[names[label]]), borders=[found[place] for place in of_label])
                for label, of_label in sorted(places.items())
            },
        )
        return TaskResult(outputs=out.outputs, payload={"borders": msgspec.to_builtins(borders)})

    def _sorted(self, out: RunWriter) -> Iterator[pa.RecordBatch]:
        return read_sorted(VALUES, self.work, whole_runs([out.file]), memory=self.memory)


def _paired(of: Measured) -> Iterator[tuple[pa.Array, pa.DictionaryArray]]:
    """Values and labels of the same documents, some at a time; the label is "" where there is no other attribute."""
    if of.labels is None:
        for values in of.values.chunks():
            yield values, pa.array([""] * len(values)).dictionary_encode()
        return
    held = pa.array([], pa.string())
    chunks = of.labels.chunks()
    for values in of.values.chunks():
        parts = [held]
        while sum(map(len, parts)) < len(values):
            parts.append(next(chunks).cast(pa.string()))
        held = pa.concat_arrays(parts)
        yield values, held.slice(0, len(values)).dictionary_encode()
        held = held.slice(len(values))


def _at(places: list[int], batches: Iterator[pa.RecordBatch]) -> dict[int, float]:
    """The values at these places of all that are sorted."""
    wanted, found, start = np.unique(np.array(places, dtype=np.int64)), dict[int, float](), 0
    for batch in batches:
        inside = wanted[(wanted >= start) & (wanted < start + len(batch))]
        bits = batch["bits"].to_numpy()[inside - start]
        found |= {
            place: float(value_of_bits(key, "f")) for place, key in zip(inside.tolist(), bits.tolist(), strict=True)
        }
        start += len(batch)
    return found
