"""What documents are framed with, and the type that holds their ids: from a `tokenizer.json` and the files beside it.

What the file says about truncation, padding and the special tokens around a text is not used: a document is encoded
whole, and its begin and end tokens are the recipe's, once each.

Which token ends a document stands in no `tokenizer.json`. In this order: `eos` of the recipe; what the files of
transformers beside it say; a special token that is called so; where no token is special, any token that is. A name
decides alone: where two would do, the user is asked.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.tokens import Dtype, dtype_of
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.models.tokenizer_file import TokenizerFile, read_tokenizer_file
from dolma.printable import printable

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<｜end▁of▁sentence｜>")
PADDING = ("<|pad|>", "<|padding|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>")
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
"""Files of transformers that name the end-of-text token, the most telling first."""
KEY = "$.tokenize.tokenizer"
_LISTED = 20
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFacts:
    """A tokenizer and how documents are to be framed by it.

    `pinned` is the name and commit of a hub that it was found by. `vocab_size` is the largest id that it can emit plus
    one, added tokens included; `dtype` holds every id below it.
    `eos_because` says what decided on the token that ends documents. `control` are the tokens that stand for something
    other than text, with their ids: special ones, and those that begin, end and pad documents; but not the one for
    unknown text. With `drops_characters`, those that it has no token for vanish.
    """

    path: str
    pinned: str | None
    sha256: str
    vocab_size: int
    dtype: Dtype
    eos: str
    eos_id: int
    eos_because: str
    bos: str | None
    bos_id: int | None
    pad_id: int | None
    control: tuple[tuple[str, int], ...]
    drops_characters: bool


def read_facts(config: TokenizeConfig) -> TokenizerFacts:
    """The facts of the tokenizer that a recipe names.

    Raises:
        ConfigError: no such file, no tokenizer, no such token, several that may end a document, or a type too small
            for its ids.
    """
    file = read_tokenizer_file(config.tokenizer, key=KEY)
    ids, special = file.ids, [token.content for token in file.added if token.special]
    eos, because = _end_of_text(config, file, special)
    bos = config.bos
    if bos is not None:
        _check_token(bos, ids, special, "bos")
    if file.unknown is not None and file.unknown in (eos, bos) and not file.has_every_byte:
        raise ConfigError(
            f"{file.unknown!r} is also what {printable(config.tokenizer)} makes of unknown text, so it would stand "
            f"within documents\n  name another token: {_listed(special)}",
            path="$.tokenize." + ("eos" if file.unknown == eos else "bos"),
        )
    pad = next((token for token in PADDING if token in special), None)
    control = {token: ids[token] for token in (*special, eos, bos, pad) if token is not None}
    control.pop(file.unknown or "", None)
    return TokenizerFacts(
        path=file.path,
        pinned=file.pinned,
        sha256=hashlib.sha256(file.raw).hexdigest(),
        vocab_size=file.vocab_size,
        dtype=_dtype(config, file.vocab_size),
        eos=eos,
        eos_id=ids[eos],
        eos_because=because,
        bos=bos,
        bos_id=None if bos is None else ids[bos],
        pad_id=None if pad is None else ids[pad],
        control=tuple(sorted(control.items(), key=lambda item: item[1])),
        drops_characters=file.drops_characters,
    )


def _dtype(config: TokenizeConfig, vocab_size: int) -> Dtype:
    smallest = dtype_of(vocab_size)
    if config.dtype == "uint16" and smallest == "uint32":
        raise ConfigError(
            f"uint16 holds ids up to 65,535, this tokenizer's go up to {vocab_size - 1:,}\n"
            "  leave `dtype` out, or set it to uint32",
            path="$.tokenize.dtype",
        )
    return config.dtype or smallest


# --- which token ends a document -------------------------------------------------------------------------------------


def _end_of_text(config: TokenizeConfig, file: TokenizerFile, special: Sequence[str]) -> tuple[str, str]:
    """The token, and why it is that one."""
    if config.eos is not None:
        _check_token(config.eos, file.ids, special, "eos")
        told = {name: tokens for name, tokens in _told_beside(file, needed=False).items() if config.eos not in tokens}
        return config.eos, "; ".join(["given", *(f"{name} says {_or(tokens)}" for name, tokens in told.items())])
    if told := _told_beside(file, needed=True):
        return _agreed(told, file)
    shown = printable(config.tokenizer)
    named = [token for token in END_OF_TEXT if token in (special or file.ids)]
    if len(named) == 1:
        return named[0], "the only special token with such a name" if special else "the only token with such a name"
    if named:
        raise _unclear(f"{shown} has {_or(named, 'and')}, and either may end a document", named[0])
    plain = [token for token in END_OF_TEXT if token in file.ids]
    but = f"; it has {_or(plain, 'and')}, not marked special" if plain else ""
    raise _unclear(f"cannot tell which token of {shown} ends a document; its special tokens: {_listed(special)}{but}")


def _agreed(told: Mapping[str, Sequence[str]], file: TokenizerFile) -> tuple[str, str]:
    """The one token that all of the files name; a generation may end with further ones."""
    every = list(dict.fromkeys(itertools.chain.from_iterable(told.values())))
    agreed = [token for token in every if all(token in tokens for tokens in told.values())]
    said = "; ".join(f"{name} says {_or(tokens)}" for name, tokens in told.items())
    if len(agreed) != 1:
        raise _unclear(f"cannot tell which token of {printable(file.path)} ends a document: {said}", every[0])
    if agreed[0] not in file.ids:
        raise _unclear(f"{printable(file.path)} has no such token, though beside it {said}")
    return agreed[0], f"named by {_or(list(told), 'and', quoted=False)} beside it"


def _told_beside(file: TokenizerFile, *, needed: bool) -> dict[str, list[str]]:
    """The end-of-text tokens that each file beside the tokenizer names, if it names any."""
    tokens = {id: token for token, id in file.ids.items()}
    told: dict[str, list[str]] = {}
    for name in BESIDE:
        content = _content(streams.join(os.path.dirname(file.path) or ".", name), needed=needed)
        given = content.get("eos_token_id" if name == "generation_config.json" else "eos_token")
        for one in given if isinstance(given, list) else [given]:
            token = one.get("content") if isinstance(one, Mapping) else one
            if isinstance(token, int | str) and not isinstance(token, bool):
                told.setdefault(name, []).append(token if isinstance(token, str) else tokens.get(token, f"id {token}"))
    return told


def _content(path: str, *, needed: bool) -> Mapping[str, Any]:
    try:
        return decode_json(streams.read_bytes(path, limit=_MOST_BYTES), dict[str, Any])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, DataError) as error:
        if not needed:
            return {}
        message = error.message if isinstance(error, DataError) else printable(error)
        raise _unclear(
            f"{printable(path)} may say which token ends a document, and cannot be read: {message}"
        ) from error


def _unclear(message: str, example: str = "TOKEN") -> ConfigError:
    quoted = example if example == "TOKEN" else f"'{printable(example)}'"
    return ConfigError(f"{message}\n  name it: `--eos {quoted}`", path="$.tokenize.eos")


def _check_token(token: str, ids: Mapping[str, int], special: Sequence[str], key: str) -> None:
    if token not in ids:
        raise ConfigError(
            f"the tokenizer has no token {token!r}; {did_you_mean(token, special[:_LISTED])}", path=f"$.tokenize.{key}"
        )


def _or(words: Sequence[str], word: str = "or", *, quoted: bool = True) -> str:
    shown = [repr(one) for one in words] if quoted else list(words)
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}" if len(shown) > 1 else shown[0]


def _listed(tokens: Sequence[str]) -> str:
    more = f" and {len(tokens) - _LISTED} more" if len(tokens) > _LISTED else ""
    return ", ".join(map(printable, tokens[:_LISTED])) + more if tokens else "none"
