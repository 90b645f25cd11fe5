from __future__ import annotations

import errno
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TokenizeConfig
from dolma.errors import ConfigError, WriteError
from dolma.models import tokenizers_library
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import TokenizerFacts, read_facts

Write = Callable[..., str]


def facts_of(path: str, **config: Any) -> TokenizerFacts:
    return read_facts(TokenizeConfig(tokenizer=path, **config))


@pytest.fixture
def sized(tokenizer: Write, byte_tokenizer: Callable[..., dict[str, Any]], token: Any) -> Callable[[int], str]:
    """A tokenizer whose largest id is that of its added end-of-text token."""

    def write(largest: int) -> str:
        filler = [f"<{i}>" for i in range(256, largest)]
        return tokenizer(byte_tokenizer(token(largest, "<|endoftext|>"), vocabulary=filler), f"{largest}.json")

    return write


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(50_279, "uint16"), (65_535, "uint16"), (65_536, "uint32"), (100_277, "uint32"), (248_077, "uint32")],
)
def test_the_type_follows_from_the_largest_id_added_tokens_included(
    largest: int, dtype: str, sized: Callable[[int], str]
) -> None:
    facts = facts_of(sized(largest))
    assert (facts.vocab_size, facts.dtype, facts.eos_id) == (largest + 1, dtype, largest)
    ids, counts = Encoder(facts)(["Grüße, 世界 \U0001f30d!"])
    assert ids.dtype.itemsize == (2 if dtype == "uint16" else 4)
    assert int(ids[-1]) == largest and counts.tolist() == [len(ids)]
    assert Encoder(facts).decode(ids) == "Grüße, 世界 \U0001f30d!"


@pytest.mark.parametrize("largest", [65_536, 100_277])
def test_a_type_too_small_for_the_ids_is_refused(largest: int, sized: Callable[[int], str]) -> None:
    with pytest.raises(ConfigError, match=rf"uint16 holds ids up to 65,535, this tokenizer's go up to {largest:,}"):
        facts_of(sized(largest), dtype="uint16")


def test_a_larger_type_may_be_asked_for(tokenizer: Write) -> None:
    assert facts_of(tokenizer(), dtype="uint32").dtype == "uint32"


def test_the_end_of_text_token_is_found_by_its_usual_names(tokenizer: Write, byte_tokenizer: Any, token: Any) -> None:
    facts = facts_of(tokenizer(byte_tokenizer(token(256, "<pad>"), token(257, "</s>"))))
    assert (facts.eos, facts.eos_id, facts.pad_id, facts.bos_id) == ("</s>", 257, 256, None)


def test_without_a_usual_name_the_special_tokens_are_listed(tokenizer: Write, byte_tokenizer: Any, token: Any) -> None:
    path = tokenizer(byte_tokenizer(token(256, "[CLS]"), token(257, "[SEP]")))
    with pytest.raises(ConfigError, match=r"ends a document; its special tokens: \[CLS\], \[SEP\]\n  name it: `--eos"):
        facts_of(path)
    assert facts_of(path, eos="[SEP]", bos="[CLS]").bos_id == 256


def test_a_token_that_is_not_there_names_the_nearest(tokenizer: Write) -> None:
    with pytest.raises(ConfigError, match=r"no token '<endoftext>'; did you mean '<\|endoftext\|>'"):
        facts_of(tokenizer(), eos="<endoftext>")


def test_the_token_for_unknown_text_is_no_control_token(tokenizer: Write, token: Any) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1, "</s>": 2}, "unk_token": "<unk>"}
    tokens = [token(1, "<unk>"), token(2, "</s>")]
    facts = facts_of(tokenizer({"version": "1.0", "added_tokens": tokens, "model": model}))
    assert facts.control == (("</s>", 2),)


@pytest.mark.parametrize("key", ["eos", "bos"])
def test_the_token_for_unknown_text_frames_no_document(tokenizer: Write, token: Any, key: str) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1, "</s>": 2}, "unk_token": "<unk>"}
    path = tokenizer({"version": "1.0", "added_tokens": [token(1, "<unk>"), token(2, "</s>")], "model": model})
    with pytest.raises(ConfigError, match=rf"^\$\.tokenize\.{key}: '<unk>' is also what .* makes of unknown text"):
        facts_of(path, **{key: "<unk>"})


def test_a_truth_value_beside_a_tokenizer_is_no_token(tokenizer: Write, byte_tokenizer: Any, token: Any) -> None:
    path = tokenizer(byte_tokenizer(token(256, "<eos>")))
    (Path(path).parent / "generation_config.json").write_text('{"eos_token_id": true}')
    assert facts_of(path).eos == "<eos>"


def test_a_name_that_is_not_in_the_cache_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"no such file: allenai/dolma2-tokenizer\n  .*hf download allenai/dolma2"):
        facts_of("allenai/dolma2-tokenizer")


