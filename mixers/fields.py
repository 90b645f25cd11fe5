"""The fields of records that rules name: `document.metadata.url`.

A field is found as `->>` of DuckDB finds it: as text, and what is no text as JSON. At every depth a key that is the
rest of the name as it stands comes before a way through objects. Of parquet a column of truth values, numbers, dates or
times is of its own type, if it is of one type in all files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from dolma.data.batch import clean_text
from dolma.data.dataset import Dataset, Shard
from dolma.data.documents import Reading
from dolma.data.formats.rows import is_ours
from dolma.data.formats.table import format_name
from dolma.data.named_fields import look_for
from dolma.data.parquet import open_parquet
from dolma.errors import nearest
from dolma.mixers.sql import columns_of, text_constant

TEXT = "VARCHAR"
_ABSENT = "no column"
_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], pa.DataType]] = {
    "BOOLEAN": (pa.types.is_boolean, pa.bool_()),
    "UBIGINT": (pa.types.is_uint64, pa.uint64()),
    "BIGINT": (pa.types.is_integer, pa.int64()),
    "DOUBLE": (pa.types.is_floating, pa.float64()),
    "DATE": (pa.types.is_date, pa.date32()),
    "TIMESTAMP": (pa.types.is_timestamp, pa.timestamp("us")),
    TEXT: (lambda kind: True, pa.string()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field by its dotted name, and its type: a key of `_TYPES`."""

    name: str
    kind: str = TEXT

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of its values as rules see them."""
        return _TYPES[self.kind][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What is known of the fields of a corpus; looked up when a rule first names one."""

    dataset: Dataset
    shards: Sequence[Shard]
    reading: Reading
    _known: dict[str, Field] = field(default_factory=dict)

    def find(self, name: str) -> Field:
        """The field of this name.

        Raises:
            ConfigError: no document at the beginnings of the files has it, nor has any parquet file such a column.
        """
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> Field:
        kinds = {_kind_in(shard, name.split(".")) for shard in self.shards}
        if not kinds - {None, _ABSENT}:
            self._check(name)
        kinds.discard(_ABSENT)
        kind = kinds.pop() if len(kinds) == 1 else None
        return Field(name=name, kind=kind or TEXT)

    def _check(self, name: str) -> None:
        found = look_for([name], self.dataset, self.reading)
        if name in found.absent and found.there:
            near = nearest(name, found.there)
            hint = "the document itself has: document.id, document.source, document.bytes"
            meant = f"did you mean 'document.{near}'?  " if near is not None else ""
            raise found.error(name, hint=f"{meant}{hint}")


def _kind_in(shard: Shard, path: Sequence[str]) -> str | None:
    """The type that a field has in a file of parquet, `_ABSENT` where it has no such column; None of JSON records."""
    if format_name(shard.path) != "parquet":
        return None
    with open_parquet(shard.path) as file:
        schema = file.schema_arrow
    if is_ours(schema):
        return None
    found = _type_at(pa.struct(list(schema)), path)
    if found is None or pa.types.is_null(found):
        return _ABSENT
    return next(name for name, (is_one, _) in _TYPES.items() if is_one(found))


def _type_at(kind: pa.DataType, path: Sequence[str]) -> pa.DataType | None:
    if not path:
        return kind.value_type if pa.types.is_dictionary(kind) else kind
    if not pa.types.is_struct(kind):
        return None
    names = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    if (whole := ".".join(path)) in names:
        return _type_at(names[whole], ())
    return _type_at(names[path[0]], path[1:]) if path[0] in names else None


# --- values ----------------------------------------------------------------------------------------------------------


def values_of(records: Sequence[bytes], fields: Sequence[Field]) -> dict[str, pa.Array]:
    """The values of each field in some JSON objects, null where there is none; arrays of `len(records)` items.

    >>> values_of([b'{"a": {"b": 5}}', b'{"a.b": "c"}'], [Field(name="a.b")])["a.b"].to_pylist()
    ['5', 'c']

    Raises:
        duckdb.Error: a record takes too much memory.
    """
    ways = [_ways(field.name) for field in fields]
    pointers = list(dict.fromkeys(pointer for of_field in ways for pointer in of_field))
    places = {pointer: i for i, pointer in enumerate(pointers, start=1)}
    select = [
        f"TRY_CAST(COALESCE({', '.join(f'found[{places[way]}]' for way in of_field)}) AS {field.kind})"
        for field, of_field in zip(fields, ways, strict=True)
    ]
    asked = f"json_extract_string(record, [{', '.join(map(text_constant, pointers))}]) AS found"
    try:
        columns = columns_of(select, _relation(records), first=asked)
    except duckdb.InvalidInputException:  # half a surrogate pair is no JSON to DuckDB
        columns = columns_of(select, _relation(list(map(_mended, records))), first=asked)
    return {field.name: column.cast(field.arrow_type) for field, column in zip(fields, columns, strict=True)}


def _relation(records: Sequence[bytes]) -> pa.Table:
    return pa.table({"record": pa.array(records, pa.binary()).cast(pa.large_string())})


def _ways(name: str) -> list[str]:
    """JSON pointers to a field: `a.b.c` may be a key, `b.c` one of `a`, or `c` one of `b` of `a`.

    >>> _ways("a.b/c")
    ['/a.b~1c', '/a/b~1c']
    """
    parts = name.split(".")
    ways = ([*parts[:depth], ".".join(parts[depth:])] for depth in range(len(parts)))
    return ["".join("/" + part.replace("~", "~0").replace("/", "~1") for part in way) for way in ways]


def _mended(record: bytes) -> bytes:
    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return clean_text(value)[0]
        if isinstance(value, dict):
            return {clean(key): clean(inner) for key, inner in value.items()}
        return list(map(clean, value)) if isinstance(value, list) else value

    return json.dumps(clean(json.loads(record))).encode()
