"""Attribute files: values as they stand in the file, or an error of ours; never another value.

Made for columns of another type than the one declared, which were read as 0.
"""

from __future__ import annotations

import datetime as dt
import io
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dolma.data.attributes import AttributeReader, attribute_schema
from dolma.data.columns import SPANS
from dolma.errors import DolmaError
from dolma.mixers.join import column_of
from tests.fuzz.choices import Choices

CODE = ("dolma/data/attributes.py", "dolma/data/columns.py", "mixers/join.py")
_COLUMNS: tuple[tuple[pa.DataType, list[Any]], ...] = (
    (pa.int64(), [1, None, -(2**62)]),
    (pa.float64(), [1.5, None, float("nan")]),
    (pa.bool_(), [True, None, False]),
    (pa.string(), ["a", None, ""]),
    (SPANS, [[{"start": 0, "end": 2, "score": 1.0}], None, []]),
    (pa.int8(), [1, None, -5]),
    (pa.uint64(), [1, None, 2**63 + 1]),
    (pa.float32(), [0.5, None, 2.0]),
    (pa.timestamp("ns"), [dt.datetime(2024, 1, 1), None, dt.datetime(1969, 1, 1)]),
    (pa.date32(), [dt.date(2024, 1, 1), None, dt.date(1969, 1, 1)]),
    (pa.duration("ms"), [dt.timedelta(seconds=1), None, dt.timedelta(0)]),
    (pa.binary(), [b"a", None, b"\xff"]),
    (pa.dictionary(pa.int32(), pa.string()), ["a", None, "b"]),
    (pa.list_(pa.int64()), [[1], None, []]),
    (pa.struct([("start", pa.int64())]), [{"start": 1}, None, {"start": 2}]),
    (pa.null(), [None, None, None]),
    (pa.decimal128(20, 2), [None, None, None]),
)
_NAMES = ("id", "words", "words", "id", "x\r", "")
_KINDS = (b"int", b"float", b"bool", b"text", b"spans", b"", b"nonsense", b"\xff")


def check(choices: Choices, folder: Path) -> None:
    """Read a file of any columns, with any declaration, perhaps damaged."""
    fields, arrays = [], []
    for i in range(1 + choices.below(4)):
        type, values = choices.pick(_COLUMNS) if i else (pa.string(), ["a", "b", "c"])
        notes = {b"kind": choices.pick(_KINDS)} if choices.chance(2) else None
        fields.append(pa.field(choices.pick(_NAMES) if i else "id", type, metadata=notes))
        arrays.append(pa.array(values, type))
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), sink)
    damaged = choices.chance(4)
    path = folder / "x.parquet"
    path.write_bytes(choices.changed(sink.getvalue()) if damaged else sink.getvalue())
    try:
        outputs = attribute_schema(str(path))
        with AttributeReader(str(path), list(outputs)) as reader:
            table = reader.take(10)
        read = {name: column_of(table, name, output, path=str(path)).to_pylist() for name, output in outputs.items()}
    except DolmaError:
        return
    if damaged:
        return
    for name, values in read.items():
        given = [array.to_pylist() for field, array in zip(fields, arrays, strict=True) if field.name == name]
        assert any(all(map(_same, values, column)) for column in given), f"{name}: {values} of {given}"


def _same(read: Any, given: Any) -> bool:
    if isinstance(given, float) and math.isnan(given):
        return read is None or (isinstance(read, float) and math.isnan(read))
    if isinstance(given, bytes):
        return read in (given, given.decode("utf-8", "replace"))
    return bool(read == given) and not (isinstance(given, bool) ^ isinstance(read, bool))
