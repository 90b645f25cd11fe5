"""A Hugging Face `tokenizer.json`, read and checked before the `tokenizers` library sees it.

The library makes tables as long as the largest id, numbers added tokens anew where their ids leave a gap, and drops
characters that it has no token for. What the file says is known here first, so that each of these is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizer_place import find_tokenizer, is_hub_name
from dolma.printable import printable

MOST_BYTES = 512 << 20
"""The longest file that is read; public ones have up to 35 MB."""
SPARE_IDS = 1 << 20
"""How many ids below the largest one may belong to no token."""

MOST_GROWTH = 64
"""How many times as long as a text its normal form may be; a space that becomes `▁` has three bytes."""

_SLOW = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "tiktoken.model")
_FROM_FOLDER = (
    'transformers converts the folder: `python -c "from transformers import AutoTokenizer as T; '
    "T.from_pretrained('{0}').save_pretrained('{0}-json')\"` writes {0}-json/tokenizer.json"
)
_FROM_TIKTOKEN = (
    'transformers converts ranks of tiktoken: `python -c "from transformers.integrations.tiktoken import '
    "convert_tiktoken_to_fast as c; c('cl100k_base', 'converted')\"`, with the name of the encoding"
)

_FROM_RWKV = (
    "RWKV's vocabulary is matched greedily, which no tokenizer.json can say: use a model's tokenizer that has one"
)

_Id = Annotated[int, msgspec.Meta(ge=0)]


class AddedToken(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `added_tokens`."""

    id: _Id
    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None  # the library's default is that it is not special


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    vocab: dict[str, _Id] | list[tuple[str, float]]
    type: str | None = None
    unk_id: int | None = None
    unk_token: str | None = None
    byte_fallback: bool | None = None
    continuing_subword_prefix: str | None = None
    dropout: float | None = None


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    model: _Model
    added_tokens: list[AddedToken] | None = None
    normalizer: Any = None
    pre_tokenizer: Any = None
    post_processor: Any = None


