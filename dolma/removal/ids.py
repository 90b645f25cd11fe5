"""Ids in what is no record: in bytes that could not be read as one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from dolma.data.fields import name_of

_VALUE = rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)'


def ids_in(raw: bytes, field: str) -> Iterator[str]:
    """What stands behind the name of the id's field, wherever it stands.

    >>> list(ids_in(b'{"text": nul, "id": "a/1", "id": 7}', "id"))
    ['a/1', '7']
    """
    name = re.escape(field.rpartition(".")[2].encode())
    for match in re.finditer(rb'"' + name + rb'"' + _VALUE, raw):
        try:
            yield name_of(msgspec.json.decode(match[1]))
        except (msgspec.DecodeError, ValueError):
            continue
