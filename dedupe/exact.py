"""Exact dedupe: which documents, or which of their paragraphs, the corpus already had.

The first copy in corpus order (shard name, then line) is kept, later ones are duplicates, whatever the number of
workers. Three phases: hash every key (the only one that reads text), group each bucket of hashes, write each shard's
attributes. Memory depends on the sizes of a chunk and a bucket, not on the corpus; disk holds about 30 bytes per key
and the ids, in the stage's work folder, until the stage ends.

Measured on one core of a 2-core cloud machine, 218 MB of mixed text in zst (2026-11-23): by text 1.3 to 1.5 times the
least work there is (decompress and decode), by paragraphs 2.3 to 2.7 times. Peak memory by text: 362 MiB for 1 million
documents of 35 bytes, 390 MiB for 4 million.
"""

from __future__ import annotations

import itertools
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
from dolma.data.dataset import AttributesFormat, Dataset, Piece, Shard, identified, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.fields import field_names
from dolma.data.formats.table import format_of
from dolma.data.manifest import FileSet, OutputFile
from dolma.dedupers.blocks import BlockFile, write_blocks
from dolma.dedupers.chunks import MARKS, ROWS, Chunk, MarkedChunk, group_bucket, keys_path, mark_chunk, marks_path
from dolma.dedupers.keys import Gate, KeyOf, Keys, key_of
from dolma.errors import DataError
from dolma.runner.compiling import compile_by_calling
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.stage import Unfinished, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult

VERSION = 1
CHUNK_KEYS = 1 << 20
BUCKET_KEYS = 1 << 20
_MOST_BUCKETS = 1 << 14
_ROWS_PER_WRITE = 1 << 16
_FIELDS_LISTED = 40
_SAMPLED_SHARDS = 8
_EXPANSION = 4  # of compressed text, about

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
    shards = identified(dataset.shards())
    called = {"name": config.name, "folder": dataset.attributes or BESIDE}
    with open_stage(_file_sets(dataset, shards, config, reading), options=options, reporter=reporter) as stage:
        if stage.complete:
            return stage.noted(DedupeNotes, **called)
        parts = [piece for shard in shards for piece in pieces(shard)]
        n_buckets = bucket_count(shards, bytes_per_key=bytes_per_key(shards, key, reading))
        hashing = HashPiece(
            work=stage.work_folder, key=key, reading=reading, n_buckets=n_buckets, chunk_keys=CHUNK_KEYS
        )
        compile_by_calling(stage.reporter, key)
        try:
            hashed = stage.run("hash", [_hash_task(i, piece) for i, piece in enumerate(parts)], hashing)
        except Unfinished as unfinished:
            return unfinished.report.detailed(DedupeNotes(), **called)
        _check_field(config, shards, hashed)
        n_chunks = tuple(result.payload["chunks"] for result in hashed)
        layout = Layout(work=stage.work_folder, n_chunks=n_chunks, n_buckets=n_buckets)
        stage.run("group", layout.bucket_tasks(), GroupBucket(layout=layout))
        writing = WriteShard(layout=layout, name=config.name, format=config.attributes_format, key=key)
        written = stage.run("write", _write_tasks(dataset, shards, parts, config), writing)
        counted = [TaskResult(ledger=result.ledger) for result in hashed]
        notes = _notes(hashed, written)
        report = stage.finish([*counted, *written], notes=msgspec.to_builtins(notes))
        return report.detailed(notes, **called)


def outputs_of(config: DedupeConfig) -> Mapping[str, Output]:
    """The outputs that this dedupe writes, by name."""
    return _outputs(_key(config))


