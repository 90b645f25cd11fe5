"""Documents in and out: JSONL or parquet to `TextBatch`, JSON lines to either.

One rule for damaged text, the same in every command: bytes that are not UTF-8 and lone surrogates each become U+FFFD
and are counted (`Intake.repaired`). A record that is no JSON object, or has no text, is a `RecordError` with file,
line and byte, or is left out and counted, as `Reading.on_error` says. Blank lines are no records.
"""

from __future__ import annotations

import json
import operator
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch, offsets_of
from dolma.data.dataset import Piece, Shard
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.errors import DataError, RecordError

OnError = Literal["fail", "skip", "quarantine"]
_Texts = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # UTF-8, and where each text begins and the last ends
BATCH_BYTES = 2 << 20  # small enough for the processor's cache: reading is 1.4 times faster than with 16 MiB
LISTED_FAILURES = 100  # per task; all are counted
_WORTH_A_KERNEL = 8 << 20  # bytes on disk
_PARQUET_NOTE = b"dolma.documents"
_ROW_GROUP_BYTES = 64 << 20
_PARQUET_FIELDS = ("id", "text", "source", "added", "created")
_PARQUET_SCHEMA = pa.schema(
    [pa.field(name, pa.large_string()) for name in (*_PARQUET_FIELDS, "metadata", "extra")], {_PARQUET_NOTE: b"1"}
)


class Reading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records are read. Field names may be dotted paths (`metadata.body`)."""

    text: str = "text"
    id: str = "id"
    source: str = "source"
    on_error: OnError = "fail"
    quarantine: str | None = None
    invalid_unicode: Literal["replace", "error"] = "replace"
    batch_bytes: int = BATCH_BYTES

    def __post_init__(self) -> None:
        if self.on_error == "quarantine" and not self.quarantine:
            raise ValueError("on_error `quarantine` needs a folder: set `quarantine`")
        if self.batch_bytes < 1:
            raise ValueError(f"batch_bytes is {self.batch_bytes}, expected at least 1")


class FailedRecord(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A record that was left out: 1-based line (parquet: row), byte in the decompressed file, and why."""

    file: str
    line: int
    offset: int | None
    reason: str


class Intake:
    """What one task read: documents, UTF-8 bytes of text, records left out, characters repaired."""

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0
        self.n_failed = 0
        self.failed: list[FailedRecord] = []
        self.repaired: dict[str, int] = {}

    def repair(self, kind: str, n: int) -> None:
        """Count `n` replaced characters of a kind."""
        if n:
            self.repaired[kind] = self.repaired.get(kind, 0) + n


def read_batches(
    piece: Piece | Shard,
    reading: Reading,
    *,
    intake: Intake,
    records: bool = False,
    metadata: bool = False,
) -> Iterator[TextBatch]:
    """The documents of a shard or a piece of one, in order, in batches of about `reading.batch_bytes`.

    Raises:
        RecordError: a record cannot be used and `reading.on_error` is "fail".
        DataError: the file is missing, truncated or corrupt.
    """
    piece = Piece(shard=piece) if isinstance(piece, Shard) else piece
    source = _parquet_batches if streams.document_format(piece.shard.path) == "parquet" else _jsonl_batches
    with _Faults(piece, reading, intake) as faults:
        for batch in source(piece, reading, faults, records=records, metadata=metadata):
            intake.documents += len(batch)
            intake.bytes += len(batch.utf8)
            if len(batch):
                yield batch


