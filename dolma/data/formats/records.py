"""Records, which are JSON objects, decoded to `TextBatch`: what the readers of all formats share."""

from __future__ import annotations

import codecs
import functools
import operator
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.arrow_json import NOT_FINITE
from dolma.data.batch import TextBatch, offsets_of
from dolma.data.fields import name_of, unwrapped
from dolma.data.intake import Faults, Reading
from dolma.data.shards import Piece
from dolma.kernels.compiled import in_use
from dolma.printable import printable

_Texts = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # UTF-8, and where each text begins and the last ends
_WORTH_A_KERNEL = 8 << 20  # bytes on disk


class _Columns(NamedTuple):
    """One list per field of some decoded records."""

    ids: list[str | None]
    texts: list[Any]
    sources: list[str | None]
    metadata: list[msgspec.Raw] | None


class _RawMetadata(msgspec.Struct, gc=False):
    metadata: msgspec.Raw = msgspec.Raw(b"")


_metadata_decoder = msgspec.json.Decoder(_RawMetadata)
_ABSENT = msgspec.Raw()
_Name: Any = str | int | float | None
_NoObject: Any = str | int | float | bool | list | None


@functools.lru_cache(maxsize=16)
def _decoder(
    reading: Reading, *, text: type = str, metadata: bool = False
) -> tuple[msgspec.json.Decoder[Any], Callable[[list[Any]], _Columns]]:
    """A decoder of only the fields needed, and a function from what it returns to columns.

    With `metadata`, they have that field as it stands, unless one of the others is to be found in it. Both raise
    `msgspec.ValidationError`, the function where a text is missing or a number cannot be a name.
    """
    kinds = {reading.id: _Name, reading.source: _Name, reading.text: text}  # of one field for two, text decides
    fields = [(path.split("."), kind) for path, kind in kinds.items()]
    whole = metadata and not any(parts[0] == "metadata" for parts, _ in fields)
    if whole:
        fields.append((["metadata"], msgspec.Raw))
    shape = _Shape.of(fields, required=reading.text)
    id_of, text_of, source_of = (shape.getter(path.split(".")) for path in (reading.id, reading.text, reading.source))
    metadata_of = shape.getter(["metadata"]) if whole else None

    def columns(docs: list[Any]) -> _Columns:
        texts = list(map(text_of, docs))
        if set(map(type, texts)) - {text}:
            raise _no_text(texts, reading.text)
        return _Columns(
            ids=_names(list(map(id_of, docs)), reading.id),
            texts=texts,
            sources=_names(list(map(source_of, docs)), reading.source),
            metadata=None if metadata_of is None else list(map(metadata_of, docs)),
        )

    return msgspec.json.Decoder(shape.struct), columns


@dataclass(frozen=True, slots=True)
class _Shape:
    """A struct that decodes some fields of an object: its attribute for each key, the shapes of objects in it.

    A field with a dotted name may be a key as it stands, or lie in objects; the key comes first.
    """

    struct: type
    attributes: dict[str, str]
    below: dict[str, _Shape]
    place: str

    @classmethod
    def of(cls, fields: list[tuple[list[str], Any]], *, required: str = "", place: str = "$") -> _Shape:
        """Of the fields, by the parts of their names, and their types; no default for the `required` one."""
        kinds: dict[str, Any] = {}
        inner: dict[str, list[tuple[list[str], Any]]] = {}
        for (first, *rest), kind in fields:
            kinds[".".join([first, *rest])] = kind
            if rest:
                inner.setdefault(first, []).append((rest, kind))
        below = {key: cls.of(some, place=f"{place}.{key}") for key, some in inner.items()}
        kinds |= {key: _NoObject | shape.struct for key, shape in below.items()}
        attributes = {key: f"f{i}" for i, key in enumerate(kinds)}
        defined = [
            (attributes[key], kind) if key == required and "." not in key else (attributes[key], kind, _ABSENT)
            for key, kind in kinds.items()
        ]
        defined.sort(key=len)  # those without a default first
        renamed = {attribute: key for key, attribute in attributes.items()}
        return cls(msgspec.defstruct("Record", defined, rename=renamed, gc=False), attributes, below, place)

    def getter(self, parts: list[str]) -> Callable[[Any], Any]:
        """From a decoded object to the field; `_ABSENT` where it has none."""
        first, *rest = parts
        as_it_stands = operator.attrgetter(self.attributes[".".join(parts)])
        if not rest:
            return as_it_stands
        outer = operator.attrgetter(self.attributes[first])
        shape, place = self.below[first], f"{self.place}.{first}"
        inner = shape.getter(rest)

        def get(doc: Any) -> Any:
            if (value := as_it_stands(doc)) is not _ABSENT:
                return value
            found = outer(doc)
            if isinstance(found, shape.struct):
                return inner(found)
            if found is None or found is _ABSENT:
                return _ABSENT
            raise msgspec.ValidationError(f"Expected `object`, got `{_json_type(found)}` - at `{place}`")

        return get


