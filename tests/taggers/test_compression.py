"""What compresses well and what badly. Run: `pytest tests/taggers/test_compression.py`."""

from __future__ import annotations

import base64
import gzip
import json
import math
import random
import zlib
from pathlib import Path

import numpy as np
import pytest

from dolma.data.batch import TextBatch
from dolma.taggers.compression import Compression

SAMPLE = Path(__file__).parents[2] / "data/sample"


def sample_texts(source: str) -> list[str]:
    texts = []
    for path in sorted(SAMPLE.glob(f"{source}/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def value(name: str, text: str) -> float | None:
    return Compression()(TextBatch.of([text]))[name].to_pylist()[0]


@pytest.mark.parametrize("source", ["techdocs", "multilingual", "code"])
def test_the_ratio_of_real_text_follows_that_of_zlib(source: str) -> None:
    texts = [text for text in sample_texts(source) if len(text) > 500]
    ours = np.log(Compression()(TextBatch.of(texts))["compression_ratio"].to_numpy())
    theirs = np.log([len(text.encode()) / len(zlib.compress(text.encode())) for text in texts])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert abs(np.median(ours - theirs)) < 0.12


def test_random_bytes_in_base64_need_six_bits_a_character():
    text = base64.b64encode(random.Random(1).randbytes(100_000)).decode()
    assert value("bits_per_character", text) == pytest.approx(6, abs=0.05)
    assert value("character_entropy", text) == pytest.approx(6, abs=0.01)


def test_a_text_said_ten_times_is_a_tenth_new():
    text = " ".join(sample_texts("techdocs"))[:20_000]
    assert value("compressed_bytes", text * 10) < 1.01 * value("compressed_bytes", text)


def test_entropy_is_of_characters_and_of_bytes():
    assert value("character_entropy", "漢字漢字") == 1.0
    assert value("byte_entropy", "漢字漢字") == pytest.approx(math.log2(6))


def test_an_empty_text_has_a_size_but_no_ratio():
    columns = Compression()(TextBatch.of([""]))
    assert [column.to_pylist() for column in columns.values()] == [[0], [None], [None], [0.0], [0.0]]
