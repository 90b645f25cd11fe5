"""One output of an attribute set, described for the whole corpus and for each source.

Columns of few bytes are read together and held. Any other is read shard by shard, as often as `dolma.stats.numbers`
asks, and never held as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data.attributes import AttributeReader
from dolma.data.columns import Output, as_declared
from dolma.data.exchange import RunFile, read_in_order
from dolma.data.identity import Content
from dolma.errors import DataError
from dolma.kernels.vectors import norms
from dolma.stats.counts import SOURCES
from dolma.stats.numbers import NumberSummary, summarise
from dolma.stats.statistics import OutputSummary, SpansSummary, Summary, TextSummary, TruthSummary, VectorSummary

MOST_DISTINCT, MOST_DISTINCT_BYTES = 100_000, 16 << 20
"""Different strings that are counted, and their bytes together: bounds that do not depend on how a stage is run."""
_TOP = 20
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRows:
    """The rows of one shard: its attribute file (None: it has none), and where the source of each row is written.

    `n_rows` is the number of documents; `sources` are the positions, in the list of all sources, that occur. `codes`
    has for each piece a file of the table `SOURCES`, and what each of its values stands for. `content` is what the
    attribute file has to hold.
    """

    documents: str
    attributes: str | None
    work: str
    codes: tuple[tuple[RunFile, tuple[int, ...]], ...]
    n_rows: int
    sources: frozenset[int]
    content: Content | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One output in all shards, in corpus order. `held` are rows that have been read, by attribute file."""

    name: str
    output: Output
    shards: tuple[ShardRows, ...]
    held: Mapping[str, pa.Table] = field(default_factory=dict)

    def chunks(self, source: int | None = None) -> Iterator[pa.Array]:
        """The values, one per document, a limited number at a time; only those of one source if asked."""
        for shard in self.shards:
            if source is not None and source not in shard.sources:
                continue
            codes = None if source is None or len(shard.sources) == 1 else _Codes(shard)
            for values in self._shard(shard):
                yield values if codes is None else values.filter(pa.array(codes.take(len(values)) == source))

    def _shard(self, shard: ShardRows) -> Iterator[pa.Array]:
        if shard.attributes is None:
            yield pa.nulls(shard.n_rows, self.output.arrow_type)
            return
        held = self.held.get(shard.attributes)
        for table in _tables(shard, [self.name]) if held is None else [held]:
            yield self._declared(table.column(self.name), shard.attributes)

    def _declared(self, column: pa.ChunkedArray, path: str) -> pa.Array:
        try:
            return as_declared(column, self.output)
        except ValueError as error:
            raise DataError(
                f"the column {self.name!r} is not {self.output.kind}: {error}"
                "\n  measure again with one version of the tagger: `dolma tag --overwrite`",
                file=path,
            ) from error


