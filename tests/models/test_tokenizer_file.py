"""What a tokenizer.json says, before the library sees it. Run: `pytest tests/models/test_tokenizer_file.py`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dolma.errors import ConfigError
from dolma.models.tokenizer_file import read_tokenizer_file


def write(tmp_path: Path, model: dict[str, Any], *tokens: dict[str, Any], **sections: Any) -> str:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": list(tokens), "model": model, **sections}))
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_tokenizer_file(path, key="$.t")
    assert str(caught.value).startswith("$.t: ")
    return str(caught.value)


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["vocabulary", "added"])
def test_an_id_far_beyond_the_number_of_tokens_is_refused(at: str, tmp_path: Path) -> None:
    odd = {"type": "BPE", "vocab": {"a": 0, "b": 4_000_000_000}, "merges": []}
    even = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    path = write(tmp_path, odd) if at == "vocabulary" else write(tmp_path, even, {"id": 4 * 10**9, "content": "b"})
    assert "the id of 'b' is 4,000,000,000, though there are 2 tokens; tables are as long as" in refused(path)


@pytest.mark.parametrize("id", [-1, 1.5, "1", None, True])
def test_an_id_that_is_no_number_from_0_on_is_refused(id: Any, tmp_path: Path) -> None:
    assert "is no tokenizer.json: Expected `int`" in refused(write(tmp_path, {"vocab": {"a": id}}))


def test_an_id_of_two_tokens_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"vocab": {"a": 0, "b": 2}}, {"id": 2, "content": "</s>"})
    assert "'b' and '</s>' both have the id 2" in refused(path)


def test_a_token_with_two_ids_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"vocab": {"a": 0, "b": 4_000_000_000}}, {"id": 1, "content": "b"})
    assert "'b' has the id 4,000,000,000 in the vocabulary, and 1 as an added token" in refused(path)


def test_an_unknown_token_outside_the_vocabulary_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1})
    assert "`unk_id` is 1, its vocabulary has 1 pieces" in refused(path)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_device_is_refused() -> None:
    assert "/dev/zero: is a device or a pipe" in refused("/dev/zero")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    assert "is a device or a pipe" in refused(str(tmp_path / "tokenizer.json"))


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "tokenizer.json", "wb") as sparse:
        sparse.truncate(1 << 40)
    assert "has more than 536,870,912 bytes" in refused(str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"model": ' * 100_000, b'{"model": {"vocab": {"\xff": 1}}}'])
def test_json_that_cannot_be_read_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(raw)
    assert "is no tokenizer.json: " in refused(str(path))


@pytest.mark.parametrize(
    ("name", "raw", "hint"),
    [
        ("tokenizer.model", b"\x0a\x0e\x0a\x05<unk>\x15\x00", "SentencePiece model needs its tokenizer_config.json"),
        ("cl100k_base.tiktoken", b"IQ== 0\nIg== 1\n", "convert_tiktoken_to_fast"),
        ("ranks.txt", b"IQ== 0\nIg== 1\n", "convert_tiktoken_to_fast"),
        ("vocab.json", b'{"a": 0}', "transformers converts the folder"),
        ("vocab.txt", b"[PAD]\n[UNK]\n", "transformers converts the folder"),
        ("other.json", b"{}", "expected the file that `tokenizers` saves"),
    ],
)
def test_other_tokenizers_are_named_with_a_way_to_convert_them(
    name: str, raw: bytes, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(raw)
    assert hint in refused(str(tmp_path / name))


def test_a_folder_of_a_slow_tokenizer_is_named_with_a_way_to_convert_it(tmp_path: Path) -> None:
    assert "a folder without a tokenizer.json\n  give the path" in refused(str(tmp_path))
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a")
    assert f"T.from_pretrained('{tmp_path}').save_pretrained('{tmp_path}-json')" in refused(str(tmp_path))


def test_the_file_beside_is_pointed_at(tmp_path: Path) -> None:
    path = write(tmp_path, {"vocab": {"a": 0}})
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert f"give the file beside it: {path}" in refused(str(tmp_path / "tokenizer_config.json"))


# --- characters that vanish ------------------------------------------------------------------------------------------


def bpe(**model: Any) -> dict[str, Any]:
    return {"type": "BPE", "vocab": {"a": 0, "<unk>": 1}, "merges": [], "unk_token": None, **model}


FALLBACK = {f"<0x{byte:02X}>": byte for byte in range(256)}


@pytest.mark.parametrize(
    ("model", "drops"),
    [
        (bpe(), True),
        (bpe(unk_token="<unk>"), False),
        (bpe(byte_fallback=True), True),
        (bpe(byte_fallback=True, vocab=FALLBACK), False),
        (bpe(vocab=FALLBACK), True),
        ({"type": "WordLevel", "vocab": {"a": 0}}, False),  # raises
        ({"type": "Unigram", "vocab": [["a", 0.0]]}, False),  # raises
    ],
)
def test_which_tokenizers_drop_characters(model: dict[str, Any], drops: bool, tmp_path: Path) -> None:
    assert read_tokenizer_file(write(tmp_path, model)).drops_characters == drops


@pytest.mark.parametrize("where", ["pre_tokenizer", "normalizer"])
@pytest.mark.parametrize("nested", [False, True])
def test_bytes_cover_every_text_where_all_are_there(where: str, nested: bool, tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
    model = json.loads(sample.read_text())["model"]
    part: dict[str, Any] = {"type": "ByteLevel"}
    if nested:
        part = {"type": "Sequence", f"{where}s".replace("_", ""): [part]}
    assert not read_tokenizer_file(write(tmp_path, model, **{where: part})).drops_characters
    del model["vocab"]["Ġ"]
    assert read_tokenizer_file(write(tmp_path, model, **{where: part})).drops_characters


@pytest.mark.parametrize("inner", [5, {"a": 1}, "text", [5]])
def test_parts_of_a_pre_tokenizer_that_are_no_list_are_left_to_the_library(inner: Any, tmp_path: Path) -> None:
    path = write(tmp_path, {"type": "BPE", "vocab": {"a": 0}, "merges": []}, pre_tokenizer={"pretokenizers": inner})
    assert not read_tokenizer_file(path).has_every_byte


# --- normalizers -----------------------------------------------------------------------------------------------------


def replacing(*pairs: tuple[str, str], kind: str = "String") -> dict[str, Any]:
    return {
        "type": "Sequence",
        "normalizers": [{"type": "Replace", "pattern": {kind: old}, "content": new} for old, new in pairs],
    }


@pytest.mark.parametrize("kind", ["String", "Regex"])
def test_a_normalizer_that_doubles_text_again_and_again_is_refused(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"vocab": {"a": 0}}, normalizer=replacing(*[("a", "aa")] * 24, kind=kind))
    assert re.search(r"its normalizer makes a text up to \d+ times as long; at most 64 times", refused(path))


def test_a_normalizer_that_puts_a_long_text_for_a_short_one_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"vocab": {"a": 0}}, normalizer=replacing(("a", "b" * 65)))
    assert "up to 65 times as long" in refused(path)


def test_replacements_of_different_characters_are_fine(tmp_path: Path) -> None:
    usual = replacing(("\n", "<newline>"), ("\t", "<tab>"), (" ", "▁"), ("``", '"'), ("''", '"'))
    read_tokenizer_file(write(tmp_path, {"vocab": {"a": 0}}, normalizer=usual))