class _Faults:
    """Applies the bad-record policy and the repair rule, for one task.

    A quarantine folder gets `<piece>.jsonl`, the records as they were, a line each, and `<piece>.reasons.jsonl`
    beside it; a task that does not end well leaves neither.
    """

    def __init__(self, piece: Piece, reading: Reading, intake: Intake) -> None:
        self.piece, self.reading, self.intake = piece, reading, intake
        self._stack = ExitStack()
        self._quarantine: tuple[streams.OutputStream, streams.OutputStream] | None = None

    def bad(self, raw: bytes, *, line: int, offset: int | None, reason: str) -> None:
        path = self.piece.shard.path
        if self.reading.on_error == "fail":
            raise RecordError(
                f"{reason}\n  `--on-error skip` or `--on-error quarantine` goes on without such records",
                file=path,
                line=line,
                offset=offset,
            )
        failure = FailedRecord(file=path, line=line, offset=offset, reason=reason)
        self.intake.n_failed += 1
        if len(self.intake.failed) < LISTED_FAILURES:
            self.intake.failed.append(failure)
        if self.reading.on_error == "quarantine":
            self._keep(raw, failure)

    def _keep(self, raw: bytes, failure: FailedRecord) -> None:
        if self._quarantine is None:
            base = streams.join(str(self.reading.quarantine), self.piece.key)
            records, reasons = (
                self._stack.enter_context(streams.open_output(base + suffix)) for suffix in (".jsonl", ".reasons.jsonl")
            )
            self._quarantine = records, reasons
        records, reasons = self._quarantine
        records.write(raw + b"\n")
        reasons.write(msgspec.json.encode(failure) + b"\n")

    def __enter__(self) -> _Faults:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._stack.__exit__(kind, value, trace)


# --- JSONL -----------------------------------------------------------------------------------------------------------


class _Columns(NamedTuple):
    """One list per field of some decoded records."""

    ids: list[Any]
    texts: list[Any]
    sources: list[str | None]
    metadata: list[msgspec.Raw] | None


class _RawMetadata(msgspec.Struct, gc=False):
    metadata: msgspec.Raw = msgspec.Raw(b"")


_metadata_decoder = msgspec.json.Decoder(_RawMetadata)


def _decoder(
    reading: Reading, *, text: type = str, metadata: bool = False
) -> tuple[msgspec.json.Decoder, Callable[[list[Any]], _Columns]]:
    """A decoder of only the fields needed, and a function from what it returns to columns.

    With `metadata`, they have that field as it stands, unless one of the others is to be found in it.
    """
    wanted = {"id": reading.id, "text": reading.text, "source": reading.source}
    kinds = {"id": str | int | None, "text": text, "source": str | None}
    tree: dict[str, Any] = {}
    for role, path in wanted.items():
        node = tree
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = kinds[role] if role == "text" else (kinds[role], None)
    whole = metadata and "metadata" not in tree
    if whole:
        tree["metadata"] = (msgspec.Raw, msgspec.Raw())
    struct = _struct(tree, "Record")
    getters = [_getter(struct, path) for path in wanted.values()]

    def columns(docs: list[Any]) -> _Columns:
        ids, texts, sources = ([get(doc) for doc in docs] for get in getters)
        return _Columns(ids, texts, sources, [doc.metadata for doc in docs] if whole else None)

    return msgspec.json.Decoder(struct), columns


def _getter(struct: type, path: str) -> Callable[[Any], Any]:
    keys = path.split(".")
    if len(keys) == 1:
        return operator.attrgetter(struct.__dolma_names__.get(path, path))  # type: ignore[attr-defined]
    return lambda doc: _dig(doc, keys)


def _struct(tree: dict[str, Any], name: str) -> type:
    fields: list[Any] = []
    renamed = {f"f{i}": key for i, key in enumerate(tree) if not key.isidentifier()}
    python_names = {key: name for name, key in renamed.items()}
    for key, kind in tree.items():
        attribute = python_names.get(key, key)
        if isinstance(kind, dict):
            nested = _struct(kind, f"{name}_{attribute}")
            fields.append((attribute, nested) if _requires(kind) else (attribute, nested | None, None))
        elif isinstance(kind, tuple):
            fields.append((attribute, *kind))
        else:
            fields.append((attribute, kind))
    fields.sort(key=len)  # required fields first
    struct = msgspec.defstruct(name, fields, rename=renamed or None, gc=False)
    struct.__dolma_names__ = python_names  # type: ignore[attr-defined]
    return struct


