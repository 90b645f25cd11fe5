"""Fields of JSON objects by dotted name: `metadata.url` is `url` in the object `metadata`.

At every depth a key that is the rest of the name as it stands, `{"metadata.url": ...}`, comes before a way through
objects, so that every key can be named. An object may be JSON in a string, as some exports write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

_LISTED = 40
_INEXACT = 2**53  # from here on a float may stand for several whole numbers


_ABSENT = msgspec.Raw()


class JsonField:
    """One field of JSON objects, found without decoding the others.

    >>> url = JsonField(["warc", "url"])
    >>> url.of(b'{"warc": {"url": "u"}}'), url.of(b'{"warc": {}, "warc.url": 5}'), url.of(b'{"warc": "url"}')
    ('u', 5, None)
    """

    def __init__(self, path: Sequence[str], *, kind: Any = Any) -> None:
        """`path` has a part for each depth; `kind` is what its values are decoded to, `msgspec.Raw` to leave them."""
        rests = (".".join(path[depth:]) for depth in range(len(path)))
        self._decoders = [_decoder(rest, part, kind) for rest, part in zip(rests, path, strict=True)]

    def of(self, encoded: bytes) -> Any:
        """Its value; None where there is none, or null, or something on the way is no object.

        Raises:
            msgspec.DecodeError: `encoded` is no JSON, or the value is of another kind.
        """
        for decoder in self._decoders:
            if not encoded.startswith(b"{"):
                return None
            found = decoder.decode(encoded)
            if found.value is not _ABSENT:
                return None if found.value == _NULL else found.value
            encoded = unwrapped(bytes(getattr(found, "inner", b"")))
        return None


_NULL = msgspec.Raw(b"null")


def _decoder(rest: str, part: str, kind: Any) -> msgspec.json.Decoder[Any]:
    names = {"value": rest} if rest == part else {"value": rest, "inner": part}
    fields = [(name, kind if name == "value" else msgspec.Raw, _ABSENT) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Record", fields, rename=names))


def name_of(value: str | int | float) -> str:
    """An id or a source as text: a whole number in digits, also as a float.

    >>> name_of("1.0"), name_of(1), name_of(1.0), name_of(-2e3)
    ('1.0', '1', '1', '-2000')

    Raises:
        ValueError: a float that is not whole, or so large that others may have been rounded to it.
    """
    if not isinstance(value, float):
        return str(value)
    if not value.is_integer() or abs(value) >= _INEXACT:
        raise ValueError(f"{value!r}, no whole number below 2**53")
    return str(int(value))


def unwrapped(encoded: bytes) -> bytes:
    """The object that a JSON string holds as JSON; any other JSON text as it is.

    >>> unwrapped(b'"{\\\\"url\\\\": 1}"'), unwrapped(b'"{url}"')
    (b'{"url": 1}', b'"{url}"')
    """
    if not encoded.startswith(b'"'):
        return encoded
    try:
        inner = msgspec.json.decode(encoded, type=str).strip().encode()
        msgspec.json.decode(inner, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError):
        return encoded
    return inner


def field_names(records: Iterable[bytes]) -> list[str]:
    """The dotted names of the fields that hold values in these records, sorted; at most 40.

    >>> field_names([b'{"id": "1", "metadata": {"url": "u"}}'])
    ['id', 'metadata.url']
    """
    names: set[str] = set()
    for record in records:
        names.update(_names(msgspec.json.decode(record), ""))
    return sorted(names)[:_LISTED]


def _names(value: Any, prefix: str) -> Iterator[str]:
    if isinstance(value, dict) and (value or not prefix):
        for name, inner in value.items():
            yield from _names(inner, f"{prefix}.{name}" if prefix else name)
    elif prefix:
        yield prefix
