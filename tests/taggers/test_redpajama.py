"""RedPajama's signals are those of its definitions. Run: `pytest tests/taggers/test_redpajama.py`."""

from __future__ import annotations

import gzip
import json
import math
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from dolma.data.batch import TextBatch
from dolma.taggers.lists.stop_words import ENGLISH
from dolma.taggers.redpajama import RedPajama

SAMPLE = Path(__file__).parents[2] / "data/sample"


def sample_texts(source: str) -> list[str]:
    texts = []
    for path in sorted(SAMPLE.glob(f"{source}/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def normalized(text: str) -> str:
    """As the paper has it: the text as a whole, not letter by letter."""
    text = "".join(c for c in text if c not in string.punctuation).lower()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text.strip()))


def published(text: str) -> dict[str, float]:
    """Some signals of a text that is not empty, each as the paper defines it."""
    raw, words = re.findall(r"\w+|[^\w\s]+", text), normalized(text).split()
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    counts = Counter(words)
    return {
        "rps_doc_word_count": len(words),
        "rps_doc_mean_word_length": sum(map(len, words)) / len(words),
        "rps_doc_frac_unique_words": len(counts) / len(words),
        "rps_doc_unigram_entropy": -sum(n / len(words) * math.log(n / len(words)) for n in counts.values()),
        "rps_doc_frac_all_caps_words": sum(map(str.isupper, raw)) / len(raw),
        "rps_doc_stop_word_fraction": sum(word in set(ENGLISH) for word in raw) / len(raw),
        "rps_doc_lorem_ipsum": normalized(text).count("lorem ipsum") / len(normalized(text)),
        "rps_lines_numerical_chars_fraction": sum(
            sum(map(str.isnumeric, normalized(line))) / max(len(normalized(line)), 1) for line in lines
        )
        / len(lines),
    }


@pytest.mark.parametrize("source", ["techdocs", "multilingual", "forum"])
def test_real_text_has_the_signals_as_published(source: str) -> None:
    texts = sample_texts(source)[::4]
    columns = {name: column.to_pylist() for name, column in RedPajama()(TextBatch.of(texts)).items()}
    for i, text in enumerate(texts):
        expected = published(text)
        assert {name: columns[name][i] for name in expected} == pytest.approx(expected, abs=1e-8), text[:80]


def test_signals_of_a_small_text():
    text = "THE end is near...\n• {Lorem ipsum} no. 1\n\nJavaScript, javascript?"
    values = {name: column.to_pylist()[0] for name, column in RedPajama()(TextBatch.of([text])).items()}
    assert values == {
        "rps_doc_word_count": 11,
        "rps_doc_mean_word_length": pytest.approx(46 / 11),
        "rps_doc_num_sentences": 3,
        "rps_doc_symbol_to_word_ratio": pytest.approx(1 / 17),
        "rps_doc_frac_lines_end_with_ellipsis": 0.25,
        "rps_doc_frac_no_alph_words": pytest.approx(8 / 17),
        "rps_doc_frac_unique_words": pytest.approx(10 / 11),
        "rps_doc_unigram_entropy": pytest.approx(-9 / 11 * math.log(1 / 11) - 2 / 11 * math.log(2 / 11)),
        "rps_doc_frac_all_caps_words": pytest.approx(1 / 17),
        "rps_doc_stop_word_fraction": pytest.approx(3 / 17),
        "rps_doc_lorem_ipsum": pytest.approx(1 / 56),
        "rps_doc_curly_bracket": pytest.approx(2 / 65),
        "rps_lines_num_words": 2.75,
        "rps_lines_javascript_counts": 2,
        "rps_lines_ending_with_terminal_punctution_mark": 0.5,
        "rps_lines_start_with_bulletpoint": 0.25,
        "rps_lines_uppercase_letter_fraction": pytest.approx((3 / 19 + 1 / 22 + 0 + 2 / 23) / 4),
        "rps_lines_numerical_chars_fraction": pytest.approx(1 / 18 / 4),
    }


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_text_without_words_has_no_means(text: str) -> None:
    values = {name: column.to_pylist()[0] for name, column in RedPajama()(TextBatch.of([text])).items()}
    assert values["rps_doc_mean_word_length"] is None
    assert values["rps_doc_stop_word_fraction"] == 0.0
    assert values["rps_lines_num_words"] == (0.0 if text else None)
