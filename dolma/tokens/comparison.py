"""Tokenizers side by side on the same documents: how many tokens they make, and of which kind.

Bytes are those of UTF-8, words maximal runs of characters other than whitespace, tokens those of the text without
any that frame it. Tokens per word are called fertility (Rust et al. 2021, arXiv:2012.15613); where a language puts no
space between words, compare bytes per token. A sample takes the documents with the smallest numbers by seed, file and
line, so it depends on nothing else; documents are then read twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data.aligned import AlignedRows, RowFile
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Shard
from dolma.data.documents import Faults, Intake, Reading, read_batches
from dolma.data.fields import JsonField
from dolma.data.named_fields import look_for
from dolma.data.shards import Piece
from dolma.errors import ConfigError, DataError, RecordError
from dolma.kernels.counts import count_words
from dolma.models.tokenizer_file import BYTES, TokenizerFile, fallback_byte, read_tokenizer_file
from dolma.models.tokenizers_library import encode_texts, load_tokenizer
from dolma.printable import printable
from dolma.runner.report import Table
from dolma.runner.seeds import draws

LONGEST = 10
LANGUAGE = "language.top"
"""The attribute that tells a document's language where nothing else is asked for, from `dolma tag -t language`."""
NO_LANGUAGE = "none"
"""What documents without a language are listed under."""


class Size(msgspec.Struct, kw_only=True):
    """Some documents: how many, bytes and words of their texts."""

    documents: int = 0
    bytes: int = 0
    words: int = 0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a tokenizer makes of some documents; ratios are null where they are of nothing.

    `unknown` is the share of tokens that stand for text which the tokenizer does not know, `partial` of those that
    stand for a part of a character alone: byte fallback, or bytes that byte-level merges have not joined.
    """

    tokens: int
    bytes_per_token: float | None
    tokens_per_word: float | None
    unknown: float | None
    partial: float | None


class LongToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the texts have, the bytes of text that it stands for, and how often it occurs."""

    token: str
    id: int
    bytes: int
    count: int


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer. `used` is the number of its ids that the texts have; `longest` are among those."""

    tokenizer: str
    sha256: str
    vocab_size: int
    used: int
    total: Figures
    sources: dict[str, Figures]
    languages: dict[str, Figures]
    longest: list[LongToken]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Tokenizers on the same documents. `sampled`: out of how many documents, None where all were read."""

    sampled: int | None
    language: str | None
    total: Size
    sources: dict[str, Size]
    languages: dict[str, Size]
    tokenizers: list[Compared]


def compare(
    tokenizers: Sequence[str],
    dataset: Dataset,
    *,
    reading: Reading | None = None,
    sample: int | None = None,
    language: str | None = None,
    by_language: bool = True,
    seed: int = 0,
    shards: Sequence[Shard] | None = None,
) -> Comparison:
    """Encode the documents, or a sample of so many, by each of these `tokenizer.json` files.

    `language` is an attribute, `set.output`, or else a field that tells the language of a document; None: the attribute
    `language.top` where the documents have it; without `by_language` none is looked for. `shards` are those of the
    dataset, where they have been looked at before. Texts are encoded as by `tokenize`, special tokens as text. A batch
    is held at a time, and 16 bytes for each document of the sample.

    Raises:
        ConfigError: a tokenizer cannot be used, or no document tells a language.
        DataError: a document file cannot be used.
    """
    reading = reading or Reading()
    columns = [_Column(path) for path in tokenizers]
    shards = dataset.shards() if shards is None else shards
    speech = _Language.of(language, dataset, shards, reading) if by_language else _Language(None)
    below, sampled = (None, None) if sample is None else _bound(shards, reading, sample, seed)
    sizes = _Sizes()
    for shard in shards:
        intake = Intake()
        faults = Faults(Piece(shard=shard), reading, intake)
        for batch, languages in speech.batches(shard, reading, intake, faults):
            chosen = np.arange(len(batch))
            if below is not None:
                chosen = np.flatnonzero(_numbers(seed, shard, batch) <= below)
            if not len(chosen):
                continue
            some = batch if len(chosen) == len(batch) else batch.taken(chosen)
            sizes.add(some, groups := [some.sources, [languages[i] for i in chosen.tolist()] if languages else []])
            for column in columns:
                column.add(some, groups)
    if not sizes.total.documents:
        raise DataError("there are no documents to compare on\n  give others: `--documents PATTERN`")
    return Comparison(
        sampled=sampled,
        language=speech.name,
        total=sizes.total,
        sources=dict(sorted(sizes.groups[0].items())),
        languages=dict(sorted(sizes.groups[1].items())),
        tokenizers=[column.compared(sizes) for column in columns],
    )


# --- which documents -------------------------------------------------------------------------------------------------


def _numbers(seed: int, shard: Shard, batch: TextBatch) -> npt.NDArray[np.uint64]:
    return draws(seed, "compare", shard.name, batch.lines)


