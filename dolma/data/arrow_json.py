"""Arrow columns as JSON records. Each type has one form, whatever packages, time zones or batches there are.

| Arrow type | in JSON |
| --- | --- |
| bool, integers, floats | the same; NaN and infinities are null, counted as `not_finite` |
| strings, binary | a string; bytes that are not UTF-8 are left for the reader to repair and count |
| the same as an id | a string; one that is not UTF-8 in hex, `0x00ff`, counted as `bytes_as_hex` |
| UUID | `01234567-89ab-cdef-0123-456789abcdef` |
| decimal | text with all digits |
| date, time | `2024-02-29`, `12:30:00`, `12:30:00.000000001` with as many digits as its unit has, none if all are 0 |
| timestamp | `2024-02-29T12:30:00`; with a time zone that instant in UTC, `2024-02-29T12:30:00Z` |
| date or timestamp beyond the years -32767 to 32767 | its count of days or units since 1970, as text |
| duration | ISO 8601 in seconds, `-PT1.5S` |
| list, struct | array, object |
| map | object if its keys are text, of equal keys the last one counts; else an array of `[key, value]` |
| dictionary, run-end encoded, extension | as the values it stands for |

A null at the top is left out.
"""

from __future__ import annotations

import codecs
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.errors import DataError

LONG_BYTES = 4 << 20
"""A text of more bytes is never made a Python string as a whole."""
_DECODED_BYTES = 1 << 17
NOT_FINITE, BYTES_AS_HEX = "not_finite", "bytes_as_hex"
_Finish = Callable[[Any], Any] | None  # what is left to do to each value that Arrow gives to Python
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonForm:
    """Turns record batches of a file into JSON records, one per row.

    `id` is the dotted path of the id; `keep_null` the column whose nulls stay in the record; `uuids` are the dotted
    paths that the file says are UUIDs; `json` are columns of text that is JSON. `count` is told what was not kept as
    it stands, by kind.
    """

    count: Callable[[str, int], None]
    id: str = ""
    keep_null: str = ""
    uuids: Collection[str] = ()
    json: Collection[str] = ()

    def records(self, batch: pa.RecordBatch) -> list[bytes]:
        """The rows as JSON objects.

        >>> JsonForm(count=print).records(pa.record_batch({"id": [b"x"], "day": pa.array([1], pa.date32())}))
        [b'{"id":"x","day":"1970-01-02"}']

        Raises:
            DataError: a column is of a type that is not in the table above.
        """
        return list(map(json_of, self.rows(batch)))

    def rows(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """The same, to be encoded by `json_of`."""
        names = batch.schema.names
        columns = [self._values(column, name) for name, column in zip(names, batch.columns, strict=True)]
        for row in zip(*columns, strict=True):
            pairs = zip(names, row, strict=True)
            yield {name: value for name, value in pairs if value is not None or name == self.keep_null}

    def _values(self, column: pa.Array, name: str) -> list[Any]:
        array, finish = self._form(column, name)
        is_one_text = len(array) - array.null_count == 1 and (finish is _string or (not finish and is_text(array.type)))
        if is_one_text and len(array) == 1 and array.nbytes > LONG_BYTES and name not in self.json:
            return [json_string(array[0].as_buffer())]
        values = array.to_pylist()
        return values if finish is None else [_ended(value, finish) for value in values]

    def _form(self, array: pa.Array, path: str) -> tuple[pa.Array, _Finish]:
        """The column in types that Python and JSON both have, and what is left to do to its values."""
        kind, types = array.type, pa.types
        if path in self.uuids or getattr(kind, "extension_name", "") == "arrow.uuid":
            return _uuids(array), None
        if isinstance(kind, pa.BaseExtensionType):
            return self._form(array.storage, path)
        if types.is_dictionary(kind):
            return self._form(array.dictionary_decode(), path)
        if types.is_run_end_encoded(kind):
            from pyarrow.compute import run_end_decode

            return self._form(run_end_decode(array), path)
        if types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind):
            return array, None
        if types.is_floating(kind):
            return self._float(array), None
        if is_text(kind) or _is_bytes(kind):
            return self._text(array, path)
        if types.is_struct(kind):
            return self._struct(array, path)
        if types.is_map(kind):
            return self._map(array, path)
        if _is_list(kind):
            return self._list(array, path)
        if types.is_decimal(kind):
            return array.cast(pa.string()), None
        if types.is_temporal(kind) and not types.is_interval(kind):
            return _temporal(array), None
        raise DataError(
            f"the column {path!r} is {kind}, which has no form in JSON"
            "\n  cast the column to text, or write the file without it"
        )

    def _float(self, array: pa.Array) -> pa.Array:
        from pyarrow import compute as pc

        array = array.cast(pa.float64())
        self.count(NOT_FINITE, pc.sum(pc.invert(pc.is_finite(array))).as_py() or 0)
        return array

    def _text(self, array: pa.Array, path: str) -> tuple[pa.Array, _Finish]:
        try:
            if is_text(array.type):
                array.validate(full=True)
                return array, None
            if pa.types.is_fixed_size_binary(array.type):
                array = array.cast(pa.binary())
            return array.cast(pa.large_string()), None
        except pa.ArrowInvalid:
            values = array.cast(pa.large_binary())
            return (self._hex(values), None) if path == self.id else (values, _string)

    def _hex(self, array: pa.Array) -> pa.Array:
        values = [None if value is None else _as_hex(value) for value in array.to_pylist()]
        self.count(BYTES_AS_HEX, sum(value is not None and value[1] for value in values))
        return pa.array([None if value is None else value[0] for value in values], pa.large_string())

    def _struct(self, array: pa.StructArray, path: str) -> tuple[pa.Array, _Finish]:
        names = [field.name for field in array.type]
        if not names:
            return array, None
        formed = [self._form(part, f"{path}.{name}") for name, part in zip(names, array.flatten(), strict=True)]
        finishes = {name: finish for name, (_, finish) in zip(names, formed, strict=True) if finish is not None}

        def finish(value: dict[str, Any]) -> dict[str, Any]:
            done = {name: end(value[name]) for name, end in finishes.items() if value[name] is not None}
            return value | done

        struct = pa.StructArray.from_arrays([part for part, _ in formed], names=names, mask=array.is_null())
        return struct, finish if finishes else None

    def _list(self, array: pa.Array, path: str) -> tuple[pa.Array, _Finish]:
        bounds = _bounds(array)
        views = pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type)
        parts = array.flatten() if views else array.values.slice(bounds[0], bounds[-1] - bounds[0])
        items, end = self._form(parts, f"{path}[]")
        lists = _listed(array, bounds, items)
        return lists, None if end is None else lambda values: [_ended(value, end) for value in values]

    def _map(self, array: pa.MapArray, path: str) -> tuple[pa.Array, _Finish]:
        bounds = _bounds(array)
        parts = (part.slice(bounds[0], bounds[-1] - bounds[0]) for part in (array.keys, array.items))
        (keys, end_key), (items, end_item) = (self._form(part, f"{path}[]") for part in parts)
        named = is_text(keys.type) or end_key is _string

        def finish(entries: list[dict[str, Any]]) -> Any:
            pairs = [(_ended(entry["key"], end_key), _ended(entry["value"], end_item)) for entry in entries]
            return _object(pairs) if named else pairs

        entries = pa.StructArray.from_arrays([keys, items], names=["key", "value"])
        return _listed(array, bounds, entries), finish