def _names(values: list[Any], field: str) -> list[str | None]:
    """Ids or sources as text: whole numbers in digits, also those written `1.0`; None where there is none."""
    if not set(map(type, values)) - {str}:
        return values
    return [_name(value, field) for value in values]


def _name(value: Any, field: str) -> str | None:
    if value is None or value is _ABSENT:
        return None
    got = f"`{_json_type(value)}`"
    if type(value) in (str, int, float):
        try:
            return name_of(value)
        except ValueError as error:
            got = f"{error},"
    raise msgspec.ValidationError(f"Expected `int | float | str | null`, got {got} - at `$.{field}`")


def _no_text(texts: list[Any], field: str) -> msgspec.ValidationError:
    """Why the first value that is no text is none."""
    odd = next((value for value in texts if not isinstance(value, str) and value != _ABSENT), _ABSENT)
    if odd is _ABSENT:
        return msgspec.ValidationError(f"Object missing required field `{field}`")
    return msgspec.ValidationError(f"Expected `str`, got `{_json_type(odd)}` - at `$.{field}`")


def _json_type(value: Any) -> str:
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "array"}
    return names.get(type(value), "object")


class RecordBlocks:
    """Decodes blocks of lines: all at once, and line by line where that fails.

    `measured` says that none of them is over the limit, or is left out by what it was made of.
    """

    def __init__(
        self,
        reading: Reading,
        piece: Piece,
        faults: Faults,
        *,
        records: bool,
        metadata: bool,
        measured: bool = False,
    ) -> None:
        self.max_bytes = sys.maxsize - 1 if measured else reading.max_line_bytes
        self.decoder, self.columns = _decoder(reading, metadata=metadata)
        quick = _worth_a_kernel(reading, piece)
        self.quick = _decoder(reading, text=msgspec.Raw, metadata=metadata) if quick else None
        self.distinct = _distinct(reading)
        self.piece, self.faults, self.records, self.metadata = piece, faults, records, metadata

    def line_ends(self, block: bytes) -> npt.NDArray[np.int64]:
        """Where each line ends: at its newline, or at the end of the block."""
        if self.quick:
            from dolma.kernels.strings import newlines

            ends = newlines(block)
        else:
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
        return ends if block.endswith(b"\n") else np.append(ends, len(block))

    def __call__(
        self, block: bytes, *, ends: npt.NDArray[np.int64], line: int | npt.NDArray[np.int64], offset: int | None
    ) -> TextBatch:
        """The documents of a block. `line` is that of the first record, or those of all."""
        lines = line if isinstance(line, np.ndarray) else np.arange(line, line + len(ends), dtype=np.int64)
        if not _any_longer(ends, self.max_bytes):
            filled, ends, used = _without_empty_lines(block, ends, lines)
            try:
                return self._whole(filled, ends=ends, lines=used)
            except _UNREADABLE:
                pass
            finite, n_replaced = _without_not_finite(filled)
            if n_replaced:
                try:
                    batch = self._whole(finite, ends=self.line_ends(finite), lines=used)
                    self.faults.intake.repair(NOT_FINITE, n_replaced)
                    return batch
                except _UNREADABLE:
                    pass
        return self._line_by_line(block, lines=lines, offset=offset)

    def _whole(self, block: bytes, *, ends: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]) -> TextBatch:
        _check_utf8(block)
        if self.quick is None and len(block) >= _WORTH_A_KERNEL and self.distinct:
            self.quick = _decoder(self.faults.reading, text=msgspec.Raw, metadata=self.metadata)
        decoder, columns = self.quick or (self.decoder, self.columns)
        docs = decoder.decode_lines(block) if len(ends) else []
        if len(docs) != len(ends) or not _one_a_line(block, ends):
            raise msgspec.DecodeError("not one document a line")
        found = columns(docs)
        del docs
        texts = _encoded(found.texts) if self.quick is None else _unescaped(found.texts)
        split = self.records or (self.metadata and found.metadata is None)
        found.texts.clear()
        raws = block.split(b"\n")[: len(ends)] if split else []
        if b"\r\n" in block:
            raws = [raw.removesuffix(b"\r") for raw in raws]
        return self._batch(found, texts, lines, raws)

    def _line_by_line(self, block: bytes, *, lines: npt.NDArray[np.int64], offset: int | None) -> TextBatch:
        docs, found_at, used = [], [], []
        for number, raw in zip(lines.tolist(), block.split(b"\n"), strict=False):  # an end of line may be the last
            if not is_blank(raw) and (found := self._one(raw, line=number, offset=offset)) is not None:
                docs.append(found[0])
                used.append(found[1].strip())
                found_at.append(number)
            offset = None if offset is None else offset + len(raw) + 1
        columns = self.columns(docs)
        return self._batch(columns, _encoded(columns.texts), np.array(found_at, dtype=np.int64), used)

    def _one(self, raw: bytes, *, line: int, offset: int | None) -> tuple[Any, bytes] | None:
        """The decoded record and its JSON, repaired where needed; None when it is left out."""
        if len(raw) > self.max_bytes:
            self.faults.too_long(raw, len(raw), line=line, offset=offset)
            return None
        repaired, n_invalid = _as_utf8(raw.removeprefix(codecs.BOM_UTF8))
        counts, not_finite = ({"invalid_utf8": n_invalid} if n_invalid else {}), 0
        try:
            try:
                doc = self.decoder.decode(repaired)
            except msgspec.DecodeError:
                repaired, n_lone = _without_lone_surrogates(repaired)
                repaired, n_replaced = _without_not_finite(repaired)
                if not n_lone and not n_replaced:
                    raise
                counts |= {"lone_surrogate": n_lone} if n_lone else {}
                not_finite = n_replaced
                doc = self.decoder.decode(repaired)
            self.columns([doc])
        except (msgspec.DecodeError, RecursionError) as error:
            reason, position = _explain(error, repaired, self.faults.reading)
            at = None if offset is None or position is None or repaired != raw else offset + position
            self.faults.bad(raw, line=line, offset=offset, reason=reason, at=at)
            return None
        if counts and self.faults.reading.invalid_unicode == "error":
            said = " and ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in counts.items())
            self.faults.bad(raw, line=line, offset=offset, reason=f"damaged text: {said}")
            return None
        for kind, n in (*counts.items(), (NOT_FINITE, not_finite)):
            self.faults.intake.repair(kind, n)
        return doc, repaired

    def _batch(self, found: _Columns, texts: _Texts, lines: np.ndarray, raws: list[bytes]) -> TextBatch:
        shard, unnamed = self.piece.shard, self.piece.shard.source
        ids = [f"{shard.name}:{lines[i]}" if id is None else id for i, id in enumerate(found.ids)]
        return TextBatch(
            utf8=texts[0],
            offsets=texts[1],
            ids=ids,
            sources=[source or unnamed for source in found.sources],
            lines=lines,
            path=shard.path,
            records=raws if self.records else None,
            metadata=_metadata(found, raws) if self.metadata else None,
        )


