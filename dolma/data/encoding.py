"""The `tokenizers` library, 1.0 or 0.2x: the one place that knows how they differ.

1.0 encodes tens of times as fast as 0.2x and gives the same ids (docs/decisions.md). A text is never cut for
encoding: both take time linear in its length, also for a megabyte of one letter, of spaces or of base64, and a cut
could change ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.data import streams
from dolma.data.identity import changed
from dolma.errors import ConfigError, DataError, RecordError

_TOGETHER = 256

EncodeTexts = Callable[[Sequence[str]], list[npt.NDArray[np.uint32]]]


def load_tokenizer(path: str, *, sha256: str | None = None, key: str = "") -> Any:
    """The library's tokenizer in the file at `path`; `key` is the path in the recipe of the setting that names it.

    Raises:
        DataError: the file's digest is not `sha256`.
        ConfigError: the library cannot read the file.
    """
    with tempfile.TemporaryDirectory(prefix="dolma-") as folder:  # the library reads the bytes that were checked
        checked = os.path.join(folder, "tokenizer.json")
        streams.write_bytes(checked, read_tokenizer(path, sha256=sha256))
        return _loaded(checked, path, key)


def _loaded(checked: str, path: str, key: str) -> Any:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_file(checked)
    except Exception as error:  # 0.2x raises nothing more special
        raise ConfigError(
            f"tokenizers {tokenizers.__version__} cannot read {path}: {error}\n"
            "  another version of it may: `pip install 'tokenizers<1'` or `pip install 'dolma[fast]'`",
            path=key,
        ) from error


def read_tokenizer(path: str, *, sha256: str | None) -> bytes:
    """The bytes of a tokenizer's file.

    Raises:
        DataError: the file is gone, or its digest is not `sha256`.
    """
    try:
        content = streams.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError("no such file", file=path) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise changed(path)
    return content


def encode_texts(tokenizer: Any, *, allow_special_tokens: bool) -> EncodeTexts:
    """A function from texts to the ids of each, uint32, without the special tokens that the file puts around a text.

    Unless `allow_special_tokens`, special tokens in a text are encoded as the characters that they consist of. The
    function raises RecordError where the library fails on a text.
    """
    pipeline = not hasattr(tokenizer, "no_truncation")  # 1.0
    return (_pipeline if pipeline else _classic)(tokenizer, encode_special_tokens=not allow_special_tokens)


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
    raise ConfigError(f"the tokenizer makes {bare} of 'a', and {framed} with its special tokens: no text in a frame")


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
        with _panics_as_errors():
            return [tokenizer.encode(text, **options).ids_array for text in texts]

    return encode


def _classic(tokenizer: Any, *, encode_special_tokens: bool) -> EncodeTexts:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = encode_special_tokens

    def encode(texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        found: list[npt.NDArray[np.uint32]] = []
        for start in range(0, len(texts), _TOGETHER):
            with _one_thread(), _panics_as_errors():
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
def _panics_as_errors() -> Iterator[None]:
    # 0.2x panics where Oniguruma gives up, on ten million spaces for one. The class cannot be imported.
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RecordError(
            f"the tokenizer fails on this text: {error}\n  `pip install 'dolma[fast]'` brings another implementation"
        ) from error