def _ended(value: Any, end: _Finish) -> Any:
    return value if value is None or end is None else end(value)


def _object(pairs: list[tuple[Any, Any]]) -> Any:
    """A JSON object, of equal keys the last one; keys may be JSON already."""
    if not any(isinstance(key, msgspec.Raw) for key, _ in pairs):
        return dict(pairs)
    encoded = {msgspec.json.encode(key): msgspec.json.encode(value) for key, value in pairs}
    return msgspec.Raw(b"{%b}" % b",".join(b"%b:%b" % pair for pair in encoded.items()))


def is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    plain = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return plain or types.is_list_view(kind) or types.is_large_list_view(kind)


def _bounds(array: pa.Array) -> npt.NDArray[np.int64]:
    """Where each list begins among all values that the array holds, and where the last one ends."""
    types = pa.types
    if types.is_list_view(array.type) or types.is_large_list_view(array.type):  # of what `flatten` gives
        from pyarrow import compute as pc

        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    if types.is_fixed_size_list(array.type):
        return (array.offset + np.arange(len(array) + 1, dtype=np.int64)) * array.type.list_size
    return array.offsets.to_numpy().astype(np.int64) if len(array) else np.zeros(1, dtype=np.int64)


def _listed(array: pa.Array, bounds: npt.NDArray[np.int64], items: pa.Array) -> pa.Array:
    """Lists of these items, with these bounds, null where those of the array are."""
    return pa.LargeListArray.from_arrays(pa.array(bounds - bounds[0]), items, mask=array.is_null())