def _requires(tree: dict[str, Any]) -> bool:
    return any(_requires(kind) if isinstance(kind, dict) else not isinstance(kind, tuple) for kind in tree.values())


def _dig(doc: Any, path: list[str]) -> Any:
    for key in path:
        if doc is None:
            return None
        doc = getattr(doc, type(doc).__dolma_names__.get(key, key))
    return doc


def _jsonl_batches(
    piece: Piece, reading: Reading, faults: _Faults, *, records: bool, metadata: bool
) -> Iterator[TextBatch]:
    block_of = _Blocks(reading, piece, faults, records=records, metadata=metadata)
    line, offset = piece.first_line, piece.first_offset
    for block in _blocks(piece, reading.batch_bytes):
        ends = block_of.line_ends(block)
        yield block_of(block, ends=ends, line=line, offset=offset)
        line += len(ends)
        offset += len(block)


def _blocks(piece: Piece, block_bytes: int) -> Iterator[bytes]:
    """Whole lines of the piece, about `block_bytes` at a time; the last line of a file may lack its newline."""
    parts: list[bytes] = []
    have = 0
    for chunk in _piece_chunks(piece):
        parts.append(chunk)
        have += len(chunk)
        if have >= block_bytes and (cut := chunk.rfind(b"\n") + 1):
            yield b"".join([*parts[:-1], chunk[:cut]])
            parts = [chunk[cut:]] if cut < len(chunk) else []
            have = len(chunk) - cut
    if rest := b"".join(parts):
        yield rest


def _piece_chunks(piece: Piece) -> Iterator[bytes]:
    """The lines that begin in this piece: the one that crosses its end included, the one that crosses its start not."""
    body = streams.read_chunks(piece.shard.path, start=piece.start, end=piece.end)
    if piece.parts == 1:
        yield from body
        return
    looking = piece.part > 0
    for chunk in body:
        if looking:
            at = chunk.find(b"\n")
            if at < 0:
                continue
            chunk, looking = chunk[at + 1 :], False
        yield chunk
    if looking or piece.end is None:
        return
    for chunk in streams.read_chunks(piece.shard.path, start=piece.end):
        at = chunk.find(b"\n")
        yield chunk if at < 0 else chunk[: at + 1]
        if at >= 0:
            return


