"""Labels of documents: a file of ids, each with whether the document is one to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.parquet as pq

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

_SAID = {"true": True, "false": False, "1": True, "0": False}


def read_labels(path: str) -> dict[str, bool]:
    """Whether to keep each document, by id; of JSON lines, CSV with a header, or parquet with `id` and `keep`.

    Raises:
        ConfigError: there is no such file.
        DataError: a row has no id, or a `keep` that is neither true nor false, or an id stands twice.
    """
    labels: dict[str, bool] = {}
    for line, row in _rows(path):
        id, keep = row.get("id"), _SAID.get(str(row.get("keep")).lower())
        if id is None or keep is None:
            raise DataError(
                f"has id {printable(repr(id))} and keep {printable(repr(row.get('keep')))}, expected an id and "
                'true or false\n  write {"id": "a", "keep": true}',
                file=path,
                line=line,
            )
        if labels.setdefault(str(id), keep) != keep:
            raise DataError(f"{id!r} is to be kept and to be dropped\n  leave one line out", file=path, line=line)
    return labels


def _rows(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if not streams.exists(path):
        raise ConfigError(f"no such file: {printable(path)}\n  give a file with `id` and `keep`", path="--labels")
    if path.endswith(".parquet"):
        with streams.local_copy(path) as local:
            yield from enumerate(pq.read_table(local).to_pylist(), start=1)
        return
    with streams.open_input(path) as stream:
        if ".csv" in path:
            try:
                text = stream.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError("is no UTF-8\n  write it again as UTF-8", file=path) from error
            yield from enumerate(csv.DictReader(io.StringIO(text)), start=2)
            return
        for line, record in enumerate(stream.read().splitlines(), start=1):
            try:
                row = decode_json(record, dict[str, Any])
            except msgspec.DecodeError as error:
                raise DataError(
                    f"no JSON object: {printable(error)}\n  write one a line", file=path, line=line
                ) from error
            yield line, row
