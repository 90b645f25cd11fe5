"""Damage of encodings is found as by Python's codecs. Run: `pytest tests/kernels/test_encoding.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import encoding
from dolma.kernels.encoding import encoding_damage
from dolma.kernels.reference import encoding as reference

LATIN = st.characters(min_codepoint=0x80, max_codepoint=0xFF)
PIECES = [
    "a",
    "É",
    "Ã",
    "Â",
    "â€",
    "â€™",
    "ï¿½",
    " ",
    "š",
    "Ÿ",
    "\ufffd",
    "\x85",
    "\x07",
    "\ue000",
    "\uffff",
    "\u200d",
    "漢",
]
misread = st.text(max_size=8).map(lambda text: "".join(map(_misread, text.encode("utf-8", "replace"))))
texts = st.lists(st.one_of(st.sampled_from(PIECES), LATIN, misread, st.text(max_size=3)), max_size=20).map("".join)


def _misread(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def expected_damage(text: str) -> int:
    """Code points in mojibake or of a kind that is damage."""
    inside = {i for start, end, _, _ in reference.mojibake(text) for i in range(start, end)}
    return len(inside | {i for i, c in enumerate(text) if reference.kind_of(c) in reference.DAMAGED})


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["", "Ã© Ã ", "ÃƒÂ©", "â€", "xâ€ Ã"])
@example(["ed\xa0\xa0", "í\xa0\x80 à\x80\x80 ð\x80\x80\x80 ô\x90\x80\x80 É…É… Éš\U000fffff"])
def test_damage_equals_that_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = encoding_damage(batch.utf8, batch.offsets)
    runs = [reference.mojibake(text) for text in batch.texts()]
    rows = list(zip(found.starts.tolist(), found.ends.tolist(), found.sequences.tolist(), strict=True))
    assert rows == [run[:3] for of_text in runs for run in of_text]
    assert found.runs.tolist() == [len(of_text) for of_text in runs]
    assert found.twice.tolist() == [sum(run[3] for run in of_text) for of_text in runs]
    assert found.damaged.tolist() == [expected_damage(text) for text in batch.texts()]
    kinds = [[reference.kind_of(c) for c in text] for text in batch.texts()]
    assert found.kinds.tolist() == [[of_text.count(kind) for kind in reference.KINDS] for of_text in kinds]


def test_a_million_leads_are_looked_at_once():
    batch = TextBatch.of(["Ã" * 1_000_000, "Ã©" * 500_000])
    found = encoding_damage(batch.utf8, batch.offsets)
    assert (found.runs.tolist(), found.sequences.tolist()) == ([0, 1], [500_000])


def test_every_code_point_is_of_the_kind_of_the_twin():
    kinds = encoding._kinds() % encoding._DAMAGED_KIND
    named = [reference.KINDS[kind] for kind in kinds[:0x110000].tolist()]
    assert named == [reference.kind_of(chr(code_point)) for code_point in range(0x110000)]