class _Blocks:
    """Decodes blocks of lines: all at once, and line by line where that fails."""

    def __init__(self, reading: Reading, piece: Piece, faults: _Faults, *, records: bool, metadata: bool) -> None:
        self.decoder, self.columns = _decoder(reading, metadata=metadata)
        quick = _worth_a_kernel(reading, piece)
        self.quick = _decoder(reading, text=msgspec.Raw, metadata=metadata) if quick else None
        self.piece, self.faults, self.records, self.metadata = piece, faults, records, metadata

    def line_ends(self, block: bytes) -> npt.NDArray[np.int64]:
        """Where each line ends: at its newline, or at the end of the block."""
        if self.quick:
            from dolma.kernels.strings import newlines

            ends = newlines(block)
        else:
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
        return ends if block.endswith(b"\n") else np.append(ends, len(block))

    def __call__(self, block: bytes, *, ends: npt.NDArray[np.int64], line: int, offset: int | None) -> TextBatch:
        try:
            _check_utf8(block)
            decoder, columns = self.quick or (self.decoder, self.columns)
            docs = decoder.decode_lines(block)
            if len(docs) != len(ends) or not _one_a_line(block, ends):
                raise msgspec.DecodeError("not one document a line")
            found = columns(docs)
            texts = _encoded(found.texts) if self.quick is None else _unescaped(found.texts)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self._line_by_line(block, line=line, offset=offset)
        lines = np.arange(line, line + len(ends), dtype=np.int64)
        split = self.records or (self.metadata and found.metadata is None)
        raws = block.replace(b"\r\n", b"\n").strip().split(b"\n") if split else []
        return self._batch(found, texts, lines, raws)

    def _line_by_line(self, block: bytes, *, line: int, offset: int | None) -> TextBatch:
        docs, lines, used = [], [], []
        for number, raw in enumerate(block.split(b"\n"), start=line):
            if raw.strip() and (found := self._one(raw, line=number, offset=offset)) is not None:
                docs.append(found[0])
                used.append(found[1].strip())
                lines.append(number)
            offset = None if offset is None else offset + len(raw) + 1
        columns = self.columns(docs)
        return self._batch(columns, _encoded(columns.texts), np.array(lines, dtype=np.int64), used)

    def _one(self, raw: bytes, *, line: int, offset: int | None) -> tuple[Any, bytes] | None:
        """The decoded record and its JSON, repaired where needed; None when it is left out."""
        repaired, n_invalid = _as_utf8(raw)
        counts = {"invalid_utf8": n_invalid} if n_invalid else {}
        try:
            try:
                doc = self.decoder.decode(repaired)
            except msgspec.DecodeError:
                repaired, n_lone = _without_lone_surrogates(repaired)
                if not n_lone:
                    raise
                counts["lone_surrogate"] = n_lone
                doc = self.decoder.decode(repaired)
        except (msgspec.DecodeError, RecursionError) as error:
            self.faults.bad(raw, line=line, offset=offset, reason=_explain(error, repaired))
            return None
        if counts and self.faults.reading.invalid_unicode == "error":
            said = " and ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in counts.items())
            self.faults.bad(raw, line=line, offset=offset, reason=f"damaged text: {said}")
            return None
        for kind, n in counts.items():
            self.faults.intake.repair(kind, n)
        return doc, repaired

    def _batch(self, found: _Columns, texts: _Texts, lines: np.ndarray, raws: list[bytes]) -> TextBatch:
        shard, unnamed = self.piece.shard, self.piece.shard.source
        ids, sources = found.ids, found.sources
        if set(map(type, ids)) - {str}:
            ids = [f"{shard.name}:{lines[i]}" if id is None else str(id) for i, id in enumerate(ids)]
        return TextBatch(
            utf8=texts[0],
            offsets=texts[1],
            ids=ids,
            sources=[source or unnamed for source in sources],
            lines=lines,
            path=shard.path,
            records=raws if self.records else None,
            metadata=_metadata(found, raws) if self.metadata else None,
        )


def _metadata(found: _Columns, raws: list[bytes]) -> list[bytes | None]:
    fields = found.metadata
    if fields is None:
        fields = [_metadata_decoder.decode(raw).metadata for raw in raws]
    return [bytes(field) or None for field in fields]


def _worth_a_kernel(reading: Reading, piece: Piece) -> bool:
    """Whether texts are unescaped by a kernel, which takes Numba half a second to be loaded unless it is there."""
    distinct = len({reading.text, reading.id, reading.source}) == 3
    return distinct and ("numba" in sys.modules or piece.size >= _WORTH_A_KERNEL)


def _encoded(texts: list[str]) -> _Texts:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of(encoded)


def _unescaped(strings: list[msgspec.Raw]) -> _Texts:
    """The texts that these JSON strings stand for; DecodeError when one is something else."""
    from dolma.kernels.strings import unescape

    joined = b"".join(strings)  # type: ignore[arg-type]
    found = unescape(np.frombuffer(joined, dtype=np.uint8), offsets_of(strings))  # type: ignore[arg-type]
    if found is None:
        raise msgspec.DecodeError("a text that is no string")
    return found


def _one_a_line(block: bytes, ends: npt.NDArray[np.int64]) -> bool:
    """Whether every line begins with `{` and ends with `}`, so that as many documents as lines is one each."""
    found = np.frombuffer(block, dtype=np.uint8)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if np.any(ends <= starts):
        return False
    return bool(np.all(found[starts] == ord("{")) and np.all(found[ends - 1] == ord("}")))


