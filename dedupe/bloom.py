"""Copies by a Bloom filter: texts or paragraphs, or most of their n-grams, that the corpus had before.

    hash    piece -> a row per document; `items`, the hashes of its texts, paragraphs or n-grams, by slice of the filter
    fill    some slices -> `marks`: how many items of each text or paragraph were there before; `bits`, those slices
    join    all of these -> the filter, one file
    write   shard -> its attribute file

The answer is that of one filter that reads the corpus from front to end: what a text is compared with is all that comes
before it, and its own items are put in after it was looked up. A block of the filter sees some items alone, and its
answers depend on no other block, so slices are filled side by side, each with its items in corpus order. All items are
put in, whether or not what they are of is a duplicate; else an answer would depend on other blocks. docs/decisions.md
says what that means.

Disk holds 24 bytes for each item, in the stage's work folder. A task of `fill` holds the bits of its slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocBool, DocFloat, DocInt, Output, Spans
from dolma.data.documents import Reading
from dolma.data.exchange import (
    Cursor,
    Partition,
    RunFile,
    RunWriter,
    Table,
    in_groups,
    read_in_order,
    read_sorted,
)
from dolma.dedupers import clusters, method
from dolma.dedupers.bloom_filter import (
    FORMAT_VERSION,
    HASHING,
    MOST_BYTES,
    FilterFile,
    Header,
    Shape,
    open_filter,
    shape_for,
    write_filter,
)
from dolma.dedupers.clusters import first_place
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.keys import Gate
from dolma.dedupers.method import Found, Job, Numbered, PieceReader, files_of, rows_of_pieces, tasks_of
from dolma.dedupers.notes import BloomNotes
from dolma.dedupers.paragraphs import split_paragraphs, unit_columns
from dolma.errors import ConfigError
from dolma.kernels import bloom
from dolma.kernels.bloom import SLICES
from dolma.kernels.hashing import hash128_spans
from dolma.kernels.shingles import span_shingles
from dolma.kernels.views import code_points
from dolma.printable import counted, printable
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

FALSE_POSITIVE_RATE = 1e-5
SCRATCH = 0.005
"""Bytes of items for each byte of input, at the least."""
_PART = pa.struct([("first", pa.uint32()), ("last", pa.uint32()), ("items", pa.uint32())])
ROWS = Table(
    name="rows",
    schema=pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("characters", pa.int64()),
            ("bytes", pa.int64()),
            ("paragraphs", pa.int64()),
            ("parts", pa.list_(_PART)),
        ]
    ),
)
ITEMS = Table(
    name="items",
    schema=pa.schema([("slice", pa.uint64()), ("hash", pa.uint64()), ("place", pa.uint64())]),
    key=("slice",),
)
_BY_PART = replace(ITEMS, key=("slice", "place"))  # how they come anyway, as places rise in corpus order
MARKS = Table(name="marks", schema=pa.schema([("place", pa.uint64()), ("known", pa.uint32())]), key=("place",))
BITS = Table(name="bits", schema=pa.schema([("words", pa.uint64())]))
_BITS_PER_BLOCK = 1 << 14  # words of a block of the exchange
_PARAGRAPHS = {
    "n_paragraphs": DocInt("paragraphs that are not blank", unit="paragraphs"),
    "n_duplicates": DocInt("paragraphs that are duplicates", unit="paragraphs"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The texts or paragraphs of a batch that take part, and their items.

    Per part: `first` and `last`, its code points in the document, and `items`, how many. Per document: `counts` of
    parts, `characters`, and `paragraphs`, gated ones included. `hashes`: of all items, in order.
    """

    hashes: Words
    items: Ints
    first: Ints
    last: Ints
    counts: Ints
    characters: Ints
    paragraphs: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsOf:
    """The function from a batch to what is looked up. `word_ngrams` 0: a part is one item, its bytes."""

    by: str
    separator: str
    gate: Gate
    word_ngrams: int
    min_ngram: int
    stride: int

    def __call__(self, batch: TextBatch) -> Parts:
        """The parts of the batch."""
        n_docs = len(batch)
        if self.by == "text":
            starts, ends = batch.offsets[:-1], batch.offsets[1:]
            characters, paragraphs = batch.view(code_points), np.zeros(n_docs, np.int64)
            document, first, last = np.arange(n_docs), np.zeros(n_docs, np.int64), characters
        else:
            found = split_paragraphs(batch.utf8, batch.offsets, self.separator)
            starts, ends, first, last = found.starts, found.ends, found.first, found.last
            characters, paragraphs = found.characters, found.counts
            document = found.document
        keep = self.gate(batch.utf8, starts, ends)
        starts, ends = starts[keep], ends[keep]
        if self.word_ngrams:
            shingles = span_shingles(
                batch.utf8, starts, ends, n=self.word_ngrams, least=self.min_ngram, stride=self.stride
            )
            hashes, items = shingles.hashes, np.diff(shingles.index)
        else:
            hashes, items = hash128_spans(batch.utf8, starts, ends)[:, 0], np.ones(len(starts), np.int64)
        return Parts(
            hashes=hashes,
            items=items,
            first=first[keep],
            last=last[keep],
            counts=np.bincount(document[keep], minlength=n_docs),
            characters=characters,
            paragraphs=paragraphs,
        )


