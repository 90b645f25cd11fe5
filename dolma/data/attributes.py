"""Attribute files: one row per document, same order, an `id` column and one typed column per output.

Native files are parquet; the Dolma 1.x JSONL form is read and written through `dolma.data.dolma1`. Readers never need
to know which: they are told by the suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from dolma.data import dolma1, streams
from dolma.data.columns import SPANS, Columns, Output, kind_of, schema_of, strings_of
from dolma.data.dataset import AttributesFormat, is_native
from dolma.data.identity import Content
from dolma.data.json_text import decode_json
from dolma.data.parquet import ParquetOutput, leaves, open_parquet
from dolma.errors import AlignmentError, DataError, did_you_mean
from dolma.printable import printable

_NOTES = b"dolma.attributes"  # the key in a file's metadata
_ROWS_PER_GROUP = 1 << 16
_BYTES_PER_GROUP = 64 << 20
_ROWS_AT_ONCE = 1 << 14
_REMEDY = "\n  the attributes are of other documents, or of another version of them: run their stage again"


class AttributeWriter:
    """Writes one attribute file. Rows follow the documents' order; the file appears when the block ends well.

    `parameters` are what the tagger was made with; they stand in the file's key-value metadata.
    """

    def __init__(
        self,
        path: str,
        outputs: Mapping[str, Output],
        *,
        tagger: str,
        version: int = 1,
        parameters: Mapping[str, Any] | None = None,
        format: AttributesFormat = "parquet",
        experiment: str | None = None,
    ) -> None:
        self.path, self.rows = path, 0
        self.written: streams.Written | None = None
        if format == "dolma1":
            self._sink: Any = dolma1.Dolma1Sink(path, outputs, tagger=tagger, experiment=experiment)
        else:
            notes = {"tagger": tagger, "version": version, "parameters": dict(parameters or {})}
            encoded = msgspec.json.encode(notes, order="deterministic")
            self._sink = _ParquetSink(path, schema_of(outputs).with_metadata({_NOTES: encoded}))

    def __enter__(self) -> AttributeWriter:
        self._sink.__enter__()
        return self

    def write(
        self,
        ids: Sequence[str],
        columns: Columns,
        *,
        characters: Sequence[int] | None = None,
        sources: Sequence[str] | None = None,
    ) -> None:
        """Append one row per id. `characters` (code points per document) and `sources` are needed by the 1.x form."""
        self.rows += len(ids)
        self._sink.write(ids, columns, characters=characters, sources=sources)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._sink.__exit__(kind, value, trace)
        self.written = self._sink.written


class _ParquetSink:
    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._schema = schema
        spans = leaves(field for field in schema if field.type == SPANS)
        scores = [leaf for leaf in spans if leaf.endswith(".score")]
        positions = [leaf for leaf in spans if leaf not in scores]
        vectors = leaves(field for field in schema if kind_of(field.type) == "vector")
        self._file = ParquetOutput(path, schema, level=1, rising=positions, plain=["id", *scores, *vectors])
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0

    @property
    def written(self) -> streams.Written | None:
        return self._file.written

    def __enter__(self) -> _ParquetSink:
        self._file.__enter__()
        return self

    def write(self, ids: Sequence[str], columns: Columns, **_: Any) -> None:
        arrays = [strings_of(ids), *(columns[name] for name in self._schema.names[1:])]
        self.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._held_rows += len(batch)
        self._held_bytes += batch.nbytes
        if self._held_rows >= _ROWS_PER_GROUP or self._held_bytes >= _BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write(pa.Table.from_batches(self._held, self._schema))
        self._held = []
        self._held_rows = self._held_bytes = 0

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._file.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._file)
            if self._held:
                self._flush()


def attribute_schema(path: str, *, content: Content | None = None) -> dict[str, Output]:
    """The outputs that an attribute file holds, in its own order. Reads only the footer (1.x: the whole file).

    Raises:
        DataError: the file is missing or corrupt, has no ids, or a column has another type than it is declared, or none
            of ours.
    """
    if not is_native(path):
        return dolma1.outputs_of(path)
    with open_parquet(path, what="attribute", content=content) as file:
        _names([], file.schema_arrow, path)
        return {field.name: _output_of(field, path) for field in file.schema_arrow if field.name != "id"}


def attribute_notes(path: str) -> dict[str, Any]:
    """What a native file says that it was made by: tagger, version, parameters; empty if it says nothing."""
    with open_parquet(path, what="attribute") as file:
        notes = (file.schema_arrow.metadata or {}).get(_NOTES, b"{}")
    try:
        return decode_json(notes, dict[str, Any])
    except msgspec.DecodeError as error:
        raise _corrupt(error, path) from error


def _output_of(field: pa.Field, path: str) -> Output:
    notes = {
        key.decode(errors="replace"): value.decode(errors="replace") for key, value in (field.metadata or {}).items()
    }
    kind = kind_of(field.type)
    declared = notes.get("kind", kind)
    if kind is None or declared != kind:
        expected = (
            f"it is declared {declared}"
            if declared
            else "attributes are int, float, bool, text, spans or vectors (fixed_size_list of float)"
        )
        raise DataError(
            f"the column {field.name!r} is {field.type}; {expected}\n"
            "  write the file again with the types of docs/formats.md, or without the column",
            file=path,
        )
    size = field.type.list_size if kind == "vector" else 0
    texts = {key: notes.get(key, "") for key in ("meaning", "unit", "range")}
    return Output(kind=kind, **texts, size=size)


def read_attributes(path: str, columns: Sequence[str] | None = None, *, content: Content | None = None) -> pa.Table:
    """The whole attribute file, `id` first; `columns` names the outputs wanted (None: all).

    Raises:
        DataError: the file is missing, corrupt, or has no such output; or does not hold `content`.
    """
    if not is_native(path):
        table = dolma1.read_table(path, content=content)
        return table.select(_names(columns, table.schema, path))
    with open_parquet(path, what="attribute", content=content) as file:
        names = _names(columns, file.schema_arrow, path)
        try:
            return _sound(file.read(columns=names, use_threads=False), path)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(error, path) from error


_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


def _sound(rows: _Rows, path: str) -> _Rows:
    """The rows, which can be read: texts are UTF-8, and spans have both ends.

    Raises:
        pa.ArrowInvalid: a text is not UTF-8.
        DataError: a span lacks an end.
    """
    rows.validate(full=True)
    for name in rows.schema.names:
        if kind_of(rows.schema.field(name).type) == "spans":
            for spans in rows[name].chunks if isinstance(rows, pa.Table) else [rows[name]]:
                ends = spans.flatten()
                if ends.null_count or any(ends.field(end).null_count for end in ("start", "end")):
                    raise DataError(
                        f"the column {name!r} has a span without a start or an end"
                        "\n  write a whole number for both, or an empty list for a document without spans",
                        file=path,
                    )
    return rows


def _names(columns: Sequence[str] | None, schema: pa.Schema, path: str) -> list[str]:
    names = schema.names if columns is None else ["id", *columns]
    if "id" not in schema.names:
        raise DataError(
            "no column 'id', which tells whose row each is\n"
            "  write the file again with it: a row per document, in the same order, with the id that the document has",
            file=path,
        )
    missing = next((name for name in names if name not in schema.names), None)
    if missing is not None:
        raise DataError(
            f"no column {missing!r}; {did_you_mean(missing, schema.names)}"
            "\n  measure again with one version of the tagger: `dolma tag --overwrite`",
            file=path,
        )
    return names


class AttributeReader:
    """Reads an attribute file alongside its documents: `take(n)` gives the next `n` rows.

    Raises:
        DataError: the file is missing or corrupt, or does not hold `content`.
    """

    def __init__(
        self, path: str, columns: Sequence[str] | None = None, *, skip: int = 0, content: Content | None = None
    ) -> None:
        self.path, self._content = path, content
        self._held: list[pa.RecordBatch] = []
        self._stack = ExitStack()
        with ExitStack() as opening:
            self._open(columns, opening)
            if skip:
                self.take(skip)
            self._stack = opening.pop_all()

    def _open(self, columns: Sequence[str] | None, opening: ExitStack) -> None:
        if not is_native(self.path):
            table = read_attributes(self.path, columns, content=self._content)
            self.rows, self._schema = len(table), table.schema
            self._batches = iter(table.to_batches())
            return
        from dolma.data.parquet_rows import rows_at_once

        file = opening.enter_context(open_parquet(self.path, what="attribute", content=self._content))
        names = _names(columns, file.schema_arrow, self.path)
        self.rows = file.metadata.num_rows
        self._schema = pa.schema([file.schema_arrow.field(name) for name in names])
        try:
            with streams.open_seekable(self.path, self._content) as source:
                groups = range(file.metadata.num_row_groups)
                n_rows = rows_at_once(source, groups, names, most=_ROWS_AT_ONCE)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(error, self.path) from error
        self._batches = file.iter_batches(batch_size=n_rows, columns=names, use_threads=False)

    def take(self, n: int) -> pa.Table:
        """The next `n` rows; fewer when the file ends before."""
        have = sum(len(batch) for batch in self._held)
        while have < n and (batch := self._next()) is not None:
            self._held.append(batch)
            have += len(batch)
        table = pa.Table.from_batches(self._held, self._schema)
        self._held = table.slice(n).to_batches()
        return table.slice(0, n)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that are left, as many at once as memory has room for."""
        yield from self._held
        self._held = []
        while (batch := self._next()) is not None:
            yield batch

    def _next(self) -> pa.RecordBatch | None:
        try:
            batch = next(self._batches, None)
            return batch if batch is None else _sound(batch, self.path)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _corrupt(error, self.path) from error

    def close(self) -> None:
        """Release the file."""
        self._stack.close()

    def __enter__(self) -> AttributeReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_alignment(
    ids: Sequence[str], found: pa.Table, *, documents: str, attributes: str, lines: np.ndarray, last: bool = False
) -> None:
    """Check that `found`, the attribute rows read for some documents, are theirs.

    Raises:
        AlignmentError: fewer rows than documents, or another id; names both files and the document's line.
    """
    theirs = found.column("id").to_pylist()
    if list(ids) == theirs:
        return
    for i, id in enumerate(ids):
        if i >= len(theirs):
            raise AlignmentError(
                f"no row for this document (id {id!r}) in {attributes}, which ends before{_REMEDY}",
                file=documents,
                line=int(lines[i]),
            )
        if not same_document(id, theirs[i], line=int(lines[i])):
            raise AlignmentError(
                f"id {id!r}, but its row in {attributes} has id {theirs[i]!r}{_REMEDY}",
                file=documents,
                line=int(lines[i]),
            )
    if len(theirs) > len(ids):
        raise AlignmentError(f"{attributes} has more rows than documents{_REMEDY}", file=documents)


