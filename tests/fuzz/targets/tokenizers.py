"""`tokenizer.json` files: ids that are the library's own and bounded, or an error of ours.

Made for added tokens whose ids leave a gap, for ids of billions, and for an end of text that is an HTML tag.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dolma.config import TokenizeConfig
from dolma.errors import DolmaError
from dolma.models.tokenizer_facts import read_facts
from dolma.models.tokenizers_library import encode_texts, load_tokenizer
from tests.fuzz.choices import Choices

CODE = ("dolma/models/tokenizer_facts.py", "dolma/models/tokenizer_file.py", "dolma/models/tokenizers_library.py")
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
_ALPHABET = [chr(byte) for byte in _PRINTED] + [chr(256 + i) for i in range(256 - len(_PRINTED))]
_LETTERS = [*_ALPHABET, "ab", "abc", "<unk>"]
"""All bytes as a byte-level vocabulary writes them (Radford et al. 2019, GPT-2's encoder), and some tokens more."""
_TOKENS = ("<|endoftext|>", "</s>", "<eos>", "<pad>", "<s>", "ab", "x", "", "<|im_end|>", "<unk>")
_IDS = (None, 0, 1, 259, 4_000_000_000, -1, 2**70, 1.5, "1", 300)
_VALUES: tuple[Any, ...] = (None, 0, -1, "", "BPE", [], {}, True, 1e300, ["a", "b"], {"type": "Lowercase"})
_TEXTS = ["abc abd <eos></s>", "", " a", "ééé", "\0\ud7ff", "<|endoftext|>x" * 3, "a" * 200]


def check(choices: Choices, folder: Path) -> None:
    """Open a made-up tokenizer and encode with it."""
    content = _tokenizer(choices)
    if choices.chance(2):
        _edit(content, choices)
    raw = json.dumps(content).encode()
    path = folder / "tokenizer.json"
    path.write_bytes(choices.changed(raw) if choices.chance(8) else raw)
    try:
        facts = read_facts(TokenizeConfig(tokenizer=str(path)))
        tokenizer = load_tokenizer(str(path))
        encoded = encode_texts(tokenizer, allow_special_tokens=False)(_TEXTS)
    except DolmaError:
        return
    control = [*facts.control, (facts.eos, facts.eos_id)]
    for token, id in control:
        assert tokenizer.decode_tokens([id]) == [token]
    assert len(encoded) == len(_TEXTS)
    assert max(ids.max(initial=0) for ids in encoded) < facts.vocab_size < 1 << 31
    html = {"<eos>", "<|endoftext|>"} & {token["content"] for token in content["added_tokens"] if token["special"]}
    assert facts.eos != "</s>" or not html or _is_special(content, "</s>")


def _is_special(content: dict[str, Any], name: str) -> bool:
    return any(token["content"] == name and token["special"] for token in content["added_tokens"])


def _tokenizer(choices: Choices) -> dict[str, Any]:
    letters = _LETTERS[: len(_LETTERS) - choices.below(4)]
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    added = []
    for i in range(choices.below(4)):
        id = choices.pick(_IDS)
        added.append(
            {
                "id": len(vocabulary) + i if id is None else id,
                "content": choices.pick(_TOKENS),
                "special": choices.below(2) == 0,
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            }
        )
    merges = [pair for pair in (["a", "b"], ["ab", "c"]) if "".join(pair) in vocabulary]
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "unk_token": choices.pick([None, "<unk>", "nope"])}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model,
    }


def _edit(content: dict[str, Any], choices: Choices) -> None:
    node = content["model"] if choices.chance(2) else content
    node[choices.pick(list(node))] = choices.pick(_VALUES)
