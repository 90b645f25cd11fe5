"""`ft_lang_id_*` answer as Dolma 1.2.1 does. Run: `pytest tests/taggers/dolma1/test_language.py`."""

from __future__ import annotations

import pytest

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.dolma1.language import (
    FtLangId1e2,
    FtLangIdDocV1,
    FtLangIdEnDocV2,
    FtLangIdEnOnlyV2,
    FtLangIdEnParagraphV2,
    FtLangIdEnParagraphWithDocScoreV2,
    FtLangIdParagraphV1,
)

COMPARED = (
    FtLangId1e2,
    FtLangIdDocV1,
    FtLangIdEnDocV2,
    FtLangIdEnOnlyV2,
    FtLangIdEnParagraphV2,
    FtLangIdEnParagraphWithDocScoreV2,
)
ALL = (*COMPARED, FtLangIdParagraphV1)
ENGLISH = "This is a quite ordinary sentence, in English."
GERMAN = "Das ist ein ganz gewöhnlicher deutscher Satz, und noch einer."


@pytest.mark.golden
@pytest.mark.parametrize("tagger", COMPARED)
def test_answers_are_those_of_1_2_1(tagger, differences_from_dolma1):
    assert [found for found in differences_from_dolma1(tagger()) if found.output not in ("id", "id_")] == []


@pytest.mark.golden
@pytest.mark.parametrize("tagger", [FtLangId1e2, FtLangIdDocV1])
def test_the_score_of_indonesian_has_another_name(tagger, differences_from_dolma1):
    found = differences_from_dolma1(tagger())
    theirs = {difference.id: difference.dolma1 for difference in found if difference.output == "id"}
    ours = {difference.id: difference.ours for difference in found if difference.output == "id_"}
    assert set(theirs) == set(ours) != set()
    for id, ((start, end, score),) in theirs.items():
        assert ours[id] == [[start, end, pytest.approx(score, abs=1.01e-5)]]


def test_all_languages_of_paragraphs_are_those_of_documents_of_one_paragraph():
    documents = FtLangIdDocV1()(TextBatch.of([ENGLISH, GERMAN]))
    paragraphs = FtLangIdParagraphV1()(TextBatch.of([f"{ENGLISH}\n \n{GERMAN}"]))
    for name, column in documents.items():
        expected = [score for score in column.to_pylist() if score is not None]
        assert [span["score"] for span in paragraphs[name][0].as_py()] == expected


def test_what_follows_the_models_own_end_mark_is_read():
    """1.2.1: 0.12450, what the model says of nothing."""
    batch = TextBatch.of([f"</s> {ENGLISH}", ENGLISH])
    assert [round(score, 5) for score in FtLangIdEnOnlyV2()(batch)["en"].to_pylist()] == [0.94505, 0.94505]


@pytest.mark.parametrize("tagger", ALL)
def test_an_empty_batch_has_empty_columns(tagger):
    made = tagger()
    columns = check_columns(made(TextBatch.of([])), outputs=made.outputs, n_docs=0, tagger=made.name)
    assert all(len(column) == 0 for column in columns.values())


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*none\.bin"):
        FtLangIdEnDocV2(path=tmp_path / "none.bin")
