"""Tokenizers compared on the same documents. Run: pytest tests/tokens/test_comparison.py"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TagConfig, TaggerSpec
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, DataError
from dolma.taggers.tag import tag
from dolma.tokens.comparison import Comparison, Figures, Size, compare


@pytest.fixture
def compared(tmp_path: Path, tokenizer: Callable[..., str]) -> Callable[..., Comparison]:
    """`compared(documents...)` by the tokenizer whose tokens are bytes."""

    def call(*documents: str, **settings: Any) -> Comparison:
        return compare([tokenizer()], Dataset(documents=documents), **settings)

    return call


def test_figures_by_source(documents: Callable[..., str], compared: Callable[..., Comparison]):
    one = documents(["one two", "three"], "a/documents/a.jsonl.gz")
    other = documents(["é"], "b/documents/b.jsonl.gz")
    found = compared(one, other)
    assert found.sources == {"a": Size(documents=2, bytes=12, words=3), "b": Size(documents=1, bytes=2, words=1)}
    assert found.total == Size(documents=3, bytes=14, words=4)
    (column,) = found.tokenizers
    assert column.sources["a"] == Figures(tokens=12, bytes_per_token=1, tokens_per_word=4, unknown=0, partial=0)
    assert column.sources["b"] == Figures(tokens=2, bytes_per_token=1, tokens_per_word=2, unknown=0, partial=1)
    assert (column.total.tokens, column.used, column.vocab_size) == (14, 10, 257)


def test_documents_without_words_or_tokens_have_no_ratios(
    documents: Callable[..., str], compared: Callable[..., Comparison]
):
    column = compared(documents(["", " "])).tokenizers[0]
    assert (column.total.bytes_per_token, column.total.tokens_per_word) == (1, None)


def test_unknown_text_and_byte_fallback_are_shares_of_tokens(
    tokenizer: Callable[..., str], documents: Callable[..., str]
):
    words = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}}
    model = {"type": "WordLevel", "vocab": {"a": 0, "?": 1}, "unk_token": "?"}
    unknown = tokenizer({**words, "model": model}, "words.json")
    vocabulary = {"<unk>": 0, "a": 1, **{f"<0x{byte:02X}>": byte + 2 for byte in range(256)}}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>", "byte_fallback": True}
    fallback = tokenizer({"version": "1.0", "added_tokens": [], "model": model}, "fallback.json")
    paths = documents(["a a b a"], "a/documents/a.jsonl"), documents(["aé"], "b/documents/b.jsonl")
    one, two = compare([unknown, fallback], Dataset(documents=paths)).tokenizers
    assert (one.sources["a"].unknown, one.sources["a"].partial) == (0.25, 0)
    assert two.sources["b"].partial == pytest.approx(2 / 3)


def test_longest_tokens_are_those_that_the_texts_have(documents: Callable[..., str], sample: Path):
    path = documents(["the the  information of the information"])
    column = compare([str(sample / "tokenizer.json")], Dataset(documents=(path,))).tokenizers[0]
    first = column.longest[0]
    assert (first.token, first.bytes, first.count) == (" information", 12, 2)


def test_tokens_agree_with_the_stage(documents: Callable[..., str], run: Callable[..., Any], sample: Path):
    path, tokenizer = str(sample / "code" / "documents" / "*.jsonl.gz"), str(sample / "tokenizer.json")
    total = run([path], tokenizer=tokenizer).ledger.total().out
    column = compare([tokenizer], Dataset(documents=(path,))).tokenizers[0]
    assert column.total.tokens == total.tokens - total.documents  # each has an end-of-text token


def test_a_sample_has_as_many_documents_and_depends_on_the_seed(
    documents: Callable[..., str], compared: Callable[..., Comparison]
):
    paths = [documents([f"{n} " * n for n in range(1, 40)], f"{name}.jsonl") for name in "ab"]
    found = [compared(*paths, sample=20, seed=seed) for seed in (0, 0, 1)]
    assert {one.total.documents for one in found} == {20}
    assert {one.sampled for one in found} == {78}
    assert found[0] == found[1]
    assert found[0].total != found[2].total


def test_a_sample_as_large_as_the_corpus_is_the_corpus(
    documents: Callable[..., str], compared: Callable[..., Comparison]
):
    path = documents(["a", "b"])
    assert compared(path, sample=2) == compared(path)


def test_languages_by_a_field(tmp_path: Path, compared: Callable[..., Comparison]):
    path = tmp_path / "a.jsonl"
    lines = [
        {"id": "1", "text": "a", "metadata": {"lang": "en"}},
        {"id": "2", "text": "é b", "metadata": {"lang": "fr"}},
        {"id": "3", "text": "b"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = compared(str(path), language="metadata.lang")
    assert {name: size.bytes for name, size in found.languages.items()} == {"en": 1, "fr": 4, "none": 1}
    assert found.tokenizers[0].languages["fr"].tokens_per_word == 2


def test_languages_by_an_attribute(tmp_path: Path, documents: Callable[..., str], compared: Callable[..., Comparison]):
    (tmp_path / "mine.py").write_text(
        "import pyarrow as pa\n"
        "from dolma.data.columns import DocText\n"
        "class Mine:\n"
        "    name, version, outputs = 'language', 1, {'top': DocText('code')}\n"
        "    def __call__(self, batch):\n"
        "        return {'top': pa.array([text[:2] or None for text in batch.texts()])}\n"
    )
    dataset = Dataset(documents=(documents(["en a", "de b", ""]),))
    tag(dataset, TagConfig(taggers=[TaggerSpec(use=f"{tmp_path / 'mine.py'}:Mine")]))
    found = compared(*dataset.documents)
    assert found.language == "language.top"
    assert {name: size.documents for name, size in found.languages.items()} == {"en": 1, "de": 1, "none": 1}


def test_a_field_that_no_document_has_is_an_error(documents: Callable[..., str], compared: Callable[..., Comparison]):
    with pytest.raises(
        ConfigError, match=r"--language: no document .* has a value in 'lang'; they have: id, source, text"
    ):
        compared(documents(["a"]), language="lang")


def test_no_documents_is_an_error(tmp_path: Path, compared: Callable[..., Comparison]):
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(DataError, match="there are no documents to compare on"):
        compared(str(tmp_path / "a.jsonl"))
