"""Documents and tokens in token shards, by source.

`dolma tokenize` leaves its ledger beside its shards, which knows. For shards of other tools, the rows of
`part-*.csv.gz` (start, end, id, src, loc) say which document each run of tokens is from; its source is that of the
shard at `src`, or the folder before `documents` in that path.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from dolma.data import streams
from dolma.data.identity import Content
from dolma.data.manifest import read_manifest
from dolma.errors import ConfigError, DataError
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.task import TaskResult
from dolma.stages import kind_written
from dolma.stats.statistics import TokenCounts

_COLUMNS = {"start": pa.int64(), "end": pa.int64(), "id": pa.string(), "src": pa.string(), "loc": pa.int64()}


def row_files(folder: str) -> list[str]:
    """The document rows of all token shards in a folder.

    Raises:
        ConfigError: there are none.
    """
    found = [path for path in streams.list_files(folder) if path.endswith(".csv.gz")]
    if not found:
        raise ConfigError(
            f"no token shards (part-*.csv.gz) in {printable(folder)}\n"
            f"  run `dolma tokenize -o {printable(folder)}` first, or leave `tokens` out",
            path="$.stat.tokens",
        )
    return found


def from_ledger(folder: str) -> dict[str, TokenCounts] | None:
    """What our ledger says of these shards, sorted by source; None when another tool made them."""
    manifest = read_manifest(folder)
    if manifest is None or kind_written(manifest.stage) != "tokens":
        return None
    accounts = sorted(msgspec.convert(manifest.ledger, Ledger).accounts.items())
    return {
        source: TokenCounts(documents=account.out.documents, tokens=account.out.tokens) for source, account in accounts
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTokens:
    """Adds up the tokens of one file of document rows by `src`. Called with (its path, what it holds)."""

    def __call__(self, spec: tuple[str, Content]) -> TaskResult:
        path, content = spec
        encoded = b"".join(streams.read_chunks(path, content=content))
        return TaskResult(payload={"tokens": _by_src(encoded, path) if encoded else {}})


def _by_src(encoded: bytes, path: str) -> dict[str, list[int]]:
    try:
        rows = pa_csv.read_csv(
            io.BytesIO(encoded),
            read_options=pa_csv.ReadOptions(column_names=list(_COLUMNS), use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=_COLUMNS, include_columns=["start", "end", "src"]),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"not document rows (start, end, id, src, loc): {printable(error)}"
            "\n  give a folder that `dolma tokenize` has written",
            file=path,
        ) from error
    sums = rows.group_by("src", use_threads=False).aggregate([("start", "sum"), ("end", "sum"), ("end", "count")])
    return {row["src"]: [row["end_count"], row["end_sum"] - row["start_sum"]] for row in sums.to_pylist()}


def by_source(results: Sequence[TaskResult], sources: Mapping[str, str]) -> dict[str, TokenCounts]:
    """The sums by source, sorted; `sources` gives the source of a shard by its name and path."""
    found: dict[str, TokenCounts] = {}
    for result in results:
        for src, (documents, tokens) in result.payload["tokens"].items():
            counts = found.setdefault(sources.get(src) or _source_of(src), TokenCounts())
            counts.documents += documents
            counts.tokens += tokens
    return dict(sorted(found.items()))


def _source_of(path: str) -> str:
    """The folder before the last `documents` of the path; the path itself without one.

    >>> _source_of("data/books/documents/a.jsonl")
    'books'
    """
    parts = path.split("/")
    places = [i for i, part in enumerate(parts[:-1]) if part == "documents" and i > 0]
    return parts[places[-1] - 1] if places else path
