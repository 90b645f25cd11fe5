"""Arrow columns as JSON. Run: pytest tests/data/test_arrow_json.py"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from dolma.data.arrow_json import JsonForm
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.errors import DataError

FAR = 2**62


def form_of(array: pa.Array, counts: Counter[str] | None = None) -> list[Any]:
    found = Counter[str]() if counts is None else counts
    records = JsonForm(count=lambda kind, n: found.update({kind: n}), keep_null="x").records(
        pa.record_batch([array], names=["x"])
    )
    return [json.loads(record)["x"] for record in records]


def ticks(*values: int | None, type: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int32() if type.bit_width == 32 else pa.int64()).view(type)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ticks(0, 1, -1, type=pa.date32()), ["1970-01-01", "1970-01-02", "1969-12-31"]),
        (ticks(3_000_000, -800_000, type=pa.date32()), ["10183-09-21", "-0221-09-04"]),
        (ticks(2**31 - 1, type=pa.date32()), ["2147483647"]),
        (ticks(86_400_000, FAR, type=pa.date64()), ["1970-01-02", str(FAR)]),
        (ticks(0, 1, type=pa.timestamp("s")), ["1970-01-01T00:00:00", "1970-01-01T00:00:01"]),
        (ticks(0, 120, type=pa.timestamp("ms")), ["1970-01-01T00:00:00", "1970-01-01T00:00:00.120"]),
        (ticks(1, -1, type=pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", "1969-12-31T23:59:59.999999999"]),
        (ticks(FAR, -FAR, type=pa.timestamp("us")), [str(FAR), str(-FAR)]),
        (ticks(253_402_300_800, type=pa.timestamp("s")), ["10000-01-01T00:00:00"]),
        (ticks(0, None, type=pa.timestamp("us", "Mars/Phobos")), ["1970-01-01T00:00:00Z", None]),
        (ticks(0, type=pa.timestamp("us", "+02:00")), ["1970-01-01T00:00:00Z"]),
        (ticks(3_723, type=pa.time32("s")), ["01:02:03"]),
        (ticks(1, None, type=pa.time64("ns")), ["00:00:00.000000001", None]),
        (ticks(1_500, -1, None, type=pa.duration("ms")), ["PT1.5S", "-PT0.001S", None]),
        (ticks(-(2**63), type=pa.duration("ns")), ["-PT9223372036.854775808S"]),
        (pa.array([Decimal("1.50"), Decimal("-0.00"), None]), ["1.50", "0.00", None]),
        (pa.array([Decimal(10) ** 50]), [str(10**50)]),
        (pa.array([np.float16(1.5), None]), [1.5, None]),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
        (pa.array([[1, 2], None, [3]], pa.list_view(pa.int8())), [[1, 2], None, [3]]),
        (pa.array([["x"], None, []], pa.large_list_view(pa.string_view())), [["x"], None, []]),
        (pa.array([[], None, [None]], pa.large_list(pa.date32())), [[], None, [None]]),
        (pa.array([[("a", 1), ("a", None)], [], None], pa.map_(pa.string(), pa.int8())), [{"a": None}, {}, None]),
        (pa.array([[(1, "x")], None], pa.map_(pa.int8(), pa.string())), [[[1, "x"]], None]),
        (pa.array([[(b"a", b"b")]], pa.map_(pa.binary(), pa.binary())), [{"a": "b"}]),
        (pa.array([{"a": None, "b": {"c": 1}}, None]), [{"a": None, "b": {"c": 1}}, None]),
        (pa.array([0, None], pa.timestamp("ns")).dictionary_encode(), ["1970-01-01T00:00:00", None]),
        (pc.run_end_encode(pa.array([b"a", b"a", None])), ["a", "a", None]),
        (pa.array([bytes(16)], pa.uuid()), ["00000000-0000-0000-0000-000000000000"]),
        (pa.nulls(1), [None]),
    ],
)  # fmt: skip
def test_each_type_has_one_form(array: pa.Array, expected: list[Any]) -> None:
    assert form_of(array) == expected
    assert [value for i in range(len(array)) for value in form_of(array.slice(i, 1))] == expected


def test_only_types_that_need_no_other_package_reach_python() -> None:
    """Arrow gives times and decimals to Python through pandas, zoneinfo or pytz, whichever is there."""
    kinds = [pa.timestamp(unit, zone) for unit in ("s", "ns") for zone in (None, "UTC", "Mars/Phobos")]
    kinds += [pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"), pa.duration("ns"), pa.decimal128(5, 2)]
    kinds += [pa.list_(kind) for kind in kinds] + [pa.map_(pa.string(), kind) for kind in kinds]
    kinds += [pa.struct([("a", kind)]) for kind in kinds]
    form = JsonForm(count=print)
    for kind in kinds:
        assert "string" in str(form._form(pa.nulls(1, kind), "x")[0].type)
        assert not any(name in str(form._form(pa.nulls(1, kind), "x")[0].type) for name in ("time", "date", "decimal"))


def test_damaged_strings_are_left_as_they_are() -> None:
    batch = pa.record_batch([pa.array([b'a\xff"\n\xe2\x82', b"b"])], names=["x"])
    assert JsonForm(count=print).records(batch) == [b'{"x":"a\xff\\"\\n\xe2\x82"}', b'{"x":"b"}']


def test_a_type_without_a_form_is_named() -> None:
    with pytest.raises(DataError, match=r"the column 'x' is month_day_nano_interval, which has no form in JSON"):
        form_of(pa.nulls(1, pa.month_day_nano_interval()))


# --- any column that parquet holds ---------------------------------------------------------------------------------

UNITS = st.sampled_from(["s", "ms", "us", "ns"])
ZONES = st.sampled_from([None, "UTC", "Europe/Paris", "+05:30", "Mars/Phobos"])
LEAVES: st.SearchStrategy[pa.DataType] = st.one_of(
    st.sampled_from(
        [
            *(pa.null(), pa.bool_(), pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
            *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
            *(pa.binary(3), pa.date32(), pa.date64(), pa.decimal128(20, 3), pa.decimal256(50, 0), pa.uuid()),
            *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
            pa.dictionary(pa.int32(), pa.string()),
        ]
    ),
    st.builds(pa.timestamp, UNITS, ZONES),
    st.builds(pa.duration, UNITS),
)
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(pa.list_, inner),
        st.builds(pa.large_list, inner),
        st.builds(pa.list_view, inner),
        st.builds(lambda kind: pa.list_(kind, 2), inner),
        st.builds(lambda kind: pa.struct([("a", kind), ("b", pa.binary())]), inner),
        st.builds(lambda kind: pa.map_(pa.string(), kind), inner),
    ),
    max_leaves=3,
)


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values, damaged and extreme ones among them, as `array_of` takes them."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        some: st.SearchStrategy[Any] = st.binary(min_size=16, max_size=16)
    elif types.is_null(kind):
        return st.none()
    elif types.is_boolean(kind):
        some = st.booleans()
    elif (
        types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    ):
        some = st.text(max_size=3)
    elif types.is_fixed_size_binary(kind):
        some = st.binary(min_size=kind.byte_width, max_size=kind.byte_width)
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        some = st.binary(max_size=3)
    elif types.is_floating(kind):
        some = st.floats(width=16).map(np.float16)
    elif types.is_decimal(kind):
        some = st.integers(-(10**12), 10**12).map(Decimal)
    elif types.is_time(kind):
        some = st.integers(0, 86_399)
    elif types.is_date64(kind):
        some = st.integers(-(10**6), 10**6).map(lambda days: days * 86_400_000)
    elif types.is_temporal(kind) or types.is_integer(kind):
        bits = 53 if str(kind).startswith("timestamp[s") else min(kind.bit_width, 63)  # written as milliseconds
        some = st.integers(0 if kind == pa.uint64() else -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    elif types.is_map(kind):
        some = st.lists(st.tuples(st.text(max_size=2), values_of(kind.item_type)), max_size=2)
    elif types.is_struct(kind):
        some = st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    else:
        n = kind.list_size if types.is_fixed_size_list(kind) else None
        some = st.lists(values_of(kind.value_type), min_size=n or 0, max_size=n or 2)
    return st.none() | some


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[Any], pa.DataType]:
    kind = draw(TYPES)
    return draw(st.lists(values_of(kind), min_size=4, max_size=4)), kind


def array_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    """As `pa.array`, also of times as their numbers at any depth."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array_of(values, kind.storage_type))
    if types.is_temporal(kind):
        return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    mask = pa.array([value is None for value in values], pa.bool_())
    if types.is_struct(kind):
        rows = [value or {} for value in values]
        parts = [array_of([row.get(field.name) for row in rows], field.type) for field in kind]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    if types.is_fixed_size_list(kind):
        flat = array_of([item for value in values for item in value or [None] * kind.list_size], kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size, mask=mask)
    if types.is_list_view(kind):
        lengths = [len(value or []) for value in values]
        starts = np.cumsum([0, *lengths[:-1]])
        flat = array_of([item for value in values for item in value or []], kind.value_type)
        return pa.ListViewArray.from_arrays(
            pa.array(starts, pa.int32()), pa.array(lengths, pa.int32()), flat, mask=mask
        )
    if types.is_map(kind) or types.is_list(kind) or types.is_large_list(kind):
        offsets, flat_values = [0], [item for value in values for item in value or []]
        for value in values:
            offsets.append(offsets[-1] + len(value or []))
        if types.is_map(kind):
            keys, items = [key for key, _ in flat_values], [item for _, item in flat_values]
            parts = pa.array(keys, kind.key_type), array_of(items, kind.item_type)
            return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), *parts)
        flat = array_of(flat_values, kind.value_type)
        large = types.is_large_list(kind)
        of, width = (pa.LargeListArray, pa.int64()) if large else (pa.ListArray, pa.int32())
        return of.from_arrays(pa.array(offsets, width), flat, mask=mask)
    return pa.array(values, kind)


@given(columns())
@settings(max_examples=60, deadline=None)
def test_any_column_passes_through_as_json_however_rows_are_cut(
    tmp_path_factory: Any, column: tuple[list[Any], pa.DataType]
) -> None:
    path: Path = tmp_path_factory.mktemp("any") / "a.parquet"
    values, kind = column
    whole = through(path, [array_of(values, kind)])
    assert len(whole) == 4
    for record in whole:
        json.loads(record.decode())
    assert through(path, [array_of([value], kind) for value in values]) == whole


def through(path: Path, groups: list[pa.Array]) -> list[bytes]:
    """The records of a file with this column, each array in a row group of its own."""
    tables = [pa.table({"text": pa.array(["t"] * len(group)), "x": group}) for group in groups]
    try:
        with pq.ParquetWriter(path, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
    except pa.ArrowNotImplementedError:  # there are no files with such a column, such as views in lists with nulls
        reject()
    return read(path)


def read(path: Path) -> list[bytes]:
    (shard,) = Dataset(documents=(str(path),)).shards()
    batches = (read_batches(piece, Reading(), intake=Intake(), records=True) for piece in pieces(shard, piece_bytes=1))
    return [record for of_piece in batches for batch in of_piece for record in batch.records or []]
