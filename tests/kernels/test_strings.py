"""Strings of JSON against Python's own decoder. Run: `pytest tests/kernels/test_strings.py`."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import offsets_of
from dolma.kernels import strings
from dolma.kernels.reference import strings as reference
from dolma.kernels.strings import newlines, unescape

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\n"\\/\x00\x1f\x7fé中\U0001f600'))
PIECES = st.sampled_from(
    [
        '"',
        "\\",
        "\\n",
        "\\u",
        "\\u00e9",
        "\\uD83D",
        "\\ude00",
        "\\ud800",
        "\\uFFFF",
        "\\/",
        "\\x",
        "\n",
        "a",
        "é",
        "中" * 3,
        "12345678",
    ]
)


# Near the end of the buffer bytes are read one by one: what comes after a string decides how it is read.
PADDING = b'"' + b"x" * 64 + b'"'


def unescaped(strings: list[bytes]) -> list[bytes] | None:
    found = _unescaped(strings)
    padded = _unescaped([*strings, PADDING])
    assert padded == (None if found is None else [*found, PADDING[1:-1]])
    return found


def _unescaped(strings: list[bytes]) -> list[bytes] | None:
    found = unescape(np.frombuffer(b"".join(strings), np.uint8), offsets_of(strings))
    if found is None:
        return None
    utf8, offsets = found
    return [utf8[start:end].tobytes() for start, end in itertools.pairwise(offsets)]


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.booleans())))
def test_what_was_encoded_comes_back(texts: list[tuple[str, bool]]) -> None:
    strings = [json.dumps(text, ensure_ascii=ascii).encode() for text, ascii in texts]
    assert unescaped(strings) == [text.encode() for text, _ in texts]


@pytest.mark.property
@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES).map("".join), st.booleans())
def test_what_is_no_string_is_none(inside: str, quoted: bool) -> None:
    string = (f'"{inside}"' if quoted else inside).encode()
    expected = reference.unescape(string)
    found = unescaped([b'"before"', string, b'"after"'])
    assert found == (None if expected is None else [b"before", expected, b"after"])


@pytest.mark.parametrize("string", [b"", b'"', b"null", b"12", b'"a', b'a"', b'"\\"', b'"\\u12"', b'"\\ud800\\u0041"'])
def test_other_values_and_cut_strings_are_none(string: bytes) -> None:
    assert unescaped([string]) is None
    assert unescaped([b'"x"', string]) is None


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"\n", b"a" * 63, b"b", b"\x0b" * 7, b"\n" * 65])).map(b"".join))
def test_newlines_are_where_find_finds_them(data: bytes) -> None:
    assert newlines(data).tolist() == [i for i, byte in enumerate(data) if byte == 0x0A]


def test_newlines_of_a_long_record_take_no_more_room_than_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "_COUNTED_BYTES", 0)
    found = newlines(b"a\n\nb" * 1000)
    assert (found.tolist()[:4], len(found)) == ([1, 2, 5, 6], 2000)
    assert found.base is not None
    assert found.base.nbytes == 16_000
