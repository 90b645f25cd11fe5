"""Exact dedupe: which documents, or which of their paragraphs, the corpus already had.

The first copy in corpus order (shard name, then line) is kept, later ones are duplicates, whatever the number of
workers. Three phases: hash every key (the only one that reads text), group each range of hashes, write each shard's
attributes. Memory is bounded by `RunOptions.max_memory`, not by the corpus; disk holds about 50 bytes per key and the
ids, in the stage's work folder, until the stage ends.

Measured on one core of a 2-core cloud machine, 218 MB of mixed text in zst (2026-11-23): by text 1.3 to 1.5 times the
least work there is (decompress and decode), by paragraphs 2.3 to 2.7 times. Peak memory by text: 362 MiB for 1 million
documents of 35 bytes, 390 MiB for 4 million.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma.config import DedupeConfig
from dolma.data import streams
from dolma.data.attributes import AttributeWriter
from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocBool, DocFloat, DocInt, DocText, Output, Spans, spans_column
from dolma.data.dataset import AttributesFormat, Dataset, Piece, Place, Shard, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import (
    MEMORY,
    Cursor,
    Partition,
    RunFile,
    RunWriter,
    prefix_bounds,
    read_in_order,
    read_sorted,
)
from dolma.data.fields import field_names
from dolma.data.manifest import FileSet, InputFile, Manifest, OutputFile
from dolma.dedupers.chunks import KEYS, MARKS, ROWS, Chunk, MarkedChunk, first_place, marked_chunks, marks_of
from dolma.dedupers.keys import Gate, KeyOf, Keys, key_of
from dolma.errors import DataError
from dolma.runner import attribute_sets
from dolma.runner.compiling import compile_by_calling
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger
from dolma.runner.merging import partitioned
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.stage import StageRun, check_settings, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult

VERSION = 1
SCRATCH = 0.005
"""Bytes of keys for each byte of input, at the least."""
_BYTES_PER_KEY = 256  # of a chunk in memory, while it is sorted
_PARTITION_BYTES = 64 << 20  # a task's worth of keys; it streams them
_ROWS_PER_WRITE = 1 << 16
_FIELDS_LISTED = 40

DOCUMENT_OUTPUTS: dict[str, Output] = {
    "duplicate": DocBool("an equal document comes before this one in the corpus"),
    "first_id": DocText("id of the first equal document; null unless duplicate"),
    "copies": DocInt("equal documents in the corpus, this one included", unit="documents", range=">= 1"),
}
PARAGRAPH_OUTPUTS: dict[str, Output] = {
    "spans": Spans("paragraphs, newline included, of which an equal one comes before in the corpus", range="1"),
    "fraction": DocFloat("share of the document's code points in such paragraphs; 0 for an empty text", range="0-1"),
    "n_paragraphs": DocInt("paragraphs that are not blank", unit="paragraphs"),
    "n_duplicates": DocInt("paragraphs of which an equal one comes before in the corpus", unit="paragraphs"),
}


class DedupeNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest of a dedupe says beside its ledger; `duplicates` are documents, or paragraphs."""

    documents: int = 0
    duplicates: int = 0
    without_key: int = 0


