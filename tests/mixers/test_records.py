"""Changing a field of a record and nothing else. Run: pytest tests/mixers/test_records.py"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.mixers.records import lacks, with_default, with_field


def test_the_other_fields_keep_their_bytes_and_their_order() -> None:
    record = b'{"b": 1.50, "text": "x", "a": {"z":1e5, "n": null}, "\\u00e9": 12345678901234567890123}'
    expected = b'{"b":1.50,"text":"y\\"","a":{"z":1e5, "n": null},"\xc3\xa9":12345678901234567890123}'
    assert with_field(record, "text", 'y"') == expected


def test_a_dotted_path_reaches_into_objects() -> None:
    assert json.loads(with_field(b'{"m": {"a": {"b": 1}, "c": 2}}', "m.a.b", "x")) == {"m": {"a": {"b": "x"}, "c": 2}}


def test_a_key_with_a_dot_comes_before_a_way_through_objects() -> None:
    record = b'{"m.a":1,"m":{"a":null}}'
    assert with_field(record, "m.a", "x") == b'{"m.a":"x","m":{"a":null}}'
    assert (lacks(record, "m.a"), lacks(b'{"m.a":null,"m":{"a":1}}', "m.a")) == (False, True)


@pytest.mark.parametrize("record", [b"{}", b'{"m": null}', b'{"m": 3}'])
def test_objects_on_the_way_are_made(record: bytes) -> None:
    assert json.loads(with_field(record, "m.a", "x")) == {"m": {"a": "x"}}


@pytest.mark.parametrize(
    ("record", "path", "expected"),
    [
        (b"{}", "id", True),
        (b'{"id": null}', "id", True),
        (b'{"id": ""}', "id", True),
        (b'{"id": 0}', "id", False),
        (b'{"id": "x"}', "id", False),
        (b'{"\\u0069d": "x"}', "id", False),
        (b'{"metadata": {"id": "x"}}', "id", True),
        (b'{"metadata": {"id": "x"}}', "metadata.id", False),
        (b'{"metadata": {"id": null}}', "metadata.id", True),
        (b'{"text": "\\"id\\""}', "id", True),
    ],
)
def test_whether_a_value_is_lacking(record: bytes, path: str, expected: bool) -> None:
    assert lacks(record, path) is expected


def test_a_default_is_put_in_front_and_the_rest_stays() -> None:
    assert with_default(b'{ "text":  "t" }', "source", 'a"b') == b'{"source":"a\\"b", "text":  "t" }'


def test_a_default_replaces_null() -> None:
    assert with_default(b'{"text":"t","source":null}', "source", "a") == b'{"text":"t","source":"a"}'


def test_a_record_that_has_a_value_is_not_touched() -> None:
    record = b'{"source" : "b", "text": "t" }'
    assert with_default(record, "source", "a") is record


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.property
@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(max_size=4) | st.just("text"), VALUES, min_size=1, max_size=5), st.text(max_size=9))
def test_only_the_field_changes(fields: dict[str, Any], value: str) -> None:
    for ascii_only in (True, False):
        record = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        try:
            record.decode()
        except UnicodeDecodeError:
            continue
        assert json.loads(with_field(record, "text", value)) == {**fields, "text": value}
