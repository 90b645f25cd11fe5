"""Token shards on disk: raw little-endian ids in `part-NNNNN.npy`, document rows beside them, `tokens.json` over all.

The `.npy` files have no NumPy header: that is what OLMo and OLMo-core read. `part-NNNNN.csv.gz` has one row per
document without a header: `start,end,id,src,loc`, in tokens of that file, `end` exclusive, special tokens included.
A row is one line whatever is in an id or a path, because OLMo-core reads line by line: a backslash, a newline and a
carriage return are written as `\\\\`, `\\n` and `\\r`.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.numbers import numbers_in
from dolma.errors import DataError, nearest
from dolma.names import leads_below
from dolma.printable import printable

FORMAT_VERSION = 1
NAME = "tokens.json"
NUMPY_MAGIC = b"\x93NUMPY"

Dtype = Literal["uint16", "uint32"]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class TokenShardInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One shard: file name, tokens, documents, bytes on disk, and xxh3-128 of them."""

    path: str
    tokens: _Count
    documents: _Count
    bytes: _Count
    xxh3: str


class TokenManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens.json`: what a reader must know to use the shards.

    `tokenizer` is the copy of the tokenizer file beside it. With `special_tokens_allowed`, texts may hold control
    tokens, so the end-of-text id need not mean the end of a document; the rows always do.
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

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)


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
    """The rows file of a shard.

    >>> rows_path("tokens/part-00000.npy")
    'tokens/part-00000.csv.gz'
    """
    return shard.removesuffix(".npy") + ".csv.gz"


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


_ROWS_AT_ONCE = 1 << 30  # bytes; a row, which an id may make long, has to fit
_ROWS = {"start": pa.int64(), "end": pa.int64(), "id": pa.string(), "src": pa.string(), "loc": pa.int64()}


def read_rows(shard: str, *, only: Sequence[str] = tuple(_ROWS)) -> pa.Table:
    """The document rows of a shard, in order: start, end (in tokens, exclusive), id, src, loc (1-based line).

    `only`: the columns to keep.

    Raises:
        DataError: the rows file is missing, truncated, or has a row that is none.
    """
    path = rows_path(shard)
    encoded = b"".join(streams.read_chunks(path))
    if not encoded:
        return pa.table({name: pa.array([], _ROWS[name]) for name in only})
    try:
        rows = pa_csv.read_csv(
            io.BytesIO(encoded),
            read_options=pa_csv.ReadOptions(
                column_names=list(_ROWS), use_threads=False, block_size=max(1, min(len(encoded), _ROWS_AT_ONCE))
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=_ROWS, null_values=[], include_columns=list(only)),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"expected rows of start,end,id,src,loc: {printable(error)}", file=path) from error
    for name in {"id", "src"}.intersection(only):
        rows = rows.set_column(rows.schema.get_field_index(name), name, _unescaped(rows[name]))
    return rows


class TokenShard:
    """A shard for looking at: `ids` mapped, `rows` read on first use.

    Raises:
        DataError: the file is missing, has a NumPy header, or no whole number of ids.
    """

    def __init__(self, path: str, dtype: Dtype) -> None:
        self.path = path
        self.ids = open_tokens(path, dtype)

    @cached_property
    def rows(self) -> pa.Table:
        """One row per document; see `read_rows`."""
        return read_rows(self.path)

    def document(self, i: int) -> npt.NDArray[Any]:
        """The ids of document `i`, special tokens included."""
        return self.ids[self.rows["start"][i].as_py() : self.rows["end"][i].as_py()]

    def trace(self, position: int) -> dict[str, Any]:
        """The row of the document that the token at this position is from."""
        if not 0 <= position < len(self.ids):
            raise IndexError(f"position {position} of {len(self.ids)} tokens")
        i = int(np.searchsorted(self.rows["end"].to_numpy(), position, side="right"))
        return self.rows.slice(i, 1).to_pylist()[0]


class TokenShardWriter:
    """Writes a shard and its rows; both appear when the block ends well, and nothing when it does not.

    Afterwards `info` describes the shard, and `rows_written` its rows file, which is compressed in parts of
    `tokens_per_part`, however many documents come at a time.
    """

    def __init__(self, path: str, *, tokens_per_part: int = 1 << 24) -> None:
        self.path = path
        self._tokens_per_part, self._part, self._held = tokens_per_part, 0, io.StringIO()
        self.tokens = self.documents = 0
        self.info: TokenShardInfo | None = None
        self.rows_written: streams.Written | None = None
        self._ids, self._rows = streams.open_output(path), streams.open_output(rows_path(path))
        self._open = ExitStack()

    def __enter__(self) -> TokenShardWriter:
        with ExitStack() as opening:
            opening.enter_context(self._rows)
            opening.enter_context(self._ids)
            self._open = opening.pop_all()
        return self

    def write(
        self,
        ids: Iterable[bytes | memoryview],
        *,
        counts: Sequence[int] | npt.NDArray[np.int64],
        names: Sequence[str],
        sources: Sequence[str],
        lines: Sequence[int],
    ) -> None:
        """Append documents: their ids as on disk, and of each the number of ids, its id, file and line."""
        for some in ids:
            self._ids.write(some)  # type: ignore[arg-type]
        ends = (self.tokens + np.cumsum(counts)).tolist()
        rows = list(zip([self.tokens, *ends[:-1]], ends, _escaped(names), _escaped(sources), lines, strict=True))
        parts = (np.array(ends) - 1) // self._tokens_per_part
        begun = 0
        for end in [*np.flatnonzero(np.diff(parts, prepend=self._part)).tolist(), len(rows)]:
            csv.writer(self._held, lineterminator="\n").writerows(rows[begun:end])
            if end < len(rows):
                self._end_rows()
            begun = end
        self._part, self.tokens = int(parts[-1]), ends[-1]
        self.documents += len(ends)

    def _end_rows(self) -> None:
        if text := self._held.getvalue():
            self._rows.write(text.encode())
        self._held = io.StringIO()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._open.__exit__(kind, value, trace)
            return
        with self._open:
            self._end_rows()
        written, self.rows_written = self._ids.written, self._rows.written
        assert written is not None
        self.info = TokenShardInfo(
            path=self.path.rpartition("/")[2],
            tokens=self.tokens,
            documents=self.documents,
            bytes=written.bytes,
            xxh3=written.checksum,
        )
