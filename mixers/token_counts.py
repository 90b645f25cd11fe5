"""How many tokens `dolma tokenize` will write for a document: of its text as the mix writes it, begin and end included.

They are counted by the tokenizer, exactly; or taken from an attribute, which fits a text without edits. What is not
counted, as `count_share` says so or as only the attribute could tell, is estimated: the bytes of the text, times the
tokens to a byte of the documents of its source that are counted. With `count_share` those are a seeded sample, the ones
that are drawn first; the error of the estimate is told. Cost of counting: that of the tokenizer, 30 MB/s with
`tokenizers` 1.0 on one core of a 2-core cloud machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import MixConfig, TokenizeConfig
from dolma.data.batch import TextBatch
from dolma.data.documents import Reading
from dolma.errors import ConfigError, DataError, RecordError
from dolma.mixers.catalogue import Catalogue, Column
from dolma.mixers.sampling import Supply
from dolma.models.encoder import encoder_of
from dolma.models.tokenizer_facts import TokenizerFacts, read_facts

NOT_COUNTED = -1

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounting:
    """How tokens are counted: by a tokenizer, an attribute or both. Picklable.

    `around` are the tokens that begin and end a text that has any; `share` is that of the documents counted.
    """

    facts: TokenizerFacts | None
    column: Column | None
    around: int
    share: float
    allow_special_tokens: bool = False
    strip: bool = False

    @property
    def words(self) -> str:
        """What counts them."""
        column = [".".join(self.column)] if self.column is not None else []
        shared = f", {self.share:g} of all documents" if self.share < 1 else ""
        return " or ".join([*column, *([] if self.facts is None else [f"the tokenizer{shared}"])])

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the counts."""
        return {
            "tokenizer_sha256": None if self.facts is None else self.facts.sha256,
            "around": self.around,
            "allow_special_tokens": self.allow_special_tokens,
            "strip": self.strip,
        }

    def count(
        self,
        batch: TextBatch,
        edited: Mapping[int, bytes],
        *,
        kept: npt.NDArray[np.bool_],
        arrays: Mapping[str, Mapping[str, pa.Array]],
        draws: npt.NDArray[np.uint64],
        reading: Reading,
    ) -> Numbers:
        """The tokens of each kept document, `NOT_COUNTED` of others; int64, shape `(n_docs,)`.

        Raises:
            DataError: the tokenizer fails on a text, and `reading` leaves out no such record.
        """
        counts = np.full(len(batch), NOT_COUNTED, dtype=np.int64)
        if self.column is not None:
            name, output = self.column
            found = arrays[name][output].cast(pa.int64()).fill_null(NOT_COUNTED).to_numpy(zero_copy_only=False)
            found = np.where(found > 0, found + self.around, np.maximum(found, NOT_COUNTED))
            counts = np.where(kept, found, counts)
            counts[list(edited)] = NOT_COUNTED
        if self.facts is not None:
            chosen = kept & (counts < 0)
            if self.share < 1:
                chosen &= draws < np.uint64(int(self.share * 2.0**64))
            places = np.flatnonzero(chosen)
            counts[places] = self._encoded(batch, edited, places.tolist(), reading)
        return counts

    def _encoded(self, batch: TextBatch, edited: Mapping[int, bytes], places: list[int], reading: Reading) -> Numbers:
        if not places:
            return np.zeros(0, np.int64)
        assert self.facts is not None
        texts = [edited[i].decode() if i in edited else batch.text(i) for i in places]
        if self.strip:
            texts = [text.strip() for text in texts]
        encoder = encoder_of(self.facts, allow_special_tokens=self.allow_special_tokens)
        try:
            return encoder(texts)[1]
        except RecordError:
            counts = np.zeros(len(places), np.int64)
        for at, (i, text) in enumerate(zip(places, texts, strict=True)):
            try:
                counts[at] = encoder([text])[1][0]
            except RecordError as error:  # `tokenize` will leave it out too
                if reading.on_error == "fail":
                    raise DataError(error.message, file=batch.path, line=int(batch.lines[i])) from error
        return counts


def counting_of(
    config: MixConfig, tokenize: TokenizeConfig | None, catalogue: Catalogue | None = None
) -> TokenCounting | None:
    """How the tokens of this mix are counted; None where its unit is another. Without a catalogue: by the tokenizer.

    Raises:
        ConfigError: nothing says how; or the tokenizer or the attribute is not there.
    """
    if config.unit != "tokens":
        return None
    if config.tokenizer is not None:
        own = TokenizeConfig(tokenizer=config.tokenizer)
        tokenize = msgspec.structs.replace(tokenize or own, tokenizer=config.tokenizer, dtype=None)
    column = None
    if config.token_count is not None and catalogue is not None:
        column = catalogue.column(config.token_count, path="$.mix.token_count", kinds=("int",))
    if tokenize is None and config.token_count is None:
        raise ConfigError(
            "is tokens, and nothing says how they are counted\n"
            "  give `tokenizer: FILE`, or a `tokenize` section; or `token_count`: an attribute such as tokens.tokens",
            path="$.mix.unit",
        )
    if tokenize is None:
        return TokenCounting(facts=None, column=column, around=1, share=1.0)
    facts = read_facts(tokenize)
    return TokenCounting(
        facts=facts,
        column=column,
        around=1 + (facts.bos is not None),
        share=config.count_share,
        allow_special_tokens=tokenize.allow_special_tokens,
        strip=tokenize.strip,
    )