def _bound(shards: Sequence[Shard], reading: Reading, sample: int, seed: int) -> tuple[np.uint64 | None, int | None]:
    """The largest number of a document of the sample, and how many documents there are; None where all are of it."""
    least, n_docs = np.zeros(0, np.uint64), 0
    for shard in shards:
        for batch in read_batches(shard, reading, intake=Intake()):
            n_docs += len(batch)
            least = np.concatenate([least, _numbers(seed, shard, batch)])
            if len(least) > 2 * sample:
                least = np.partition(least, sample - 1)[:sample]
    if n_docs <= sample:
        return None, None
    return np.partition(least, sample - 1)[sample - 1], n_docs


class _Language:
    """Where documents tell their language; `name` None: nowhere."""

    def __init__(self, name: str | None, *, files: dict[str, str] | None = None) -> None:
        self.name, self._files = name, files
        self._field = JsonField(name.split(".")) if name is not None and files is None else None

    @classmethod
    def of(cls, name: str | None, dataset: Dataset, shards: Sequence[Shard], reading: Reading) -> _Language:
        """What `compare` is told.

        Raises:
            ConfigError: the documents have no such attribute and no such field.
        """
        folder, dot, _ = (name or LANGUAGE).partition(".")
        if dot and dataset.has_homes(shards) and folder in dataset.attribute_names(list(shards)):
            found = dataset.attribute_files(folder, shards)
            files = {shard.name: path for shard, (_, path) in zip(shards, found, strict=True) if path is not None}
            if len(files) == len(shards):
                return cls(name or LANGUAGE, files=files)
            if name is not None:
                missing = next(shard.path for shard in shards if shard.name not in files)
                raise ConfigError(
                    f"{printable(missing)} has no attributes {folder!r}"
                    f"\n  measure all documents: `dolma tag -t {printable(folder)} --documents ...`",
                    path="--language",
                )
        if name is None:
            return cls(None)
        seen = look_for([name], dataset, reading)
        if name in seen.absent:
            raise seen.error(
                name, hint="name a field, or an attribute of `dolma tag` as `language.top`", path="--language"
            )
        return cls(name)

    def batches(
        self, shard: Shard, reading: Reading, intake: Intake, faults: Faults
    ) -> Iterator[tuple[TextBatch, list[str]]]:
        """The documents of a shard, and the language of each where that is known."""
        records = self._field is not None
        if self._files is None:
            for batch in read_batches(shard, reading, intake=intake, records=records, faults=faults):
                yield batch, [self._told(record) for record in batch.records or ()] if records else []
            return
        output = str(self.name).partition(".")[2]
        file = RowFile(path=self._files[shard.name], columns=(output,))
        with AlignedRows(Piece(shard=shard), [file]) as rows:
            for batch in read_batches(shard, reading, intake=intake, faults=faults):
                (table,) = rows.tables(batch)
                yield batch, [NO_LANGUAGE if value is None else str(value) for value in table[output].to_pylist()]
            rows.finish()

    def _told(self, record: bytes) -> str:
        assert self._field is not None
        value = self._field.of(record)
        return NO_LANGUAGE if value is None else str(value)


# --- sums ------------------------------------------------------------------------------------------------------------


class _Sizes:
    """Documents, bytes and words: of all, by source, by language."""

    def __init__(self) -> None:
        self.total = Size()
        self.groups: tuple[dict[str, Size], dict[str, Size]] = ({}, {})

    def add(self, batch: TextBatch, names: Sequence[Sequence[str]]) -> None:
        n_bytes, n_words = batch.n_bytes.tolist(), batch.view(count_words).tolist()
        _grow(self.total, len(batch), sum(n_bytes), sum(n_words))
        for sizes, of in zip(self.groups, names, strict=True):
            for name, size, words in zip(of, n_bytes, n_words, strict=False):
                _grow(sizes.setdefault(name, Size()), 1, size, words)


def _grow(size: Size, documents: int, n_bytes: int, words: int) -> None:
    size.documents += documents
    size.bytes += n_bytes
    size.words += words