def _check_utf8(block: bytes) -> None:
    """Raises UnicodeError unless the bytes are UTF-8. Arrow checks 5 times faster than `bytes.decode`."""
    if not block.isascii():
        bounds = pa.py_buffer(np.array([0, len(block)], dtype=np.int64))
        try:
            pa.LargeStringArray.from_buffers(1, bounds, pa.py_buffer(block)).validate(full=True)
        except pa.ArrowInvalid as error:
            raise UnicodeError(str(error)) from error


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def _as_utf8(raw: bytes) -> tuple[bytes, int]:
    """The record with U+FFFD for bytes that are not UTF-8, and how many of them it got."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        return text.encode(), text.count("\ufffd") - raw.count("\ufffd".encode())
    return raw, 0


def _without_lone_surrogates(record: bytes) -> tuple[bytes, int]:
    """The record with an escaped U+FFFD for each escaped lone surrogate, and how many there were."""
    n_lone = sum(match[1] is not None for match in _ESCAPE.finditer(record))
    return (_ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], record) if n_lone else record), n_lone


def _explain(error: Exception, raw: bytes) -> str:
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    if not isinstance(error, msgspec.ValidationError):
        return f"not valid JSON: {error}"
    reason = str(error)
    if "missing required field" not in reason:
        return reason
    try:
        keys = sorted(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except msgspec.DecodeError:
        return reason
    has = ", ".join(keys) or "nothing"
    return f"{reason}; it has: {has}\n  name another field with `--text-field`, such as `--text-field metadata.body`"


# --- parquet ---------------------------------------------------------------------------------------------------------


def _parquet_batches(
    piece: Piece, reading: Reading, faults: _Faults, *, records: bool, metadata: bool
) -> Iterator[TextBatch]:
    """Rows become the JSON records that they stand for, and are then read like any other."""
    block_of = _Blocks(reading, piece, faults, records=records, metadata=metadata)
    row, path = piece.first_line, piece.shard.path
    text = reading.text.split(".")[0]
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        ours = (file.schema_arrow.metadata or {}).get(_PARQUET_NOTE) is not None
        if not ours and text not in names:
            raise DataError(
                f"no column {text!r}; it has: {', '.join(names)}\n  name another with `--text-field`", file=path
            )
        columns = None if records else _columns_needed(reading, names, metadata=metadata, ours=ours)
        groups = list(range(piece.start, file.metadata.num_row_groups if piece.end is None else piece.end))
        try:
            for table in file.iter_batches(batch_size=1024, row_groups=groups, columns=columns):
                lines = _rows_as_json(table, text=text, ours=ours)
                for some in _by_bytes(lines, reading.batch_bytes):
                    block = b"\n".join(some)
                    yield block_of(block, ends=block_of.line_ends(block), line=row, offset=None)
                    row += len(some)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"corrupt parquet near row {row}: {error}", file=path) from error


def _columns_needed(reading: Reading, names: list[str], *, metadata: bool, ours: bool) -> list[str]:
    wanted = {path.split(".")[0] for path in (reading.text, reading.id, reading.source)}
    wanted |= {"metadata"} if metadata else set()
    wanted |= {"extra"} if ours else set()
    return [name for name in names if name in wanted]


def _by_bytes(lines: list[bytes], limit: int) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    n_bytes = 0
    for line in lines:
        if some and n_bytes + len(line) > limit:
            yield some
            some, n_bytes = [], 0
        some.append(line)
        n_bytes += len(line)
    if some:
        yield some


def _rows_as_json(table: pa.RecordBatch, *, text: str, ours: bool) -> list[bytes]:
    if ours:
        return [_own_json(values) for values in table.to_pylist()]
    arrays = [_as_python_holds(column) for column in table.columns]
    rows = pa.RecordBatch.from_arrays(arrays, names=table.schema.names).to_pylist()
    if any(pa.types.is_binary(array.type) for array in arrays):
        rows = [{key: _bytes_as_json(value) for key, value in row.items()} for row in rows]
    present = ({key: value for key, value in row.items() if value is not None or key == text} for row in rows)
    return [msgspec.json.encode(row, enc_hook=str) for row in present]


def _as_python_holds(column: pa.Array) -> pa.Array:
    """Nanoseconds cut to microseconds; text that is not UTF-8 as bytes."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_large_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return column.cast(pa.binary())
    return column


