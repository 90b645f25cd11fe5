"""The table of document formats: the one place that knows what a file's name says about it."""

from __future__ import annotations

import os

from dolma.data import streams
from dolma.data.formats.arrow import Arrow
from dolma.data.formats.delimited import Csv, Tsv
from dolma.data.formats.format import DocumentFormat
from dolma.data.formats.jsonl import Jsonl
from dolma.data.formats.parquet import Parquet
from dolma.errors import ConfigError
from dolma.printable import printable

FORMATS: tuple[DocumentFormat, ...] = (Jsonl(), Csv(), Tsv(), Parquet(), Arrow())


def _first_suffixes(*, compressible: bool) -> str:
    return ", ".join(format.suffixes[0] for format in FORMATS if format.compressible is compressible)


EXPECTED = (
    f"{_first_suffixes(compressible=True)}, plain or with {', '.join(streams.COMPRESSION_SUFFIXES)}; "
    f"or {_first_suffixes(compressible=False)}"
)
"""The suffixes of documents, for messages."""


def _named(path: str) -> tuple[DocumentFormat, str] | None:
    """The format that the suffixes name, and the path without them."""
    name = path.lower()
    inner = os.path.splitext(name)[0] if streams.compression_of(name) else name
    for format in FORMATS:
        bare = inner if format.compressible else name
        suffix = next((suffix for suffix in format.suffixes if bare.endswith(suffix)), None)
        if suffix is not None:
            return format, path[: len(bare) - len(suffix)]
    return None


def is_document(path: str) -> bool:
    """Whether the suffixes are those of a document file.

    >>> is_document("a.json.gz"), is_document("a.parquet"), is_document("a.md")
    (True, True, False)
    """
    return _named(path) is not None


def format_of(path: str) -> DocumentFormat:
    """The format of a document file, by its suffixes.

    >>> format_of("a.json.gz").name, format_of("a.parquet").name
    ('jsonl', 'parquet')

    Raises:
        ConfigError: they are those of no format.
    """
    found = _named(path)
    if found is None:
        raise ConfigError(f"{printable(path)} is no document file\n  expected {EXPECTED}")
    return found[0]


def strip_suffixes(path: str) -> str:
    """The path without its document and compression suffixes.

    >>> strip_suffixes("books/a.b.jsonl.gz"), strip_suffixes("a.parquet")
    ('books/a.b', 'a')
    """
    found = _named(path)
    if found is not None:
        return found[1]
    return os.path.splitext(path)[0] if streams.compression_of(path) else path
