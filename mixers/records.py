"""Changing single fields of a JSON record; every other byte of every other field stays as it was.

Fields are named as in `dolma.data.fields`: a key as it stands comes before a way through objects.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from dolma.data.batch import clean_text

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def with_field(record: bytes, path: str, value: Any) -> bytes:
    """The record with the field at the dotted path set; objects on the way are made where there are none.

    >>> with_field(b'{"id": 1, "metadata": {"n": 1.50}}', "metadata.body", "é")
    b'{"id":1,"metadata":{"n":1.50,"body":"\\xc3\\xa9"}}'
    """
    fields: dict[str, Any] = dict(_object.decode(record))
    key, _, rest = (path, "", "") if path in fields else path.partition(".")
    if rest:
        inner = bytes(fields.get(key, b"{}")).strip()
        value = msgspec.Raw(with_field(inner if inner.startswith(b"{") else b"{}", rest, value))
    fields[key] = b"".join(value) if isinstance(value, list) else msgspec.json.encode(value)
    return _record_of(fields)


def lacks(record: bytes, path: str) -> bool:
    """Whether the record has no value at the dotted path: no such field, null, or "".

    >>> lacks(b'{"id": null}', "id"), lacks(b'{"id": 0}', "id")
    (True, False)
    """
    if _cannot_have(record, path):
        return True
    fields = _object.decode(record)
    key, _, rest = (path, "", "") if path in fields else path.partition(".")
    raw = bytes(fields.get(key, b"null")).strip()
    if raw in (b"null", b'""'):
        return True
    return bool(rest) and raw.startswith(b"{") and lacks(raw, rest)


def text_at(record: bytes, path: str) -> str | None:
    """The text at the dotted path, a number or a truth value as it is written; None where there is another thing.

    >>> text_at(b'{"a": {"b": 1.50}, "c": "x"}', "a.b"), text_at(b'{"a": null}', "a")
    ('1.50', None)
    """
    fields = _object.decode(record)
    key, _, rest = (path, "", "") if path in fields else path.partition(".")
    raw = bytes(fields.get(key, b"null")).strip()
    if rest or raw.startswith((b"{", b"[", b"null")):
        return text_at(raw, rest) if rest and raw.startswith(b"{") else None
    return clean_text(json.loads(raw))[0] if raw.startswith(b'"') else raw.decode()


def taken_out(record: bytes, path: str) -> tuple[bytes, msgspec.Raw | None]:
    """The record without the field at the dotted path, and its value; as it is, and None, where there is no such field.

    >>> rest, value = taken_out(b'{"a": {"b": 1.50, "c": 2}}', "a.b")
    >>> rest, bytes(value)
    (b'{"a":{"c":2}}', b'1.50')
    """
    fields: dict[str, Any] = {} if _cannot_have(record, path) else dict(_object.decode(record))
    key, _, rest = (path, "", "") if path in fields else path.partition(".")
    if key not in fields:
        return record, None
    if not rest:
        value = fields.pop(key)
        return _record_of(fields), value
    raw = bytes(fields[key]).strip()
    inner, value = taken_out(raw, rest) if raw.startswith(b"{") else (raw, None)
    if value is None:
        return record, None
    fields[key] = inner
    return _record_of(fields), value


def _record_of(fields: dict[str, Any]) -> bytes:
    members = [part for key, raw in fields.items() for part in (b",", msgspec.json.encode(key), b":", raw)]
    return b"".join((b"{", *members[1:], b"}"))


def _cannot_have(record: bytes, path: str) -> bool:
    """Whether the record has no key at all with which the path begins; cheaper than to decode it."""
    first = path.partition(".")[0]
    return b"\\u" not in record and not any(f'"{key}"'.encode() in record for key in (path, first))


def with_default(record: bytes, path: str, value: str) -> bytes:
    """The record with the field at the dotted path set where it lacks one, else as it is.

    A top-level field that is absent is put in front, the rest of the record untouched.

    >>> with_default(b'{ "text":"t"}', "source", "books")
    b'{"source":"books", "text":"t"}'
    """
    if not lacks(record, path):
        return record
    if "." in path or f'"{path}"'.encode() in record or b"\\u" in record:
        return with_field(record, path, value)
    rest = memoryview(record)[record.index(b"{") + 1 :]  # a view: records may be long
    return b"".join((b"{", msgspec.json.encode(path), b":", msgspec.json.encode(value), b",", rest))
