"""`dolma tokenize`: documents in, raw token shards with document rows out.

encode   a piece of a document file -> encoded documents, sorted by place, in the work folder
cut      all places -> where each shard begins and ends: exact before anything is written
write    a range of places -> one token shard, merged from the runs of all pieces
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Piece, Shard, pieces
from dolma.data.documents import Faults, Intake, Reading, read_batches
from dolma.data.exchange import END_OF_KEYS, MEMORY, Partition, RunFile
from dolma.data.manifest import FileSet, OutputFile, file_there, output_file
from dolma.data.tokens import (
    FORMAT_VERSION,
    NAME,
    Dtype,
    TokenManifest,
    TokenShardInfo,
    TokenShardWriter,
    little_endian,
    write_token_manifest,
)
from dolma.errors import ConfigError, DataError, RecordError
from dolma.models.encoder import Encoder, encoder_of, slow_note
from dolma.models.tokenizer_facts import TokenizerFacts, read_facts
from dolma.models.tokenizers_library import read_tokenizer
from dolma.printable import counted, printable
from dolma.requirements import Finding
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger, merged
from dolma.runner.merging import partitioned_groups
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance, begin
from dolma.runner.report import StageReport, Table, ledger_table
from dolma.runner.stage import StageRun, check_settings, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult
from dolma.runner.together import together
from dolma.tokens.formats.table import FORMATS
from dolma.tokens.long_documents import Cuts, cut_long, token_starts, whole
from dolma.tokens.order import Counts, corpus_places, parts_in_order, shuffled_places
from dolma.tokens.runs import (
    PLACES,
    CutParts,
    Documents,
    EncodedDocuments,
    Part,
    bounds_of,
    documents_of,
    parts_of,
    read_part,
)

SCRATCH = 0.1
"""Bytes of encoded documents for each byte of input, at the least."""
EMPTY = "empty"
"""Why a document is dropped whose text gives no token."""
TOKENIZER_NAME = "tokenizer.json"
MOST_SOURCES = 4096
"""Sources that may have shards of their own."""
_ROWS_PART = 64 << 20  # bytes of ids whose rows are compressed together


class EndOfText(msgspec.Struct, frozen=True, kw_only=True):
    """The token after each document, and why it is that one."""

    token: str
    id: int
    because: str


class TokenizeNotes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the manifest of token shards says beside its ledger; characters without a token where there may be some.

    `encoded_by`: a table of pre-tokens, or the library and why (docs/tokenize.md); the ids are the same. `tokenizer`:
    the name and commit of a hub that the tokenizer was found by.
    """

    eos: EndOfText | None = None
    encoded_by: str = ""
    dropped_characters: int | None = None
    tokenizer: str | None = None