def is_blank(line: bytes) -> bool:
    """Whether a line is no record: white space, also behind a byte order mark.

    >>> is_blank(b" \\r"), is_blank(b"\\xef\\xbb\\xbf"), is_blank(b"{}")
    (True, True, False)
    """
    return not line.removeprefix(codecs.BOM_UTF8).strip()


def _metadata(found: _Columns, raws: list[bytes]) -> list[bytes | None]:
    fields = found.metadata
    if fields is None:
        fields = [_metadata_decoder.decode(raw).metadata for raw in raws]
    return [unwrapped(bytes(field)) or None for field in fields]


def _distinct(reading: Reading) -> bool:
    return len({reading.text, reading.id, reading.source}) == 3


def _any_longer(ends: npt.NDArray[np.int64], n_bytes: int) -> bool:
    """Whether a line that ends at one of these has more bytes."""
    return bool(np.any(np.diff(ends, prepend=-1) > n_bytes + 1))


def _without_empty_lines(
    block: bytes, ends: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]
) -> tuple[bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The block, the ends of its lines and their numbers without lines that have no byte before `\\r\\n` or `\\n`."""
    sizes = np.diff(ends, prepend=-1)
    if not len(ends) or sizes.min() > 2:
        return block, ends, lines
    data = np.frombuffer(block, dtype=np.uint8)
    filled, one = sizes > 2, sizes == 2
    filled[one] = data[ends[one] - 1] != ord("\r")
    return data[np.repeat(filled, sizes)[: len(data)]].tobytes(), np.cumsum(sizes[filled]) - 1, lines[filled]


def _worth_a_kernel(reading: Reading, piece: Piece) -> bool:
    """Whether texts are unescaped by a kernel, which takes some time to be loaded unless others have been."""
    return _distinct(reading) and (in_use() or piece.size >= _WORTH_A_KERNEL)


def _encoded(texts: list[str]) -> _Texts:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of(encoded)


def _unescaped(strings: list[msgspec.Raw]) -> _Texts:
    """The texts that these JSON strings stand for; DecodeError when one is something else."""
    from dolma.kernels.strings import ROOM, unescape

    bounds = offsets_of(strings)  # type: ignore[arg-type]
    if bounds[-1] < _WORTH_A_KERNEL:
        found = unescape(np.frombuffer(b"".join(strings), dtype=np.uint8), bounds)  # type: ignore[arg-type]
        if found is None:
            raise _no_string()
        return found
    utf8, ends = np.empty(int(bounds[-1]) + ROOM, dtype=np.uint8), [0]  # one by one: a long one is not copied
    for string in strings:
        data = np.frombuffer(string, dtype=np.uint8)  # type: ignore[call-overload]
        found = unescape(data, np.array([0, len(data)]), into=utf8[ends[-1] :])
        if found is None:
            raise _no_string()
        ends.append(ends[-1] + len(found[0]))
    return utf8[: ends[-1]], np.array(ends, dtype=np.int64)


def _no_string() -> msgspec.DecodeError:
    return msgspec.DecodeError("a text that is no string")


def _one_a_line(block: bytes, ends: npt.NDArray[np.int64]) -> bool:
    """Whether every line begins with `{` and ends with `}`, so that as many documents as lines is one each."""
    found = np.frombuffer(block, dtype=np.uint8)
    starts, last = np.concatenate([[0], ends + 1])[:-1], ends - 1
    if np.any(last < starts):
        return False
    last = last - (found[last] == ord("\r"))  # of a line that is nothing else, the one of the line before
    return bool(np.all(found[starts] == ord("{")) and np.all(found[last] == ord("}")))


def _check_utf8(block: bytes) -> None:
    """Raises UnicodeError unless the bytes are UTF-8. Arrow checks 5 times faster than `bytes.decode`."""
    if not block.isascii():
        bounds = pa.py_buffer(np.array([0, len(block)], dtype=np.int64))
        try:
            pa.LargeStringArray.from_buffers(1, bounds, pa.py_buffer(block)).validate(full=True)
        except pa.ArrowInvalid as error:
            raise UnicodeError(str(error)) from error


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


# A string without an end goes on to the end of its line: to look for others within it would take quadratic time.
_NUMBER = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|(-?\b(?:NaN|Infinity)\b)')
_POSITION = re.compile(r" \(byte (\d+)\)\Z")
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def _as_utf8(raw: bytes) -> tuple[bytes, int]:
    """The record with U+FFFD for bytes that are not UTF-8, and how many of them it got."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        return text.encode(), text.count("\ufffd") - raw.count("\ufffd".encode())
    return raw, 0


def _without_lone_surrogates(record: bytes) -> tuple[bytes, int]:
    """The record with an escaped U+FFFD for each escaped lone surrogate, and how many there were."""
    n_lone = sum(match[1] is not None for match in _ESCAPE.finditer(record))
    return (_ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], record) if n_lone else record), n_lone