def dedupe(
    dataset: Dataset,
    config: DedupeConfig,
    *,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> StageReport[DedupeNotes]:
    """Write the attribute `config.name` beside the documents; the report says what was done.

    Raises:
        ConfigError: `config.by` is no key, or no documents match.
        DataError: no record has a value at the field `config.by`.
    """
    reading, key = reading or Reading(), _key(config)
    shards = dataset.shards()
    inputs = Inputs(dataset.home(shards), options=options, reporter=reporter)
    places = dataset.places(config.name, shards)
    check_settings(_file_sets(config, reading, places, []), options)
    shards = inputs.shards(shards)
    called = {"name": config.name, "folder": dataset.attributes or BESIDE}
    sets = _file_sets(config, reading, places, _named(shards, places))
    with open_stage(sets, options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        parts = [piece for shard in shards for piece in pieces(shard)]
        memory = stage.options.max_memory or MEMORY
        hashing = HashPiece(work=stage.work_folder, key=key, reading=reading, memory=memory)
        compile_by_calling(stage.reporter, key)
        tasks = [_hash_task(i, piece) for i, piece in enumerate(parts)]
        hashed = stage.run("hash", tasks, hashing, scratch=SCRATCH)
        _check_field(config, shards, hashed)
        marks = _grouped(stage, [_file(result, "keys") for result in hashed], memory=memory)
        writing = WriteShard(
            work=stage.work_folder, name=config.name, format=config.attributes_format, key=key, memory=memory
        )
        rows = [_file(result, "rows") for result in hashed]
        tasks = _write_tasks(stage, dataset, shards, parts, config, rows=rows, marks=marks)
        written = stage.run("write", tasks, writing)
        counted = [TaskResult(ledger=result.ledger) for result in hashed]
        notes = _notes(hashed, written)
        report = stage.finish([*counted, *written], notes=msgspec.to_builtins(notes))
        return report.detailed(notes, **called)
    return stage.noted(DedupeNotes, **called)


def declares(config: DedupeConfig) -> dict[str, Mapping[str, Output]]:
    """The outputs that this dedupe writes, by name, under that of its set."""
    return {config.name: _outputs(_key(config))}


def sets(config: DedupeConfig) -> list[str]:
    """The set that this dedupe writes."""
    return [config.name]


def plan(dataset: Dataset, config: DedupeConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `dedupe` would write, one row per output file; reads no document."""
    reading, key = reading or Reading(), _key(config)
    columns = [reading.text, reading.id, reading.source, *([".".join(key.field)] if key.field else [])]
    shards = dataset.shards()
    for shard, place in zip(shards, dataset.places(config.name, shards), strict=True):
        yield {
            "name": config.name,
            "input": shard.path,
            "bytes": shard.size,
            "columns": ", ".join(columns),
            "output": place.path(config.attributes_format),
            "holds": list(_outputs(key)),
        }


# --- phase 1: hash ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashPiece:
    """Reads a piece and leaves its rows and distinct keys. Called with (index of the piece, piece)."""

    work: str
    key: KeyOf
    reading: Reading
    memory: int

    def __call__(self, spec: tuple[int, Piece]) -> TaskResult:
        index, piece = spec
        intake, count = Intake(), _Count()
        name, place = f"{index:06d}", first_place(index)
        with RunWriter(ROWS, self.work, name) as rows, RunWriter(KEYS, self.work, name) as keys:
            for chunk in self._chunks(piece, intake, count):
                place = chunk.write(rows, keys, place=place, with_ids=self.key.mode != "paragraphs")
        return TaskResult(
            outputs=[*rows.outputs, *keys.outputs],
            ledger=count.ledger(piece, intake),
            payload={
                "rows": msgspec.to_builtins(rows.file),
                "keys": msgspec.to_builtins(keys.file),
                "without_key": count.without,
                "fields": sorted(count.fields),
            },
        )

    def _chunks(self, piece: Piece, intake: Intake, count: _Count) -> Iterator[Chunk]:
        chunk = Chunk()
        by_field = self.key.mode == "field"
        for batch in read_batches(piece, self.reading, intake=intake, records=by_field):
            keys = self.key(batch)
            count.add(batch, keys)
            chunk.add(batch, keys)
            if chunk.size >= self.memory // _BYTES_PER_KEY:
                yield chunk
                chunk = Chunk()
            advance(documents=len(batch), bytes=len(batch.utf8))
        if chunk.size:
            yield chunk


class _Count:
    """What one hash task counted."""

    def __init__(self) -> None:
        self.without = 0
        self.documents: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.fields: set[str] = set()

    def add(self, batch: TextBatch, keys: Keys) -> None:
        self.without += keys.without
        if batch.records is not None and keys.without == len(batch) and len(self.fields) < _FIELDS_LISTED:
            self.fields.update(field_names(batch.records[:20]))
        self.documents.update(batch.sources)
        if len(set(batch.sources)) == 1:
            self.bytes[batch.sources[0]] += len(batch.utf8)
            return
        for source, n_bytes in zip(batch.sources, batch.n_bytes.tolist(), strict=True):
            self.bytes[source] += n_bytes

    def ledger(self, piece: Piece, intake: Intake) -> Ledger:
        ledger = Ledger()
        for source, documents in self.documents.items():
            ledger.take(source, documents=documents, bytes=self.bytes[source])
            ledger.keep(source, documents=documents, bytes=self.bytes[source])
        ledger.fail(piece.shard.source, intake)
        return ledger


def _hash_task(index: int, piece: Piece) -> Task:
    return Task(key=piece.key, size=piece.size, spec=(index, piece), file=piece.shard.path, part=piece.words)


def _file(result: TaskResult, name: str) -> RunFile:
    return msgspec.convert(result.payload[name], RunFile)


def _check_field(config: DedupeConfig, shards: Sequence[Shard], hashed: Sequence[TaskResult]) -> None:
    n_documents = sum(result.ledger.total().out.documents for result in hashed)
    n_without = sum(result.payload["without_key"] for result in hashed)
    if n_documents == 0 or n_without < n_documents:
        return
    fields = sorted({name for result in hashed for name in result.payload["fields"]})
    raise DataError(
        f"no record of the corpus has a value at {config.by!r}\n"
        f"  fields that are there: {', '.join(fields) or 'none'}\n"
        "  set `by` to one of them, to 'text' or to 'paragraphs'",
        file=shards[0].path,
    )


# --- phase 2: group --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKeys:
    """Finds the keys of a range of hashes that occur more than once. Called with (name of the marks, range)."""

    work: str
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        keys = read_sorted(KEYS, self.work, partition, memory=self.memory // 2)
        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for found in marks_of(keys):
                marks.add(found)
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file)})


def _grouped(stage: StageRun, keys: Sequence[RunFile], *, memory: int) -> list[RunFile]:
    n_partitions = 1 + sum(file.index for file in keys) // _PARTITION_BYTES
    parts = partitioned(stage, KEYS, keys, prefix_bounds(n_partitions), memory=memory)
    names = [f"{i:06d}-{part.fingerprint}" for i, part in enumerate(parts)]
    tasks = [Task(key=name, size=part.n_bytes, spec=(name, part)) for name, part in zip(names, parts, strict=True)]
    grouping = GroupKeys(work=stage.work_folder, memory=memory)
    return [_file(result, "marks") for result in stage.run("group", tasks, grouping, uses_up=(KEYS.name,))]


# --- phase 3: write --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteShard:
    """Writes the attribute file of one shard. Called with (folder of the file set, path in it, rows, marks).

    `rows` are the files of its pieces by their numbers, in order.
    """

    work: str
    name: str
    format: AttributesFormat
    key: KeyOf
    memory: int

    def __call__(self, spec: tuple[str, str, dict[int, RunFile], Partition]) -> TaskResult:
        folder, path, rows, marks = spec
        n_duplicates = 0
        with self._writer(streams.join(folder, path)) as writer:
            for table in _even(self._tables(rows, marks)):
                columns = {name: table[name].combine_chunks() for name in _outputs(self.key)}
                writer.write(table["id"].to_pylist(), columns, characters=table["characters"].to_pylist())
                n_duplicates += pc.sum(table["n_duplicates" if "spans" in columns else "duplicate"]).as_py()
        written = writer.written
        assert written is not None
        output = OutputFile(set=folder, path=path, bytes=written.bytes, checksum=written.checksum, rows=writer.rows)
        return TaskResult(outputs=[output], payload={"duplicates": n_duplicates})

    def _writer(self, path: str) -> AttributeWriter:
        return AttributeWriter(
            path,
            _outputs(self.key),
            tagger=self.name,
            version=VERSION,
            parameters=_parameters(self.key),
            format=self.format,
        )

    def _tables(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        columns_of = paragraph_columns if self.key.mode == "paragraphs" else document_columns
        cursor = Cursor(MARKS, read_sorted(MARKS, self.work, marks, memory=self.memory // 4))
        for piece, file in rows.items():
            for chunk in marked_chunks(read_in_order(ROWS, self.work, file), cursor, piece=piece):
                columns = {"id": chunk.rows["id"], "characters": chunk.rows["characters"], **columns_of(chunk)}
                yield pa.table(columns)


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut alike wherever the chunks were: how a shard was read leaves no trace in its file."""
    held: pa.Table | None = None
    for table in tables:
        held = table if held is None else pa.concat_tables([held, table])
        while len(held) >= _ROWS_PER_WRITE:
            yield held.slice(0, _ROWS_PER_WRITE)
            held = held.slice(_ROWS_PER_WRITE)
    if held is not None and len(held):
        yield held


def document_columns(marked: MarkedChunk) -> Columns:
    """The `DOCUMENT_OUTPUTS` of a chunk in which a document has one key or none."""
    n_docs = len(marked.rows)
    duplicate, copies = np.zeros(n_docs, dtype=bool), np.ones(n_docs, dtype=np.int64)
    duplicate[marked.document], copies[marked.document] = marked.duplicate, marked.copies
    key = np.zeros(n_docs, dtype=np.int64)
    key[marked.document] = np.arange(len(marked.document))
    return {
        "duplicate": pa.array(duplicate),
        "first_id": marked.first_id.take(pa.array(key, mask=~duplicate)),
        "copies": pa.array(copies),
    }


def paragraph_columns(marked: MarkedChunk) -> Columns:
    """The `PARAGRAPH_OUTPUTS` of a chunk."""
    n_docs = len(marked.rows)
    document = marked.document[marked.duplicate]
    first, last = marked.first[marked.duplicate], marked.last[marked.duplicate]
    n_duplicates = np.bincount(document, minlength=n_docs)
    inside = np.bincount(document, weights=last - first, minlength=n_docs)
    characters = marked.rows["characters"].to_numpy()
    return {
        "spans": spans_column(n_duplicates, first, last, np.ones(len(first))),
        "fraction": pa.array(inside / np.maximum(characters, 1)),
        "n_paragraphs": marked.rows["paragraphs"],
        "n_duplicates": pa.array(n_duplicates),
    }


def _write_tasks(
    stage: StageRun,
    dataset: Dataset,
    shards: Sequence[Shard],
    parts: Sequence[Piece],
    config: DedupeConfig,
    *,
    rows: Sequence[RunFile],
    marks: Sequence[RunFile],
) -> list[Task]:
    files: dict[str, dict[int, RunFile]] = {shard.name: {} for shard in shards}
    for index, (piece, file) in enumerate(zip(parts, rows, strict=True)):
        files[piece.shard.name][index] = file
    bounds = [first_place(min(files[shard.name])) for shard in shards] + [first_place(len(parts))]
    marked = partitioned(stage, MARKS, marks, bounds, memory=stage.options.max_memory or MEMORY)
    tasks = []
    for shard, place, part in zip(shards, dataset.places(config.name, shards), marked, strict=True):
        path = place.path(config.attributes_format).removeprefix(place.folder + "/")
        spec = (place.folder, path, files[shard.name], part)
        tasks.append(Task(key=shard.name, size=shard.size, spec=spec, file=shard.path))
    return tasks


# --- what the stage is -----------------------------------------------------------------------------------------------


def _key(config: DedupeConfig) -> KeyOf:
    gate = Gate(skip_empty=config.skip_empty, min_length=config.min_length, min_words=config.min_words)
    return key_of(config.by, gate)


def _parameters(key: KeyOf) -> dict[str, Any]:
    return {"by": ".".join(key.field) or key.mode, **asdict(key.gate)}


def _outputs(key: KeyOf) -> Mapping[str, Output]:
    return PARAGRAPH_OUTPUTS if key.mode == "paragraphs" else DOCUMENT_OUTPUTS


def made_again(dataset: Dataset, config: DedupeConfig, *, reading: Reading) -> dict[str, str]:
    """Why this stage would replace what it has finished; empty where it would not. Reads no document."""
    shards = dataset.shards()
    places = dataset.places(config.name, shards)
    sizes = {place.name if place.root else shard.name: shard.size for shard, place in zip(shards, places, strict=True)}
    made = _file_sets(config, reading, places, [])
    return next(({config.name: why} for file_set in made if (why := why_again(file_set, sizes=sizes))), {})


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and its files does not fit."""
    made = manifest.config
    return attribute_sets.contradictions(
        folder, manifest, ledger, options=lambda given: {key: made.get(key) for key in given}
    )


def _settings(config: DedupeConfig, reading: Reading) -> dict[str, Any]:
    key = _key(config)
    return {
        **_parameters(key),
        "version": VERSION,
        "attributes_format": config.attributes_format,
        "outputs": {name: asdict(output) for name, output in _outputs(key).items()},
        **reading.identity,
    }


def _file_sets(
    config: DedupeConfig, reading: Reading, places: Sequence[Place], inputs: Sequence[InputFile]
) -> list[FileSet]:
    """One per attributes folder. Each depends on every input: a copy may be anywhere."""
    remedy = (
        "each of its rows depends on all of its documents: `--overwrite` makes it for these documents, and no others "
        "have rows then; or give this one a `--name` of its own"
    )
    return [
        FileSet(
            folder=folder,
            stage="dedupe",
            name=config.name,
            config=_settings(config, reading),
            inputs=list(inputs),
            root=places[0].root,
            remedy=remedy,
        )
        for folder in sorted({place.folder for place in places})
    ]


def _named(shards: Sequence[Shard], places: Sequence[Place]) -> list[InputFile]:
    return [
        msgspec.structs.replace(shard.input, name=place.name) if place.root else shard.input
        for shard, place in zip(shards, places, strict=True)
    ]


def _notes(hashed: Sequence[TaskResult], written: Sequence[TaskResult]) -> DedupeNotes:
    return DedupeNotes(
        documents=sum(result.ledger.total().out.documents for result in hashed),
        duplicates=sum(result.payload["duplicates"] for result in written),
        without_key=sum(result.payload["without_key"] for result in hashed),
    )
