"""The table of document formats: the one place that knows what a file's name says about it."""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, NamedTuple

from dolma.data import streams
from dolma.errors import ConfigError
from dolma.printable import printable

if TYPE_CHECKING:
    from dolma.data.formats.format import DocumentFormat


class Suffixes(NamedTuple):
    """A format, the suffixes of its files in lower case, and the class that reads and writes them.

    Where it is `compressible`, a suffix of compression may follow.
    """

    format: str
    suffixes: tuple[str, ...]
    compressible: bool
    reader: str


TABLE = (
    Suffixes("jsonl", (".jsonl", ".json", ".ndjson"), True, "jsonl:Jsonl"),
    Suffixes("csv", (".csv",), True, "delimited:Csv"),
    Suffixes("tsv", (".tsv",), True, "delimited:Tsv"),
    Suffixes("parquet", (".parquet",), False, "parquet:Parquet"),
    Suffixes("arrow", (".arrow", ".arrows", ".feather", ".ipc"), False, "arrow:Arrow"),
)


def _first_suffixes(*, compressible: bool) -> str:
    return ", ".join(row.suffixes[0] for row in TABLE if row.compressible is compressible)


EXPECTED = (
    f"{_first_suffixes(compressible=True)}, plain or with {', '.join(streams.COMPRESSION_SUFFIXES)}; "
    f"or {_first_suffixes(compressible=False)}"
)
"""The suffixes of documents, for messages."""


def _row_of(path: str) -> tuple[Suffixes, str] | None:
    """The row that the suffixes name, and the path without them."""
    name = path.lower()
    inner = os.path.splitext(name)[0] if streams.compression_of(name) else name
    for row in TABLE:
        bare = inner if row.compressible else name
        suffix = next((suffix for suffix in row.suffixes if bare.endswith(suffix)), None)
        if suffix is not None:
            return row, path[: len(bare) - len(suffix)]
    return None


@functools.cache
def _reader(place: str) -> DocumentFormat:
    """The reader of a row. Its module, and with it NumPy and Arrow, is imported when a file is read."""
    module, _, name = place.partition(":")
    made: DocumentFormat = getattr(importlib.import_module(f"dolma.data.formats.{module}"), name)()
    return made


def is_document(path: str) -> bool:
    """Whether the suffixes are those of a document file.

    >>> is_document("a.json.gz"), is_document("a.parquet"), is_document("a.md")
    (True, True, False)
    """
    return _row_of(path) is not None


def format_name(path: str) -> str:
    """The name of a document file's format, by its suffixes.

    >>> format_name("a.json.gz"), format_name("a.parquet")
    ('jsonl', 'parquet')

    Raises:
        ConfigError: they are those of no format.
    """
    return _known(path).format


def format_of(path: str) -> DocumentFormat:
    """What reads and writes a document file, by its suffixes.

    Raises:
        ConfigError: they are those of no format.
    """
    return _reader(_known(path).reader)


def _known(path: str) -> Suffixes:
    found = _row_of(path)
    if found is None:
        raise ConfigError(f"{printable(path)} is no document file\n  expected {EXPECTED}")
    return found[0]


def strip_suffixes(path: str) -> str:
    """The path without its document and compression suffixes.

    >>> strip_suffixes("books/a.b.jsonl.gz"), strip_suffixes("a.parquet")
    ('books/a.b', 'a')
    """
    found = _row_of(path)
    if found is not None:
        return found[1]
    return os.path.splitext(path)[0] if streams.compression_of(path) else path
