"""What a tagger returns: declared outputs and the Arrow columns that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.outputs import DocBool as DocBool
from dolma.data.outputs import DocFloat as DocFloat
from dolma.data.outputs import DocInt as DocInt
from dolma.data.outputs import DocText as DocText
from dolma.data.outputs import DocVector as DocVector
from dolma.data.outputs import Kind as Kind
from dolma.data.outputs import Output as Output
from dolma.data.outputs import Spans as Spans

Columns = dict[str, pa.Array]

SPANS = Spans("").arrow_type
_LOSSLESS = {("int", "float"), ("bool", "int"), ("float", "int")}  # where no value changes; Arrow looks at each


def array_of(values: npt.NDArray[np.number[Any]]) -> pa.Array:
    """Numbers as an Arrow array of the same memory. Unlike `pa.array` it does not import pandas where that is there."""
    numbers = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)])


def strings_of(texts: Sequence[str]) -> pa.Array:
    """As `array_of` for strings."""
    encoded = [text.encode() for text in texts]
    bounds = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum(list(map(len, encoded)), out=bounds[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(bounds), pa.py_buffer(b"".join(encoded)))


def kind_of(type: pa.DataType) -> Kind | None:
    """The kind of output that a column of this Arrow type holds; None if it is none of them.

    >>> kind_of(pa.int8()), kind_of(SPANS), kind_of(pa.list_(pa.float32(), 3)), kind_of(pa.timestamp("us"))
    ('int', 'spans', 'vector', None)
    """
    types = pa.types
    if types.is_integer(type):
        return "int"
    if types.is_floating(type):
        return "float"
    if types.is_fixed_size_list(type):
        return "vector" if type.value_type == pa.float32() and type.list_size > 0 else None
    if types.is_boolean(type):
        return "bool"
    if types.is_dictionary(type):
        return "text" if kind_of(type.value_type) == "text" else None
    if types.is_string(type) or types.is_large_string(type) or types.is_string_view(type):
        return "text"
    if (types.is_list(type) or types.is_large_list(type)) and types.is_struct(type.value_type):
        fields = {field.name: kind_of(field.type) for field in type.value_type}
        positions = fields.get("start") == fields.get("end") == "int"
        return "spans" if positions and len(fields) == 3 and fields.get("score") in ("int", "float") else None
    return None


def as_declared(column: pa.Array | pa.ChunkedArray, output: Output) -> pa.Array:
    """The column in the output's Arrow type. Only what keeps every value as it is: integers of another width,
    integers as floats, truth values as 0 and 1, whole floats as integers.

    Raises:
        ValueError: it is of another kind, or a value would not be the same.
    """
    array = _one_chunk(column)
    if array.type == output.arrow_type:
        return array
    kind = "null" if pa.types.is_null(array.type) else kind_of(array.type)
    if kind == "vector" or (kind not in ("null", output.kind) and (kind, output.kind) not in _LOSSLESS):
        raise ValueError(f"{array.type}, expected {output.arrow_type}")
    try:
        return array.cast(output.arrow_type)
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from error


def whole_numbers(values: Sequence[int | None]) -> pa.Array:
    """Integers as int64. Arrow by itself takes 1.5 for 1 where it is told the type.

    Raises:
        ValueError: a value is no whole number.
    """
    return as_declared(pa.array(values), Output(kind="int", meaning=""))


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    array = column.combine_chunks()
    if isinstance(array, pa.Array):
        return array
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)


def schema_of(outputs: Mapping[str, Output]) -> pa.Schema:
    """`id` and one field per output, meaning, unit and range in each field's metadata."""
    fields = [pa.field("id", pa.string())]
    for name, output in outputs.items():
        notes = {"kind": output.kind, "meaning": output.meaning, "unit": output.unit, "range": output.range}
        fields.append(pa.field(name, output.arrow_type, metadata={k: v for k, v in notes.items() if v}))
    return pa.schema(fields)


def spans_column(
    counts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
) -> pa.ListArray:
    """The spans of each document as one Arrow list column.

    `counts` has one item per document; the others hold all spans, document by document, in code points.
    """
    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=offsets[1:])
    values = pa.StructArray.from_arrays(
        [pa.array(starts, pa.int64()), pa.array(ends, pa.int64()), pa.array(scores, pa.float64())],
        names=["start", "end", "score"],
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=SPANS)


def spans_of(documents: Sequence[Sequence[tuple[int, int, float]]]) -> pa.ListArray:
    """`spans_column` from one list of `(start, end, score)` per document."""
    flat = [span for spans in documents for span in spans]
    starts, ends, scores = zip(*flat, strict=True) if flat else ((), (), ())
    return spans_column(
        np.array([len(spans) for spans in documents], dtype=np.int64),
        whole_numbers(starts).to_numpy(),
        whole_numbers(ends).to_numpy(),
        np.array(scores, dtype=np.float64),
    )


def check_columns(columns: Columns, *, outputs: Mapping[str, Output], n_docs: int, tagger: str) -> Columns:
    """The columns in declared order and type.

    Raises:
        ValueError: a name is missing or undeclared, a length differs, or a type cannot be cast without loss.
    """
    if set(columns) != set(outputs):
        missing, extra = sorted(set(outputs) - set(columns)), sorted(set(columns) - set(outputs))
        raise ValueError(f"tagger {tagger!r} returned other columns than it declares: missing {missing}, extra {extra}")
    checked: Columns = {}
    for name, output in outputs.items():
        column = columns[name]
        array = column if isinstance(column, pa.Array) else pa.array(column)
        if len(array) != n_docs:
            raise ValueError(f"tagger {tagger!r}: {name!r} has {len(array)} values for {n_docs} documents")
        try:
            checked[name] = as_declared(array, output)
        except ValueError as error:
            raise ValueError(f"tagger {tagger!r}: {name!r} is declared {output.kind}: {error}") from error
    return checked
