"""Documents as lines of cells: CSV and TSV, plain or compressed.

The first line names the columns. Cells are quoted by `"` as in RFC 4180, also with line ends inside, so that such a
file cannot be entered in the middle. All values are text; an empty cell is a missing field, unless it is the text in a
file of others.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.arrow_json import json_text
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat, Lines
from dolma.data.formats.jsonl import LongLine, blocks, checked
from dolma.data.formats.records import RecordBlocks
from dolma.data.formats.rows import NAMES, all_columns, columns_needed, in_blocks, own_record, row_of, text_column
from dolma.data.identity import Content
from dolma.data.intake import Faults, Reading
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError
from dolma.printable import printable

_LONGEST_CELL = sys.maxsize >> 1
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_CARRIAGE_RETURN = "a carriage return (byte 0d) outside quotes and not before a line feed"


class Delimited(DocumentFormat):
    """A row is a document; its line is the one on which it begins."""

    name: str
    delimiter: str

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        path = piece.shard.path
        rows = _Rows(path, piece.shard.content, self.delimiter, reading.max_line_bytes, name=self.name)
        ours = tuple(rows.header) == NAMES
        text = text_column(reading, rows.header, path, ours=ours)
        wanted = (
            rows.header
            if all_columns(reading, records=records)
            else columns_needed(reading, rows.header, metadata=metadata, ours=ours)
        )
        places = [(name, rows.header.index(name)) for name in wanted]
        block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata, measured=True)

        def encoded() -> Iterator[tuple[int, bytes]]:
            for line, row in rows:
                if rows.long:
                    faults.too_long(rows.raw, rows.long, line=line, offset=None)
                    continue
                if isinstance(row, str):
                    faults.bad(rows.raw, line=line, offset=None, reason=row)
                    continue
                record: dict[str, Any] = {
                    name: row[at] for name, at in places if row[at] or (name == text and not ours)
                }
                yield line, _encoded(own_record(record) if ours else record)

        yield from in_blocks(encoded(), block_of, reading.batch_bytes)

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        return [Piece(shard=shard)]

    def count(self, path: str) -> int:
        return sum(1 for _ in _Rows(path, None, self.delimiter, Reading().max_line_bytes, name=self.name))

    def sink(self, path: str) -> DelimitedSink:
        return DelimitedSink(path, self.delimiter)

    def without(self, path: str, lines: Lines, out: str) -> streams.Written:
        """Each row that begins at one of these lines is left empty, as many lines as it has."""
        removed = set(lines.tolist())
        rows = _Rows(path, None, self.delimiter, _LONGEST_CELL, name=self.name)
        with streams.open_output(out) as sink:
            sink.write(rows.bom + rows.held)
            for line, raw in rows.raw_rows():
                sink.write(b"\n" * raw.count(b"\n") if line in removed else raw)
        assert sink.written is not None
        return sink.written

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        header = _line(NAMES, self.delimiter)
        with streams.open_output(path) as out:
            out.write(header)
            for part in parts:
                with streams.open_input(part) as source:
                    source.read(len(header))
                    while chunk := source.read(streams.CHUNK_BYTES):
                        out.write(chunk)
        assert out.written is not None
        return out.written


class Csv(Delimited):
    name = "CSV"
    delimiter = ","


class Tsv(Delimited):
    name = "TSV"
    delimiter = "\t"


class _Rows:
    """The rows after the header: the line on which each begins, and its cells, or in words why it has none.

    `long` are the bytes of a line of the last row that is over the limit, 0 if none is.
    """

    def __init__(self, path: str, content: Content | None, delimiter: str, max_bytes: int, *, name: str) -> None:
        self._path, self._delimiter = path, delimiter
        self._held = bytearray()  # of the row that is being read
        self._max_bytes, self.long = max_bytes, 0
        self.bom = b""
        csv.field_size_limit(max_bytes)
        chunks = checked(streams.read_chunks(path, content=content), path, name)
        self._reader = csv.reader(
            _Bounded(self._lines(chunks), self._held, max_bytes), delimiter=delimiter, strict=True
        )
        self.header = self._first()

    @property
    def raw(self) -> bytes:
        """The bytes of the last row."""
        return bytes(self._held.rstrip(b"\r\n"))

    @property
    def held(self) -> bytes:
        """The same with its line end."""
        return bytes(self._held)

    def raw_rows(self) -> Iterator[tuple[int, bytes]]:
        """The line on which each row begins that is left, and its bytes with its line end; empty lines too."""
        while True:
            line = self._reader.line_num + 1
            self._held.clear()
            try:
                row = next(self._reader, None)
            except csv.Error:
                row = []  # a bad record
            if row is None and not self._held:
                return
            yield line, self.held

    def _lines(self, chunks: Iterator[bytes]) -> Iterator[str]:
        first = True
        for block in blocks(chunks, streams.CHUNK_BYTES, self._max_bytes):
            if isinstance(block, LongLine):
                self.long, some = block.n_bytes, [block.head]
            else:
                self.bom = codecs.BOM_UTF8 if first and block.startswith(codecs.BOM_UTF8) else self.bom
                some = _LINE.findall(block.removeprefix(codecs.BOM_UTF8 if first else b""))
            first = False
            for line in some:
                self._held += line
                yield "\n" if self.long else line.decode(errors="surrogateescape")

    def _first(self) -> list[str]:
        try:
            header = next(self._reader, [])
        except csv.Error as error:
            raise DataError(
                f"its header cannot be read: {_CARRIAGE_RETURN if _is_carriage_return(error) else printable(error)}"
                "\n  write the file again with a first line of column names, and line feeds at the end of each line",
                file=self._path,
                line=1,
            ) from error
        header = [name.encode(errors="surrogateescape").decode(errors="replace") for name in header]
        if not any(header):
            raise DataError(
                "no header\n  write the names of the columns into the first line, such as `id,text`",
                file=self._path,
                line=1,
            )
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise DataError(
                f"two columns are called {twice!r}\n  rename one of them in the first line", file=self._path, line=1
            )
        return header

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        while True:
            line = self._reader.line_num + 1
            self._held.clear()
            self.long = 0
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                yield line, _in_words(error, self._max_bytes)
                continue
            if row is None:
                return
            if self.long or len(row) == len(self.header):
                yield line, row
            elif row:  # an empty line is no record
                yield line, f"{len(row)} cells, expected {len(self.header)} as in the first line"


class _Bounded:
    """The lines, up to a row that is too long: the next one is then asked for in vain, once."""

    def __init__(self, lines: Iterator[str], held: bytearray, max_bytes: int) -> None:
        self._lines, self._held, self._max_bytes = lines, held, max_bytes

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._held) > self._max_bytes:
            raise csv.Error("field larger")
        return next(self._lines)


def _is_carriage_return(error: csv.Error) -> bool:
    return "new-line character" in str(error)


def _in_words(error: csv.Error, most: int) -> str:
    if "unexpected end of data" in str(error):
        return 'a cell that begins with `"` is not closed before the file ends'
    if "field larger" in str(error):
        return (
            f'a row over the limit of {most:,} bytes; a `"` that is not closed makes all that follows one cell'
            "\n  close it, or set another limit with `--max-line-bytes`"
        )
    if _is_carriage_return(error):
        return f"{_CARRIAGE_RETURN}\n  quote the cell; where it ends each line: `tr '\\r' '\\n' < FILE > NEW`"
    return f'not valid: {printable(error)}\n  a `"` inside a quoted cell is written twice: `""`'


def _encoded(record: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:  # bytes that are not UTF-8, for the reader to repair and count
        return msgspec.json.encode({name: json_text(value) for name, value in record.items()})


def _line(cells: Sequence[str | None], delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


class DelimitedSink(streams.OutputStream):
    """Writes records as rows of ours, each cell quoted."""

    def __init__(self, path: str, delimiter: str) -> None:
        super().__init__(path)
        self._delimiter = delimiter

    def __enter__(self) -> DelimitedSink:
        super().__enter__()
        self.write(_line(NAMES, self._delimiter))
        return self

    def write_records(self, records: Iterable[bytes]) -> None:
        rows = (row_of(record, empty_cells=False) for record in records)
        self.write(b"".join(_line([row.get(name) for name in NAMES], self._delimiter) for row in rows))