@dataclass(frozen=True, kw_only=True)
class TokenizerFile:
    """What a `tokenizer.json` says. `ids` has every token, added ones included; `vocab_size` is the largest id + 1.

    `pinned`: the name and commit of a hub that it was found by.
    """

    path: str
    raw: bytes
    content: _Content
    pinned: str | None = None

    @property
    def added(self) -> Sequence[AddedToken]:
        """The added tokens, in the order of the file."""
        return self.content.added_tokens or ()

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each token."""
        return {**self.vocabulary, **{token.content: token.id for token in self.added}}

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """The id of each token of the model, which may have added tokens among them."""
        vocabulary = self.content.model.vocab
        if isinstance(vocabulary, list):
            return {piece: i for i, (piece, _) in enumerate(vocabulary)}
        return vocabulary

    @cached_property
    def vocab_size(self) -> int:
        """The largest id plus one; at least the number of pieces, of which two may be spelled alike."""
        return max(len(self.content.model.vocab), max(self.ids.values(), default=-1) + 1)

    @property
    def unknown(self) -> str | None:
        """The token that stands for unknown text, if the file names one."""
        model = self.content.model
        if isinstance(model.vocab, list):
            return model.vocab[model.unk_id][0] if model.unk_id is not None else None
        return model.unk_token

    @property
    def is_byte_level(self) -> bool:
        """Whether its tokens are written as bytes, each of which has a symbol (`BYTE_SYMBOLS`)."""
        return _is_byte_level(self.content.pre_tokenizer) or _is_byte_level(self.content.normalizer)

    @property
    def continuing_prefix(self) -> str:
        """What stands before a token within a word, and is no text."""
        return self.content.model.continuing_subword_prefix or ""

    @property
    def has_every_byte(self) -> bool:
        """Whether a BPE has a token for each byte of UTF-8, so that no text is unknown to it."""
        model = self.content.model
        if model.type not in ("BPE", None) or isinstance(model.vocab, list):
            return False
        if self.is_byte_level:
            return all(BYTE_SYMBOLS[byte] in model.vocab for byte in _UTF8_BYTES)
        return bool(model.byte_fallback) and all(f"<0x{byte:02X}>" in model.vocab for byte in _UTF8_BYTES)

    @property
    def drops_characters(self) -> bool:
        """Whether characters that it has no token for vanish: a BPE with neither all bytes nor an unknown token."""
        model = self.content.model
        is_bpe = model.type in ("BPE", None) and not isinstance(model.vocab, list)
        return is_bpe and model.unk_token is None and not self.has_every_byte


def _is_byte_level(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    lists = (part.get("pretokenizers"), part.get("normalizers"))
    inner = [one for found in lists if isinstance(found, list) for one in found]
    return part.get("type") == "ByteLevel" or any(map(_is_byte_level, inner))


_UTF8_BYTES = [*range(0xC0), *range(0xC2, 0xF5)]  # others occur in no text
_PLAIN = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_ODD = [byte for byte in range(0x100) if byte not in _PLAIN]
BYTE_SYMBOLS = [chr(byte) if byte in _PLAIN else chr(0x100 + _ODD.index(byte)) for byte in range(0x100)]
"""The printable character that byte-level tokenizers, since GPT-2, write each byte as."""
BYTES = {symbol: byte for byte, symbol in enumerate(BYTE_SYMBOLS)}
"""The byte of each symbol."""
_FALLBACK = re.compile("<0x([0-9A-F]{2})>")


def fallback_byte(token: str) -> int | None:
    """The byte that a token of byte fallback stands for; None for other tokens.

    >>> fallback_byte("<0x0A>"), fallback_byte("<0xyz>")
    (10, None)
    """
    found = _FALLBACK.fullmatch(token)
    return None if found is None else int(found[1], 16)


def read_tokenizer_file(path: str, *, key: str = "") -> TokenizerFile:
    """The file at `path`, or that `find_tokenizer` finds for it.

    `key` is the path in the recipe, or the tagger, of the setting that names it.

    Raises:
        ConfigError: there is none, it is no `tokenizer.json`, or its ids are not those of its tokens.
    """
    place = find_tokenizer(path)
    path = place.path
    raw = _read(path, key)
    try:
        content = decode_json(raw, _Content)
        unk_id, vocabulary = content.model.unk_id, content.model.vocab
        if isinstance(vocabulary, list) and unk_id is not None and not 0 <= unk_id < len(vocabulary):
            raise msgspec.ValidationError(f"`unk_id` is {unk_id}, its vocabulary has {len(vocabulary):,} pieces")
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{printable(path)} is no tokenizer.json: {printable(error)}\n  {_conversion(path, raw)}", path=key
        ) from error
    file = TokenizerFile(path=path, raw=raw, content=content, pinned=place.pinned)
    _check_ids(file, key)
    _check_growth(file, key)
    return file


def _read(path: str, key: str) -> bytes:
    if os.path.isdir(path):
        slow = any(os.path.isfile(streams.join(path, name)) for name in _SLOW)
        how = _FROM_FOLDER.format(printable(path.rstrip("/"))) if slow else "give the path of a tokenizer.json"
        raise ConfigError(f"{printable(path)} is a folder without a tokenizer.json\n  {how}", path=key)
    try:
        return streams.read_bytes(path, limit=MOST_BYTES)
    except FileNotFoundError as error:
        name, _, revision = path.partition("@")
        wanted = f" --revision {printable(revision)}" if revision else ""
        hub = f"; of a hub, get it once: `hf download {printable(name)} tokenizer.json{wanted}`"
        raise ConfigError(
            f"no such file: {printable(path)}"
            f"\n  give the path of a tokenizer.json, or of its folder{hub if is_hub_name(path) else ''}",
            path=key,
        ) from error
    except DataError as error:
        raise ConfigError(
            f"{printable(path)}: {error.message}\n  give the path of a tokenizer.json", path=key
        ) from error


def _conversion(path: str, raw: bytes) -> str:
    folder, name = os.path.dirname(path) or ".", os.path.basename(path)
    beside, from_folder = streams.join(folder, "tokenizer.json"), _FROM_FOLDER.format(printable(folder))
    if name != "tokenizer.json" and os.path.isfile(beside):
        return f"give the file beside it: {printable(beside)}"
    if name.endswith(".model") or (raw[:1] == b"\n" and b"<unk>" in raw[:64]):
        return f"a SentencePiece model needs its tokenizer_config.json beside it; {from_folder}"
    if ".tiktoken" in name or raw[:200].partition(b"\n")[0].endswith(b"= 0"):
        return _FROM_TIKTOKEN
    if name.startswith("rwkv_vocab") or raw[:200].partition(b"\n")[0].startswith(b"1 '"):
        return _FROM_RWKV
    if name in (*_SLOW, "tokenizer_config.json", "merges.txt"):
        return from_folder
    return "expected the file that `tokenizers` saves, with a `model` and its `vocab`"


def _check_growth(file: TokenizerFile, key: str) -> None:
    """Refuse a file whose replacements, one upon the other, make texts many times as long."""
    growth: dict[str, float] = {}  # of a character: bytes of the normal form that has it, per byte of text
    for old, new in _replacements([file.content.normalizer, file.content.pre_tokenizer]):
        before = max((growth.get(character, 1) for character in old), default=max([1, *growth.values()]))
        now = before * max(1, len(new.encode(errors="replace")) / max(1, len(old.encode(errors="replace"))))
        if now > MOST_GROWTH:
            raise ConfigError(
                f"{printable(file.path)}: its normalizer makes a text up to {now:,.0f} times as long; "
                f"at most {MOST_GROWTH} times, or memory runs out\n  leave out replacements that make text longer",
                path=key,
            )
        growth |= {character: max(now, growth.get(character, 1)) for character in new}


def _replacements(part: Any) -> Iterator[tuple[str, str]]:
    """What is replaced by what, in the order of the file; an expression as the empty text, since it may match that."""
    if isinstance(part, list):
        for one in part:
            yield from _replacements(one)
    elif isinstance(part, dict):
        for name in ("normalizers", "pretokenizers"):
            yield from _replacements(part.get(name))
        pattern, new = part.get("pattern"), part.get("content")
        if part.get("type") == "Replace" and isinstance(new, str) and isinstance(pattern, dict):
            yield str(pattern.get("String", "")), new


def _check_ids(file: TokenizerFile, key: str) -> None:
    shown = printable(file.path)
    for added in file.added:
        if (number := file.vocabulary.get(added.content, added.id)) != added.id:
            raise ConfigError(
                f"{shown}: {added.content!r} has the id {number:,} in the vocabulary, and "
                f"{added.id:,} as an added token"
                "\n  give each token one id",
                path=key,
            )
    if file.vocab_size > len(file.ids) + SPARE_IDS:
        token = max(file.ids, key=file.ids.__getitem__)
        raise ConfigError(
            f"{shown}: the id of {token!r} is {file.ids[token]:,}, though there are {len(file.ids):,} tokens; "
            f"tables are as long as the largest id, so at most {SPARE_IDS:,} ids may have no token\n"
            "  number the tokens from 0 on",
            path=key,
        )
    tokens: dict[int, str] = {}
    for token, id in file.ids.items():
        if (other := tokens.setdefault(id, token)) != token:
            raise ConfigError(
                f"{shown}: {other!r} and {token!r} both have the id {id}\n  give each token an id of its own",
                path=key,
            )
