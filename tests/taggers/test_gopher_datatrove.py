"""Gopher's measures are datatrove's. Run: `pytest tests/taggers/test_gopher_datatrove.py`."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.kernels.reference import datatrove as reference
from dolma.kernels.reference.english_tokens import tokens_of
from dolma.kernels.reference.symbols import symbol_counts
from dolma.taggers.gopher_datatrove import STOP_WORDS, GopherDatatrove

OF_LINES = ("dup_", "bullet", "ellipsis_lines")
BOUNDS = {
    "words": (50, 100_000),
    "avg_word_length": (3, 10),
    "alpha_words_ratio": (0.8, 1),
    "stop_words": (2, 8),
    "bullet_lines_ratio": (0, 0.9),
    "ellipsis_lines_ratio": (0, 0.3),
    **dict.fromkeys(("hash_word_ratio", "ellipsis_word_ratio"), (0, 0.1)),
    **dict.fromkeys(("dup_line_frac", "dup_para_frac"), (0, 0.3)),
    **dict.fromkeys(("dup_line_char_frac", "dup_para_char_frac"), (0, 0.2)),
    **{f"top_{n}_gram": (0, bound) for n, bound in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{f"duplicated_{n}_n_grams": (0, (20 - n) / 100) for n in range(5, 11)},
}
PIECES = [
    "the",
    "of",
    "have",
    "cat",
    "it's",
    "-",
    "•",
    "...",
    "…",
    "#",
    ",",
    "1",
    "漢字",
    "\n",
    "\n\n",
    "\r\n",
    "\u2028",
]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80),
)


def measured(*given: str) -> list[dict[str, float | None]]:
    tagger = GopherDatatrove()
    columns = check_columns(tagger(TextBatch.of(given)), outputs=tagger.outputs, n_docs=len(given), tagger="")
    return [{name: column[i].as_py() for name, column in columns.items()} for i in range(len(given))]


def kept(values):
    return all(values[name] is not None and low <= values[name] <= high for name, (low, high) in BOUNDS.items())


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def twin(text: str) -> dict[str, float | None]:
    tokens = tokens_of(text)
    words, characters, alpha, stop = reference.token_sums(tokens, vocabulary=STOP_WORDS)
    hashes, dots, _, ellipses = symbol_counts(text)
    lines, (bullets, ended) = len(text.splitlines()), reference.line_marks(text)
    pieces = {unit: reference.repeated_pieces(text, paragraphs=unit == "para") for unit in ("line", "para")}
    ngrams = [max(n, 0) for n in reference.ngram_characters(tokens)]
    return {
        "words": words,
        "avg_word_length": ratio(characters, words),
        "hash_word_ratio": ratio(hashes, len(tokens)),
        "ellipsis_word_ratio": ratio(dots + ellipses, len(tokens)),
        "bullet_lines_ratio": ratio(bullets, lines),
        "ellipsis_lines_ratio": ratio(ended, lines),
        "alpha_words_ratio": ratio(alpha, len(tokens)),
        "stop_words": stop,
        **{f"dup_{unit}_frac": again / n for unit, (n, again, _) in pieces.items()},
        **{f"dup_{unit}_char_frac": ratio(points, len(text)) for unit, (_, _, points) in pieces.items()},
        **{f"top_{n}_gram": ratio(ngrams[n - 2], len(text)) for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": ratio(ngrams[n - 2], len(text)) for n in range(5, 11)},
    }


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=4))
def test_measures_equal_those_of_the_twin(documents):
    for found, text in zip(measured(*documents), documents, strict=True):
        assert found == pytest.approx(twin(text), abs=1e-12)


def same_tokens(row):
    return hashlib.sha256("\n".join(tokens_of(row["asked"])).encode()).hexdigest()[:12] == row["tokens"]


@pytest.mark.golden
def test_measures_are_those_of_datatrove_where_tokens_are(datatrove):
    rows = datatrove("gopher")
    found = measured(*(row["asked"] for row in rows))
    same = [same_tokens(row) for row in rows]
    assert sum(same) > 0.5 * len(rows)
    for ours, theirs, equal in zip(found, rows, same, strict=True):
        for name, value in ours.items():
            if theirs[name] is not None and (equal or name.startswith(OF_LINES)):
                assert value == pytest.approx(theirs[name], abs=1e-5), (theirs["id"], name)


@pytest.mark.golden
def test_decisions_at_finewebs_thresholds_are_those_of_datatrove(datatrove):
    rows = datatrove("gopher")
    found = measured(*(row["asked"] for row in rows))
    other = [theirs["id"] for ours, theirs in zip(found, rows, strict=True) if kept(ours) != kept(theirs)]
    assert len(other) <= len(rows) // 100, other


def test_an_empty_text_has_counts_and_no_ratios_but_of_its_one_empty_piece():
    empty, blank, one = measured("", " \n ", "word")
    assert {name: value for name, value in empty.items() if value is not None} == {
        "words": 0, "stop_words": 0, "dup_line_frac": 0, "dup_para_frac": 0,
    }  # fmt: skip
    assert (blank["avg_word_length"], blank["alpha_words_ratio"], blank["top_2_gram"]) == (None, None, 0)
    assert (one["words"], one["avg_word_length"], one["alpha_words_ratio"], one["top_2_gram"]) == (1, 4, 1, 0)


def test_a_pair_of_tokens_that_occurs_once_is_the_most_frequent_of_a_text_without_repetition():
    assert measured("ab cd ef gh")[0]["top_2_gram"] == 5 / 11


def test_the_first_occurrence_does_not_count():
    (found,) = measured("abc\nabc\n\nabc")
    assert (found["dup_line_frac"], found["dup_line_char_frac"]) == (2 / 3, 6 / 12)
    assert (found["dup_para_frac"], found["dup_para_char_frac"]) == (0, 0)