def _temporal(array: pa.Array) -> pa.Array:
    kind, types = array.type, pa.types
    if types.is_duration(kind):
        ticks = array.cast(pa.int64()).to_pylist()
        return pa.array([None if n is None else _iso_duration(n, _DIGITS[kind.unit]) for n in ticks], pa.string())
    zone = ""
    if types.is_timestamp(kind) and kind.tz is not None:
        array, zone = array.cast(pa.timestamp(kind.unit)), "Z"
    from pyarrow.compute import replace_substring_regex

    text = replace_substring_regex(array.cast(pa.string()), r"\.0+$", "")
    text = replace_substring_regex(text, r"^<value out of range: (-?\d+)>$", r"\1")
    return replace_substring_regex(text, r"^(-?\d+-\d\d-\d\d) (.*)$", rf"\1T\2{zone}")


def _iso_duration(ticks: int, digits: int) -> str:
    """A duration of so many powers of ten of a second, as ISO 8601 has it.

    >>> _iso_duration(-1500, 3), _iso_duration(0, 0)
    ('-PT1.5S', 'PT0S')
    """
    seconds, part = divmod(abs(ticks), 10**digits)
    fraction = f".{part:0{digits}}".rstrip("0") if part else ""
    return f"{'-' if ticks < 0 else ''}PT{seconds}{fraction}S"


def _uuids(array: pa.Array) -> pa.Array:
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    values = storage.cast(pa.binary()).to_pylist()
    return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in values], pa.string())


def _as_hex(value: bytes) -> tuple[str, bool]:
    """The bytes as text, and whether that is their hexadecimal form, because they are not UTF-8."""
    try:
        return value.decode(), False
    except UnicodeDecodeError:
        return f"0x{value.hex()}", True


def json_of(row: dict[str, Any]) -> bytes:
    """A row as a JSON object."""
    if not any(type(value) is JsonParts for value in row.values()):
        return msgspec.json.encode(row)
    parts = [b"{"]
    for name, value in row.items():
        parts += [msgspec.json.encode(name), b":"]
        parts += value if type(value) is JsonParts else [msgspec.json.encode(value)]
        parts.append(b",")
    parts[-1] = b"}"
    return b"".join(parts)


class JsonParts(list[bytes]):
    """The parts of one JSON value."""


def json_string(text: Any) -> JsonParts:
    """Text in UTF-8, a buffer, as a JSON string in parts of 128 KiB: a `str` takes up to four bytes for each of UTF-8.

    Bytes that are not UTF-8 stay as they are.

    >>> b"".join(json_string('a "é"'.encode()))
    b'"a \\\\"\\xc3\\xa9\\\\""'
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    view, parts = memoryview(text), JsonParts([b'"'])
    for at in range(0, len(view), _DECODED_BYTES):
        piece = decoder.decode(view[at : at + _DECODED_BYTES], final=at + _DECODED_BYTES >= len(view))
        parts.append(b"".join(map(_inside, _NOT_UTF8.split(piece))) if not piece.isascii() else _inside(piece))
    parts.append(b'"')
    return parts


def json_text(value: Any) -> Any:
    """Text decoded with `surrogateescape` as a JSON string; what was not UTF-8 in it stays as it was."""
    return _string(value.encode(errors="surrogateescape")) if isinstance(value, str) else value


def _string(value: bytes) -> str | msgspec.Raw:
    """Bytes as a JSON string; what is not UTF-8 in them stays as it is."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        parts = _NOT_UTF8.split(value.decode(errors="surrogateescape"))
        return msgspec.Raw(b'"%b"' % b"".join(_inside(part) for part in parts))


def _inside(part: str) -> bytes:
    return part.encode(errors="surrogateescape") if _NOT_UTF8.match(part) else msgspec.json.encode(part)[1:-1]
