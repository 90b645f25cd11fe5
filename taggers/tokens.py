"""How many tokens a tokenizer makes of a document: any Hugging Face `tokenizer.json`, encoded as `dolma tokenize` does.

Special tokens in a text are encoded as the characters that they consist of, and no begin or end token is counted. Cost:
that of the tokenizer, 60 to 80 MB/s with `tokenizers` 1.0 on one core of a 2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocInt
from dolma.errors import ConfigError
from dolma.models.tokenizers_library import EncodeTexts, encode_texts, load_tokenizer
from dolma.taggers.catalogue import Need


class Tokens:
    """The tokens that a tokenizer makes of the text, by the option `tokenizer`, the path of a `tokenizer.json`."""

    name = "tokens"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="model", name="tokenizer.json", get="give the option `tokenizer`, the path of a tokenizer.json"),
    )
    outputs = {"tokens": DocInt("tokens, without any that begin or end a document", unit="tokens")}

    def __init__(self, tokenizer: str) -> None:
        """Load the tokenizer.

        Raises:
            ConfigError: there is none at that path, or the `tokenizers` library cannot read it.
        """
        self._encode = encoder_at(tokenizer, tagger=self.name, allow_special_tokens=False)
        self.needs = ()

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        return {"tokens": pa.array(n_tokens(self._encode, batch.texts()))}


def encoder_at(path: str, *, tagger: str, allow_special_tokens: bool) -> EncodeTexts:
    """A function from texts to ids by the tokenizer in a file.

    Raises:
        ConfigError: there is none at that path, or the `tokenizers` library cannot use it.
    """
    if not isinstance(path, str):
        raise ConfigError(f"{tagger}: {path!r} is no path\n  give the path of a tokenizer.json")
    return encode_texts(load_tokenizer(path, key=tagger), allow_special_tokens=allow_special_tokens)


def n_tokens(encode: EncodeTexts, texts: list[str]) -> npt.NDArray[np.int64]:
    """How many ids each text has; int64, shape `(n_texts,)`."""
    return np.fromiter((len(ids) for ids in encode(texts)), dtype=np.int64, count=len(texts))