def _without_not_finite(block: bytes) -> tuple[bytes, int]:
    """The JSON with null for each NaN and infinity outside of strings; and how many there were. Python writes them."""
    if b"NaN" not in block and b"Infinity" not in block:
        return block, 0
    n_found = sum(match[1] is not None for match in _NUMBER.finditer(block))
    return (_NUMBER.sub(lambda match: b"null" if match[1] else match[0], block) if n_found else block), n_found


def _explain(error: Exception, record: bytes, reading: Reading) -> tuple[str, int | None]:
    """Why the record cannot be read, what to do about it, and the byte of it where reading ends, if that is known."""
    if isinstance(error, RecursionError):
        return "JSON nested too deeply", None
    if record.lstrip()[:1] == b"[":
        advice = "`jq -c '.[]' FILE > FILE.jsonl` writes each element on a line"
        return f"a JSON array, expected an object a line\n  {advice}", None
    found = _POSITION.search(str(error))
    reason = str(error)[: found.start() if found else None].removeprefix("JSON is malformed: ")
    if isinstance(error, msgspec.ValidationError):
        return _of_another_type(reason, record, reading), None
    if "truncated" in reason:
        advice = "if records are written over several lines, `jq -c . FILE > FILE.jsonl` writes one a line"
        return f"not valid JSON: the line ends within a value\n  {advice}", None
    return f"not valid JSON: {reason}", int(found[1]) if found else None


def _of_another_type(reason: str, record: bytes, reading: Reading) -> str:
    if "missing required field" in reason:
        return f"{reason}{_keys_of(record, reading)}"
    if reason.endswith(f"- at `$.{reading.id}`"):
        return f"{reason}\n  `--id-field NAME` takes another field, `--id-field ''` file and line"
    if reason.endswith(f"- at `$.{reading.source}`"):
        return f"{reason}\n  `--source-field NAME` takes another field, `--source-field ''` the folder"
    return reason


def _keys_of(record: bytes, reading: Reading) -> str:
    try:
        fields = msgspec.json.decode(record, type=dict[str, Any])
    except msgspec.DecodeError:
        return ""
    has = ", ".join(map(printable, sorted(fields))) or "nothing"
    texts = [key for key, value in fields.items() if isinstance(value, str) and key not in (reading.id, reading.source)]
    longest = max(texts, key=lambda key: len(fields[key]), default="metadata.body")
    return f"; it has: {has}\n  name another field with `--text-field`, such as `--text-field {printable(longest)}`"
