"""Fields by dotted name. Run: pytest tests/data/test_fields.py"""

from __future__ import annotations

import json

import msgspec
import pytest

from dolma.data.fields import JsonField, field_names, unwrapped


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b'{"a":{"b":{"c":1}}}', 1),
        (b'{"a":{"b":{"c":1}},"a.b.c":2}', 2),
        (b'{"a":{"b":{"c":1},"b.c":2}}', 2),
        (b'{"a.b":{"c":1}}', None),
        (b'{"a":{"b":{"c":null}}}', None),
        (b'{"a":{"b":[{"c":1}]}}', None),
        (b'{"a":5}', None),
        (b'{"c":1}', None),
        (b"[]", None),
        (json.dumps({"a": json.dumps({"b": {"c": 1}})}).encode(), 1),
        (b'{"a":"{no json"}', None),
        (b'{"a":"text","a.b.c":1}', 1),
    ],
)
def test_a_key_as_it_stands_comes_before_a_way_through_objects(encoded: bytes, value: int | None) -> None:
    assert JsonField(["a", "b", "c"]).of(encoded) == value
    raw = JsonField(["a", "b", "c"], kind=msgspec.Raw).of(encoded)
    assert (None if raw is None else json.loads(bytes(raw))) == value


@pytest.mark.parametrize("encoded", [b'"a"', b'""', b'"[1]"', b'"{\\"a\\":}"', b"5", b"null", b'{"a":"{}"}', b""])
def test_only_objects_are_taken_out_of_strings(encoded: bytes) -> None:
    assert unwrapped(encoded) == encoded


def test_field_names_are_dotted() -> None:
    assert field_names([b'{"a":{"b":{"c":1}},"d":[{"e":1}]}', b'{"f":{}}']) == ["a.b.c", "d", "f"]
