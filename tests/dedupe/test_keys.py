"""What is compared."""

from __future__ import annotations

import json

import pytest

from dolma.data.batch import TextBatch
from dolma.dedupers.keys import Gate, field_values, key_of
from dolma.errors import ConfigError


def hashes(*values: object) -> list[list[int]]:
    records = [json.dumps({"key": value}).encode() for value in values]
    return key_of("key", Gate())(TextBatch.of([""] * len(values), records=records)).hashes.tolist()


def test_a_number_and_a_string_of_the_same_digits_differ() -> None:
    one, text = hashes(1, "1")
    assert one != text


def test_objects_are_equal_in_any_order_of_their_keys() -> None:
    first, second = hashes({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert first == second


def test_a_text_and_a_field_of_the_same_string_have_the_same_key() -> None:
    by_text = key_of("text", Gate())(TextBatch.of(["same"])).hashes.tolist()
    assert by_text == hashes("same")


@pytest.mark.parametrize("record", [b"{}", b'{"a":null}', b'{"a":{"b":null}}', b'{"a":3}', b'{"a":[{"b":1}]}'])
def test_absent_null_and_unreachable_fields_have_no_value(record: bytes) -> None:
    assert list(field_values([record], ("a", "b"))) == [None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b'"\\u00e9"', ("é".encode(), True)), (b"true", (b"true", False)), (b"[1, 2]", (b"[1,2]", False))],
)
def test_values_are_their_text_or_canonical_json(value: bytes, expected: tuple[bytes, bool]) -> None:
    assert list(field_values([b'{"a":' + value + b"}"], ("a",))) == [expected]


def test_a_field_in_json_that_is_a_string_is_found() -> None:
    record = json.dumps({"metadata": json.dumps({"url": "u"})}).encode()
    assert list(field_values([record, b'{"metadata":"{url}"}'], ("metadata", "url"))) == [(b"u", True), None]


@pytest.mark.parametrize("by", ["", "$", ".", "a..b", "a."])
def test_a_key_with_an_empty_part_is_refused(by: str) -> None:
    with pytest.raises(ConfigError, match="is no key"):
        key_of(by, Gate())
