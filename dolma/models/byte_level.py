"""Byte-level BPE by a table of pre-tokens: the ids of the library, where it is known that they must be equal.

BPE encodes each pre-token by itself. So its ids can be kept, and the library asked for unseen pre-tokens only
(`dolma/kernels/token_table.py`). That gives the library's ids for every text if the tokenizer has no parts but those
that are known here; else `reason_against` names the part.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.added_tokens import PASSED_OVER, TEXT, Trie, segments, trie_of
from dolma.kernels.composed import COMPOSED, UNCLEAR, forms_of
from dolma.kernels.pretokens import CL100K, GPT2, O200K, UNLIMITED, classes_of, pattern_of, with_room
from dolma.kernels.token_table import Cutting, Segments, TokenTable
from dolma.models.tokenizer_file import BYTE_SYMBOLS, AddedToken, TokenizerFile
from dolma.models.tokenizers_library import EncodeTexts, encode_texts, load_words, version

Ids = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]

UNICODE = {"0.22": 16, "0.23": 16, "1.0": 17}
"""The version of Unicode that each version of the library has, as `tests/models/test_byte_level.py` finds."""
_SEPARATOR = "\x1f"
_PATTERNS = ((GPT2, UNLIMITED), (CL100K, 3), (CL100K, 1), (O200K, 3))  # tokenizers 1.0 takes two digits for three
_HARMLESS = ("ByteLevel", "RobertaProcessing", "BertProcessing")


class NotByteLevel(Exception):
    """A part of the tokenizer for which it is not known that a table gives the library's ids."""