# --- estimates -------------------------------------------------------------------------------------------------------


class Calibration(msgspec.Struct, kw_only=True):
    """Sums over the documents of a source whose tokens are counted, and the bytes of the others.

    `bytes_2`, `tokens_2` and `both` are sums of squares and of products.
    """

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    bytes_2: float = 0.0
    tokens_2: float = 0.0
    both: float = 0.0
    other_bytes: int = 0
    other_documents: int = 0

    def add(self, other: Calibration) -> None:
        """Add the other's sums to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def sum(cls, parts: Iterable[Calibration]) -> Calibration:
        """All of these together."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole

    def supply(self, rate: float) -> Supply:
        """All of its documents, the tokens of those that are not counted estimated by this rate."""
        return Supply(
            documents=self.documents + self.other_documents,
            bytes=self.bytes + self.other_bytes,
            tokens=self.tokens + round(self.other_bytes * rate),
        )

    @property
    def rate(self) -> float:
        """Tokens to a byte of those that are counted; 0 where none is."""
        return self.tokens / self.bytes if self.bytes else 0.0

    def error(self, rate: float) -> float | None:
        """The standard error of all tokens of the source, as a part of them, if the others are estimated by this rate.

        That of the ratio estimator of survey sampling (Cochran, Sampling Techniques, 1977, chapter 6). None: too few
        documents are counted to tell.
        """
        if not self.other_bytes:
            return 0.0
        if self.documents < 2 or not self.tokens:
            return None
        residuals = max(self.tokens_2 - 2 * rate * self.both + rate * rate * self.bytes_2, 0.0)
        variance = residuals / (self.documents - 1)  # of one document
        n = self.documents + self.other_documents
        total = n * n * variance / self.documents * (self.other_documents / n)
        return math.sqrt(total) / (self.tokens + rate * self.other_bytes)


def calibrated(sums: Mapping[str, Calibration]) -> dict[str, float]:
    """The tokens to a byte by which documents that are not counted are estimated, by source.

    Raises:
        ConfigError: a source has documents to be estimated, and none of any source is counted.
    """
    everything = Calibration.sum(sums[name] for name in sorted(sums))
    if everything.other_bytes and not everything.bytes:
        raise ConfigError(
            f"none of {everything.other_documents:,} documents is counted, so that their tokens cannot be estimated\n"
            "  give a larger `count_share`, or `tokenizer: FILE` where all texts are edited",
            path="$.mix.count_share",
        )
    return {name: of.rate or everything.rate for name, of in sums.items()}


class Calibrating:
    """Collects the sums of one task, by cell: a row for each field of `Calibration`."""

    def __init__(self) -> None:
        self._sums = np.zeros((len(Calibration.__struct_fields__), 0))

    def add(
        self, cells: npt.NDArray[np.int32], kept: npt.NDArray[np.bool_], n_bytes: Numbers, n_tokens: Numbers
    ) -> None:
        """Count the kept documents of a batch, each of a cell."""
        counted, others = kept & (n_tokens != NOT_COUNTED), kept & (n_tokens == NOT_COUNTED)
        sizes, tokens = n_bytes[counted].astype(np.float64), n_tokens[counted].astype(np.float64)
        n_cells = max(int(cells.max(initial=-1)) + 1, self._sums.shape[1])
        of_counted = (np.ones(len(sizes)), sizes, tokens, sizes * sizes, tokens * tokens, sizes * tokens)
        of_others = (n_bytes[others].astype(np.float64), np.ones(int(others.sum())))
        sums = [np.bincount(cells[counted], weights, n_cells) for weights in of_counted]
        sums += [np.bincount(cells[others], weights, n_cells) for weights in of_others]
        self._sums = np.pad(self._sums, ((0, 0), (0, n_cells - self._sums.shape[1]))) + np.array(sums)

    def of(self, n_cells: int) -> list[Calibration]:
        """The sums of each cell. Whole numbers are exact below 2^53."""
        whole = np.pad(self._sums, ((0, 0), (0, n_cells - self._sums.shape[1])))
        names = Calibration.__struct_fields__
        squares = {"bytes_2", "tokens_2", "both"}
        return [
            Calibration(**{name: x if name in squares else int(x) for name, x in zip(names, column, strict=True)})
            for column in whole.T.tolist()
        ]
