"""Long and strange text by the table of pre-tokens. Run: `pytest tests/models/test_long_text.py`."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from dolma.config import TokenizeConfig
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import read_facts
from dolma.models.tokenizers_library import encode_texts, load_tokenizer

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
SIZE = 200_000
DRAW = random.Random(0)
TEXTS: dict[str, Callable[[], str]] = {
    "base64": lambda: base64.b64encode(DRAW.randbytes(SIZE)).decode(),
    "one letter": lambda: "a" * SIZE,
    "blanks": lambda: " " * SIZE,
    "newlines": lambda: "\n" * SIZE,
    "digits": lambda: "7" * SIZE,
    "CJK": lambda: "".join(chr(DRAW.randrange(0x4E00, 0x9FA0)) for _ in range(SIZE // 3)),
    "marks": lambda: "a" + "\u0301" * (SIZE // 2),
    "emoji": lambda: "\U0001f600" * (SIZE // 4),
    "blank lines": lambda: "  \n" * (SIZE // 3),
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(read_facts(TokenizeConfig(tokenizer=TOKENIZER)))


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_without_prose_has_the_librarys_ids(kind: str, encoder: Encoder) -> None:
    assert encoder.path == "a table of pre-tokens that the library fills"
    text = TEXTS[kind]()
    (expected,) = encode_texts(load_tokenizer(TOKENIZER), allow_special_tokens=False)([text])
    ids, counts = encoder([text])
    assert counts.tolist() == [len(ids)]
    assert np.array_equal(ids[:-1], expected)


@pytest.mark.slow
def test_memory_does_not_grow_with_long_documents(encoder: Encoder) -> None:
    """2,000 documents of 50 kB, nearly all of whose pre-tokens are new: more than the table holds."""
    draw = random.Random(1)

    def encode(n: int) -> int:
        for _ in range(n // 20):
            encoder([" ".join(f"{draw.getrandbits(48):x}" for _ in range(3800)) for _ in range(20)])
        return psutil.Process().memory_info().rss

    after_warming_up = encode(1000)
    assert encode(1000) - after_warming_up < 48 << 20