class ByteLevel:
    """Encodes texts of a batch as the library does each of them, without the special tokens that it puts around one.

    `whole` encodes texts by the library alone; it is asked for texts that are not in a normal form which can be made
    here.

    Raises:
        NotByteLevel: the tokenizer has a part that is not known.
    """

    def __init__(self, file: TokenizerFile, *, allow_special_tokens: bool, whole: EncodeTexts) -> None:
        self._whole = whole
        self._cutting, self._prefix = _cutting(file.content.pre_tokenizer)
        self._composes = _composes(file.content.normalizer)
        _check_model(file)
        _check_processor(file.content.post_processor)
        first, second = (
            _trie(file.added, normalized=normalized, allow_special_tokens=allow_special_tokens)
            for normalized in (False, True)
        )
        if first and self._composes:
            raise NotByteLevel("added tokens are looked for before NFC")
        self._tries = [trie for trie in (first, second) if trie]
        self._words = encode_texts(load_words(file, separator=_SEPARATOR), allow_special_tokens=False)
        ids = self._words([_SEPARATOR])[0].tolist()
        self._separator = ids[0]
        if ids != [file.vocabulary.get(BYTE_SYMBOLS[ord(_SEPARATOR)])]:
            raise NotByteLevel("the model has no token for the byte 0x1F")
        self._table = TokenTable(self._answer)
        self._file = file

    def __call__(self, utf8: npt.NDArray[np.uint8], offsets: Counts) -> tuple[Ids, Counts]:
        """The ids of all texts of a batch one after the other, and how many each text has.

        Raises:
            RecordError: the library fails on a text.
        """
        if self._composes:
            forms = forms_of(with_room(utf8), offsets[:-1], offsets[1:])
            if (forms != COMPOSED).any():
                return self._in_parts(utf8, offsets, forms)
        return self._composed(utf8, offsets)

    def _in_parts(
        self, utf8: npt.NDArray[np.uint8], offsets: Counts, forms: npt.NDArray[np.uint8]
    ) -> tuple[Ids, Counts]:
        """As the call, where some texts are not in NFC, or may not be."""
        texts = [utf8[start:end].tobytes() for start, end in itertools.pairwise(offsets)]
        for i in np.flatnonzero(forms == UNCLEAR).tolist():
            texts[i] = unicodedata.normalize("NFC", texts[i].decode()).encode()
        unknown = np.flatnonzero(forms > UNCLEAR).tolist()
        by_library = dict(zip(unknown, self._whole([texts[i].decode() for i in unknown]), strict=True))
        for i in unknown:
            texts[i] = b""
        bounds = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
        ids, counts = self._composed(np.frombuffer(b"".join(texts), np.uint8), bounds)
        if not unknown:
            return ids, counts
        parts = np.split(ids, np.cumsum(counts)[:-1])
        parts = [by_library.get(i, part) for i, part in enumerate(parts)]
        return np.concatenate(parts), np.array([len(part) for part in parts])

    def _composed(self, utf8: npt.NDArray[np.uint8], offsets: Counts) -> tuple[Ids, Counts]:
        text, starts, ends = with_room(utf8), offsets[:-1], offsets[1:]
        tokens, per_text = np.full(len(starts), TEXT), np.ones(len(starts), np.int64)
        for trie in self._tries:
            (starts, ends, tokens), per_text = _cut_again(text, starts, ends, tokens, per_text, trie)
        if self._prefix:
            text, starts, ends = _with_blanks(text, starts, ends, tokens)
        found = Segments(text=text, starts=starts, ends=ends, tokens=tokens)
        ids, counts = self._table.ids_of(found, self._cutting)
        if len(starts) > len(offsets) - 1:
            counts = np.add.reduceat(counts, np.concatenate([[0], np.cumsum(per_text)[:-1]]))
        return ids, counts

    @functools.cached_property
    def _one_by_one(self) -> EncodeTexts:
        """Encodes each text as one pre-token."""
        return encode_texts(load_words(self._file, separator=None), allow_special_tokens=False)

    def _answer(self, joined: npt.NDArray[np.uint8], bounds: Counts) -> tuple[Ids, Counts]:
        """The ids of pre-tokens, by the library, which is given them with separators between."""
        separator = ord(_SEPARATOR)
        if (joined == separator).any():
            words = [joined[start:end].tobytes().decode() for start, end in itertools.pairwise(bounds)]
            each = self._one_by_one(words)
            return np.concatenate(each), np.array([len(ids) for ids in each])
        text = np.insert(joined, bounds[1:-1], separator).tobytes().decode()
        (ids,) = self._words([text])
        is_separator = ids == self._separator
        at = np.flatnonzero(is_separator)
        return ids[~is_separator], np.diff(np.concatenate([[-1], at, [len(ids)]])) - 1


def _cutting(pre_tokenizer: Any) -> tuple[Cutting, bool]:
    """How text is cut, and whether a blank goes before text that has none."""
    unicode = UNICODE.get(".".join(version().split(".")[:2]))
    if unicode is None:
        raise NotByteLevel(f"it is not known which Unicode tokenizers {version()} has")
    parts = pre_tokenizer.get("pretokenizers") if _kind(pre_tokenizer) == "Sequence" else [pre_tokenizer]
    kinds = [_kind(part) for part in parts]
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return Cutting(form=GPT2, digits=UNLIMITED, classes=classes_of(unicode)), bool(parts[0].get("add_prefix_space"))
    if kinds != ["Split", "ByteLevel"]:
        raise NotByteLevel(f"its pre-tokenizer is {' and '.join(map(str, kinds))}")
    split, byte_level = parts
    if byte_level.get("use_regex", True) or byte_level.get("add_prefix_space", True):
        raise NotByteLevel("its ByteLevel does more than to write bytes")
    if (split.get("behavior"), bool(split.get("invert"))) not in (("Isolated", False), ("Removed", True)):
        raise NotByteLevel("its Split does more than to cut")
    pattern = split.get("pattern", {}).get("Regex")
    for form, digits in _PATTERNS:
        if pattern == pattern_of(form, digits=digits):
            return Cutting(form=form, digits=digits, classes=classes_of(unicode)), False
    raise NotByteLevel("its Split has a pattern that is not known")