def _tables(shard: ShardRows, names: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a shard that has attributes, these columns of them."""
    assert shard.attributes is not None
    with AttributeReader(shard.attributes, names, content=shard.content) as reader:
        left = shard.n_rows
        while left and (table := reader.take(min(left, _ROWS))):
            left -= len(table)
            yield table


def held(columns: Sequence[Column], *, memory: int) -> list[Column]:
    """The columns, all of the same shards, with their rows held; as they are where these take more than `memory`."""
    names = [column.name for column in columns]
    rows: dict[str, pa.Table] = {}
    for shard in columns[0].shards if len(columns) > 1 else ():
        if shard.attributes is None:
            continue
        tables = []
        for table in _tables(shard, names):
            tables.append(table)
            memory -= table.nbytes
            if memory < 0:
                return list(columns)
        if tables:
            rows[shard.attributes] = pa.concat_tables(tables)
    return [replace(column, held=rows) for column in columns]


class _Codes:
    """The source of each row of a shard, from first to last."""

    def __init__(self, shard: ShardRows) -> None:
        self._parts = (
            np.array(meanings, dtype=np.int64)[records["code"].to_numpy()]
            for file, meanings in shard.codes
            for records in read_in_order(SOURCES, shard.work, file)
        )
        self._rest = np.zeros(0, dtype=np.int64)

    def take(self, n: int) -> npt.NDArray[np.int64]:
        """Those of the next `n` rows."""
        found = [self._rest]
        while sum(map(len, found)) < n:
            found.append(next(self._parts))
        whole = np.concatenate(found)
        self._rest = whole[n:]
        return whole[:n]


def describe(
    column: Column, *, sources: list[str], bins: int, quantiles: Sequence[float], memory: int
) -> OutputSummary:
    """The column over the whole corpus, and by source: `sources` names the codes. At most `memory` bytes are held."""
    present = sorted(set().union(*(shard.sources for shard in column.shards)))
    one = len(present) == 1
    numbers = partial(summarise, bins=bins, quantiles=quantiles, memory=memory)
    overall = _summary(column, None, numbers)
    return OutputSummary(
        kind=column.output.kind,
        meaning=column.output.meaning,
        unit=column.output.unit,
        all=overall,
        sources={sources[code]: overall if one else _summary(column, code, numbers) for code in present},
    )


def _summary(column: Column, source: int | None, numbers: Callable[..., NumberSummary]) -> Summary:
    if column.output.kind == "bool":
        return _truths(column, source)
    if column.output.kind == "text":
        return _texts(column, source)
    n_missing = sum(values.null_count for values in column.chunks(source))
    if column.output.kind == "spans":
        return SpansSummary(
            per_document=numbers(lambda: map(_n_spans, column.chunks(source)), missing=n_missing),
            length=numbers(lambda: map(_lengths, column.chunks(source))),
            score=numbers(lambda: map(_scores, column.chunks(source))),
        )
    if column.output.kind == "vector":
        norm = numbers(lambda: map(_norms, column.chunks(source)), missing=n_missing)
        return VectorSummary(size=column.output.size, norm=norm)
    return numbers(lambda: map(_values, column.chunks(source)), missing=n_missing)


def _values(chunk: pa.Array) -> npt.NDArray[Any]:
    return chunk.drop_null().to_numpy(zero_copy_only=False)


def _norms(chunk: pa.Array) -> npt.NDArray[np.float64]:
    vectors = chunk.drop_null()
    return norms(_values(vectors.flatten().fill_null(np.nan)).reshape(len(vectors), vectors.type.list_size))


def _n_spans(chunk: pa.Array) -> npt.NDArray[np.int64]:
    return pc.list_value_length(chunk.drop_null()).to_numpy(zero_copy_only=False).astype(np.int64)


def _lengths(chunk: pa.Array) -> npt.NDArray[np.int64]:
    spans = chunk.flatten()
    return _values(pc.subtract(spans.field("end"), spans.field("start")))


def _scores(chunk: pa.Array) -> npt.NDArray[np.float64]:
    return _values(chunk.flatten().field("score"))


def _truths(column: Column, source: int | None) -> TruthSummary:
    n_rows = n_missing = n_true = 0
    for values in column.chunks(source):
        n_rows += len(values)
        n_missing += values.null_count
        n_true += values.true_count
    count = n_rows - n_missing
    return TruthSummary(count=count, missing=n_missing, true=n_true, share=n_true / count if count else None)


def _texts(column: Column, source: int | None) -> TextSummary:
    n_rows = n_missing = n_bytes = 0
    tally: Counter[str] = Counter()
    exact = True
    for values in column.chunks(source):
        n_rows += len(values)
        n_missing += values.null_count
        for found in values.drop_null().value_counts():
            value, count = found["values"].as_py(), found["counts"].as_py()
            if value not in tally:
                more = len(value.encode())
                if len(tally) >= MOST_DISTINCT or n_bytes + more > MOST_DISTINCT_BYTES:
                    exact = False
                    continue
                n_bytes += more
            tally[value] += count
    top = dict(sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:_TOP])
    return TextSummary(count=n_rows - n_missing, missing=n_missing, distinct=len(tally), exact=exact, top=top)