class _Column:
    """One tokenizer, and what it has made so far: tokens, unknown and partial ones, in these rows of `sums`."""

    def __init__(self, path: str) -> None:
        self._file = read_tokenizer_file(path)
        self._encode = encode_texts(load_tokenizer(path), allow_special_tokens=False)
        self._bytes, self._kinds = _lengths_and_kinds(self._file)
        self._seen = np.zeros(len(self._bytes), np.int64)
        self._total = np.zeros(3, np.int64)
        self._groups: tuple[dict[str, npt.NDArray[np.int64]], ...] = ({}, {})

    def add(self, batch: TextBatch, names: Sequence[Sequence[str]]) -> None:
        found = self._encoded(batch)
        counts = np.array([len(ids) for ids in found])
        ids = np.concatenate(found)
        self._seen += np.bincount(ids, minlength=len(self._seen))
        ends = np.cumsum(counts)
        flags = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(self._kinds[:, ids], axis=1)], axis=1)
        sums = np.vstack([counts, flags[:, ends] - flags[:, ends - counts]])
        self._total += sums.sum(axis=1)
        for groups, of in zip(self._groups, names, strict=True):
            for name, column in zip(of, sums.T, strict=False):
                groups.setdefault(name, np.zeros(3, np.int64))[:] += column

    def _encoded(self, batch: TextBatch) -> list[npt.NDArray[np.uint32]]:
        texts = batch.texts()
        try:
            return self._encode(texts)
        except RecordError:
            return [self._encoded_alone(batch, i, text) for i, text in enumerate(texts)]

    def _encoded_alone(self, batch: TextBatch, i: int, text: str) -> npt.NDArray[np.uint32]:
        try:
            return self._encode([text])[0]
        except RecordError as error:
            raise RecordError(
                f"{printable(self._file.path)}: {error.message}", file=batch.path, line=int(batch.lines[i])
            ) from error

    def compared(self, sizes: _Sizes) -> Compared:
        """What came of it."""
        by_source, by_language = (
            {name: _figures(sums, size[name]) for name, sums in sorted(groups.items())}
            for groups, size in zip(self._groups, sizes.groups, strict=True)
        )
        return Compared(
            tokenizer=self._file.path,
            sha256=hashlib.sha256(self._file.raw).hexdigest(),
            vocab_size=self._file.vocab_size,
            used=int(np.count_nonzero(self._seen)),
            total=_figures(self._total, sizes.total),
            sources=by_source,
            languages=by_language,
            longest=self._longest(),
        )

    def _longest(self) -> list[LongToken]:
        used = np.flatnonzero(self._seen)
        order = used[np.lexsort((used, -self._bytes[used]))][:LONGEST]
        names = {id: token for token, id in self._file.ids.items()}
        return [
            LongToken(token=_shown(names[id], self._file), id=id, bytes=int(self._bytes[id]), count=int(self._seen[id]))
            for id in order.tolist()
        ]


def _lengths_and_kinds(file: TokenizerFile) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """By id: bytes of text; and whether it is for unknown text, and whether for a part of a character, shape (2, n)."""
    lengths = np.zeros(file.vocab_size, np.int64)
    kinds = np.zeros((2, file.vocab_size), np.bool_)
    added = {token.content for token in file.added}
    for token, id in file.ids.items():
        raw, whole = token.encode() if token in added else _bytes_of(token, file), True
        try:
            raw.decode()
        except UnicodeDecodeError:
            whole = False
        lengths[id] = len(raw)
        kinds[:, id] = token == file.unknown, not whole or fallback_byte(token) is not None
    return lengths, kinds


def _bytes_of(token: str, file: TokenizerFile) -> bytes:
    if file.is_byte_level and all(symbol in BYTES for symbol in token):
        return bytes(BYTES[symbol] for symbol in token)
    if (byte := fallback_byte(token)) is not None:
        return bytes([byte])
    return token.removeprefix(file.continuing_prefix).replace("▁", " ").encode()


def _shown(token: str, file: TokenizerFile) -> str:
    return _bytes_of(token, file).decode("utf-8", "replace")


def _figures(sums: npt.NDArray[np.int64], size: Size) -> Figures:
    tokens, unknown, partial = sums.tolist()
    return Figures(
        tokens=tokens,
        bytes_per_token=size.bytes / tokens if tokens else None,
        tokens_per_word=tokens / size.words if size.words else None,
        unknown=unknown / tokens if tokens else None,
        partial=partial / tokens if tokens else None,
    )


# --- to be shown -----------------------------------------------------------------------------------------------------


def tables(found: Comparison) -> Iterator[Table]:
    """All of it, tokenizers as numbered in the first table."""
    taken = f"{found.total.documents:,} documents, {found.total.bytes:,} bytes"
    sampled = "" if found.sampled is None else f", a sample of {found.sampled:,}"
    yield Table(
        title=f"tokenizers on {taken}{sampled}",
        headers=["", "tokenizer", "ids", "used", "tokens", "bytes/token", "tokens/word", "unknown", "partial"],
        rows=[
            (i, one.tokenizer, one.vocab_size, one.used, *_cells(one.total))
            for i, one in enumerate(found.tokenizers, start=1)
        ],
    )
    for name, sizes in (("source", found.sources), ("language", found.languages)):
        rows: list[Sequence[Any]] = []
        for key in sizes:
            groups = [one.sources if name == "source" else one.languages for one in found.tokenizers]
            rows += [(key, i, *_cells(group[key])) for i, group in enumerate(groups, start=1)]
        if rows:
            headers = [name, "", "tokens", "bytes/token", "tokens/word", "unknown", "partial"]
            yield Table(title=f"by {name}", headers=headers, rows=rows, grouped=True)
    yield Table(
        title="longest tokens that occur",
        headers=["", "token", "id", "bytes", "times"],
        rows=[
            (str(i), repr(token.token[:80]), token.id, token.bytes, token.count)
            for i, one in enumerate(found.tokenizers, start=1)
            for token in one.longest
        ],
        grouped=True,
    )


def _cells(figures: Figures) -> tuple[Any, ...]:
    shares = [figures.unknown, figures.partial]
    ratios = [figures.bytes_per_token, figures.tokens_per_word]
    return (
        figures.tokens,
        *("-" if ratio is None else f"{ratio:.3f}" for ratio in ratios),
        *("-" if share is None else f"{share:.3%}" for share in shares),
    )