@dataclass(frozen=True, kw_only=True)
class Bloom:
    """Texts or paragraphs that a filter holds already."""

    items: ItemsOf
    threshold: float
    error: float
    filter_items: int | None
    filter_bytes: int | None
    n_hashes: int | None
    reuse: str | None
    reference: str | None
    version = 1

    @classmethod
    def of(cls, config: DedupeConfig) -> Bloom:
        """The method with these settings."""
        return cls(
            items=ItemsOf(
                by=config.by,
                separator=config.separator or "\n",
                gate=Gate.of(config),
                word_ngrams=config.word_ngrams or 0,
                min_ngram=config.min_ngram or 1,
                stride=config.stride or 1,
            ),
            threshold=1.0 if config.overlap_threshold is None else config.overlap_threshold,
            error=config.false_positive_rate or FALSE_POSITIVE_RATE,
            filter_items=config.filter_items,
            filter_bytes=config.filter_bytes,
            n_hashes=config.filter_hashes,
            reuse=config.reuse,
            reference=config.reference_filter,
        )

    @property
    def outputs(self) -> Mapping[str, Output]:
        part = "n-grams" if self.items.word_ngrams else "text"
        duplicate = DocBool(f"its {part} came before in the corpus, or the filter takes them for known")
        share = DocFloat("share of its n-grams that came before", range="0-1")
        if self.items.by == "text":
            return {"duplicate": duplicate, **({"fraction": share} if self.items.word_ngrams else {})}
        spans = {
            "spans": Spans(
                "paragraphs, separator included, that came before; the score is the share of what did", range="0-1"
            ),
            "fraction": DocFloat(
                "share of the document's code points in such paragraphs; 0 for an empty text", range="0-1"
            ),
            **_PARAGRAPHS,
        }
        return {"duplicate": duplicate, "overlap": share, **spans} if self.items.by == "both" else spans

    @property
    def parameters(self) -> dict[str, Any]:
        sizes = {
            "false_positive_rate": self.error,
            "filter_items": self.filter_items,
            "filter_bytes": self.filter_bytes,
            "filter_hashes": self.n_hashes,
        }
        file = self._filter
        begins = {"filter": file.digest, "read_only": self.reference is not None} if file else sizes
        return {"method": "bloom", **self._of_items, "by": self.items.by, "overlap_threshold": self.threshold, **begins}

    @property
    def _of_items(self) -> dict[str, Any]:
        """What a filter has to agree on, as what is looked up in it was put in so."""
        whole = asdict(self.items)
        parts = "text" if self.items.by == "text" else "paragraphs"
        return {**whole.pop("gate"), **whole, "by": parts}

    @property
    def reads(self) -> Sequence[str]:
        return []

    @cached_property
    def _filter(self) -> FilterFile | None:
        """The filter to begin with.

        Raises:
            DataError: it cannot be read.
            ConfigError: other things were put into it.
        """
        path = self.reuse or self.reference
        if path is None:
            return None
        file = open_filter(path)
        wanted, there = self._of_items, file.header.items
        for key in sorted(wanted.keys() | there.keys()):
            if wanted.get(key) != there.get(key):
                raise ConfigError(
                    f"{printable(path)} is a filter of other items: its `{key}` is {there.get(key)!r}, "
                    f"here it is {wanted.get(key)!r}\n  give the settings that it was made with, or another filter"
                )
        return file

    @property
    def explained(self) -> Shown:
        """The sizes and errors of filters, by the number of items that differ."""
        items, file = self.items, self._filter
        what = "texts" if items.by == "text" else "paragraphs"
        if items.word_ngrams:
            what += f" with {self.threshold:.0%} or more of their runs of {items.word_ngrams} words known"
        title = f"{what}{' and texts' if items.by == 'both' else ''} that came before; left out: {items.gate.described}"
        for_items, rows = file.header.n_items if file else self.filter_items, []
        for n in [for_items, 2 * for_items, 10 * for_items] if for_items else [10**power for power in range(6, 12)]:
            shape = file.header.shape if file else self._shape(n)
            size = f"{shape.n_bytes:,}" + (" (too large)" if shape.n_bytes > MOST_BYTES else "")
            rows.append((f"{n:,}", size, f"{shape.n_hashes}", f"{shape.error(n):.2g}"))
        return Shown(title=title, headers=["different items", "bytes", "bits of an item", "error"], rows=rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        self._check_asked(stage)
        compile_by_calling(stage.reporter, self._warm_up)
        work, memory, file = stage.work_folder, job.memory, self._filter
        if file is not None:
            self._check_stale(file, job)
        hashed = stage.run(
            "hash",
            job.tasks(),
            HashItems(work=work, items=self.items, reading=job.reading, memory=memory),
            scratch=SCRATCH,
            reads=True,
        )
        references, own = job.apart(hashed)
        items = files_of(hashed, "items")
        n_items = sum(file.rows for file in items)
        before, asked = (file.header.n_items, file.header.false_positive_rate) if file else (0, self.error)
        shape = file.header.shape if file else self._shape(n_items)
        self._check_size(stage, shape)
        n_held = before + (0 if self.reference else n_items)
        stage.reporter.note(
            f"filter: {shape.n_bytes:,} bytes, {counted(shape.n_hashes, 'bit')} for each item; with {n_held:,} items, "
            f"if all of them differ, an error of {shape.error(n_held):.2g} is expected"
        )
        filled, fills = self._fill(stage, items, shape, memory)
        if file is not None:  # after it was read, so that a change meanwhile is seen too
            task = Task(key=file.digest, size=file.header.shape.n_bytes, spec=None)
            stage.plan("check", task, CheckFilter(file=file))
        made = []
        if not self.reference:
            inputs = [part.shard.input.checksum for part in job.parts if part.part == 0]
            header = Header(
                format_version=FORMAT_VERSION,
                hashing=HASHING,
                n_blocks=shape.n_blocks,
                n_hashes=shape.n_hashes,
                n_items=n_held,
                false_positive_rate=asked,
                items=self._of_items,
                inputs=sorted({*inputs, *(file.header.inputs if file else [])}),
            )
            joining = JoinFilter(work=work, folder=stage.sets[0].folder, header=header)
            bits = files_of(filled, "bits")
            task = Task(key="filter", size=shape.n_bytes, spec=tuple(bits))
            made = stage.run("join", [task], joining, uses_up=(BITS.name,))
        return Found(
            rows=rows_of_pieces(own),
            marks=files_of(filled, "marks"),
            table=MARKS,
            tables=MarkedParts(
                work=work,
                by=self.items.by,
                ngrams=self.items.word_ngrams > 0,
                threshold=self.threshold,
                memory=memory // 4,
            ),
            counted=own,
            without_key=sum(result.payload["without_key"] for result in own),
            references=references,
            made=made,
            bloom=BloomNotes(
                bytes=shape.n_bytes,
                hashes=shape.n_hashes,
                items=n_items,
                held=n_held,
                asked=asked,
                error=float(f"{shape.error_of(fills):.3g}"),
            ),
        )

    def _warm_up(self, batch: TextBatch) -> None:
        parts = self.items(batch)
        bits = np.zeros(SLICES * bloom.BLOCK_WORDS, np.uint64)
        units = np.arange(len(parts.hashes), dtype=np.uint64)
        bloom.look_up(bits, parts.hashes, units, first_block=0, n_blocks=SLICES, n_hashes=1)
        bloom.fills(bits)

    def _fill(
        self, stage: StageRun, items: Sequence[RunFile], shape: Shape, memory: int
    ) -> tuple[list[TaskResult], Ints]:
        n_bytes = sum(file.index for file in items)
        n_ranges = min(max(1 + n_bytes // method.PARTITION_BYTES, -(-4 * shape.n_bytes // memory)), SLICES)
        bounds = [SLICES * i // n_ranges for i in range(n_ranges + 1)]
        parts = partitioned(stage, ITEMS, items, bounds, memory=memory)
        filling = FillSlices(
            work=stage.work_folder, shape=shape, file=self._filter, insert=self.reference is None, memory=memory
        )
        filled = stage.run("fill", tasks_of(parts), filling, uses_up=(ITEMS.name,))
        return filled, np.sum([result.payload["fills"] for result in filled], axis=0)

    # --- the size of the filter ---------------------------------------------------------------------------------------

    def _shape(self, n_items: int) -> Shape:
        return shape_for(
            self.filter_items or n_items, error=self.error, n_bytes=self.filter_bytes, n_hashes=self.n_hashes
        )

    def _check_asked(self, stage: StageRun) -> None:
        """Return unless a filter of the size that is asked for is too large: nothing has been read yet."""
        if self._filter is not None:
            self._check_size(stage, self._filter.header.shape)
        elif self.filter_bytes is not None or self.filter_items is not None:
            self._check_size(stage, self._shape(self.filter_items or 1))

    def _check_size(self, stage: StageRun, shape: Shape) -> None:
        most = stage.options.max_memory
        if most is not None and shape.n_bytes > most:
            raise ConfigError(
                f"the filter takes {shape.n_bytes:,} bytes, more than `--max-memory` {most:,}\n"
                "  give it that much memory, a larger `--false-positive-rate`, or fewer `--filter-bytes`"
            )
        if shape.n_bytes > MOST_BYTES:
            raise ConfigError(
                f"the filter takes {shape.n_bytes:,} bytes, expected at most {MOST_BYTES:,}\n"
                "  give a larger `--false-positive-rate`, or a longer `--stride`"
            )

    def _check_stale(self, file: FilterFile, job: Job) -> None:
        there = set(file.header.inputs)
        again = [part.shard.path for part in job.parts if part.shard.input.checksum in there]
        if again and self.reuse:
            raise ConfigError(
                f"{printable(file.path)} holds {printable(again[0])} already: all of it would be a duplicate\n"
                "  give documents that are new to the filter, or leave `--reuse` out"
            )


# --- hash ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashItems:
    """Reads pieces and leaves their rows and items. Called with the pieces and their numbers."""

    work: str
    items: ItemsOf
    reading: Reading
    memory: int

    def __call__(self, pieces: Numbered) -> TaskResult:
        reader, name = PieceReader(self.reading), f"{pieces[0][0]:06d}"
        with RunWriter(ROWS, self.work, name) as rows, RunWriter(ITEMS, self.work, name) as items:
            held: list[tuple[Words, Words]] = []
            n_held = 0
            for number, piece in pieces:
                place = first_place(number)
                for _, batch in reader.batches(number, piece):
                    parts = self.items(batch)
                    rows.add(_rows(batch, parts))
                    reader.leave_out(int(np.count_nonzero(parts.counts == 0)))
                    held.append((parts.hashes, np.repeat(clusters.places(place, len(parts.items)), parts.items)))
                    place += len(parts.items)
                    n_held += len(parts.hashes)
                    if n_held >= self.memory // _BYTES_PER_ITEM:
                        items.write_run([_sorted(held)])
                        held, n_held = [], 0
                rows.end_part()
            if n_held:
                items.write_run([_sorted(held)])
        return reader.result(rows, items=items)


_BYTES_PER_ITEM = 96  # in memory, while they are put in order


def _rows(batch: TextBatch, parts: Parts) -> pa.RecordBatch:
    values = [pa.array(column.astype(np.uint32)) for column in (parts.first, parts.last, parts.items)]
    offsets = np.concatenate([[0], np.cumsum(parts.counts)]).astype(np.int32)
    columns = [
        pa.array(batch.ids, pa.string()),
        pa.array(batch.sources, pa.string()),
        pa.array(parts.characters),
        pa.array(batch.n_bytes),
        pa.array(parts.paragraphs),
        pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(values, fields=list(_PART))),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ROWS.schema)


def _sorted(held: Sequence[tuple[Words, Words]]) -> pa.RecordBatch:
    """The `ITEMS` of these hashes and places, by slice."""
    hashes, places = (np.concatenate(columns) for columns in zip(*held, strict=True))
    slices = bloom.slices_of(hashes)
    order = np.argsort(slices.astype(np.uint16), kind="stable")  # of 16 bits: a radix sort
    return pa.RecordBatch.from_arrays(
        [pa.array(column[order]) for column in (slices, hashes, places)], schema=ITEMS.schema
    )


# --- fill ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFilter:
    """Reads a filter that others have made, to the end."""

    file: FilterFile

    def __call__(self, spec: None) -> TaskResult:
        self.file.check()
        return TaskResult()


@dataclass(frozen=True, slots=True, kw_only=True)
class FillSlices:
    """Looks the items of some slices up, and puts them in. Called with (name, their items)."""

    work: str
    shape: Shape
    file: FilterFile | None
    insert: bool
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        per_slice = self.shape.n_blocks // SLICES
        first_block, n_blocks = partition.first * per_slice, (partition.end - partition.first) * per_slice
        if self.file is None:
            bits = np.zeros(n_blocks * bloom.BLOCK_WORDS, np.uint64)
        else:
            bits = self.file.bits(first_block, n_blocks)
        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for items in in_groups(_BY_PART, read_sorted(ITEMS, self.work, partition, memory=self.memory // 4)):
                hashes, places = (items[key].to_numpy() for key in ("hash", "place"))
                known = bloom.look_up(
                    bits,
                    hashes,
                    places,
                    first_block=first_block,
                    n_blocks=self.shape.n_blocks,
                    n_hashes=self.shape.n_hashes,
                    insert=self.insert,
                )
                marks.add(_marks(places[known]))
        with RunWriter(BITS, self.work, name) as out:
            if self.insert:
                out.write_run(_in_blocks(bits))
        return TaskResult(
            outputs=[*marks.outputs, *out.outputs],
            payload={
                "marks": msgspec.to_builtins(marks.file),
                "bits": msgspec.to_builtins(out.file),
                "fills": bloom.fills(bits).tolist(),
            },
        )


def _marks(places: Words) -> pa.RecordBatch:
    starts = np.flatnonzero(np.append(True, places[1:] != places[:-1])) if len(places) else np.zeros(0, np.int64)
    known = np.diff(np.append(starts, len(places))).astype(np.uint32)
    return pa.RecordBatch.from_arrays([pa.array(places[starts]), pa.array(known)], schema=MARKS.schema)


def _in_blocks(bits: Words) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(bits), _BITS_PER_BLOCK):
        yield pa.RecordBatch.from_arrays([pa.array(bits[start : start + _BITS_PER_BLOCK])], schema=BITS.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFilter:
    """Makes one file of the bits of all slices. Called with their files, in order."""

    work: str
    folder: str
    header: Header

    def __call__(self, spec: Sequence[RunFile]) -> TaskResult:
        blocks = (batch["words"].to_numpy() for file in spec for batch in read_in_order(BITS, self.work, file))
        return TaskResult(outputs=[write_filter(self.folder, self.header, blocks)])


# --- write -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedParts:
    """Reads rows of pieces with what is said of their parts. Called with (their files by piece, their marks)."""

    work: str
    by: str
    ngrams: bool
    threshold: float
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        cursor = Cursor(MARKS, read_sorted(MARKS, self.work, marks, memory=self.memory))
        for piece, file in rows.items():
            place = first_place(piece)
            for batch in read_in_order(ROWS, self.work, file):
                n_parts = len(batch["parts"].flatten())
                found = cursor.before(place + n_parts)
                at = (found["place"].to_numpy() - np.uint64(place)).astype(np.int64)
                known = np.bincount(at, weights=found["known"].to_numpy(), minlength=n_parts)
                columns = {name: batch[name] for name in ("id", "source", "characters", "bytes")}
                yield pa.table(columns | self._columns(batch, known))
                place += n_parts

    def _columns(self, rows: pa.RecordBatch, known: npt.NDArray[Any]) -> Columns:
        n_docs = len(rows)
        first, last, items = (column.to_numpy().astype(np.int64) for column in rows["parts"].flatten().flatten())
        document = np.repeat(np.arange(n_docs), np.diff(rows["parts"].offsets.to_numpy()))
        whole = {}
        if self.by != "paragraphs":
            n_items, n_known = (np.bincount(document, weights=one, minlength=n_docs) for one in (items, known))
            share = n_known / np.maximum(n_items, 1)
            whole = {"duplicate": pa.array((n_items > 0) & (share >= self.threshold))}
            if self.by == "both" or self.ngrams:
                whole["overlap" if self.by == "both" else "fraction"] = pa.array(share)
        if self.by == "text":
            return whole
        share = known / np.maximum(items, 1)
        marked = (items > 0) & (share >= self.threshold)
        document, first, last, share = document[marked], first[marked], last[marked], share[marked]
        counts, characters = (rows[name].to_numpy() for name in ("paragraphs", "characters"))
        return whole | unit_columns("paragraphs", document, first, last, share, counts=counts, characters=characters)
