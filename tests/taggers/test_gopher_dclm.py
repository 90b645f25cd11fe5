"""Gopher's measures follow DCLM's definitions. Run: `pytest tests/taggers/test_gopher_dclm.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.kernels.reference import dclm as reference
from dolma.kernels.reference.symbols import symbol_counts
from dolma.taggers.gopher_dclm import STOP_WORDS, GopherDclm, uniseg_words

PIECES = ["the", "Of", "have", "cat", "it's", "-", "●", "* x", "...", ". . .", "…", "#", ",", "1", "漢字", "\n", "\n\n"]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80),
)


def measured(*given: str) -> list[dict[str, float | None]]:
    tagger = GopherDclm()
    columns = check_columns(tagger(TextBatch.of(given)), outputs=tagger.outputs, n_docs=len(given), tagger="")
    return [{name: column[i].as_py() for name, column in columns.items()} for i in range(len(given))]


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def twin(text: str) -> dict[str, float | None]:
    batch = TextBatch.of([text])
    segments = batch.view(uniseg_words)
    spans = zip(segments.starts.tolist(), segments.ends.tolist(), strict=True)
    segmented = [batch.utf8[start:end].tobytes().decode() for start, end in spans]
    words, lines = text.split(), reference.pieces(text, separator="\n")
    stop = [word.lower() for word in words if word.lower() in STOP_WORDS]
    by_unit = {"line": lines, "paragraph": reference.pieces(text, separator="\n\n")}
    repeated = {unit: reference.repeated(pieces) or (None, None) for unit, pieces in by_unit.items()}
    shares = reference.ngram_shares(segmented)
    return {
        "words": len(segmented),
        "word_length": share(sum(map(len, words)), len(words)),
        "symbol_ratio": share(sum(symbol_counts(text)), len(words)),
        "bullet_ratio": share(sum(line.startswith(("●", "•", "*", "-")) for line in lines), len(lines)),
        "ellipsis_ratio": share(sum(line.endswith(("...", ". . .", "…")) for line in lines), len(lines)),
        "non_alphabetic_ratio": share(sum(not any(map(str.isalpha, word)) for word in words), len(words)),
        "stop_words": len(stop),
        "distinct_stop_words": len(set(stop)),
        **{f"repeated_{unit}s": by_count for unit, (by_count, _) in repeated.items()},
        **{f"repeated_{unit}_characters": by_points for unit, (_, by_points) in repeated.items()},
        **{f"most_common_{n}gram": shares[n - 2] for n in (2, 3, 4)},
        **{f"repeated_{n}grams": shares[n - 2] for n in range(5, 11)},
    }


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=4))
def test_measures_equal_those_of_the_twin(documents):
    for found, text in zip(measured(*documents), documents, strict=True):
        assert found == pytest.approx(twin(text), abs=1e-12)


@pytest.mark.parametrize("text", ["", " \n\u3000\n"])
def test_a_text_without_lines_has_no_ratios(text):
    (found,) = measured(text)
    assert {name for name, value in found.items() if value is None} == {
        "word_length", "symbol_ratio", "bullet_ratio", "ellipsis_ratio", "non_alphabetic_ratio", "repeated_lines",
        "repeated_line_characters", "repeated_paragraphs", "repeated_paragraph_characters",
    }  # fmt: skip
    assert set(found.values()) == {None, 0}


def test_a_single_line_does_not_repeat():
    (found,) = measured("word")
    assert (found["words"], found["word_length"], found["repeated_lines"], found["repeated_paragraphs"]) == (1, 4, 0, 0)


def test_all_occurrences_of_a_line_count_but_a_line_of_whitespace_divides_no_paragraph():
    (found,) = measured("a\n \na\n\nbc")
    assert (found["repeated_lines"], found["repeated_line_characters"]) == (2 / 3, 0.5)
    assert found["repeated_paragraphs"] == 0


def test_the_most_common_ngram_may_cover_more_than_everything():
    assert measured("a a a a")[0]["most_common_3gram"] == 1.5
