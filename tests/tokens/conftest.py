"""Documents on disk, and small tokenizers made here: no file of another folder is needed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter
from dolma.runner.report import StageReport
from dolma.tokens.tokenize import tokenize

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def byte_symbols() -> list[str]:
    """The 256 printable characters that byte-level tokenizers write bytes as, by byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


def added(id: int, content: str, *, special: bool = True) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": id, "content": content, "special": special, **flags}


def byte_level(*tokens: dict[str, Any], vocabulary: Sequence[str] = (), **sections: Any) -> dict[str, Any]:
    """A byte-level BPE: ids 0-255 are bytes; `vocabulary` is never emitted, it takes up ids."""
    vocab = {symbol: i for i, symbol in enumerate([*byte_symbols(), *vocabulary])}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(tokens),
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": [],
        },
        **sections,
    }


EOS = added(256, "<|endoftext|>")


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample corpus, with its tokenizer."""
    return SAMPLE


@pytest.fixture(scope="session")
def token() -> Callable[..., dict[str, Any]]:
    """`token(id, content, special=True)`: an entry of `added_tokens`."""
    return added


@pytest.fixture(scope="session")
def byte_tokenizer() -> Callable[..., dict[str, Any]]:
    """`byte_tokenizer(*added_tokens, vocabulary=(), **sections)`: see `byte_level`."""
    return byte_level


@pytest.fixture
def tokenizer(tmp_path: Path) -> Callable[..., str]:
    """`tokenizer(content)` writes a tokenizer.json and gives its path; default: bytes and `<|endoftext|>`."""

    def write(content: dict[str, Any] | None = None, name: str = "tokenizer.json") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(byte_level(EOS) if content is None else content))
        return str(path)

    return write


@pytest.fixture
def documents(tmp_path: Path) -> Callable[..., str]:
    """`documents(texts, "books/documents/a.jsonl.gz")` writes a document file; returns its path."""

    def write(texts: Sequence[str], name: str = "books/documents/a.jsonl.gz", *, source: str | None = None) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = name.split(".")[0].replace("/documents", "")
        lines = [{"id": f"{stem}/{i}", "text": text, "source": source} for i, text in enumerate(texts)]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return str(path)

    return write


class Notes(NullReporter):
    """Keeps what a stage tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def run(tmp_path: Path, tokenizer: Callable[..., str]) -> Callable[..., StageReport[Any]]:
    """`run(patterns, output="tokens", **config)` tokenizes into a folder of `tmp_path`."""

    def tokenized(
        patterns: Sequence[str],
        *,
        output: str = "tokens",
        workers: int = 1,
        seed: int = 0,
        reporter: Any = None,
        reading: Any = None,
        overwrite: bool = False,
        **config: Any,
    ) -> StageReport[Any]:
        settings = {"tokenizer": str(tmp_path / "tokenizer.json"), **config}
        if not Path(settings["tokenizer"]).exists():
            tokenizer()
        return tokenize(
            Dataset(documents=tuple(patterns)),
            TokenizeConfig(**settings),
            output=str(tmp_path / output),
            options=RunOptions(workers=workers, overwrite=overwrite),
            seed=seed,
            reporter=reporter,
            reading=reading,
        )

    return tokenized


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """`files(output)` gives every file below a folder of `tmp_path`, by relative path."""

    def read(output: str = "tokens") -> dict[str, bytes]:
        folder = tmp_path / output
        paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".inputs.json")
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return read
