"""C4's rules are datatrove's. Run: `pytest tests/taggers/test_c4_datatrove.py`."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.kernels.reference.c4 import CITATION, line_facts
from dolma.taggers.c4_datatrove import C4Datatrove
from dolma.taggers.lists import naughty_languages, naughty_words

RULES = ("no_terminal_punct", "too_few_words", "too_long_word", "javascript", "policy", "lorem_ipsum", "curly_bracket")
PIECES = ["three words here", "End.", ".", "...", "!", "[1]", "[edit]", "JavaScript", "java[2]script", "Terms of use"]
PIECES += ["coo\u212aie policy", "lorem ipsum", "{", "}", "\n", "\n", "\r\n", "\u2028", "é", "漢字。", "x" * 1001]
PIECES += ["ass", "_", "İ"]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80),
)


def measured(*given: str, **options: Any) -> list[dict[str, Any]]:
    tagger = C4Datatrove(**options)
    columns = check_columns(tagger(TextBatch.of(given)), outputs=tagger.outputs, n_docs=len(given), tagger="")
    return [{name: column[i].as_py() for name, column in columns.items()} for i in range(len(given))]


def spans(found: list[dict[str, float]]) -> list[tuple[int, int, float]]:
    return [(span["start"], span["end"], span["score"]) for span in found]


def twin(text: str, *, terminal_punct: bool) -> dict[str, Any]:
    lines, at = [], 0
    for line in text.splitlines(keepends=True):
        lines.append(((at, at + len(line)), line_facts(line)))
        at += len(line)
    found: dict[str, Any] = {
        f"{rule}_lines": [(*span, float(facts[rule])) for span, facts in lines if facts[rule]] for rule in RULES
    }
    found |= dict.fromkeys(("lines", "kept_lines", "sentences", "lorem_ipsum", "curly_bracket"), 0)
    found["lines"] = len(lines)
    for _, facts in lines:
        if facts["too_long_word"] or facts["too_few_words"] or (terminal_punct and facts["no_terminal_punct"]):
            continue
        found["lorem_ipsum"] += facts["lorem_ipsum"]
        if facts["javascript"]:
            continue
        found["curly_bracket"] += facts["curly_bracket"]
        if not facts["policy"]:
            found["kept_lines"] += 1
            found["sentences"] += facts["sentences"]
    found["citations"] = [(*match.span(), 1.0) for match in CITATION.finditer(text)]
    return found


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=3), st.booleans())
@example(["This is an end. [1]\nThis is one[1].\n"], True)
def test_spans_and_counts_equal_those_of_the_twin(documents, terminal_punct):
    for found, text in zip(measured(*documents, terminal_punct=terminal_punct), documents, strict=True):
        expected = twin(text, terminal_punct=terminal_punct)
        plain = {name: spans(value) if isinstance(value, list) else value for name, value in found.items()}
        assert {name: plain[name] for name in expected} == expected


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*naughty_words("en")[:40], "a", "_", " ", "-", "ass", "é"]), max_size=8).map("".join))
def test_bad_words_stand_between_other_characters(text):
    pattern = re.compile(rf"(?:\W|^)(?:{'|'.join(map(re.escape, naughty_words('en')))})(?:\W|$)")
    assert (measured(text)[0]["bad_words"] > 0) == (pattern.search(text.lower()) is not None)


def left(text, found, *, terminal_punct):
    """The text when the lines and citations are taken out."""
    gone = {rule for rule in RULES[:5] if terminal_punct or rule != "no_terminal_punct"}
    starts = {span["start"] for rule in gone for span in found[f"{rule}_lines"]}
    lines, at = [], 0
    for line in text.splitlines(keepends=True):
        if at not in starts:
            lines.append(CITATION.sub("", line.strip()))
        at += len(line)
    return "\n".join(lines).strip()


@pytest.mark.golden
def test_lines_and_sentences_are_those_of_datatrove(datatrove):
    rows = datatrove("c4")
    other = 0
    for name, terminal_punct in (("default", True), ("fineweb", False)):
        all_found = measured(*(row["asked"] for row in rows), terminal_punct=terminal_punct)
        for found, row in zip(all_found, rows, strict=True):
            for rule in RULES[:5]:
                assert len(found[f"{rule}_lines"]) == row[rule], (row["id"], rule)
            reason, sentences, text = (row[name][key] for key in ("reason", "sentences", "text"))
            assert (found["lorem_ipsum"] + found["curly_bracket"] > 0) == (reason in ("lorem_ipsum", "curly_bracket"))
            if sentences is not None:
                other += (found["sentences"] >= 5) != (sentences >= 5)
            if text is not None:
                ours = left(row["asked"], found, terminal_punct=terminal_punct)
                assert hashlib.sha256(ours.encode()).hexdigest()[:12] == text, row["id"]
    assert other <= len(rows) // 100


def test_bad_words_of_every_language():
    for language in naughty_languages():
        whole = [word for word in naughty_words(language) if word == word.lower()]
        allowed = {"sm", "グロ", "女の子", "性"}
        found = measured(*whole, *(f"x{word}x" for word in whole), languages=[language])
        counts = [row["bad_words"] for row in found]
        assert all(n > 0 or word in allowed for n, word in zip(counts, whole, strict=False)), language
        if language in ("ja", "th", "zh"):
            inside = zip(counts[len(whole) :], whole, strict=True)
            assert all(n > 0 or word in allowed for n, word in inside), language


def test_capitals_of_any_script_are_lower_case_in_the_text_but_not_in_the_list():
    word = next(word for word in naughty_words("ru") if word.isalpha())
    assert measured(f"({word.upper()})", languages=["ru"])[0]["bad_words"] >= 1
    assert measured("cabrón Cabrón", languages=["es"])[0]["bad_words"] == 0


def test_a_language_without_a_list_is_refused():
    with pytest.raises(ConfigError, match="no naughty words in 'xx'"):
        C4Datatrove(languages=["xx"])


def test_a_bad_word_is_a_span():
    assert spans(measured("né: ass!")[0]["bad_word_spans"]) == [(4, 7, 1.0)]


@pytest.mark.parametrize("text", ["", "word"])
def test_texts_with_next_to_nothing(text):
    (found,) = measured(text)
    assert (found["lines"], found["kept_lines"], found["sentences"], found["citations"]) == (len(text) > 0, 0, 0, [])


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\n" * 10_000_000, "[1] a\n" * 100_000, "{ [ " * 300_000])
def test_hostile_texts_take_linear_time(text):
    assert C4Datatrove()(TextBatch.of([text]))["lines"].to_pylist() == [len(text.splitlines())]