def tokenize(
    dataset: Dataset,
    config: TokenizeConfig,
    *,
    output: str,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> StageReport[TokenizeNotes]:
    """Encode every document, whole, into shards of even size; the ledger's tokens count those that frame documents.

    A shard holds more than `config.max_tokens_per_shard` only where one document does.

    Raises:
        ConfigError: the tokenizer or its tokens are not there, or other outputs are in the way.
        DataError: a document file cannot be used, or no document has text.
    """
    reading = reading or Reading()
    facts = read_facts(config)
    inputs = Inputs(output, options=options, reporter=reporter)
    check_settings([_file_set([], config, facts, output=output, reading=reading, seed=seed)], options)
    shards = inputs.shards(dataset.shards())
    made = _file_set(shards, config, facts, output=output, reading=reading, seed=seed)
    with open_stage([made], options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        encoder = encoder_of(facts, allow_special_tokens=config.allow_special_tokens)  # fails now or never
        for note in _notes(facts, encoder):
            stage.reporter.note(note)
        parts = [piece for shard in shards for piece in pieces(shard)]
        encode = EncodePieces(
            facts=facts,
            allow_special_tokens=config.allow_special_tokens,
            strip=config.strip,
            seed=seed if config.shuffle else None,
            grouped=config.group_by is not None,
            most=config.max_tokens_per_shard if config.split_long_documents else None,
            reading=reading,
            work=stage.work_folder,
            memory=stage.options.max_memory or MEMORY,
        )
        encoded = stage.run("encode", _encode_tasks(parts), encode, scratch=SCRATCH, reads=True)
        limit, grouped = config.max_tokens_per_shard, config.group_by is not None
        written = write_shards(
            stage, encoded, dtype=facts.dtype, limit=limit, grouped=grouped, output=output, format=config.format
        )
        described = describe_shards(stage, config, facts, written, output=output, seed=seed)
        dropped = sum(result.payload["dropped"] for result in encoded) if facts.drops_characters else None
        if dropped is not None:
            stage.reporter.note(f"tokenize: {dropped:,} characters had no token and are gone")
        end = EndOfText(token=facts.eos, id=facts.eos_id, because=facts.eos_because)
        notes = TokenizeNotes(eos=end, encoded_by=encoder.path, dropped_characters=dropped, tokenizer=facts.pinned)
        report = stage.finish([*encoded, *written, *described], notes=msgspec.to_builtins(notes))
        return report.detailed(notes)
    return stage.noted(TokenizeNotes)


def _notes(facts: TokenizerFacts, encoder: Encoder) -> Iterator[str]:
    """What to tell before any text is read."""
    yield f"tokenize: each document ends with {facts.eos!r}, id {facts.eos_id}: {facts.eos_because}"
    if facts.drops_characters:
        yield (
            f"warning: {printable(facts.path)} has neither a token for each byte nor one for unknown text: "
            "characters that it does not know vanish\n"
            "  train it with byte fallback or an `unk_token`, or see at the end how many there were"
        )
    yield f"tokenize: texts are encoded by {encoder.path}"
    if note := slow_note():
        yield note


def plan(
    dataset: Dataset, config: TokenizeConfig, *, output: str, reading: Reading | None = None, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """What `tokenize` would read, one row per document file, and how its shards would look; reads no document.

    How many shards there will be follows from the number of tokens, and is told when all documents are encoded.
    """
    reading = reading or Reading()
    facts = read_facts(config)
    for shard in dataset.shards():
        yield {
            "input": shard.path,
            "bytes": shard.size,
            "columns": f"{reading.text}, {reading.id}, {reading.source}",
            "output": streams.join(output, f"part-*{FORMATS[config.format].suffix}"),
            "holds": f"{facts.dtype} ids of {facts.vocab_size:,}, at most {config.max_tokens_per_shard:,} to a shard",
        }


def made_again(dataset: Dataset, config: TokenizeConfig, *, output: str, reading: Reading, seed: int) -> dict[str, str]:
    """Why this stage would replace what it has finished; empty where it would not. Reads no document."""
    shards = dataset.shards()
    made = FileSet(
        folder=output,
        stage="tokenize",
        name="tokens",
        config=_settings(config, read_facts(config), reading=reading, seed=seed),
        inputs=[],
    )
    why = why_again(made, sizes={shard.name: shard.size for shard in shards})
    return {"": why} if why else {}


def check(config: TokenizeConfig) -> None:
    """Return when the tokenizer is there and can encode.

    Raises:
        ConfigError: it is not.
    """
    encoder_of(read_facts(config), allow_special_tokens=config.allow_special_tokens)


def needs(config: TokenizeConfig) -> Iterator[Finding]:
    """The tokenizer."""
    what = f"tokenizer {config.tokenizer}"
    try:
        check(config)
    except ConfigError as error:
        yield Finding(what=what, ok=False, get=error.message)
    else:
        yield Finding(what=what, ok=True)


def tables(ledger: Ledger) -> list[Table]:
    """The ledger."""
    return [ledger_table(ledger)]


def _settings(config: TokenizeConfig, facts: TokenizerFacts, *, reading: Reading, seed: int) -> dict[str, Any]:
    return {
        "tokenizer_sha256": facts.sha256,
        "eos": facts.eos,
        "bos": facts.bos,
        "dtype": facts.dtype,
        "shuffle": config.shuffle,
        "seed": seed if config.shuffle else None,
        "group_by": config.group_by,
        "max_tokens_per_shard": config.max_tokens_per_shard,
        "split_long_documents": config.split_long_documents,
        "format": config.format,
        "allow_special_tokens": config.allow_special_tokens,
        "strip": config.strip,
        **reading.identity,
    }


def _file_set(
    shards: Sequence[Shard], config: TokenizeConfig, facts: TokenizerFacts, *, output: str, reading: Reading, seed: int
) -> FileSet:
    decides = _settings(config, facts, reading=reading, seed=seed)
    inputs = [shard.input for shard in shards]
    return FileSet(folder=output, stage="tokenize", name="tokens", config=decides, inputs=inputs)


# --- encode ----------------------------------------------------------------------------------------------------------


def _encode_tasks(parts: Sequence[Piece]) -> list[Task]:
    return together(
        Task(key=piece.key, size=piece.size, spec=(number, piece), file=piece.shard.path, part=piece.words)
        for number, piece in enumerate(parts)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodePieces:
    """Encodes pieces. Called with (number of the piece, piece) of each.

    `seed` None: corpus order. `most`: tokens of a part of a document; None: documents are not cut.
    """

    facts: TokenizerFacts
    allow_special_tokens: bool
    strip: bool
    seed: int | None
    grouped: bool
    most: int | None
    reading: Reading
    work: str
    memory: int

    def __call__(self, specs: Sequence[tuple[int, Piece]]) -> TaskResult:
        name, ledgers, n_dropped = f"{specs[0][0]:06d}", [], 0
        with EncodedDocuments(
            self.work, name, dtype=self.facts.dtype, memory=self.memory, grouped=self.grouped
        ) as encoded:
            for number, piece in specs:
                ledger, n = self._add(number, piece, encoded)
                ledgers.append(ledger)
                n_dropped += n
        return TaskResult(
            outputs=encoded.outputs,
            ledger=merged(ledgers),
            payload={
                "places": msgspec.to_builtins(encoded.places),
                "documents": msgspec.to_builtins(encoded.documents),
                "dropped": n_dropped,
            },
        )

    def _add(self, number: int, piece: Piece, encoded: EncodedDocuments) -> tuple[Ledger, int]:
        """Encode a piece; its ledger, and how many characters had no token."""
        begin(piece.shard.path, piece.words)
        encoder = encoder_of(self.facts, allow_special_tokens=self.allow_special_tokens)
        intake, count, n_rows, n_dropped = Intake(), _Count(), 0, 0
        faults = Faults(piece, self.reading, intake)
        kept = self.reading.on_error == "quarantine"
        for batch in read_batches(piece, self.reading, intake=intake, records=kept, faults=faults):
            texts = TextBatch.of(text.strip() for text in batch.texts()) if self.strip else batch
            ids, counts, readable = _encode(encoder, batch, texts, faults)
            if self.facts.drops_characters:
                n_dropped += encoder.n_dropped([texts.text(i) for i in np.flatnonzero(readable).tolist()])
            count.add(batch, counts, readable)
            full = np.flatnonzero(counts)
            if len(full):
                some = self._documents(number, piece, n_rows, batch, ids, counts, full)
                encoded.add(some)
                n_rows += len(some.counts)
            advance(documents=len(batch), bytes=len(batch.utf8))
        return count.ledger(piece, intake), n_dropped

    def _documents(
        self,
        number: int,
        piece: Piece,
        n_before: int,
        batch: TextBatch,
        ids: npt.NDArray[Any],
        counts: Counts,
        full: Counts,
    ) -> Documents:
        """The documents `full` of a batch, cut where they are longer than may be."""
        cuts = whole(counts[full]) if self.most is None else self._cut(ids, counts[full], self.most)
        document = full[cuts.document]
        lines = batch.lines[document]
        if self.seed is None:
            places = corpus_places(number, n_before, len(lines))
        else:
            places = parts_in_order(shuffled_places(self.seed, piece.shard.name, lines), cuts.part, cuts.parts)
        return Documents(
            ids=ids,
            counts=cuts.counts,
            places=places,
            names=[batch.ids[i] for i in document.tolist()],
            sources=[batch.sources[i] for i in document.tolist()],
            paths=[piece.shard.name] * len(lines),
            lines=lines,
            part=cuts.part,
            parts=cuts.parts,
            offsets=cuts.offsets,
        )

    def _cut(self, ids: npt.NDArray[Any], counts: Counts, most: int) -> Cuts:
        return cut_long(ids, counts, most=most, starts=token_starts(self.facts.path, self.facts.sha256))


def _encode(
    encoder: Encoder, batch: TextBatch, texts: TextBatch, faults: Faults
) -> tuple[npt.NDArray[Any], Counts, npt.NDArray[np.bool_]]:
    """All ids of the batch, how many each document has, and whether the tokenizer could read it."""
    try:
        ids, counts = encoder.encode(texts.utf8, texts.offsets)
        return ids, counts, np.ones(len(texts), dtype=bool)
    except RecordError:
        each = [_encode_one(encoder, batch, i, text, faults) for i, text in enumerate(texts.texts())]
    found = [np.zeros(0, little_endian(encoder.facts.dtype)) if ids is None else ids for ids in each]
    return np.concatenate(found), np.array([len(ids) for ids in found]), np.array([ids is not None for ids in each])


def _encode_one(encoder: Encoder, batch: TextBatch, i: int, text: str, faults: Faults) -> npt.NDArray[Any] | None:
    try:
        return encoder([text])[0]
    except RecordError as error:
        raw = batch.records[i] if batch.records is not None else b""
        faults.bad(raw, line=int(batch.lines[i]), offset=None, reason=error.message)
        return None


class _Count:
    """Documents, bytes of text and tokens per source; those without a token apart."""

    def __init__(self) -> None:
        self.kept: dict[str, Counter[str]] = {}
        self.empty: dict[str, Counter[str]] = {}

    def add(self, batch: TextBatch, counts: Counts, readable: npt.NDArray[np.bool_]) -> None:
        items = zip(batch.sources, batch.n_bytes.tolist(), counts.tolist(), readable.tolist(), strict=True)
        for source, n_bytes, n_tokens, could_read in items:
            if could_read:
                tally = (self.kept if n_tokens else self.empty).setdefault(source, Counter())
                tally["documents"] += 1
                tally["bytes"] += n_bytes
                tally["tokens"] += n_tokens

    def ledger(self, piece: Piece, intake: Intake) -> Ledger:
        ledger = Ledger()
        for source, tally in self.kept.items():
            ledger.take(source, **tally)
            ledger.keep(source, **tally)
        for source, tally in self.empty.items():
            ledger.take(source, **tally)
            ledger.drop(source, EMPTY, **tally)
        ledger.fail(piece.shard.source, intake)
        return ledger


# --- write -----------------------------------------------------------------------------------------------------------


def write_shards(
    stage: StageRun,
    encoded: Sequence[TaskResult],
    *,
    dtype: Dtype,
    limit: int,
    grouped: bool,
    output: str,
    n_parts: int | None = None,
    format: str = "dolma",
) -> list[TaskResult]:
    """The shards of the documents that these tasks have left; otherwise as `planned_parts`."""
    memory, work = stage.options.max_memory or MEMORY, stage.work_folder
    groups = planned_parts(stage, encoded, limit=limit, grouped=grouped, output=output, n_parts=n_parts)
    documents = _by_source(encoded, "documents").values()
    table = documents_of(dtype)
    stretches = partitioned_groups(stage, table, list(documents), list(map(bounds_of, groups)), memory=memory)
    itemsize = little_endian(dtype).itemsize
    parts = [part for some in groups for part in some]
    write = WritePart(work=work, output=output, dtype=dtype, memory=memory, format=format)
    tasks = [
        Task(key=part.name, size=part.tokens * itemsize, spec=(part, stretch))
        for part, stretch in zip(parts, [one for some in stretches for one in some], strict=True)
    ]
    return stage.run("write", tasks, write)


def planned_parts(
    stage: StageRun,
    placed: Sequence[TaskResult],
    *,
    limit: int,
    grouped: bool,
    output: str,
    n_parts: int | None = None,
) -> list[list[Part]]:
    """The shards that the places which these tasks have left come to, of each source; see `cut` for their sizes.

    Raises:
        DataError: there are no documents, or too many sources to be grouped.
    """
    memory = stage.options.max_memory or MEMORY
    places = _by_source(placed, "places")
    if not places:
        n_docs = sum(result.ledger.total().taken.documents for result in placed)
        raise DataError(
            f"there is nothing to write to {output}: {n_docs:,} documents were read and none gives a token\n"
            "  look at what went in with `dolma stat`; `--text-field` names the field that holds the text"
        )
    if len(places) > MOST_SOURCES:
        raise DataError(
            f"there are {len(places):,} sources, and each would have shards of its own: expected at most "
            f"{MOST_SOURCES:,}\n  leave `group_by` out, or name a coarser field: `--source-field`"
        )
    found = partitioned_groups(stage, PLACES, list(places.values()), [[0, END_OF_KEYS]] * len(places), memory=memory)
    spec = [(source if grouped else None, one) for source, (one,) in zip(places, found, strict=True)]
    task = Task(
        key=xxhash.xxh3_64_hexdigest("".join(one.fingerprint for _, one in spec).encode()),
        size=sum(one.n_bytes for _, one in spec),
        spec=spec,
    )
    cut = CutParts(work=stage.work_folder, limit=limit, n_parts=n_parts, memory=memory)
    groups = parts_of(stage.plan("cut", task, cut, uses_up=(PLACES.name,)).payload)
    tokens = sum(part.tokens for some in groups for part in some)
    n_docs = sum(result.ledger.total().written.documents for result in placed)
    said = f"{counted(tokens, 'token')} of {counted(n_docs, 'document')}"
    apart = f" of {counted(len(places), 'source')}" if grouped else ""
    stage.reporter.note(f"{stage.name}: {said} go into {counted(sum(map(len, groups)), 'shard')}{apart}")
    return groups


def _by_source(results: Sequence[TaskResult], name: str) -> dict[str, list[RunFile]]:
    """The files of places or documents that tasks have left, by source, in order; `""` where sources are mixed."""
    files = [msgspec.convert(result.payload[name], dict[str, RunFile]) for result in results]
    sources = sorted({source for some in files for source in some})
    return {source: [some[source] for some in files if source in some] for source in sources}


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePart:
    """Writes one token shard with its rows. Called with (its part, the documents of the part)."""

    work: str
    output: str
    dtype: Dtype
    memory: int
    format: str = "dolma"

    def __call__(self, spec: tuple[Part, Partition]) -> TaskResult:
        part, documents = spec
        read = partial(read_part, self.work, documents, dtype=self.dtype, memory=self.memory)
        counts = [block.counts for block in read()] if FORMATS[self.format].needs_counts else None
        known = None if counts is None else np.concatenate(counts)
        with shard_writer(self.output, part, self.dtype, format=self.format, counts=known) as writer:
            for block in read():
                writer.write([block.ids], counts=block.counts, rows=block.rows)
                advance(documents=len(block.counts))
                del block
        return shard_written(writer, part, output=self.output, made_from=self.work)


def shard_writer(
    output: str, part: Part, dtype: Dtype, *, format: str = "dolma", counts: Counts | None = None
) -> TokenShardWriter:
    """The writer of this shard; `counts` are the tokens of each of its rows, where the format needs them before."""
    itemsize, form = little_endian(dtype).itemsize, FORMATS[format]
    name = part.name + form.suffix
    return TokenShardWriter(
        output,
        name,
        source=part.source,
        tokens_per_part=_ROWS_PART // itemsize,
        ids=form.open(streams.join(output, name), dtype, counts=counts),
        csv=form.csv,
        parquet=form.parquet,
    )


def shard_written(writer: TokenShardWriter, part: Part, *, output: str, made_from: str) -> TaskResult:
    """The result of a task that has written this shard.

    Raises:
        DataError: it is not the one that was planned.
    """
    info = writer.info
    assert info is not None
    if (info.tokens, info.rows) != (part.tokens, part.rows):
        raise DataError(
            f"{made_from} has changed while {info.path} was written from it"
            "\n  run the same command again, and let no other program write there"
        )
    return TaskResult(
        outputs=[
            OutputFile(set=output, path=info.path, bytes=info.bytes, checksum=info.xxh3, rows=info.rows),
            *(output_file(output, rows, rows=info.rows) for rows in writer.rows_written),
        ],
        payload=msgspec.to_builtins(info),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Writes `tokens.json`, and a copy of the tokenizer, without which the shards cannot be read."""

    output: str
    facts: TokenizerFacts

    def __call__(self, manifest: TokenManifest) -> TaskResult:
        write_token_manifest(self.output, manifest)
        tokenizer = read_tokenizer(self.facts.path, sha256=self.facts.sha256)
        streams.write_bytes(streams.join(self.output, TOKENIZER_NAME), tokenizer)
        beside = FORMATS[manifest.format].describe(self.output, manifest)
        return TaskResult(outputs=[file_there(self.output, name) for name in (NAME, TOKENIZER_NAME, *beside)])


def describe_shards(
    stage: StageRun,
    config: TokenizeConfig,
    facts: TokenizerFacts,
    written: Sequence[TaskResult],
    *,
    output: str,
    seed: int,
    mixed: bool = False,
) -> list[TaskResult]:
    """`tokens.json` of these shards, and the tokenizer beside it."""
    manifest = TokenManifest(
        format_version=FORMAT_VERSION,
        tokenizer=TOKENIZER_NAME,
        tokenizer_sha256=facts.sha256,
        dtype=facts.dtype,
        vocab_size=facts.vocab_size,
        eos_id=facts.eos_id,
        bos_id=facts.bos_id,
        pad_id=facts.pad_id,
        seed=seed if config.shuffle else 0,
        shards=[msgspec.convert(result.payload, TokenShardInfo) for result in written],
        shuffle=config.shuffle,
        special_tokens_allowed=config.allow_special_tokens,
        format=config.format,
        mixed=mixed or msgspec.UNSET,
    )
    return stage.run("describe", [Task(key=NAME, size=1, spec=manifest)], Describe(output=output, facts=facts))