def plan(dataset: Dataset, config: DedupeConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `dedupe` would write, one row per output file; reads no document."""
    reading, key = reading or Reading(), _key(config)
    columns = [reading.text, reading.id, reading.source, *([".".join(key.field)] if key.field else [])]
    for shard in dataset.shards():
        yield {
            "name": config.name,
            "input": shard.path,
            "bytes": shard.size,
            "columns": ", ".join(columns),
            "output": dataset.attribute_path(config.name, shard, config.attributes_format),
            "holds": list(_outputs(key)),
        }


# --- phase 1: hash ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashPiece:
    """Reads a piece and leaves its rows and distinct keys. Called with (index of the piece, piece)."""

    work: str
    key: KeyOf
    reading: Reading
    n_buckets: int
    chunk_keys: int

    def __call__(self, spec: tuple[int, Piece]) -> TaskResult:
        index, piece = spec
        intake, count = Intake(), _Count()
        written = write_blocks(keys_path(self.work, index), self._blocks(piece, intake, count))
        return TaskResult(
            outputs=[_intermediate(self.work, one) for one in written],
            ledger=count.ledger(piece, intake),
            payload={"chunks": count.chunks, "without_key": count.without, "fields": sorted(count.fields)},
        )

    def _blocks(self, piece: Piece, intake: Intake, count: _Count) -> Iterator[pa.RecordBatch]:
        chunk = Chunk()
        by_field = self.key.mode == "field"
        for batch in read_batches(piece, self.reading, intake=intake, records=by_field):
            keys = self.key(batch)
            count.add(batch, keys)
            chunk.add(batch, keys)
            if chunk.size >= self.chunk_keys:
                yield from self._end(chunk, count)
                chunk = Chunk()
            advance(documents=len(batch), bytes=len(batch.utf8))
        if chunk.size:
            yield from self._end(chunk, count)

    def _end(self, chunk: Chunk, count: _Count) -> Iterator[pa.RecordBatch]:
        count.chunks += 1
        return chunk.blocks(n_buckets=self.n_buckets, with_ids=self.key.mode != "paragraphs")


class _Count:
    """What one hash task counted."""

    def __init__(self) -> None:
        self.chunks = self.without = 0
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


def bucket_count(shards: Sequence[Shard], *, bytes_per_key: float) -> int:
    """How many buckets the hashes are cut into: a power of two, from the inputs and nothing else."""
    plain = [shard for shard in shards if format_of(shard.path).is_text(shard.path)]
    others = sum(shard.size for shard in shards) - sum(shard.size for shard in plain)
    n_bytes = sum(shard.size for shard in plain) + _EXPANSION * others
    return min(_MOST_BUCKETS, 1 << int(n_bytes / bytes_per_key / BUCKET_KEYS).bit_length())


def bytes_per_key(shards: Sequence[Shard], key: KeyOf, reading: Reading) -> float:
    """UTF-8 bytes of text per key, in the first batches of a few shards; at least 1."""
    skipping = msgspec.structs.replace(reading, on_error="skip", quarantine=None)
    n_bytes = n_keys = 0
    for shard in shards[:: -(-len(shards) // _SAMPLED_SHARDS)]:
        batches = read_batches(shard, skipping, intake=Intake(), records=key.mode == "field")
        for batch in itertools.islice(batches, 1):
            n_bytes += len(batch.utf8)
            n_keys += len(key(batch).hashes)
    return max(1.0, n_bytes / max(1, n_keys))


def _hash_task(index: int, piece: Piece) -> Task:
    return Task(key=piece.key, size=piece.size, spec=(index, piece), file=piece.shard.path)


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
class Layout:
    """Where the chunks and buckets of a run lie: `n_chunks` of each piece, in corpus order."""

    work: str
    n_chunks: tuple[int, ...]
    n_buckets: int

    def bucket_tasks(self) -> list[Task]:
        """One task per bucket."""
        return [Task(key=f"{bucket:06d}", size=1, spec=bucket) for bucket in range(self.n_buckets)]

    def chunks(self, piece: int) -> Iterator[tuple[pa.RecordBatch, list[pa.RecordBatch]]]:
        """For each chunk of a piece, its rows and its marks."""
        file = BlockFile(path=keys_path(self.work, piece))
        base = sum(self.n_chunks[:piece])
        for chunk in range(self.n_chunks[piece]):
            marks = [
                BlockFile(path=marks_path(self.work, bucket)).read(base + chunk, MARKS)
                for bucket in range(self.n_buckets)
            ]
            yield file.read(chunk * (self.n_buckets + 1), ROWS), marks


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBucket:
    """Finds the keys of one bucket that occur more than once. Called with the bucket."""

    layout: Layout

    def __call__(self, bucket: int) -> TaskResult:
        work, n_buckets = self.layout.work, self.layout.n_buckets
        files = [(BlockFile(path=keys_path(work, piece)), n) for piece, n in enumerate(self.layout.n_chunks)]
        written = write_blocks(marks_path(work, bucket), group_bucket(files, bucket=bucket, n_buckets=n_buckets))
        return TaskResult(outputs=[_intermediate(work, one) for one in written])


# --- phase 3: write --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteShard:
    """Writes the attribute file of one shard. Called with (folder of the file set, path in it, its pieces)."""

    layout: Layout
    name: str
    format: AttributesFormat
    key: KeyOf

    def __call__(self, spec: tuple[str, str, Sequence[int]]) -> TaskResult:
        folder, path, parts = spec
        n_duplicates = 0
        with self._writer(streams.join(folder, path)) as writer:
            for rows in _even(self._tables(parts)):
                columns = {name: rows[name].combine_chunks() for name in _outputs(self.key)}
                writer.write(rows["id"].to_pylist(), columns, characters=rows["characters"].to_pylist())
                n_duplicates += pc.sum(rows["n_duplicates" if "spans" in columns else "duplicate"]).as_py()
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

    def _tables(self, parts: Iterable[int]) -> Iterator[pa.Table]:
        columns_of = paragraph_columns if self.key.mode == "paragraphs" else document_columns
        for part in parts:
            for rows, marks in self.layout.chunks(part):
                columns = {"id": rows["id"], "characters": rows["characters"], **columns_of(mark_chunk(rows, marks))}
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


def _write_tasks(dataset: Dataset, shards: Sequence[Shard], parts: Sequence[Piece], config: DedupeConfig) -> list[Task]:
    indices: dict[str, list[int]] = {shard.name: [] for shard in shards}
    for index, piece in enumerate(parts):
        indices[piece.shard.name].append(index)
    tasks = []
    for shard in shards:
        folder = dataset.attribute_folder(config.name, shard)
        path = dataset.attribute_path(config.name, shard, config.attributes_format)
        spec = (folder, path.removeprefix(folder + "/"), tuple(indices[shard.name]))
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


def made_again(dataset: Dataset, config: DedupeConfig, *, reading: Reading) -> str:
    """Why this stage would replace what it has finished; "" where it would not. Reads no document."""
    shards = dataset.shards()
    sizes = {shard.name: shard.size for shard in shards}
    folders = sorted({dataset.attribute_folder(config.name, shard) for shard in shards})
    made = (
        FileSet(folder=folder, stage="dedupe", name=config.name, config=_settings(config, reading), inputs=[])
        for folder in folders
    )
    return next((why for file_set in made if (why := why_again(file_set, sizes=sizes))), "")


def _settings(config: DedupeConfig, reading: Reading) -> dict[str, Any]:
    key = _key(config)
    return {
        **_parameters(key),
        "version": VERSION,
        "attributes_format": config.attributes_format,
        "outputs": {name: asdict(output) for name, output in _outputs(key).items()},
        "fields": {"text": reading.text, "id": reading.id, "source": reading.source},
        "on_error": reading.on_error,
        "max_line_bytes": reading.max_line_bytes,
        "invalid_unicode": reading.invalid_unicode,
    }


def _file_sets(dataset: Dataset, shards: Sequence[Shard], config: DedupeConfig, reading: Reading) -> list[FileSet]:
    """One per attributes folder. Each depends on every input: a copy may be anywhere."""
    decides = _settings(config, reading)
    inputs = [shard.input for shard in shards]
    folders = sorted({dataset.attribute_folder(config.name, shard) for shard in shards})
    return [
        FileSet(folder=folder, stage="dedupe", name=config.name, config=decides, inputs=inputs) for folder in folders
    ]


def _notes(hashed: Sequence[TaskResult], written: Sequence[TaskResult]) -> DedupeNotes:
    return DedupeNotes(
        documents=sum(result.ledger.total().out.documents for result in hashed),
        duplicates=sum(result.payload["duplicates"] for result in written),
        without_key=sum(result.payload["without_key"] for result in hashed),
    )


def _intermediate(work: str, written: streams.Written) -> OutputFile:
    return OutputFile(
        set=work, path=written.path.removeprefix(work + "/"), bytes=written.bytes, checksum=written.checksum
    )
