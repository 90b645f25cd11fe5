"""Ids by the table of pre-tokens are the library's. Run: `pytest tests/models/test_byte_level.py`."""

from __future__ import annotations

import functools
import itertools
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.kernels.pretokens import CL100K, O200K, classes_of, pattern_of
from dolma.models import byte_level
from dolma.models.byte_level import UNICODE, ByteLevel, NotByteLevel
from dolma.models.tokenizer_file import read_tokenizer_file
from dolma.models.tokenizers_library import encode_texts, load_tokenizer, version
from tests.goldens.make_pretoken_classes import classes
from tests.kernels.test_pretokens import SPECIMENS

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
NFC = {"type": "NFC"}
BLANKS = [(" " * n, False, True) for n in range(24, 1, -1)]
ODD = ("<|a|>", "|||E|||", "a|", "e\u0301", "\u1100\u1161", "\u0316\u0301", "가", "\u212b", "\u0378")


def symbols() -> list[str]:
    """The characters that byte-level tokenizers write each of the 256 bytes as."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    odd = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(0x100 + odd.index(byte)) for byte in range(256)]


@functools.cache
def model() -> dict[str, Any]:
    """A BPE that merges any two neighbours among the bytes of the specimens, so that each border shows in the ids."""
    symbol = symbols()
    used = sorted({byte for one in SPECIMENS for byte in one.encode()})
    merges = [(symbol[first], symbol[second]) for first, second in itertools.product(used, used)]
    random.Random(0).shuffle(merges)
    vocabulary = {one: i for i, one in enumerate([*symbol, *(first + second for first, second in merges)])}
    return {"type": "BPE", "dropout": None, "unk_token": None, "vocab": vocabulary, "merges": merges}


def pre_tokenizer(form: int, digits: int, *, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    pattern = {"Regex": pattern_of(form, digits=digits)}
    split = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    return {"type": "Sequence", "pretokenizers": [split, byte_level_part(use_regex=False)]}


def byte_level_part(**flags: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **flags}


def content(*, added: Sequence[tuple[str, bool, bool]] = (), **sections: Any) -> dict[str, Any]:
    """A tokenizer.json; added tokens are (content, special, normalized)."""
    n = len(model()["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    tokens = [
        {"id": n + i, "content": text, "special": special, "normalized": normalized, **flags}
        for i, (text, special, normalized) in enumerate(added)
    ]
    parts = {"normalizer": None, "pre_tokenizer": byte_level_part(), "post_processor": None, "decoder": None}
    return {"version": "1.0", "added_tokens": tokens, "model": model(), **parts, **sections}


class Both:
    """The library, and the table, of one tokenizer."""

    def __init__(self, file: dict[str, Any] | Path, *, allow_special_tokens: bool = False) -> None:
        with tempfile.NamedTemporaryFile(suffix=".json") as copy:
            if isinstance(file, Path):
                copy.write(file.read_bytes())
            else:
                copy.write(json.dumps(file).encode())
            copy.flush()
            self.whole = encode_texts(load_tokenizer(copy.name), allow_special_tokens=allow_special_tokens)
            self.table = ByteLevel(
                read_tokenizer_file(copy.name), allow_special_tokens=allow_special_tokens, whole=self.whole
            )

    def agree_on(self, texts: list[str]) -> None:
        batch = TextBatch.of(texts)
        ids, counts = self.table(batch.utf8, batch.offsets)
        found = [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])] if texts else []
        assert found == [one.tolist() for one in self.whole(texts)]


TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "neox": {"normalizer": NFC, "added": [("<|a|>", True, False), *BLANKS, ("|||E|||", False, True)]},
    "neox, special ones normalized": {
        "normalizer": NFC,
        "added": [("<|a|>", True, True), *BLANKS, ("|>a", False, True)],
    },
    "dolma2": {
        "pre_tokenizer": pre_tokenizer(CL100K, 3, behavior="Removed", invert=True),
        "added": [("<|a|>", True, False), ("|||E|||", False, False), ("a|", False, False), ("hello", False, True)],
        "post_processor": byte_level_part(),
    },
    "qwen2": {"pre_tokenizer": pre_tokenizer(CL100K, 1), "normalizer": NFC},
    "o200k": {"pre_tokenizer": pre_tokenizer(O200K, 3)},
}


@pytest.mark.property
@pytest.mark.parametrize("allow_special_tokens", [False, True])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_are_the_librarys(name: str, allow_special_tokens: bool) -> None:
    if name == "neox" and allow_special_tokens:
        pytest.skip("such a tokenizer is refused")
    both = Both(content(**TOKENIZERS[name]), allow_special_tokens=allow_special_tokens)
    parts = (
        st.sampled_from([*SPECIMENS, *ODD])
        | st.builds(lambda one, n: one * n, st.sampled_from(SPECIMENS), st.integers(1, 80))
        | st.text("abcXYZ ", max_size=8)
        | st.characters(exclude_categories=["Cs"])
    )

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.lists(parts, max_size=40).map("".join), max_size=4))
    def property_(texts: list[str]) -> None:
        both.agree_on(texts)

    property_()


def test_what_the_library_takes_each_code_point_for_is_in_the_table() -> None:
    """Fails with a library that has another version of Unicode: make a table for it, and name it in `UNICODE`."""
    unicode = UNICODE[".".join(version().split(".")[:2])]
    differ = np.flatnonzero(classes() != classes_of(unicode)[:0x110000])
    assert [hex(point) for point in differ.tolist()] == []


def test_ids_of_the_sample_are_the_librarys() -> None:
    both = Both(SAMPLE / "tokenizer.json")
    shards = Dataset(documents=(str(SAMPLE / "*" / "documents" / "*.jsonl.gz"),)).shards()
    for shard in shards:
        for piece in pieces(shard):
            for batch in read_batches(piece, Reading(), intake=Intake()):
                both.agree_on(batch.texts())


def test_words_with_the_separator_are_encoded_by_themselves() -> None:
    both = Both(content())
    both.agree_on(["a\x1fb", "\x1f\x1f", "plain \x1f text", "\x1f" * 300])


def test_pretokens_that_are_too_long_for_the_table_are_encoded() -> None:
    both = Both(content())
    both.agree_on(["a" * 500 + " " + "a" * 500, "b" * 241])


def test_a_text_that_may_grow_when_it_is_composed_is() -> None:
    both = Both(content(normalizer=NFC))
    both.agree_on(["plain", "e\u0301 \u212b", "", "a\u0378 e\u0301", "\u0958"])


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (
            {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}},
            "pre-tokenizer is Metaspace",
        ),
        ({"pre_tokenizer": byte_level_part(use_regex=False)}, "pre-tokenizer is ByteLevel"),
        ({"pre_tokenizer": pre_tokenizer(CL100K, 3, behavior="MergedWithNext")}, "its Split does more than to cut"),
        ({"pre_tokenizer": pre_tokenizer(CL100K, 2)}, "a pattern that is not known"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [NFC, {"type": "Lowercase"}]}},
            "normalizer is NFC and Lowercase",
        ),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "its model is WordLevel"),
        ({"model": {**model(), "dropout": 0.1}}, "leaves merges out at random"),
        (
            {"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}] * 2}},
            "post-processor is",
        ),
        (
            {"added": [(f"{chr(0x61 + i)}!?", False, False) for i in range(20)]},
            "20 added tokens that begin in many ways",
        ),
        ({"added": [("e\u0301", False, True)]}, "is not in NFC"),
    ],
)
def test_another_part_is_named(sections: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content(**sections)))
    with pytest.raises(NotByteLevel, match=reason):
        ByteLevel(read_tokenizer_file(str(path)), allow_special_tokens=False, whole=lambda texts: [])


def test_an_added_token_that_looks_beside_itself_is_named(tmp_path: Path) -> None:
    file = content(added=[("<m>", False, False)])
    file["added_tokens"][0]["lstrip"] = True
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    with pytest.raises(NotByteLevel, match="'<m>' looks at what is beside it"):
        ByteLevel(read_tokenizer_file(str(path)), allow_special_tokens=False, whole=lambda texts: [])


def test_a_library_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_level, "version", lambda: "1.7.0")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content()))
    with pytest.raises(NotByteLevel, match=r"which Unicode tokenizers 1\.7\.0 has"):
        ByteLevel(read_tokenizer_file(str(path)), allow_special_tokens=False, whole=lambda texts: [])