def test_the_vocabulary_of_rwkv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rwkv_vocab_v20230424.txt"
    path.write_text("1 '\\x00' 1\n2 '\\x01' 1\n")
    with pytest.raises(ConfigError, match=r"is no tokenizer.json: .*\n  RWKV's vocabulary is matched greedily"):
        facts_of(str(path))


def test_a_folder_stands_for_the_file_in_it(tmp_path: Path, tokenizer: Write) -> None:
    path = tokenizer()
    assert facts_of(str(tmp_path)) == facts_of(path)


@pytest.mark.parametrize("content", ["", "[]", '{"version": "1.0"}', '{"model": {"type": "BPE"}}', '"text"'])
def test_what_is_no_tokenizer_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"is no tokenizer.json"):
        facts_of(str(path))


# --- which token ends a document -------------------------------------------------------------------------------------

Content = Callable[..., dict[str, Any]]


def test_an_html_tag_of_the_vocabulary_ends_no_document(tokenizer: Write, byte_tokenizer: Content, token: Any) -> None:
    content = byte_tokenizer(token(256, "<eos>"), token(257, "</s>", special=False))
    facts = facts_of(tokenizer(content))
    assert (facts.eos, facts.eos_because) == ("<eos>", "the only special token with such a name")


def test_two_tokens_that_may_end_a_document_are_both_named(
    tokenizer: Write, byte_tokenizer: Content, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(256, "<eos>"), token(257, "</s>")))
    with pytest.raises(
        ConfigError, match=r"has '</s>' and '<eos>', and either may end a document\n  name it: `--eos '"
    ):
        facts_of(path)
    assert facts_of(path, eos="</s>").eos_because == "given"


def test_a_token_that_is_not_special_is_not_guessed_where_others_are(
    tokenizer: Write, byte_tokenizer: Content, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(256, "[SEP]"), token(257, "</s>", special=False)))
    with pytest.raises(ConfigError, match=r"special tokens: \[SEP\]; it has '</s>', not marked special\n  name it"):
        facts_of(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tokenizer_config.json", {"eos_token": "<b>"}),
        ("tokenizer_config.json", {"eos_token": {"content": "<b>", "special": True}}),
        ("special_tokens_map.json", {"eos_token": {"content": "<b>"}}),
        ("generation_config.json", {"eos_token_id": 257}),
        ("generation_config.json", {"eos_token_id": [257]}),
    ],
)
def test_the_files_beside_the_tokenizer_are_believed(
    name: str, said: dict[str, Any], tmp_path: Path, tokenizer: Write, byte_tokenizer: Content, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(256, "</s>"), token(257, "<b>")))
    (tmp_path / name).write_text(json.dumps(said))
    facts = facts_of(path)
    assert (facts.eos, facts.eos_id, facts.eos_because) == ("<b>", 257, f"named by {name} beside it")
    given = facts_of(path, eos="</s>")
    assert (given.eos, given.eos_because) == ("</s>", f"given; {name} says '<b>'")


def test_a_generation_may_end_with_further_tokens(
    tmp_path: Path, tokenizer: Write, byte_tokenizer: Content, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(256, "</s>"), token(257, "<b>")))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [257, 256]}')
    with pytest.raises(ConfigError, match=r"generation_config.json says '<b>' or '</s>'\n  name it: `--eos '<b>'`"):
        facts_of(path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    because = "named by tokenizer_config.json and generation_config.json beside it"
    assert (facts_of(path).eos, facts_of(path).eos_because) == ("</s>", because)


def test_files_that_disagree_are_both_named(
    tmp_path: Path, tokenizer: Write, byte_tokenizer: Content, token: Any
) -> None:
    path = tokenizer(byte_tokenizer(token(256, "</s>"), token(257, "<b>")))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<b>"}')
    with pytest.raises(ConfigError, match=r"tokenizer_config.json says '</s>'; special_tokens_map.json says '<b>'"):
        facts_of(path)


def test_a_token_that_only_the_file_beside_it_knows_is_refused(tmp_path: Path, tokenizer: Write) -> None:
    path = tokenizer()
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<gone>"}')
    with pytest.raises(ConfigError, match=r"no such token, though beside it tokenizer_config.json says '<gone>'"):
        facts_of(path)
    assert facts_of(path, eos="<|endoftext|>").eos_id == 256


def test_a_broken_file_beside_the_tokenizer_is_no_silence(tmp_path: Path, tokenizer: Write) -> None:
    path = tokenizer()
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokenizer_config.json may say which token .*, and cannot be read"):
        facts_of(path)
    assert facts_of(path, eos="<|endoftext|>").eos_id == 256


def test_a_temporary_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: str) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(WriteError, match=re.escape(f"{tempfile.gettempdir()}: cannot be written: File too large")):
        tokenizers_library._loaded(b"{}", "a.json", "")
