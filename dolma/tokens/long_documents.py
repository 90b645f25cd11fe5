"""Documents that are longer than a shard, cut into parts.

A part ends before a token that begins a word: the last one that leaves it no longer than may be. Where the second half
of the part has none, as in a script without spaces, it ends before a token that begins a character; without one of
those, where it is full.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.models.tokenizer_file import BYTES, TokenizerFile, fallback_byte, read_tokenizer_file
from dolma.tokens.order import Counts

WORD, CHARACTER, INSIDE = 2, 1, 0
"""What a token begins; `INSIDE` of a character, nothing."""

Starts = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Parts of documents: of which one, tokens, `part` of `parts` from 0 on, and tokens in the parts before."""

    document: Counts
    counts: Counts
    part: Counts
    parts: Counts
    offsets: Counts


def whole(counts: Counts) -> Cuts:
    """Documents of these sizes as a part each."""
    n, zeros = len(counts), np.zeros(len(counts), np.int64)
    return Cuts(document=np.arange(n), counts=counts, part=zeros, parts=np.ones(n, np.int64), offsets=zeros)


def cut_long(ids: npt.NDArray[Any], counts: Counts, *, most: int, starts: Starts) -> Cuts:
    """Documents with these ids, one after the other, in parts of at most `most` tokens.

    >>> starts = np.array([INSIDE, CHARACTER, WORD], np.uint8)
    >>> cut_long(np.array([2, 1, 2, 1, 1, 2, 0]), np.array([5, 2]), most=3, starts=starts).counts
    array([2, 3, 2])
    """
    begins = np.cumsum(counts) - counts
    sizes = {i: _sizes(starts[ids[begins[i] : begins[i] + counts[i]]], most) for i in np.flatnonzero(counts > most)}
    parts = np.ones(len(counts), np.int64)
    for i, found in sizes.items():
        parts[i] = len(found)
    firsts = np.cumsum(parts) - parts
    document = np.repeat(np.arange(len(counts)), parts)
    cut = counts[document]
    for i, found in sizes.items():
        cut[firsts[i] : firsts[i] + len(found)] = found
    return Cuts(
        document=document,
        counts=cut,
        part=np.arange(len(document)) - firsts[document],
        parts=parts[document],
        offsets=np.cumsum(cut) - cut - begins[document],
    )


def _sizes(begun: Starts, most: int) -> list[int]:
    """Tokens of each part of a document whose tokens begin this."""
    sizes, at = [], 0
    while len(begun) - at > most:
        first = at + most // 2 + 1
        window = begun[first : min(at + most + 1, len(begun) - 1)]  # what ends a document is in no part by itself
        found = next((found for kind in (WORD, CHARACTER) if len(found := np.flatnonzero(window >= kind))), None)
        size = most if found is None else first + int(found[-1]) - at
        sizes.append(size)
        at += size
    return [*sizes, len(begun) - at]


@functools.lru_cache(maxsize=2)
def token_starts(path: str, sha256: str) -> Starts:
    """What each id of the tokenizer begins; `sha256` tells files of one path apart."""
    file = read_tokenizer_file(path)
    starts = np.full(file.vocab_size, CHARACTER, np.uint8)
    for token, id in file.vocabulary.items():
        starts[id] = _begins(token, file)
    return starts


def _begins(token: str, file: TokenizerFile) -> int:
    model = file.content.model
    if file.is_byte_level:
        return _byte_begins(BYTES.get(token[:1]))
    if (byte := fallback_byte(token)) is not None:
        return _byte_begins(byte)
    if prefix := file.continuing_prefix:
        return CHARACTER if token.startswith(prefix) else WORD
    return WORD if model.type == "WordLevel" or token[:1] == "\u2581" or token[:1].isspace() else CHARACTER


def _byte_begins(byte: int | None) -> int:
    if byte is None:
        return CHARACTER
    if 0x80 <= byte < 0xC0:
        return INSIDE
    return WORD if bytes([byte]).isspace() else CHARACTER
