"""Tokens are counted as `dolma tokenize` writes them. Run: `pytest tests/taggers/test_tokens.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolma.config import TokenizeConfig
from dolma.data.batch import TextBatch
from dolma.errors import ConfigError
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import read_facts
from dolma.taggers.tokens import Tokens

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
TEXTS = ["To be, or not to be", "", "Ça va?\n\n", "a<|endoftext|>b", "漢字 🎉"]


def test_counts_are_those_of_the_tokenize_stage_without_the_end_of_text():
    _, sizes = Encoder(read_facts(TokenizeConfig(tokenizer=TOKENIZER)))(TEXTS)
    assert Tokens(TOKENIZER)(TextBatch.of(TEXTS))["tokens"].to_pylist() == [max(n - 1, 0) for n in sizes.tolist()]


def test_no_documents_have_no_counts():
    assert Tokens(TOKENIZER)(TextBatch.of([]))["tokens"].to_pylist() == []


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"tokens: no such file: none.json\n  give the path"):
        Tokens("none.json")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tokens: .* is a folder without a tokenizer.json"):
        Tokens(str(tmp_path))
