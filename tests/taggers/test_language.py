"""Languages of labelled sentences, and what has none. Run: `pytest tests/taggers/test_language.py`."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.language import LANGUAGES, Language

ENGLISH = "The committee met on Tuesday and decided to postpone the vote until everyone had read the report."
GERMAN = "Der Ausschuss tagte am Dienstag und beschloss, die Abstimmung zu verschieben."


@pytest.fixture(scope="module")
def tagger() -> Language:
    return Language()


def rows(tagger: Language, *texts: str) -> list[dict]:
    columns = check_columns(tagger(TextBatch.of(texts)), outputs=tagger.outputs, n_docs=len(texts), tagger="language")
    return [{name: column[i].as_py() for name, column in columns.items()} for i in range(len(texts))]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        ("Le comité s'est réuni mardi et a décidé de reporter le vote.", "fr"),
        ("El comité se reunió el martes y decidió aplazar la votación.", "es"),
        ("Комитет собрался во вторник и решил отложить голосование.", "ru"),
        ("委員会は火曜日に開かれ、投票を延期することを決めました。", "ja"),
        ("委员会星期二开会,决定推迟投票,直到每个人都读过报告。", "zh"),
        ("اجتمعت اللجنة يوم الثلاثاء وقررت تأجيل التصويت.", "ar"),
    ],
)
def test_the_language_of_a_sentence_is_the_most_probable(tagger, text, language):
    row = rows(tagger, text)[0]
    assert row["top"] == language
    assert row["top_score"] == row[language] == max(row[code] for code in LANGUAGES) > 0.5


def test_text_in_capitals_keeps_its_language(tagger):
    assert rows(tagger, ENGLISH.upper())[0] == rows(tagger, ENGLISH)[0]


def test_newlines_are_spaces(tagger):
    assert rows(tagger, ENGLISH.replace(" ", "\n"))[0] == rows(tagger, ENGLISH)[0]


def test_whitespace_at_both_ends_changes_nothing(tagger):
    assert rows(tagger, f" \n{ENGLISH}\n\n")[0] == rows(tagger, ENGLISH)[0]


@pytest.mark.parametrize("text", ["", "\n", "abc", " \u3000", "12:30, 4 + 5 = 9", "\x00" * 20, "🎉" * 20])
def test_text_with_few_letters_is_undetermined_with_score_0(tagger, text):
    row = rows(tagger, text)[0]
    assert row.pop("top") == "und"
    assert set(row.values()) == {0.0}


def test_a_top_score_below_the_floor_is_undetermined_and_still_reported():
    row = rows(Language(min_score=1.0), "qzx wvk jjq xkz pqq")[0]
    assert row["top"] == "und"
    assert 0 < row["top_score"] < 1


def test_mixed_text_gives_one_result(tagger):
    row = rows(tagger, f"{ENGLISH}\n{GERMAN}")[0]
    assert row["top"] in ("en", "de")
    assert row["en"] + row["de"] > 0.5


def test_what_follows_the_models_own_end_mark_is_read(tagger):
    assert rows(tagger, f"</s> {GERMAN}")[0]["top"] == "de"


def test_a_long_document_is_judged_by_its_beginning_middle_and_end(tagger):
    long = ENGLISH * 40 + GERMAN * 2000
    assert rows(tagger, long)[0]["top"] == "de"
    assert rows(Language(max_characters=10**9), long)[0]["top"] == "de"


def test_the_same_text_gets_the_same_scores_in_any_batch(tagger):
    assert rows(tagger, GERMAN, "", ENGLISH * 100)[2] == rows(tagger, ENGLISH * 100)[0]


def test_only_the_languages_asked_for_are_outputs():
    tagger = Language(languages=("sw", "id"))
    assert list(tagger.outputs) == ["top", "top_score", "sw", "id_"]
    assert rows(tagger, GERMAN)[0]["top"] == "de"


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80), max_size=3))
def test_any_text_gets_one_result_with_scores_in_0_to_1(tagger, texts):
    for row in rows(tagger, *texts):
        assert row.pop("top")
        assert all(0 <= score <= 1 for score in row.values())


def test_an_unknown_language_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"knows no language 'eng'; did you mean"):
        Language(languages=("eng",))


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*none\.ftz"):
        Language(path=tmp_path / "none.ftz")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.ftz").write_text("This is not a model, but long enough to be read as a header.")
    with pytest.raises(ConfigError, match="not a fastText model"):
        Language(path=tmp_path / "text.ftz")


@pytest.mark.parametrize("limits", [{"max_characters": 0}, {"min_letters": -1}, {"min_score": 2}])
def test_limits_out_of_range_are_refused(limits):
    with pytest.raises(ConfigError, match="expected max_characters"):
        Language(**limits)


def test_it_works_without_the_fasttext_library():
    code = "import sys; sys.modules['fasttext'] = None\n"
    code += "from dolma.taggers.language import Language; from dolma.data.batch import TextBatch\n"
    code += f"print(Language()(TextBatch.of([{ENGLISH!r}]))['top'][0].as_py())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "en\n"


def test_scores_are_the_librarys(tagger):
    texts = [ENGLISH, GERMAN, ENGLISH * 200, "qzx wvk jjq xkz pqq", "Ünïcödé İstanbul ΣΊΣΥΦΟΣ </S> größer"]
    with importlib.resources.as_file(importlib.resources.files("dolma.taggers") / "models/lid.176.ftz") as file:
        library = fasttext.load_model(str(file)).f
    for row, text in zip(rows(Language(max_characters=10**6), *texts), texts, strict=True):
        line = text.lower().replace("</s>", " ") + "\n"
        found = {label.removeprefix("__label__"): score for score, label in library.predict(line, -1, 0.0, "strict")}
        assert row["top_score"] == pytest.approx(max(found.values()), abs=1e-5)
        assert all(row[code] == pytest.approx(found.get(code, 0), abs=1e-5) for code in LANGUAGES)


def test_loading_the_model_prints_nothing(capfd):
    Language()
    assert capfd.readouterr() == ("", "")
