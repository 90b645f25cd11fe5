"""RedPajama's sums equal those of Python's own `str` methods. Run: `pytest tests/kernels/test_redpajama.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.redpajama import redpajama_sums
from dolma.kernels.reference import redpajama as reference

STOP_WORDS = ("the", "a", "don", "für")
PIECES = [
    "the",
    "a",
    "A",
    "don't",
    "für",
    "É",
    "ΑΣ",
    "ǅ",
    "Ⅷ",
    "½",
    "٣",
    "Lorem",
    "ipsum",
    "lorem ipsum",
    "JavaScript",
    "_",
]
PIECES += [
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\r\n",
    ".",
    "...",
    "…",
    "!",
    "?",
    "”",
    "#",
    "{",
    "}",
    "-",
    "•",
    "–",
    "İ",
    "한",
    "漢",
    "\u0301",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=30).map("".join)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(
    [
        "",
        "\n",
        "...\n. ..\n....... \n",
        "LOREM ipsum, lorem; ipsumlorem ipsum loremipsum",
        "a.b!c d",
        "\x00•",
        "\u037e \u2000x",
    ]
)
def test_sums_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    sums, shares = redpajama_sums(batch.utf8, batch.offsets, stop_words=STOP_WORDS)
    expected = [reference.redpajama_sums(text, stop_words=STOP_WORDS) for text in batch.texts()]
    assert sums.tolist() == [of_text[0] for of_text in expected]
    assert shares.tolist() == [pytest.approx(of_text[1], abs=1e-9) for of_text in expected]


def test_more_words_than_the_first_table_holds_are_counted():
    text = " ".join(str(i % 5_000) for i in range(12_000))
    batch = TextBatch.of(["once", text, "more"])
    sums, shares = redpajama_sums(batch.utf8, batch.offsets)
    assert sums[1].tolist() == reference.redpajama_sums(text)[0]
    assert shares[1, 0] == pytest.approx(reference.redpajama_sums(text)[1][0])
    assert sums[2].tolist() == reference.redpajama_sums("more")[0]


def test_too_many_stop_words_are_refused():
    batch = TextBatch.of([""])
    with pytest.raises(ValueError, match="1025 stop words; at most 1024"):
        redpajama_sums(batch.utf8, batch.offsets, stop_words=tuple(map(str, range(1025))))
