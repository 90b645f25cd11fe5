"""`dolma tokenize train`: documents in, a byte-level BPE as `tokenizer.json` out, and a report of what it is worth.

count    a piece of a document file -> its pre-tokens and how often each occurs, sorted by hash, in the work folder
merges   all pre-tokens -> `tokenizer.json`
report   the tokenizer on a sample of the documents -> `report.json`

Pre-tokens are counted as a multiset, so neither workers nor the order of documents change the tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Piece, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import END_OF_KEYS, MEMORY, Partition, RunFile, RunWriter, Table, in_groups, read_sorted
from dolma.data.manifest import FileSet, InputFile, file_there
from dolma.data.shards import Shard
from dolma.errors import ConfigError, DataError
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger
from dolma.runner.merging import partitioned
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance
from dolma.runner.report import StageReport
from dolma.runner.seeds import draws
from dolma.runner.stage import check_settings, open_stage
from dolma.runner.task import Task, TaskResult
from dolma.tokens.bpe import ALPHABET, Merges, Words, train_merges
from dolma.tokens.comparison import Comparison, compare
from dolma.tokens.patterns import PATTERNS, pretokens

STAGE_NAME = "tokenize train"
TOKENIZER, REPORT = "tokenizer.json", "report.json"
WORDS = Table(
    name="words",
    schema=pa.schema([("hash", pa.uint64()), ("word", pa.large_binary()), ("count", pa.int64())]),
    key=("hash",),
)
_REPORTED = 10_000  # documents
_MOST_IDS = 1 << 24
_HELD = 1 << 16  # different words of a batch or more, before they are added up


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the tokenizer, beside the documents.

    `fraction` is the share of the documents that are counted, chosen by the seed; a pair occurs `min_count` times.
    """

    vocab_size: int = 32_768
    pattern: str = "cl100k"
    special_tokens: tuple[str, ...] = ("<|endoftext|>", "<|padding|>")
    min_count: int = 2
    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = len(self.special_tokens) + len(ALPHABET)
        if not least <= self.vocab_size <= _MOST_IDS:
            raise ConfigError(
                f"{self.vocab_size:,} tokens, expected {least:,} to {_MOST_IDS:,}: special ones, one for each byte, "
                "and merges\n  give `--vocab-size 32768`",
                path="--vocab-size",
            )
        for token in self.special_tokens:
            if not token or token in ALPHABET or self.special_tokens.count(token) > 1:
                raise ConfigError(
                    f"the special token {token!r} is empty, stands for a byte, or is given twice"
                    "\n  give names such as `<|endoftext|>`, each once",
                    path="--special-token",
                )


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer, and what it was trained on: `words` pre-tokens, `different` ones of them."""

    vocab_size: int
    merges: int
    words: int
    different: int
    comparison: Comparison


def train_tokenizer(
    dataset: Dataset,
    settings: Settings,
    *,
    output: str,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> StageReport[Trained]:
    """Train a tokenizer on the documents; `tokenizer.json`, `report.json` and a manifest go to `output`.

    Raises:
        ConfigError: other outputs are in the way.
        DataError: a document file cannot be used, or there is no text.
    """
    reading = reading or Reading()
    inputs = Inputs(output, options=options, reporter=reporter)
    check_settings([_file_set([], settings, reading, output)], options)
    shards = inputs.shards(dataset.shards())
    file_set = _file_set([shard.input for shard in shards], settings, reading, output)
    with open_stage([file_set], options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        work, memory = stage.work_folder, stage.options.max_memory or MEMORY
        parts = [piece for shard in shards for piece in pieces(shard)]
        count = CountWords(settings=settings, reading=reading, work=work, memory=memory)
        counted = stage.run("count", list(_tasks(parts)), count, reads=True)
        files = [msgspec.convert(result.payload["words"], RunFile) for result in counted]
        (words,) = partitioned(stage, WORDS, files, [0, END_OF_KEYS], memory=memory)
        merge = WriteTokenizer(settings=settings, work=work, memory=memory, output=output)
        task = Task(key=words.fingerprint, size=words.n_bytes, spec=words)
        merged = stage.run("merges", [task], merge, uses_up=(WORDS.name,))
        describe = WriteReport(
            dataset=dataset, shards=tuple(shards), reading=reading, seed=settings.seed, output=output
        )
        key = f"{REPORT}-{merged[0].payload['xxh3']}"
        reported = stage.run("report", [Task(key=key, size=1, spec=merged[0].payload)], describe)
        report = stage.finish([*counted, *merged, *reported])
        return report.detailed(read_report(output))
    return stage.report().detailed(read_report(output))


def read_report(folder: str) -> Trained:
    """What `dolma tokenize train` found of the tokenizer in this folder."""
    return msgspec.json.decode(streams.read_bytes(streams.join(folder, REPORT)), type=Trained)


def _file_set(inputs: list[InputFile], settings: Settings, reading: Reading, output: str) -> FileSet:
    decides = {**msgspec.json.decode(msgspec.json.encode(settings)), **reading.identity}
    return FileSet(folder=output, stage=STAGE_NAME, name="tokenizer", config=decides, inputs=inputs)


# --- count -----------------------------------------------------------------------------------------------------------


def _tasks(parts: Sequence[Piece]) -> Iterator[Task]:
    for number, piece in enumerate(parts):
        yield Task(key=piece.key, size=piece.size, spec=(number, piece), file=piece.shard.path, part=piece.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountWords:
    """Counts the pre-tokens of a piece. Called with (number of the piece, piece)."""

    settings: Settings
    reading: Reading
    work: str
    memory: int

    def __call__(self, spec: tuple[int, Piece]) -> TaskResult:
        number, piece = spec
        intake, ledger = Intake(), Ledger()
        with RunWriter(WORDS, self.work, f"{number:06d}", memory=self.memory) as out:
            held: list[pa.Table] = []
            n_held = 0
            for batch in read_batches(piece, self.reading, intake=intake):
                for source, n_bytes in zip(batch.sources, batch.n_bytes.tolist(), strict=True):
                    ledger.take(source, documents=1, bytes=n_bytes)
                    ledger.keep(source, documents=1, bytes=n_bytes)
                held.append(_counts(self._chosen(batch, piece.shard), self.settings.pattern))
                n_held += len(held[-1])
                if n_held > _HELD:
                    held = [_sums(held)]
                    if len(held[0]) > n_held // 2 or held[0].nbytes > self.memory // 4:
                        _add(out, held.pop())
                    n_held = 0
                advance(documents=len(batch), bytes=len(batch.utf8))
            if held:
                _add(out, _sums(held))
        ledger.fail(piece.shard.source, intake)
        return TaskResult(outputs=out.outputs, ledger=ledger, payload={"words": msgspec.to_builtins(out.file)})

    def _chosen(self, batch: TextBatch, shard: Shard) -> TextBatch:
        if self.settings.fraction == 1:
            return batch
        below = np.uint64(int(self.settings.fraction * 2.0**64))
        return batch.taken(np.flatnonzero(draws(self.settings.seed, STAGE_NAME, shard.name, batch.lines) < below))


def _counts(batch: TextBatch, pattern: str) -> pa.Table:
    """The different pre-tokens of a batch and how often each occurs."""
    ends = pretokens(batch.utf8, batch.offsets, pattern)
    bounds = pa.py_buffer(np.append(0, ends).astype(np.int64))
    words = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), [None, bounds, pa.py_buffer(batch.utf8)])
    found = pc.value_counts(words)
    return pa.table({"word": found.field("values"), "count": found.field("counts")})


def _sums(held: Sequence[pa.Table]) -> pa.Table:
    summed = pa.concat_tables(held).group_by("word", use_threads=False).aggregate([("count", "sum")])
    return summed.rename_columns({"word": "word", "count_sum": "count"})


def _add(out: RunWriter, counts: pa.Table) -> None:
    words = counts["word"].combine_chunks()
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, words.to_pylist()), np.uint64, count=len(words))
    out.add(
        pa.RecordBatch.from_arrays([pa.array(hashes), words, counts["count"].combine_chunks()], schema=WORDS.schema)
    )


# --- merges ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTokenizer:
    """Trains on all words and writes the tokenizer. Called with the words."""

    settings: Settings
    work: str
    memory: int
    output: str

    def __call__(self, spec: Partition) -> TaskResult:
        words = self._words(spec)
        if not len(words.counts):
            raise DataError("there is no text to train on\n  look at what the documents hold with `dolma stat`")
        settings = self.settings
        merges = train_merges(
            words, vocab_size=settings.vocab_size, min_count=settings.min_count, special=settings.special_tokens
        )
        encoded = encoded_tokenizer(merges, settings.pattern, special=settings.special_tokens)
        streams.write_bytes(streams.join(self.output, TOKENIZER), encoded)
        counts = {"words": int(words.counts.sum()), "different": len(words.counts)}
        sizes = {"vocab_size": len(merges.tokens), "merges": len(merges.pairs)}
        out = file_there(self.output, TOKENIZER)
        return TaskResult(outputs=[out], payload={**counts, **sizes, "xxh3": out.checksum})

    def _words(self, partition: Partition) -> Words:
        found = [pa.table({"word": pa.array([], pa.large_binary()), "count": pa.array([], pa.int64())})]
        for records in in_groups(WORDS, read_sorted(WORDS, self.work, partition, memory=self.memory)):
            found.append(_sums([pa.Table.from_batches([records.select(["word", "count"])])]))
        whole = pa.concat_tables(found)
        words = whole["word"].combine_chunks()
        if isinstance(words, pa.ChunkedArray):
            words = pa.concat_arrays(words.chunks)
        _, offsets, utf8 = words.buffers()
        bounds = np.frombuffer(offsets, np.int64)[words.offset : words.offset + len(words) + 1]
        text = np.frombuffer(utf8 or b"", np.uint8)[bounds[0] : bounds[-1]]
        return Words(utf8=text, ends=bounds[1:] - bounds[0], counts=whole["count"].to_numpy())


def encoded_tokenizer(merges: Merges, pattern: str, *, special: Sequence[str]) -> bytes:
    """A `tokenizer.json` that tokenizers 0.2x and 1.0 read, one line of JSON."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern == "gpt2"}
    split = {"type": "Split", "pattern": {"Regex": PATTERNS[pattern]}, "behavior": "Isolated", "invert": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": token, **flags} for id, token in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": level if pattern == "gpt2" else {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": None,
        "decoder": level | {"add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(merges.tokens)},
            "merges": merges.pairs,
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport:
    """Encodes a sample of the documents and writes `report.json`. Called with what the phase before has counted."""

    dataset: Dataset
    shards: tuple[Shard, ...]
    reading: Reading
    seed: int
    output: str

    def __call__(self, spec: dict[str, Any]) -> TaskResult:
        path = streams.join(self.output, TOKENIZER)
        found = compare(
            [path],
            self.dataset,
            reading=self.reading,
            sample=_REPORTED,
            by_language=False,
            seed=self.seed,
            shards=self.shards,
        )
        named = [msgspec.structs.replace(one, tokenizer=TOKENIZER) for one in found.tokenizers]
        report = Trained(
            vocab_size=spec["vocab_size"],
            merges=spec["merges"],
            words=spec["words"],
            different=spec["different"],
            comparison=msgspec.structs.replace(found, tokenizers=named),
        )
        encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
        streams.write_bytes(streams.join(self.output, REPORT), encoded + b"\n")
        return TaskResult(outputs=[file_there(self.output, REPORT)])
