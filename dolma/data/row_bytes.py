"""How many bytes the rows of an Arrow column come to once each stands for itself.

A dictionary, runs, views of text and views of lists let any number of rows share one value, so a record batch of some
kilobytes may stand for gigabytes. What is known before rows are decoded says how many of them have room at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.int64]
FIXED_BYTES = 8
"""What a number, a date or a null counts for."""


def row_bytes(array: pa.Array) -> Bytes:
    """Bytes of each row of a valid array: those of text, and 8 for each value of a fixed size; int64, shape (rows,).

    >>> row_bytes(pa.array([["ab", "c"], None, ["d"]])).tolist()
    [3, 0, 1]
    """
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return row_bytes(array.storage)
    if types.is_dictionary(kind):
        if not len(array.dictionary):
            return np.zeros(len(array), np.int64)
        sizes = row_bytes(array.dictionary)[array.indices.fill_null(0).to_numpy().astype(np.int64)]
        return sizes * array.indices.is_valid().to_numpy(zero_copy_only=False)
    if types.is_run_end_encoded(kind):
        rows = np.arange(array.offset, array.offset + len(array))
        return row_bytes(array.values)[np.searchsorted(array.run_ends.to_numpy(), rows, side="right")]
    if types.is_string_view(kind) or types.is_binary_view(kind):
        views = np.frombuffer(array.buffers()[1] or b"", np.int32).reshape(-1, 4)
        return views[array.offset : array.offset + len(array), 0].astype(np.int64)
    if types.is_map(kind):
        starts, ends = array.offsets.to_numpy()[:-1], array.offsets.to_numpy()[1:]
        return _in_lists(array.keys, starts, ends) + _in_lists(array.items, starts, ends)
    if _is_list_view(kind):
        starts = array.offsets.to_numpy().astype(np.int64)
        return _in_lists(array.values, starts, starts + array.sizes.to_numpy())
    if types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        if _is_fixed(kind.value_type):
            return np.full(len(array), FIXED_BYTES * kind.list_size, np.int64)
        return row_bytes(values).reshape(len(array), kind.list_size).sum(axis=1)
    if types.is_list(kind) or types.is_large_list(kind):
        return _in_lists(array.values, array.offsets.to_numpy()[:-1], array.offsets.to_numpy()[1:])
    if types.is_struct(kind):
        return sum(map(row_bytes, array.flatten()), np.zeros(len(array), np.int64))
    if _has_length(kind):
        from pyarrow import compute as pc

        return pc.binary_length(array).fill_null(0).to_numpy().astype(np.int64)
    return np.full(len(array), FIXED_BYTES, np.int64)


def _has_length(kind: pa.DataType) -> bool:
    types = pa.types
    texts = types.is_string(kind) or types.is_large_string(kind)
    return texts or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _is_fixed(kind: pa.DataType) -> bool:
    """Whether each value counts for `FIXED_BYTES` bytes."""
    types, extension = pa.types, isinstance(kind, pa.BaseExtensionType)
    shared = types.is_dictionary(kind) or types.is_run_end_encoded(kind)
    views = types.is_string_view(kind) or types.is_binary_view(kind)
    return not (extension or shared or views or types.is_nested(kind) or _has_length(kind))


def _in_lists(items: pa.Array, starts: npt.NDArray[np.integer], ends: npt.NDArray[np.integer]) -> Bytes:
    """The bytes of `items[start:end]`. Of nulls there may be more than memory has room to count one by one."""
    if _is_fixed(items.type):
        return (ends.astype(np.int64) - starts) * FIXED_BYTES
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(row_bytes(items))])
    sums: Bytes = before[ends] - before[starts]
    return sums


def _is_list_view(kind: pa.DataType) -> bool:
    return pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