def _bytes_as_json(value: Any) -> Any:
    """Bytes as a JSON string; what is not UTF-8 in them stays as it is, for the reader to repair and count."""
    if not isinstance(value, bytes):
        return value
    text = json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False)
    return msgspec.Raw(text.encode(errors="surrogateescape"))


def _own_json(values: dict[str, Any]) -> bytes:
    extra = values.pop("extra", None)
    metadata = values.pop("metadata", None)
    record = {key: value for key, value in values.items() if value is not None}
    if metadata is not None:
        record["metadata"] = msgspec.Raw(metadata.encode())
    if extra is not None:
        record |= msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(record)


class DocumentWriter:
    """Writes JSON objects as documents, in the format that the path's suffix names.

    Parquet has the columns id, text, source, added and created as strings, and `metadata` and `extra` (all other
    fields) as JSON text, so that a field which appears late, or changes its type, survives.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.written: streams.Written | None = None
        parquet = streams.document_format(path) == "parquet"
        self._sink: _ParquetSink | _JsonlSink = _ParquetSink(path) if parquet else _JsonlSink(path)

    def __enter__(self) -> DocumentWriter:
        self._sink.__enter__()
        return self

    def write(self, lines: Sequence[bytes]) -> None:
        """Append records, each one JSON object without a newline."""
        if lines:
            self.rows += len(lines)
            self._sink.write_lines(lines)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._sink.__exit__(kind, value, trace)
        self.written = self._sink.written


class _JsonlSink(streams.OutputStream):
    def write_lines(self, lines: Sequence[bytes]) -> None:
        self.write(b"\n".join((*lines, b"")))


class _ParquetSink:
    def __init__(self, path: str) -> None:
        self._file = ParquetOutput(path, _PARQUET_SCHEMA)
        self._rows: list[dict[str, str | None]] = []
        self._bytes = 0

    @property
    def written(self) -> streams.Written | None:
        return self._file.written

    def __enter__(self) -> _ParquetSink:
        self._file.__enter__()
        return self

    def write_lines(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._rows.append(_parquet_row(line))
            self._bytes += len(line)
            if self._bytes >= _ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        self._file.write(pa.Table.from_pylist(self._rows, _PARQUET_SCHEMA))
        self._rows, self._bytes = [], 0

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._file.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._file)
            if self._rows:
                self._flush()


def _parquet_row(line: bytes) -> dict[str, str | None]:
    record = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    row: dict[str, str | None] = {}
    for name in _PARQUET_FIELDS:
        raw = bytes(record.get(name, b""))
        if raw.startswith(b'"'):
            row[name] = msgspec.json.decode(raw, type=str)
            del record[name]
    metadata = record.pop("metadata", None)
    row["metadata"] = None if metadata is None else bytes(metadata).decode()
    row["extra"] = msgspec.json.encode(record).decode() if record else None
    return row


def concatenate_documents(parts: Sequence[str], path: str) -> tuple[streams.Written, int]:
    """One document file of finished parts in the same format, in order; the file and its rows (0: not counted)."""
    if streams.document_format(path) != "parquet":
        return streams.concatenate(parts, path), 0
    rows = 0
    with ParquetOutput(path, _PARQUET_SCHEMA) as out:
        for part in parts:
            with open_parquet(part) as file:
                for group in range(file.metadata.num_row_groups):
                    table = file.read_row_group(group, use_threads=False)
                    rows += len(table)
                    out.write(table)
    assert out.written is not None
    return out.written, rows