def same_document(id: str, other: str, *, line: int) -> bool:
    """Whether two ids are one, or both of a document without an id, named after its line and one file.

    Patterns decide where the name of a file begins.

    >>> same_document("hf/web/a.jsonl:3", "web/a.jsonl:3", line=3), same_document("b/a.jsonl:3", "a.jsonl:4", line=3)
    (True, False)
    """
    mark = f":{line}"
    if id == other or not (id.endswith(mark) and other.endswith(mark)):
        return id == other
    one, two = f"/{id}", f"/{other}"
    return one.endswith(two) or two.endswith(one)


def check_exhausted(reader: AttributeReader, *, documents: str) -> None:
    """Check that no attribute row is left when the documents end.

    Raises:
        AlignmentError: there are more rows than documents.
    """
    if left := reader.take(1):
        id = left.column("id")[0].as_py()
        raise AlignmentError(
            f"{printable(reader.path)} goes on with id {id!r} after the last document\n"
            "  the attributes are of other documents, or of another version of them: run their stage again",
            file=documents,
        )


def concatenate_attributes(parts: Sequence[str], path: str) -> tuple[streams.Written, int]:
    """One attribute file of finished parts, in order; the file and its rows."""
    if not is_native(path):
        written = streams.concatenate(parts, path)
        return written, sum(chunk.count(b"\n") for part in parts for chunk in streams.read_chunks(part))
    with open_parquet(parts[0]) as first:
        sink, rows = _ParquetSink(path, first.schema_arrow), 0
    with sink:
        for part in parts:
            with AttributeReader(part) as reader:
                rows += reader.rows
                for batch in reader.batches():
                    sink.write_batch(batch)
    assert sink.written is not None
    return sink.written, rows


def filtered_attributes(
    path: str, out: str, *, keep: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> tuple[streams.Written, int]:
    """One native attribute file of what `keep` leaves of each batch of another one, in its columns; and its rows."""
    with open_parquet(path) as file:
        sink, rows = _ParquetSink(out, file.schema_arrow), 0
    with sink, AttributeReader(path) as reader:
        for batch in reader.batches():
            left = keep(batch)
            rows += len(left)
            sink.write_batch(left.cast(file.schema_arrow))
    assert sink.written is not None
    return sink.written, rows


def _corrupt(error: Exception, path: str) -> DataError:
    return DataError(
        f"corrupt attribute file: {error}"
        "\n  run the stage that made it again with `--overwrite`, or copy the file anew",
        file=path,
    )
