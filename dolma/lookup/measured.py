"""What attribute sets, and other files with a row per document, say of one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from dolma.data import streams
from dolma.data.attributes import attribute_schema, read_attributes, same_document
from dolma.data.dataset import Dataset, Shard, is_native
from dolma.data.parquet import open_parquet
from dolma.data.parquet_footer import row_groups
from dolma.errors import AlignmentError, DataError
from dolma.lookup.documents import Document
from dolma.printable import printable

Measured = dict[str, dict[str, Any]]
"""Values by attribute set and output; spans are lists of start, end and score."""
_AT_ONCE = 1 << 10


class Span(NamedTuple):
    """A span of a document, in code points, `end` exclusive; `attribute` is `set.output`."""

    start: int
    end: int
    attribute: str
    score: float | None


def spans_of(values: Measured) -> list[Span]:
    """All spans that were found in a document, in the order of the text."""
    return sorted(
        Span(one["start"], one["end"], f"{name}.{output}", one.get("score"))
        for name, outputs in values.items()
        for output, value in outputs.items()
        if is_spans(value)
        for one in value
    )


def is_spans(value: Any) -> bool:
    """Whether an attribute's value is a list of spans, and no vector."""
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def measured(dataset: Dataset, shards: Sequence[Shard], document: Document) -> Measured:
    """What each attribute set of the dataset says of a document; sets without a file for its shard are left out.

    Raises:
        DataError: a file is damaged, or its row is of another document.
    """
    found: Measured = {}
    names = dataset.attribute_names(list(shards)) if dataset.has_homes(shards) else []
    for name in names:
        ((_, path),) = dataset.attribute_files(name, [document.shard])
        if path is not None:
            row = attribute_row(path, document)
            found[name] = {output: row[output] for output in attribute_schema(path)}
    return found


def attribute_row(path: str, document: Document) -> dict[str, Any]:
    """The row of a document in a file that has one for each.

    Raises:
        AlignmentError: there is none, or it is of another document.
    """
    row = row_of(path, document.row)
    if row is None or not same_document(document.id, row["id"], line=document.line):
        said = "ends before it" if row is None else f"has id {printable(row['id'])!r} in its row"
        raise AlignmentError(
            f"{printable(path)} {said}\n  it is of other documents: run the stage that wrote it again",
            file=document.shard.path,
            line=document.line,
        )
    return row


def row_of(path: str, number: int) -> dict[str, Any] | None:
    """The row with this 0-based number; None where the file has fewer."""
    if not is_native(path):
        rows: list[dict[str, Any]] = read_attributes(path).slice(number, 1).to_pylist()
        return rows[0] if rows else None
    with streams.open_seekable(path) as source:
        sizes = [group.n_rows for group in row_groups(source)]
    group, left = 0, number
    while group < len(sizes) and left >= sizes[group]:
        left -= sizes[group]
        group += 1
    if group == len(sizes):
        return None
    for batch in row_batches(path, row_groups=[group], batch_size=_AT_ONCE):
        if left < len(batch):
            row: dict[str, Any] = batch.slice(left, 1).to_pylist()[0]
            return row
        left -= len(batch)
    return None


def row_batches(path: str, **options: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file that a stage wrote; `options` are those of `ParquetFile.iter_batches`.

    Raises:
        DataError: the file cannot be read.
    """
    with open_parquet(path) as file:
        try:
            yield from file.iter_batches(use_threads=False, **options)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"corrupt file: {printable(error)}\n  run the stage that made it again", file=path
            ) from error
