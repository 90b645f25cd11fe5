from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dolma.config import TokenizeConfig
from dolma.errors import ConfigError, DataError, RecordError
from dolma.models import encoder as encoders
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import read_facts
from dolma.models.tokenizers_library import encode_texts, load_tokenizer

Write = Callable[..., str]


def encoder_at(path: str, *, allow_special_tokens: bool = False, **config: Any) -> Encoder:
    return Encoder(read_facts(TokenizeConfig(tokenizer=path, **config)), allow_special_tokens=allow_special_tokens)


def template(*ids: str) -> dict[str, Any]:
    """A post-processor that puts its own tokens around a text (`A`)."""
    parts = [{"Sequence" if id == "A" else "SpecialToken": {"id": id, "type_id": 0}} for id in ids]
    tokens = {"<s>": 256, "</s>": 257}
    return {
        "type": "TemplateProcessing",
        "single": parts,
        "pair": [*parts, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in tokens.items()},
    }


def test_each_text_ends_with_the_end_of_text_token_once(tokenizer: Write) -> None:
    ids, counts = encoder_at(tokenizer())(["ab", "c"])
    assert (ids.tolist(), counts.tolist()) == ([97, 98, 256, 99, 256], [3, 2])


def test_a_text_without_tokens_is_not_framed(tokenizer: Write) -> None:
    ids, counts = encoder_at(tokenizer())(["", "a", ""])
    assert (ids.tolist(), counts.tolist()) == ([97, 256], [0, 2, 0])


def test_no_texts_give_nothing(tokenizer: Write) -> None:
    ids, counts = encoder_at(tokenizer())([])
    assert len(ids) == len(counts) == 0


@pytest.mark.parametrize(("bos", "framed"), [(None, [97, 257]), ("<s>", [256, 97, 257])])
def test_tokens_that_the_tokenizer_adds_itself_are_not_doubled(
    bos: str | None, framed: list[int], tokenizer: Write, byte_tokenizer: Any, token: Any
) -> None:
    content = byte_tokenizer(token(256, "<s>"), token(257, "</s>"), post_processor=template("<s>", "A", "</s>"))
    assert encoder_at(tokenizer(content), bos=bos)(["a"])[0].tolist() == framed


def test_truncation_and_padding_of_the_file_are_not_used(tokenizer: Write, byte_tokenizer: Any, token: Any) -> None:
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 8},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    content = byte_tokenizer(token(256, "</s>"), truncation=truncation, padding=padding)
    assert encoder_at(tokenizer(content))(["abcdef", "a"])[1].tolist() == [7, 2]


def test_text_that_looks_like_a_control_token_is_text(tokenizer: Write) -> None:
    encoder = encoder_at(tokenizer())
    ids, _ = encoder(["a<|endoftext|>", "<|endoftext|>"])
    assert ids.tolist().count(256) == 2
    assert encoder.decode(ids) == "a<|endoftext|><|endoftext|>"


def test_special_tokens_may_be_allowed(tokenizer: Write) -> None:
    encoder = encoder_at(tokenizer(), allow_special_tokens=True)
    assert encoder(["a<|endoftext|>b"])[0].tolist() == [97, 256, 98, 256]


def test_an_end_token_that_is_not_marked_special_does_not_come_from_text(
    tokenizer: Write, byte_tokenizer: Any, token: Any
) -> None:
    encoder = encoder_at(tokenizer(byte_tokenizer(token(256, "</s>", special=False))))
    ids, counts = encoder(["plain", "a</s>b</s>"])
    assert ids.tolist().count(256) == 2 and counts.tolist() == [6, 11]
    assert bytes(ids[6:-1].tolist()) == b"a</s>b</s>"


