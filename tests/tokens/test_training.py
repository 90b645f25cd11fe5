"""`dolma tokenize train` as a function. Run: pytest tests/tokens/test_training.py"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dolma
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, DataError, OutputExistsError
from dolma.models.tokenizers_library import encode_texts, load_tokenizer
from dolma.runner.options import RunOptions
from dolma.runner.task import TaskResult
from dolma.tokens.patterns import PATTERNS, pretokens
from dolma.tokens.training import Settings, WriteTokenizer, read_report, train_tokenizer
from dolma.tokens.verify import verify_tokens

AS_THE_SAMPLE = Settings(vocab_size=4096, pattern="gpt2", min_count=1)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Path]:
    """`train(pattern, settings, output="out")` gives the folder of the tokenizer."""

    def call(
        *documents: str, settings: Settings | None = None, output: str = "out", workers: int = 1, **dataset: Any
    ) -> Path:
        train_tokenizer(
            Dataset(documents=documents, **dataset),
            settings or Settings(vocab_size=300, min_count=1),
            output=str(tmp_path / output),
            options=RunOptions(workers=workers),
        )
        return tmp_path / output

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".inputs.json"}


def words(text: str, pattern: str) -> list[str]:
    batch = TextBatch.of([text])
    ends = pretokens(batch.utf8, batch.offsets, pattern).tolist()
    return [text.encode()[start:end].decode() for start, end in itertools.pairwise([0, *ends])]


def test_the_sample_gives_the_tokenizer_that_tokenizers_0_2x_has_made(train: Callable[..., Path], sample: Path):
    folder = train(str(sample / "*" / "documents" / "*.jsonl.gz"), settings=AS_THE_SAMPLE)
    assert (folder / "tokenizer.json").read_bytes() == (sample / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokenizers_0_2x_trains_the_same(train: Callable[..., Path], sample: Path, pattern: str):
    library = pytest.importorskip("tokenizers")
    if not hasattr(library, "trainers"):
        pytest.skip("tokenizers 1.0 has no trainer")
    level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = library.pre_tokenizers.Split(library.Regex(PATTERNS[pattern]), "isolated")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([split, level])
    trainer = library.trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=sorted(level.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    import gzip

    path = sample / "multilingual" / "documents"
    texts = [json.loads(line)["text"] for file in sorted(path.iterdir()) for line in gzip.open(file, "rt")]
    tokenizer.train_from_iterator(texts, trainer=trainer)
    folder = train(str(path / "*"), settings=Settings(vocab_size=2000, pattern=pattern))
    ours = json.loads((folder / "tokenizer.json").read_text())
    assert ours["model"]["merges"] == json.loads(tokenizer.to_str())["model"]["merges"]


def test_any_number_of_workers_and_pieces_gives_the_same_bytes(
    train: Callable[..., Path], documents: Callable[..., str]
):
    paths = [documents([f"{name} has words {n}" for n in range(30)], f"{name}/documents/a.jsonl") for name in "ab"]
    one = train(*paths)
    other = train(*paths, output="other", workers=2, piece_bytes=300)
    assert files(one) == files(other)


def test_the_tokenizer_encodes_and_decodes(train: Callable[..., Path], documents: Callable[..., str]):
    folder = train(documents(["low lower lowest " * 3]))
    tokenizer = load_tokenizer(str(folder / "tokenizer.json"))
    text = "lower naïve 漢\n"
    ids = encode_texts(tokenizer, allow_special_tokens=False)([text])[0]
    assert len(ids) < len(text.encode())
    assert tokenizer.decode(ids.tolist()) == text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_token_crosses_the_border_of_a_pre_token(train: Callable[..., Path], documents: Callable[..., str], pattern):
    text = "It's 12345 o'clock,  naïve\r\n\r\n  CamelCase  x/y\n漢字 "
    folder = train(documents([text] * 3), settings=Settings(vocab_size=400, pattern=pattern))
    encode = encode_texts(load_tokenizer(str(folder / "tokenizer.json")), allow_special_tokens=False)
    whole = encode([text])[0].tolist()
    assert whole == np.concatenate(encode(words(text, pattern))).tolist()
    assert len(whole) == len(words(text, pattern))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("gpt2", ["It", "'s", " 12345", "  ", " x"]),
        ("cl100k", ["It", "'s", " ", "123", "45", "  ", " x"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3", "4", "5", "  ", " x"]),
        ("o200k", ["It's", " ", "123", "45", "  ", " x"]),
    ],
)
def test_patterns_cut_as_published(pattern: str, expected: list[str]):
    assert words("It's 12345   x", pattern) == expected


def test_the_stage_tokenizes_with_it(
    train: Callable[..., Path], documents: Callable[..., str], run: Any, tmp_path: Path
):
    path = documents(["some text", "more text"])
    run([path], tokenizer=str(train(path) / "tokenizer.json"))
    assert verify_tokens(str(tmp_path / "tokens")) == []


def test_a_fraction_of_the_documents_depends_on_the_seed(train: Callable[..., Path], documents: Callable[..., str]):
    path = documents([f"w{n} " * n for n in range(40)])
    n_words = [
        read_report(str(train(path, settings=Settings(fraction=0.5, seed=seed), output=f"out{seed}"))).words
        for seed in (0, 1)
    ]
    whole = read_report(str(train(path))).words
    assert 0 < min(n_words) <= max(n_words) < whole
    assert n_words[0] != n_words[1]


def test_the_report_says_what_was_read(train: Callable[..., Path], documents: Callable[..., str]):
    report = read_report(str(train(documents(["a a", "b"]))))
    assert (report.words, report.different, report.merges, report.vocab_size) == (3, 3, 1, 259)
    assert report.comparison.tokenizers[0].tokenizer == "tokenizer.json"
    assert report.comparison.total.words == 3


def test_the_report_is_of_the_documents_that_were_counted(
    train: Callable[..., Path], documents: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    path = documents(["a a", "b"])
    does = WriteTokenizer.__call__

    def while_a_file_appears(self: Any, spec: Any) -> TaskResult:
        documents(["c"], "books/documents/z.jsonl")
        return does(self, spec)

    monkeypatch.setattr(WriteTokenizer, "__call__", while_a_file_appears)
    report = read_report(str(train(f"{Path(path).parent}/*")))
    assert (report.words, report.comparison.total.words) == (3, 3)


def test_attributes_do_not_change_the_report(train: Callable[..., Path], documents: Callable[..., str]):
    path = Path(documents(["a a", "b"], "books/documents/a.jsonl"))
    before = files(train(str(path)))
    dolma.tag(str(path), taggers=["language"], workers=1)
    assert (path.parent.parent / "attributes" / "language").is_dir()
    assert files(train(str(path), output="other")) == before


def test_no_text_is_an_error(train: Callable[..., Path], documents: Callable[..., str]):
    with pytest.raises(DataError, match="there is no text to train on"):
        train(documents(["", ""]))


def test_other_settings_do_not_replace_a_tokenizer(train: Callable[..., Path], documents: Callable[..., str]):
    path = documents(["a a"])
    train(path)
    with pytest.raises(OutputExistsError, match="holds the output of another run: vocab_size was 300, now 301"):
        train(path, settings=Settings(vocab_size=301, min_count=1))


def test_too_small_a_vocabulary_is_an_error():
    with pytest.raises(ConfigError, match="--vocab-size: 257 tokens, expected 258 to 16,777,216"):
        Settings(vocab_size=257)


@pytest.mark.parametrize("tokens", [("",), ("a",), ("<s>", "<s>")])
def test_special_tokens_are_names_given_once(tokens: tuple[str, ...]):
    with pytest.raises(ConfigError, match="is empty, stands for a byte, or is given twice"):
        Settings(special_tokens=tokens)
