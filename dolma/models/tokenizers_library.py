"""The `tokenizers` library, 1.0 or 0.2x: the one place that knows how they differ.

1.0 encodes tens of times as fast as 0.2x and gives the same ids (docs/decisions.md). A text is never cut for
encoding: both take time linear in its length, also for a megabyte of one letter, of spaces or of base64, and a cut
could change ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data import streams
from dolma.data.identity import changed
from dolma.data.storage.writing import writing
from dolma.errors import ConfigError, DataError, RecordError
from dolma.models.tokenizer_file import AddedToken, TokenizerFile, read_tokenizer_file
from dolma.printable import printable

_TOGETHER = 256
_SHORT_TEXTS = ("A text of 2024.", "a", "0", " ")
_OTHER_VERSION = "another version of it may: `pip install 'tokenizers<1'` or `pip install 'dolma[fast]'`"
_UNKNOWN = "\ue000unknown"  # no text has it as a word

EncodeTexts = Callable[[Sequence[str]], list[npt.NDArray[np.uint32]]]


def load_tokenizer(path: str, *, sha256: str | None = None, key: str = "") -> Any:
    """The library's tokenizer in the file at `path`; `key` is the path in the recipe of the setting that names it.

    Raises:
        DataError: the file's digest is not `sha256`.
        ConfigError: there is none, the library cannot read it or encode with it, or numbers its added tokens in
            another way.
    """
    file = read_tokenizer_file(path, key=key)
    if sha256 is not None and hashlib.sha256(file.raw).hexdigest() != sha256:
        raise changed(path)
    tokenizer = _loaded(file.raw, path, key)
    for token in file.added:
        if not (number := _number(tokenizer, token)) == token.id:
            raise ConfigError(
                f"{printable(path)}: the file says that the added token {token.content!r} is {token.id}, "
                f"tokenizers {version()} gives it {number}: shards would hold both\n"
                "  number added tokens without gaps after the vocabulary, as `tokenizers` saves them",
                path=key,
            )
    _check_that_it_encodes(tokenizer, file, key)
    return tokenizer


def _check_that_it_encodes(tokenizer: Any, file: TokenizerFile, key: str) -> None:
    """Encode short texts and a few of its own tokens; some models fail on what is unknown, none on all of these."""
    encode = encode_texts(tokenizer, allow_special_tokens=False)
    for text in (*_SHORT_TEXTS, *itertools.islice(file.vocabulary, _TOGETHER)):
        try:
            encode([text])
            return
        except RecordError as error:
            failed = error
    reason = printable(failed.__cause__)
    raise ConfigError(
        f"tokenizers {version()} cannot encode any text with {printable(file.path)}: {reason}\n  {_OTHER_VERSION}",
        path=key,
    ) from failed


def version() -> str:
    """The version of the library."""
    import tokenizers

    return tokenizers.__version__


def _loaded(raw: bytes, path: str, key: str) -> Any:
    import tokenizers

    # Version 1.0 reads files only.
    with writing(tempfile.gettempdir()), tempfile.NamedTemporaryFile(prefix="dolma-", suffix=".json") as copy:
        copy.write(raw)
        copy.flush()
        try:
            return tokenizers.Tokenizer.from_file(copy.name)
        except BaseException as error:  # 0.2x raises nothing more special, and either may panic
            if not _is_of_the_library(error):
                raise
            raise ConfigError(
                f"tokenizers {version()} cannot read {printable(path)}: {printable(error)}\n  {_OTHER_VERSION}",
                path=key,
            ) from error


def load_words(file: TokenizerFile, *, separator: str | None) -> Any:
    """The library's tokenizer with the file's model alone, for byte-level words: one, or with separators between."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"String": separator}, "behavior": "Isolated", "invert": False}
    others: dict[str, Any] = {
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level
        if separator is None
        else {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
    }
    content = msgspec.json.decode(file.raw, type=dict[str, msgspec.Raw])
    return _loaded(msgspec.json.encode({**content, **others}), file.path, "")


def read_tokenizer(path: str, *, sha256: str | None) -> bytes:
    """The bytes of a tokenizer's file.

    Raises:
        DataError: the file is gone, or its digest is not `sha256`.
    """
    try:
        content = streams.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(
            "no such file\n  give a tokenizer.json, or fetch one: `dolma fetch --list`", file=path
        ) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise changed(path)
    return content


def _number(tokenizer: Any, token: AddedToken) -> int | list[int] | None:
    """The id that the library gives an added token; several, where it sees other tokens in its content."""
    if hasattr(tokenizer, "token_to_id"):
        return tokenizer.token_to_id(token.content)
    if tokenizer.decode_tokens([token.id]) == [token.content]:
        return token.id
    ids = encode_texts(tokenizer, allow_special_tokens=True)([token.content])[0].tolist()
    return ids[0] if len(ids) == 1 else ids


def encode_texts(tokenizer: Any, *, allow_special_tokens: bool) -> EncodeTexts:
    """A function from texts to the ids of each, uint32, without the special tokens that the file puts around a text.

    Unless `allow_special_tokens`, special tokens in a text are encoded as the characters that they consist of. The
    function raises RecordError where the library fails on a text.
    """
    pipeline = not hasattr(tokenizer, "no_truncation")  # 1.0
    return (_pipeline if pipeline else _classic)(tokenizer, encode_special_tokens=not allow_special_tokens)


def count_dropped(file: TokenizerFile, *, allow_special_tokens: bool) -> Callable[[Sequence[str]], list[int]]:
    """A function from texts to the number of characters of each that vanish (bytes, for a byte-level tokenizer).

    `file.drops_characters`. The texts are encoded by a tokenizer that has one token more, for each unknown character.
    """
    content = json.loads(file.raw)
    model = content["model"]
    number = max(model["vocab"].values(), default=-1) + 1
    model |= {"vocab": model["vocab"] | {_UNKNOWN: number}, "unk_token": _UNKNOWN, "fuse_unk": False}
    tokenizer = _loaded(json.dumps(content).encode(), file.path, "")
    encode = encode_texts(tokenizer, allow_special_tokens=allow_special_tokens)
    return lambda texts: [int(np.count_nonzero(ids == number)) for ids in encode(texts)]


def frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids that the file puts before and after a text, such as those of `[CLS]` and `[SEP]`.

    Raises:
        ConfigError: it puts some into the text.
    """
    bare = encode_texts(tokenizer, allow_special_tokens=False)(["a"])[0].tolist()
    if hasattr(tokenizer, "no_truncation"):
        framed = tokenizer.encode("a").ids
    else:
        framed = tokenizer.encode("a", padding=None, truncation=None).ids_array.tolist()
    for n_before in range(len(framed) - len(bare) + 1):
        if framed[n_before : n_before + len(bare)] == bare:
            return framed[:n_before], framed[n_before + len(bare) :]
    raise ConfigError(
        f"the tokenizer makes {bare} of 'a', and {framed} with its special tokens: no text in a frame"
        "\n  make a template with the text once, `A` or `<s> $A`"
    )


def token_strings(tokenizer: Any) -> Callable[[npt.NDArray[np.uint32]], list[str]]:
    """A function from ids to tokens as they stand in the vocabulary."""
    if hasattr(tokenizer, "decode_tokens"):  # 1.0
        return tokenizer.decode_tokens
    return lambda ids: [tokenizer.id_to_token(number) for number in ids.tolist()]


def _pipeline(tokenizer: Any, *, encode_special_tokens: bool) -> EncodeTexts:
    options = {
        "add_special_tokens": False,
        "encode_special_tokens": encode_special_tokens,
        "padding": None,
        "truncation": None,
    }

    # One by one: as fast as `encode_batch` on one core, which would start a thread per core in every worker.
    def encode(texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        with _failures_as_errors():
            return [tokenizer.encode(text, **options).ids_array for text in texts]

    return encode


def _classic(tokenizer: Any, *, encode_special_tokens: bool) -> EncodeTexts:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = encode_special_tokens

    def encode(texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        found: list[npt.NDArray[np.uint32]] = []
        for start in range(0, len(texts), _TOGETHER):
            with _one_thread(), _failures_as_errors():
                some = tokenizer.encode_batch_fast(list(texts[start : start + _TOGETHER]), add_special_tokens=False)
            found.extend(np.array(encoding.ids, dtype=np.uint32) for encoding in some)
        return found

    return encode


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Workers are processes; 0.2x looks at this variable at every call."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


@contextlib.contextmanager
def _failures_as_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not _is_of_the_library(error):
            raise
        raise RecordError(f"the tokenizer fails on this text: {printable(error)}\n  {_OTHER_VERSION}") from error


def _is_of_the_library(error: BaseException) -> bool:
    return _is_panic(error) or (isinstance(error, Exception) and not isinstance(error, MemoryError))


def _is_panic(error: BaseException) -> bool:
    # 0.2x panics where Oniguruma gives up, on ten million spaces for one. The class cannot be imported.
    return type(error).__name__ == "PanicException"