def _kind(part: Any) -> str | None:
    return part.get("type") if isinstance(part, Mapping) else None


def _composes(normalizer: Any) -> bool:
    """Whether the normalizer is NFC; False if there is none."""
    if normalizer is None:
        return False
    parts = normalizer.get("normalizers") if _kind(normalizer) == "Sequence" else [normalizer]
    if any(_kind(part) != "NFC" for part in parts):
        raise NotByteLevel(f"its normalizer is {' and '.join(str(_kind(part)) for part in parts)}")
    return bool(parts)


def _check_model(file: TokenizerFile) -> None:
    model = file.content.model
    if model.type not in ("BPE", None) or isinstance(model.vocab, list):
        raise NotByteLevel(f"its model is {model.type or 'Unigram'}")
    if model.dropout:
        raise NotByteLevel("its model leaves merges out at random")


def _check_processor(processor: Any) -> None:
    """Raise unless what is done with the ids of a text is to put some around them."""
    for part in processor.get("processors", []) if _kind(processor) == "Sequence" else [processor]:
        kind = _kind(part)
        template = (
            [item for item in part.get("single", []) if "Sequence" in item] if kind == "TemplateProcessing" else []
        )
        if not (kind in (None, *_HARMLESS) or len(template) == 1):
            raise NotByteLevel(f"its post-processor is {kind}")


def _trie(added: Sequence[AddedToken], *, normalized: bool, allow_special_tokens: bool) -> Trie | None:
    """The added tokens that are looked for before the normalizer, or after it; None where none of them may be found."""
    some = [
        token for token in added if (not token.special if token.normalized is None else token.normalized) is normalized
    ]
    found = [token for token in some if allow_special_tokens or not token.special]
    if not found:
        return None
    for token in found:
        if token.single_word or token.lstrip or token.rstrip:
            raise NotByteLevel(f"the added token {token.content!r} looks at what is beside it")
        if token.content != unicodedata.normalize("NFC", token.content) or not token.content:
            raise NotByteLevel(f"the added token {token.content!r} is not in NFC")
    wanted = {token.content for token in found}
    trie = trie_of({token.content: token.id if token.content in wanted else PASSED_OVER for token in some})
    if trie is None:
        raise NotByteLevel(f"it has {len(some)} added tokens that begin in many ways")
    return trie


def _cut_again(
    text: npt.NDArray[np.uint8], starts: Counts, ends: Counts, tokens: Counts, per_text: Counts, trie: Trie
) -> tuple[Any, Counts]:
    """The segments with those that are text cut where there are tokens of the trie, and how many each text has then."""
    is_text = tokens == TEXT
    found, counts = segments(text, starts[is_text], ends[is_text], trie)
    if is_text.all():
        return found, counts if len(per_text) == len(counts) else _sums(counts, per_text)
    sizes = np.ones(len(starts), np.int64)
    sizes[is_text] = counts
    merged = np.empty((3, int(sizes.sum())), np.int64)
    of_text = np.repeat(is_text, sizes)
    merged[:, of_text] = found
    merged[:, ~of_text] = np.stack([starts, ends, tokens])[:, ~is_text]
    return merged, _sums(sizes, per_text)


def _sums(counts: Counts, groups: Counts) -> Counts:
    return np.add.reduceat(counts, np.concatenate([[0], np.cumsum(groups)[:-1]]))


def _with_blanks(
    text: npt.NDArray[np.uint8], starts: Counts, ends: Counts, tokens: Counts
) -> tuple[npt.NDArray[np.uint8], Counts, Counts]:
    """The text with a blank before each segment of text that has none there, and where segments then begin and end."""
    lacks = (tokens == TEXT) & (ends > starts) & (text[starts] != ord(" "))
    moved = np.cumsum(lacks)
    return np.insert(text, starts[lacks], ord(" ")), starts + moved - lacks, ends + moved