def test_a_control_token_in_the_models_own_vocabulary_does_not_come_from_text(tokenizer: Write) -> None:
    pieces = [["<unk>", 0.0], ["</s>", -1.0], ["<", -3.0], ["/", -3.0], ["s", -3.0], [">", -3.0], ["a", -3.0]]
    content = {"version": "1.0", "added_tokens": [], "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces}}
    ids, _ = encoder_at(tokenizer(content))(["a</s>"])
    assert ids.tolist() == [6, 2, 3, 4, 5, 1]


def test_a_control_token_of_one_character_in_a_text_is_an_error(
    tokenizer: Write, byte_tokenizer: Any, token: Any
) -> None:
    encoder = encoder_at(tokenizer(byte_tokenizer(token(256, "␄", special=False))), eos="␄")
    with pytest.raises(RecordError, match="gives the control token 256"):
        encoder(["a␄"])


def test_placeholders_that_are_added_tokens_but_not_special_stay_tokens(
    tokenizer: Write, byte_tokenizer: Any, token: Any
) -> None:
    content = byte_tokenizer(token(256, "</s>"), token(257, "|||EMAIL_ADDRESS|||", special=False))
    assert encoder_at(tokenizer(content))(["a|||EMAIL_ADDRESS|||"])[0].tolist() == [97, 257, 256]


@pytest.mark.parametrize("kind", ["spaces", "letters", "base64", "cjk"])
def test_a_megabyte_without_prose_is_encoded_whole(kind: str, sample: Path) -> None:
    draw = random.Random(0)
    text = {
        "spaces": " " * 1_000_000,
        "letters": "a" * 1_000_000,
        "base64": base64.b64encode(draw.randbytes(750_000)).decode(),
        "cjk": "".join(chr(draw.randrange(0x4E00, 0x9FA0)) for _ in range(333_000)),
    }[kind]
    encoder = encoder_at(str(sample / "tokenizer.json"))
    ids, counts = encoder([text])
    assert counts.tolist() == [len(ids)]
    assert encoder.decode(ids) == text


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_documents(sample: Path) -> None:
    encoder, draw = encoder_at(str(sample / "tokenizer.json")), random.Random(0)

    def encode(n_docs: int) -> int:
        for _ in range(n_docs // 50):
            words = [f"{draw.getrandbits(40):x}" for _ in range(1500)]
            encoder([" ".join(words[i:] + words[:i]) for i in range(50)])
        return psutil.Process().memory_info().rss

    after_warming_up = encode(1000)
    assert encode(3000) - after_warming_up < 48 << 20


def test_a_tokenizer_that_changes_during_a_run_is_noticed(tokenizer: Write, byte_tokenizer: Any, token: Any) -> None:
    facts = read_facts(TokenizeConfig(tokenizer=tokenizer()))
    tokenizer(byte_tokenizer(token(256, "<|endoftext|>"), token(257, "</s>")))
    with pytest.raises(DataError, match="changed while it was being read"):
        Encoder(facts)


def test_a_model_that_encodes_no_text_is_a_config_error(
    tokenizer: Write, byte_tokenizer: Any, token: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(tokenizer: Any, *, allow_special_tokens: bool) -> Any:
        def encode(texts: list[str]) -> None:
            raise RecordError("the tokenizer fails on this text: no regex") from ValueError("no regex")

        return encode

    monkeypatch.setattr("dolma.models.tokenizers_library.encode_texts", fails)
    with pytest.raises(
        ConfigError, match=r"\$\.tokenize\.tokenizer: tokenizers .* cannot encode any text with .*: no re"
    ):
        load_tokenizer(tokenizer(), key="$.tokenize.tokenizer")


def test_a_closed_vocabulary_encodes_its_own_words(tokenizer: Write, token: Any) -> None:
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"</s>": 0, "ja": 1}}
    content = {"version": "1.0", "added_tokens": [token(0, "</s>")], "model": model}
    assert encoder_at(tokenizer(content))(["ja"])[0].tolist() == [1, 0]


def test_a_model_that_the_library_cannot_read_is_a_config_error(tokenizer: Write) -> None:
    content = {"version": "1.0", "added_tokens": [], "model": {"type": "Other", "vocab": {"</s>": 0}}}
    with pytest.raises(ConfigError, match=r"tokenizers [\d.a-z-]+ cannot read"):
        encoder_at(tokenizer(content))


def test_the_environment_is_left_as_it_was(tokenizer: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    encoder_at(tokenizer())(["a"])
    assert "TOKENIZERS_PARALLELISM" not in os.environ


@pytest.mark.parametrize(("version", "slow"), [("0.22.2", True), ("1.0.0-rc.3", False)])
def test_an_old_library_is_pointed_out(version: str, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenizers.__version__", version)
    note = encoders.slow_note()
    assert (note is not None) == slow
    assert note is None or "pip install 'dolma[fast]'" in note


def test_both_generations_of_the_library_are_called_alike() -> None:
    class Old:
        """The calls of 0.2x."""

        encode_special_tokens = False

        def no_truncation(self) -> None:
            self.truncation = None

        def no_padding(self) -> None:
            self.padding = None

        def encode_batch_fast(self, texts: list[str], *, add_special_tokens: bool) -> list[Any]:
            assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
            assert self.encode_special_tokens and not add_special_tokens
            return [type("Encoding", (), {"ids": list(text.encode())}) for text in texts]

    encode = encode_texts(Old(), allow_special_tokens=False)
    assert [ids.tolist() for ids in encode(["a", "bc"] * 200)] == [[97], [98, 99]] * 200


def test_a_panic_of_the_library_is_a_record_error() -> None:
    PanicException = type("PanicException", (BaseException,), {})

    class Old:
        def no_truncation(self) -> None: ...

        def no_padding(self) -> None: ...

        def encode_batch_fast(self, texts: list[str], *, add_special_tokens: bool) -> list[Any]:
            raise PanicException("Onig: Regex search error: retry-limit-in-match over")

    encode = encode_texts(Old(), allow_special_tokens=False)
    with pytest.raises(
        RecordError,
        match=r"fails on this text: Onig: .*\n  another version of it may: .* `pip install 'dolma\[fast\]'`",
    ):
        encode([" " * 10])


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"type": "Unigram", "unk_id": None, "vocab": [["</s>", 0.0], ["a", -1.0]]}, "ab"),
        ({"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"</s>": 0, "a": 1}}, "b"),
        ({"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"</s>": 0, "a": 1}}, "b"),
    ],
)
def test_whatever_the_library_raises_is_a_record_error(
    model: dict[str, Any], text: str, tokenizer: Write, token: Any
) -> None:
    if model["type"] == "WordPiece":
        model |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    encoder = encoder_at(tokenizer({"version": "1.0", "added_tokens": [token(0, "</s>")], "model": model}))
    assert encoder(["a"])[0].tolist() == [1, 0]
    with pytest.raises(RecordError, match="the tokenizer fails on this text: "):
        encoder(["a", text])


def test_added_tokens_that_the_library_numbers_anew_are_refused(
    tokenizer: Write, byte_tokenizer: Any, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(301, "<eot>"), token(305, "<x>", special=False)))
    with pytest.raises(
        ConfigError, match=r"the added token '<eot>' is 301, tokenizers \S+ gives it 256: shards would hold both"
    ):
        encoder_at(path, eos="<eot>")


def no_unknown(token: Any, **model: Any) -> dict[str, Any]:
    """A BPE of a few letters, with neither an unknown token nor bytes."""
    vocab = {letter: i for i, letter in enumerate("abc </s>")} | {"ab": 8}
    fields = {"unk_token": None, "fuse_unk": False, "byte_fallback": False, "dropout": None, **model}
    fields |= {"type": "BPE", "vocab": vocab, "merges": ["a b"]}
    return {"version": "1.0", "added_tokens": [token(9, "<eos>")], "model": fields}


@pytest.mark.parametrize("fields", [{}, {"fuse_unk": True}])
def test_characters_without_a_token_are_counted(fields: dict[str, Any], tokenizer: Write, token: Any) -> None:
    encoder = encoder_at(tokenizer(no_unknown(token, **fields)))
    assert encoder.facts.drops_characters
    assert encoder(["aZb"])[0].tolist() == [8, 9]
    assert encoder.n_dropped(["aZb", "日本", "c", "", "ZZa ZZ"]) == 7
    assert encoder.n_dropped(["<eos>"]) == 2  # as text; "e" and "o" have no token


def test_no_character_of_a_byte_level_tokenizer_is_dropped(tokenizer: Write) -> None:
    encoder = encoder_at(tokenizer())
    assert not encoder.facts.drops_characters and encoder.n_dropped(["日本"]) == 0
