"""Token shards on disk: raw little-endian ids in `part-NNNNN.npy`, document rows beside them, `tokens.json` over all.

The `.npy` files have no NumPy header: that is what OLMo and OLMo-core read. `part-NNNNN.parquet` has one row per
document, or per part of one that is cut (`ROWS`). `part-NNNNN.csv.gz` has the same rows in the form of Dolma 1.x and
OLMo-core, without a header: `start,end,id,src,loc`. Such a row is one line whatever is in an id or a path, because
OLMo-core reads line by line: a backslash, a newline and a carriage return are written as `\\\\`, `\\n` and `\\r`.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import xxhash

from dolma.data import streams
from dolma.data.columns import array_of
from dolma.data.identity import Content
from dolma.data.json_text import decode_json
from dolma.data.numbers import numbers_in
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.errors import DataError, nearest
from dolma.names import MOST_BYTES, RESERVED, leads_below
from dolma.printable import printable

FORMAT_VERSION = 1
NAME = "tokens.json"
NUMPY_MAGIC = b"\x93NUMPY"

Dtype = Literal["uint16", "uint32"]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class TokenShardInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One shard: path below the folder, tokens, documents that end in it, bytes on disk, and xxh3-128 of them.

    `continued`: rows whose document goes on in a further row. `source`: that of all its documents, if they are grouped.
    `before`: the checksums that it had before documents of it became padding, the first one first.
    """

    path: str
    tokens: _Count
    documents: _Count
    bytes: _Count
    xxh3: str
    continued: _Count = 0
    source: str | None = None
    before: list[str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def rows(self) -> int:
        """Rows beside it."""
        return self.documents + self.continued

    @property
    def earlier(self) -> list[str]:
        """`before`, as a list."""
        return [] if self.before is msgspec.UNSET else self.before

    @property
    def origin(self) -> str:
        """The checksum by which training knows the shard: where its windows are has not changed since."""
        return next(iter(self.earlier), self.xxh3)


class TokenManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens.json`: what a reader must know to use the shards.

    `tokenizer` is the copy of the tokenizer file beside it. With `special_tokens_allowed`, texts may hold control
    tokens, so the end-of-text id need not mean the end of a document; the rows always do. `mixed` is there where
    several documents may have one file and line, and are told apart by source and id: copies, and those of several
    folders.
    """

    format_version: int
    tokenizer: str
    tokenizer_sha256: str
    dtype: Dtype
    vocab_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]
    eos_id: _Count | None
    bos_id: _Count | None
    pad_id: _Count | None
    seed: int
    shards: list[TokenShardInfo]
    shuffle: bool = True
    special_tokens_allowed: bool = False
    format: str = "dolma"
    mixed: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    @property
    def filler(self) -> int | None:
        """The id that padding is made of: that of padding, or else that of the end of a text."""
        return self.eos_id if self.pad_id is None else self.pad_id

    def padding(self, n: int) -> npt.NDArray[Any]:
        """`n` ids in the place of a document that was taken down: framed as one, its text of `filler`."""
        ids = np.full(n, self.filler, dtype=little_endian(self.dtype))
        if self.bos_id is not None:
            ids[0] = self.bos_id
        if self.eos_id is not None:
            ids[-1] = self.eos_id
        return ids


def dtype_of(vocab_size: int) -> Dtype:
    """The smallest type that holds every id below `vocab_size`.

    >>> dtype_of(65_536), dtype_of(65_537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def little_endian(dtype: Dtype) -> np.dtype:
    """The type as it lies on disk."""
    return np.dtype(dtype).newbyteorder("<")


def read_token_manifest(folder: str) -> TokenManifest:
    """The folder's `tokens.json`.

    Raises:
        DataError: there is none, or it is not one of ours.
    """
    path = streams.join(folder, NAME)
    try:
        manifest = decode_json(streams.read_bytes(path), TokenManifest)
        named = [*(shard.path for shard in manifest.shards), manifest.tokenizer]
        if (outside := next((name for name in named if not leads_below(name)), None)) is not None:
            raise msgspec.ValidationError(f"it names a file outside of its folder: {outside!r}")
        ids = {"eos_id": manifest.eos_id, "bos_id": manifest.bos_id, "pad_id": manifest.pad_id}
        if (beyond := next((key for key, id in ids.items() if (id or 0) >= manifest.vocab_size), None)) is not None:
            raise msgspec.ValidationError(f"its `{beyond}` {ids[beyond]} is outside its vocabulary")
        if len(set(named)) < len(named):
            raise msgspec.ValidationError("it names a file twice")
        if manifest.format_version != FORMAT_VERSION:
            raise msgspec.ValidationError(
                f"its format has version {manifest.format_version}, expected {FORMAT_VERSION}"
            )
    except FileNotFoundError as error:
        if said := _no_folder(folder):
            raise DataError(said, file=folder) from error
        raise DataError(
            f"no {NAME} in this folder, so nothing tells the type of its shards\n"
            "  make shards with `dolma tokenize`; it writes one",
            file=folder,
        ) from error
    except msgspec.DecodeError as error:
        raise DataError(
            f"not a description of token shards: {printable(error)}\n  give a folder that `dolma tokenize` has written",
            file=path,
        ) from error
    return manifest


def _no_folder(path: str) -> str:
    """Why a local path is no folder of shards, and what to give; empty if it is a folder without others in it."""
    if streams.is_url(path):
        return ""
    if os.path.isfile(path):
        return (
            "is a file, expected a folder of token shards"
            "\n  make one of documents: `dolma tokenize --documents FILE --tokenizer tokenizer.json --output DIR`"
        )
    if os.path.isdir(path):
        below = next(
            (name for name in sorted(os.listdir(path)) if os.path.exists(os.path.join(path, name, NAME))), None
        )
        return "" if below is None else f"no {NAME} in this folder\n  did you mean {os.path.join(path, below)!r}?"
    parent, name = os.path.split(path.rstrip("/"))
    near = nearest(name, os.listdir(parent or ".")) if os.path.isdir(parent or ".") else None
    hint = "make it with `dolma tokenize`, or name another one: `--tokens DIR`"
    if near is not None:
        hint = f"did you mean {os.path.join(parent, near)!r}?"
    return f"no such folder of token shards\n  {hint}"


def check_format(folder: str, manifest: TokenManifest) -> None:
    """Return when the shards of this folder have the format of Dolma.

    Raises:
        DataError: they have that of another trainer.
    """
    if manifest.format != "dolma":
        raise DataError(
            f"has shards in the format {manifest.format!r}, which only other trainers read"
            "\n  tokenize again with `--format dolma`",
            file=folder,
        )


def write_token_manifest(folder: str, manifest: TokenManifest) -> None:
    """Put `tokens.json` there, whole or not at all."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    streams.write_bytes(streams.join(folder, NAME), encoded + b"\n")


def open_tokens(path: str, dtype: Dtype) -> npt.NDArray[Any]:
    """A shard's ids, read-only, mapped or read by ranges; shape `(tokens,)`.

    Raises:
        DataError: the file is missing, has a NumPy header, or no whole number of ids.
    """
    kind = little_endian(dtype)
    size = streams.size(path)
    if size is None:
        raise DataError("no such file\n  copy the whole folder of shards, or tokenize again", file=path)
    with streams.open_seekable(path) as raw:
        if raw.read(len(NUMPY_MAGIC)) == NUMPY_MAGIC:
            raise DataError(
                "begins with a NumPy header, which would be read as tokens\n"
                "  write raw ids with `array.tofile(path)`, not `np.save`",
                file=path,
            )
    if size % kind.itemsize:
        raise DataError(
            f"{size:,} bytes are no whole number of {dtype} ids"
            "\n  copy the shard again: it is cut short; or give the right `--dtype`",
            file=path,
        )
    return numbers_in(path, kind, size=size)


def rows_path(shard: str) -> str:
    """The rows file of a shard in the form of Dolma 1.x.

    >>> rows_path("tokens/part-00000.npy")
    'tokens/part-00000.csv.gz'
    """
    return os.path.splitext(shard)[0] + ".csv.gz"


def parquet_path(shard: str) -> str:
    """The rows file of a shard in parquet.

    >>> parquet_path("tokens/part-00000.npy")
    'tokens/part-00000.parquet'
    """
    return os.path.splitext(shard)[0] + ".parquet"


def source_folder(source: str) -> str:
    """The folder of the shards of a source: its name, percent-encoded where that can be no folder or is a pattern.

    >>> source_folder("books"), source_folder("web/2024*"), source_folder("tokens.json")
    ('books', 'web%2F2024%2A', '%74okens.json')
    """
    kept = "".join(_percent(one) if one in _NO_FOLDER or ord(one) < 32 else one for one in source)
    if not kept or kept[0] in " ." or kept.lower() in _TAKEN:
        kept = _percent(kept[:1]) + kept[1:]
    if kept.endswith(" "):
        kept = kept[:-1] + _percent(" ")
    if len(kept.encode()) > MOST_BYTES:
        kept = kept.encode()[:100].decode(errors="ignore") + "%" + xxhash.xxh3_128_hexdigest(source.encode())
    return kept


_NO_FOLDER = frozenset('/\\%*?[]{}:"<>|~$\x7f')
_TAKEN = frozenset({*RESERVED, NAME, "tokenizer.json"})


def _percent(characters: str) -> str:
    return "".join(f"%{byte:02X}" for byte in characters.encode()) or "%"


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"\\([\\nr])")
_MEANS = {"\\": "\\", "n": "\n", "r": "\r"}


def _escaped(names: Sequence[str]) -> Sequence[str]:
    if not any(character in "".join(names) for character in "\\\n\r"):
        return names
    return [name.translate(_ESCAPES) for name in names]


def _unescaped(names: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pc.any(pc.match_substring(names, "\\")).as_py():
        return names
    return pa.chunked_array(
        [[_ESCAPED.sub(lambda match: _MEANS[match[1]], name) for name in names.to_pylist()]], pa.string()
    )


ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("line", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("part", pa.int32()),
        ("parts", pa.int32()),
        ("offset", pa.int64()),
    ]
)
"""Rows of a shard, in its order: a document, or a part of one that is cut.

`path` is the document's file as in the `inputs` of the manifest, `line` is counted from 1. `start` and `end` are tokens
of the shard, `end` exclusive, special tokens included. `part` counts from 0 to `parts`, exclusive; `offset` is the
number of the document's tokens in the parts before.
"""

_OF_CSV = {"start": pa.int64(), "end": pa.int64(), "id": pa.string(), "src": pa.string(), "loc": pa.int64()}
_IN_CSV = {"start": "start", "end": "end", "id": "id", "path": "src", "line": "loc"}
_WHOLE = {"part": 0, "parts": 1, "offset": 0}
_CSV_AT_ONCE = 1 << 30  # bytes; a row, which an id may make long, has to fit
_GROUP_BYTES = 8 << 20  # of rows in memory, to a row group
_ROW_BYTES = 64


def has_rows(shard: str) -> bool:
    """Whether rows lie beside a shard, in either form."""
    return streams.exists(rows_file(shard))


def rows_file(shard: str) -> str:
    """The file that `read_rows` reads: parquet where it is there, else csv.gz."""
    return parquet_path(shard) if streams.exists(parquet_path(shard)) else rows_path(shard)


def read_rows(shard: str, *, only: Sequence[str] = tuple(ROWS.names), content: Content | None = None) -> pa.Table:
    """The rows of a shard (`ROWS`), of parquet where it is there, else of csv.gz, where each is a whole document.

    `only`: the columns to keep. `source` is null where csv.gz is read. `content` is what the file has to hold.

    Raises:
        DataError: the rows file is missing, truncated, or has a row that is none.
    """
    if rows_file(shard) == parquet_path(shard):
        return _read_parquet(shard, only, content)
    return read_csv_rows(shard, only=only, content=content)


def _read_parquet(shard: str, only: Sequence[str], content: Content | None) -> pa.Table:
    path = parquet_path(shard)
    with open_parquet(path, content=content) as file:
        if not all(field in file.schema_arrow for field in ROWS):
            raise DataError(
                f"expected the columns {', '.join(ROWS.names)} of document rows, found "
                f"{printable(', '.join(file.schema_arrow.names))}\n"
                "  copy the whole folder of shards again, or tokenize again",
                file=path,
            )
        try:
            return file.read(columns=list(only), use_threads=False).select(list(only))
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"corrupt parquet file: {printable(error)}\n  copy or write the file again", file=path
            ) from error


def read_csv_rows(shard: str, *, only: Sequence[str] = tuple(ROWS.names), content: Content | None = None) -> pa.Table:
    """As `read_rows`, of csv.gz."""
    path = rows_path(shard)
    encoded = b"".join(streams.read_chunks(path, content=content))
    if not encoded:
        return pa.table({name: pa.array([], ROWS.field(name).type) for name in only})
    columns = [_IN_CSV[name] for name in only if name in _IN_CSV] or ["start"]
    try:
        rows = pa_csv.read_csv(
            io.BytesIO(encoded),
            read_options=pa_csv.ReadOptions(
                column_names=list(_OF_CSV), use_threads=False, block_size=max(1, min(len(encoded), _CSV_AT_ONCE))
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=_OF_CSV, null_values=[], include_columns=columns),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"expected rows of start,end,id,src,loc: {printable(error)}", file=path) from error
    found = {name: rows[_IN_CSV[name]] for name in only if name in _IN_CSV}
    found |= {name: _unescaped(found[name]) for name in ("id", "path") if name in found}
    found |= {name: _repeated(_WHOLE.get(name), len(rows), name) for name in only if name not in found}
    return pa.table({name: found[name] for name in only})


def _repeated(value: int | None, n: int, name: str) -> pa.Array:
    kind = ROWS.field(name).type
    return pa.nulls(n, kind) if value is None else pa.repeat(pa.scalar(value, kind), n)


def whole_documents(
    names: Sequence[str], *, paths: Sequence[str], lines: Sequence[int], sources: Sequence[str | None] | None = None
) -> pa.Table:
    """What a `TokenShardWriter` is told of documents that are not cut: their ids, files, lines and sources."""
    n = len(names)
    columns = {"id": names, "source": [None] * n if sources is None else sources, "path": paths, "line": lines}
    found = {name: pa.array(values, ROWS.field(name).type) for name, values in columns.items()}
    return pa.table(found | {name: _repeated(value, n, name) for name, value in _WHOLE.items()})


PADDING: dict[str, Any] = {"id": "", "path": "", "line": 0}
"""What a row says whose tokens are padding: lines of documents count from 1."""


def is_padding(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows (`ROWS`) are of no document any more, as it was taken down; bool, shape `(n_rows,)`."""
    found = np.ones(len(rows), dtype=bool)
    for name, value in PADDING.items():
        found &= pc.equal(rows[name], value).to_numpy()
    return found


class TokenShard:
    """A shard for looking at: `ids` mapped, `rows` read on first use.

    Raises:
        DataError: the file is missing, has a NumPy header, or no whole number of ids.
    """

    def __init__(self, path: str, dtype: Dtype, *, ids: npt.NDArray[Any] | None = None) -> None:
        self.path = path
        self.ids = open_tokens(path, dtype) if ids is None else ids

    @cached_property
    def rows(self) -> pa.Table:
        """One row per document or part of one; see `read_rows`."""
        return read_rows(self.path)

    def document(self, i: int) -> npt.NDArray[Any]:
        """The ids of row `i`, special tokens included."""
        return self.ids[self.rows["start"][i].as_py() : self.rows["end"][i].as_py()]

    def trace(self, position: int) -> dict[str, Any]:
        """The row of the document that the token at this position is from."""
        if not 0 <= position < len(self.ids):
            raise IndexError(f"position {position} of {len(self.ids)} tokens")
        i = int(np.searchsorted(self.rows["end"].to_numpy(), position, side="right"))
        return self.rows.slice(i, 1).to_pylist()[0]


class IdsFile(Protocol):
    """What a shard's ids are written to: one file, or several of which the first is the shard. A context manager."""

    @property
    def written(self) -> list[streams.Written]:
        """The files, once the block has ended well."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None: ...

    def write(self, ids: Sequence[bytes | memoryview], *, counts: npt.NDArray[np.int64], rows: pa.Table) -> None:
        """Append documents: their ids as little-endian numbers, how many each has, and their rows (`ROWS`)."""
        ...

    def end(self) -> None:
        """Write what is left: no documents follow."""
        ...


class RawIds:
    """Ids as they are, without a header."""

    def __init__(self, path: str) -> None:
        self._file = streams.open_output(path)

    @property
    def written(self) -> list[streams.Written]:
        return [self._file.written] if self._file.written is not None else []

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)

    def write(self, ids: Sequence[bytes | memoryview], *, counts: npt.NDArray[np.int64], rows: pa.Table) -> None:
        for some in ids:
            self._file.write(some)  # type: ignore[arg-type]

    def end(self) -> None:
        pass


class TokenShardWriter:
    """Writes a shard and its rows; all files appear when the block ends well, and nothing when it does not.

    `name` is the path of the shard below the folder, `ids` what its ids are written to (None: raw). With `csv` and
    `parquet` the rows lie beside it in these forms. Afterwards `info` describes the shard, `rows_written` the files
    beside it. What these are compressed in (csv.gz: rows of `tokens_per_part`) does not depend on how many documents
    come at a time.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        *,
        source: str | None = None,
        tokens_per_part: int = 1 << 24,
        ids: IdsFile | None = None,
        csv: bool = True,
        parquet: bool = True,
    ) -> None:
        self.path, self._name, self._source = streams.join(folder, name), name, source
        self.tokens = self.documents = self.continued = 0
        self.info: TokenShardInfo | None = None
        self.rows_written: list[streams.Written] = []
        self._ids = RawIds(self.path) if ids is None else ids
        self._csv = CsvRows(rows_path(self.path), tokens_per_part=tokens_per_part) if csv else None
        self._parquet = ParquetRows(parquet_path(self.path), ROWS) if parquet else None
        self._open = ExitStack()

    def __enter__(self) -> TokenShardWriter:
        with ExitStack() as opening:
            for file in (self._parquet, self._csv, self._ids):
                if file is not None:
                    opening.enter_context(file)
            self._open = opening.pop_all()
        return self

    def write(
        self, ids: Iterable[bytes | memoryview], *, counts: Sequence[int] | npt.NDArray[np.int64], rows: pa.Table
    ) -> None:
        """Append documents: their ids as on disk, the number of ids of each, and their rows but `start` and `end`."""
        sizes = np.asarray(counts, np.int64)
        ends = self.tokens + np.cumsum(sizes)
        columns = {name: rows[name] for name in ROWS.names if name not in ("start", "end")}
        placed = pa.table({**columns, "start": array_of(ends - sizes), "end": array_of(ends)})
        placed = placed.select(ROWS.names).cast(ROWS)
        self._ids.write(list(ids), counts=sizes, rows=placed)
        for file in (self._csv, self._parquet):
            if file is not None:
                file.write(placed)
        self.tokens = int(ends[-1])
        n_last = int(pc.sum(pc.equal(pc.add(rows["part"], 1), rows["parts"])).as_py())
        self.documents += n_last
        self.continued += len(rows) - n_last

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._open.__exit__(kind, value, trace)
            return
        with self._open:
            for file in (self._ids, self._csv, self._parquet):
                if file is not None:
                    file.end()
        main, *others = self._ids.written
        beside = [file.written for file in (self._csv, self._parquet) if file is not None]
        self.rows_written = [*others, *(written for written in beside if written is not None)]
        self.info = TokenShardInfo(
            path=self._name,
            tokens=self.tokens,
            documents=self.documents,
            continued=self.continued,
            source=self._source,
            bytes=main.bytes,
            xxh3=main.checksum,
        )


class CsvRows:
    """Rows in the form of Dolma 1.x, compressed in parts of `tokens_per_part`. A context manager."""

    def __init__(self, path: str, *, tokens_per_part: int) -> None:
        self._file, self._tokens_per_part = streams.open_output(path), tokens_per_part
        self._part, self._held = 0, io.StringIO()

    @property
    def written(self) -> streams.Written | None:
        """The file, once the block has ended well."""
        return self._file.written

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def write(self, rows: pa.Table) -> None:
        """Append rows (`ROWS`)."""
        starts, ends, names, paths, lines = (rows[name].to_pylist() for name in _IN_CSV)
        held = list(zip(starts, ends, _escaped(names), _escaped(paths), lines, strict=True))
        parts = (np.array(ends) - 1) // self._tokens_per_part
        for start, end in _stretches(parts, self._part):
            csv.writer(self._held, lineterminator="\n").writerows(held[start:end])
            if end < len(held):
                self._end_part()
        self._part = int(parts[-1])

    def _end_part(self) -> None:
        if text := self._held.getvalue():
            self._file.write(text.encode())
        self._held = io.StringIO()

    def end(self) -> None:
        """Write what is held: no rows follow."""
        self._end_part()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)


class ParquetRows:
    """Rows with an `id`, in row groups of about as many bytes, whatever comes at a time. A context manager."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._file = ParquetOutput(path, schema, rising=("line", "start", "end", "offset"), plain=("id",))
        self._held: list[pa.Table] = []
        self._group = self._n_bytes = 0

    @property
    def written(self) -> streams.Written | None:
        """The file, once the block has ended well."""
        return self._file.written

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def write(self, rows: pa.Table, *, n_bytes: npt.NDArray[np.int64] | int = 0) -> None:
        """Append rows; `n_bytes` of each beside its `id` and numbers."""
        sizes = pc.binary_length(rows["id"]).to_numpy().astype(np.int64) + _ROW_BYTES + n_bytes
        at = self._n_bytes + np.cumsum(sizes)
        groups = (at - 1) // _GROUP_BYTES
        for start, end in _stretches(groups, self._group):
            self._held.append(rows.slice(start, end - start))
            if end < len(rows):
                self._end_group()
        self._group, self._n_bytes = int(groups[-1]), int(at[-1])

    def _end_group(self) -> None:
        held, self._held = self._held, []
        if any(map(len, held)):
            self._file.write(pa.concat_tables(held).combine_chunks())

    def end(self) -> None:
        """Write what is held: no rows follow."""
        self._end_group()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)


def _stretches(numbers: npt.NDArray[np.int64], before: int) -> Iterator[tuple[int, int]]:
    """Stretches of equal numbers, the first one empty where what came before had another."""
    return itertools.pairwise([0, *np.flatnonzero(np.diff(numbers, prepend=before)).tolist(), len(numbers)])
