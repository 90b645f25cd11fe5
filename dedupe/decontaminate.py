"""Contamination: which documents hold items of benchmarks.

    items        the files of items -> `items`: what is looked for
    search       piece -> a row per document; `hits`: where half of a question is, or more; `counts` of seeds
    frequencies  all counts -> `frequencies`: how many documents have each seed
    score        range of places -> `marks`: the items of each document and their scores
    check        some documents with items put into them, in memory -> how many of those are found
    report       all marks -> `_hits.jsonl` in each set, `_items.jsonl`: which document has which item
    write        shard -> its attribute file

A word's weight needs the counts of all documents, so scores come in a second phase; it reads hits, not documents. What
is looked for is in the memory of each worker. All else that grows lies in the work folder.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dolma.data import discovery, identity, streams
from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, DocText, Output, Spans, spans_of
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import (
    END_OF_KEYS,
    Cursor,
    Partition,
    RunFile,
    RunWriter,
    Table,
    in_groups,
    read_in_order,
    read_sorted,
)
from dolma.data.items import Asked, read_asked
from dolma.data.manifest import OutputFile, output_file
from dolma.dedupers import clusters
from dolma.dedupers.clusters import ROWS, first_place
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.item_search import Hits, Scores, Search
from dolma.dedupers.items import Benchmarks, Item
from dolma.dedupers.method import (
    PARTITION_BYTES,
    Found,
    Job,
    Numbered,
    PieceReader,
    files_of,
    rows_of_pieces,
    settings,
    tasks_of,
)
from dolma.dedupers.notes import BenchmarkHits, Contamination, Recall
from dolma.dedupers.planting import recall_of
from dolma.errors import ConfigError
from dolma.printable import printable
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.progress import begin
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult

OUTPUTS: dict[str, Output] = {
    "score": DocFloat("how much of an item of a benchmark the document holds, of the item with the most", range="0-1"),
    "benchmark": DocText("the benchmark of that item; null below the threshold"),
    "item": DocText("the id of that item; null below the threshold"),
    "spans": Spans("questions of items, with the score of the item", range="0-1"),
}
ITEMS = Table(
    name="items", schema=pa.schema([("name", pa.string()), ("type", pa.string()), ("data", pa.large_binary())])
)
HITS = Table(
    name="hits",
    schema=pa.schema(
        [
            ("place", pa.uint64()),
            ("id", pa.string()),
            ("item", pa.int64()),
            ("start", pa.int64()),  # of what was found of the question, in code points
            ("end", pa.int64()),
            ("covered", pa.large_binary()),  # a byte for each word of the question
            ("answer", pa.float64()),
            ("answer_weight", pa.float64()),
        ]
    ),
    key=("place",),
)
COUNTS = Table(name="counts", schema=pa.schema([("seed", pa.uint64()), ("documents", pa.int64())]), key=("seed",))
FREQUENCIES = Table(name="frequencies", schema=COUNTS.schema)
MARKS = Table(
    name="marks",
    schema=pa.schema(
        [
            ("place", pa.uint64()),
            ("id", pa.string()),
            ("score", pa.float64()),
            (
                "hits",
                pa.list_(
                    pa.struct(
                        [
                            ("item", pa.int64()),
                            ("start", pa.int64()),
                            ("end", pa.int64()),
                            ("score", pa.float64()),
                        ]
                    )
                ),
            ),
        ]
    ),
    key=("place",),
)
THRESHOLD = 0.6
HITS_FILE, ITEMS_FILE = "_hits.jsonl", "_items.jsonl"  # what reads a folder of parquet passes over such names
CHECKED_SHARDS, CHECKED_DOCUMENTS, CHECKED_CHARACTERS = 8, 100, 4_000
"""Of what documents items are put into copies, to see how many are found: the first ones of some shards."""
SCRATCH = 0.01
_MEMORY_PER_BYTE = 1.5  # of items: what seeds are looked up by, and their counts


class ItemFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of items: the name of its benchmark, where it lies, and what it holds."""

    benchmark: str
    path: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Decontaminate:
    """Documents that hold items of benchmarks."""

    patterns: tuple[str, ...]
    threshold: float
    report_items: bool
    self_check: bool
    version = 1
    reads: Sequence[str] = ()

    @classmethod
    def of(cls, config: DedupeConfig) -> Decontaminate:
        """The method with these settings."""
        return cls(
            patterns=tuple(config.items or ()),
            threshold=THRESHOLD if config.threshold is None else config.threshold,
            report_items=bool(config.report_items),
            self_check=bool(config.self_check),
        )

    @property
    def outputs(self) -> Mapping[str, Output]:
        return OUTPUTS

    @functools.cached_property
    def files(self) -> list[ItemFile]:
        """The files of items, by benchmark.

        Raises:
            ConfigError: a pattern names none; two files are of one benchmark.
        """
        paths = sorted({path for pattern in self.patterns for path in discovery.find(pattern).paths})
        found: dict[str, ItemFile] = {}
        for path in paths:
            name = benchmark_of(path)
            if name in found:
                raise ConfigError(
                    f"{printable(found[name].path)} and {printable(path)} are both of the benchmark {printable(name)}\n"
                    "  a benchmark is called as its file is: rename one of them, or join them",
                    path="$.dedupe.items",
                )
            found[name] = ItemFile(benchmark=name, path=path, checksum=streams.checksum(path))
        return [found[name] for name in sorted(found)]

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "method": "decontaminate",
            "items": {file.benchmark: file.checksum for file in self.files},
            "threshold": self.threshold,
            "report_items": self.report_items,
            "self_check": self.self_check,
        }

    @property
    def explained(self) -> Shown:
        rows = {
            "score": "the share of an item's runs of words that the document has, where rare ones weigh more",
            "a hit": f"a score of {self.threshold} or more",
            "kept": "all: an item in a document is no copy of it",
            **{f"benchmark {file.benchmark}": file.path for file in self.files},
        }
        return settings("documents that hold items of benchmarks", rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        work, memory = stage.work_folder, job.memory
        items = self._items(stage, memory)
        compile_by_calling(stage.reporter, functools.partial(_warm_up, load_items(work, items)))
        search = SearchPieces(work=work, items=items, reading=job.reading, memory=memory)
        searched = stage.run("search", job.tasks(), search, scratch=SCRATCH, reads=True)
        n_documents = sum(sum(result.payload["documents"]) for result in searched)
        frequencies = self._frequencies(stage, searched, memory)
        hits = files_of(searched, "hits")
        n_ranges = min(1 + sum(file.index for file in hits) // PARTITION_BYTES, len(job.parts))
        bounds = [first_place(len(job.parts) * i // n_ranges) for i in range(n_ranges + 1)]
        parts = partitioned(stage, HITS, hits, bounds, memory=memory)
        scoring = ScoreHits(
            work=work,
            items=items,
            frequencies=frequencies,
            documents=n_documents,
            threshold=self.threshold,
            memory=memory,
        )
        scored = stage.run("score", tasks_of(parts), scoring, uses_up=(HITS.name,))
        return Found(
            rows=rows_of_pieces(searched),
            marks=files_of(scored, "marks"),
            table=MARKS,
            tables=Contaminated(work=work, items=items, memory=memory // 4),
            counted=searched,
            without_key=0,
            report=Report(
                work=work,
                items=items,
                report_items=self.report_items,
                recall=self._recall(stage, job, scoring) if self.self_check else [],
                memory=memory // 4,
            ),
        )

    def _recall(self, stage: StageRun, job: Job, scoring: ScoreHits) -> list[Recall]:
        shards = [list(parts) for _, parts in itertools.groupby(job.parts, key=lambda part: part.shard.name)]
        shards = shards[:: -(-len(shards) // CHECKED_SHARDS)]
        task = Task(key="all", size=CHECKED_SHARDS, spec=(tuple(self.files), shards))
        checked = stage.plan("self-check", task, CheckSelf(scoring=scoring, reading=job.reading))
        return msgspec.convert(checked.payload["recall"], list[Recall])

    def _items(self, stage: StageRun, memory: int) -> RunFile:
        name = xxhash.xxh3_64_hexdigest(msgspec.json.encode(self.files))
        size = sum(streams.size(file.path) or 0 for file in self.files)
        task = Task(key=name, size=size, spec=tuple(self.files), file=self.files[0].path)
        made = stage.plan("items", task, ReadItems(work=stage.work_folder, name=name))
        needed = int(made.payload["bytes"] * _MEMORY_PER_BYTE)
        if needed > memory:
            raise ConfigError(
                f"{made.payload['items']:,} items take {needed >> 20:,} MB of each worker, and `max_memory` is "
                f"{memory >> 20:,} MB\n  give `--max-memory {(needed >> 20) + 1}MB`, or look for fewer items at a time"
            )
        return msgspec.convert(made.payload["file"], RunFile)

    def _frequencies(self, stage: StageRun, searched: Sequence[TaskResult], memory: int) -> RunFile:
        (counts,) = partitioned(stage, COUNTS, files_of(searched, "counts"), [0, END_OF_KEYS], memory=memory)
        task = Task(key=f"all-{counts.fingerprint}", size=counts.n_bytes, spec=counts)
        made = stage.plan("frequencies", task, SumCounts(work=stage.work_folder, memory=memory), uses_up=(COUNTS.name,))
        return msgspec.convert(made.payload["file"], RunFile)


def benchmark_of(path: str) -> str:
    """What the benchmark of a file of items is called.

    >>> benchmark_of("evalsets/arc.jsonl.gz")
    'arc'
    """
    return path.rpartition("/")[2].partition(".")[0]


# --- items -----------------------------------------------------------------------------------------------------------


def asked_in(files: Iterable[ItemFile]) -> list[tuple[str, Asked]]:
    """What is asked, with the name of the benchmark.

    Raises:
        DataError: a file is none of items, or is not what it was when the stage began.
    """
    asked = []
    for file in files:
        begin(file.path, "")
        asked += [(file.benchmark, one) for one in read_asked(file.path)]
        if streams.checksum(file.path) != file.checksum:
            raise identity.changed(file.path)
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadItems:
    """Reads files of items and leaves what is looked for. Called with the files."""

    work: str
    name: str

    def __call__(self, spec: tuple[ItemFile, ...]) -> TaskResult:
        made = Benchmarks.of(asked_in(spec))
        with RunWriter(ITEMS, self.work, self.name) as out:
            out.add(_item_row("names", "json", msgspec.json.encode(made.names)))
            for name, array in made.arrays.items():
                out.add(_item_row(name, array.dtype.str, array.tobytes()))
        return TaskResult(
            outputs=out.outputs,
            payload={
                "file": msgspec.to_builtins(out.file),
                "items": len(made.names),
                "bytes": sum(array.nbytes for array in made.arrays.values()),
            },
        )


def _item_row(name: str, kind: str, data: bytes) -> pa.RecordBatch:
    columns = [pa.array([name]), pa.array([kind]), pa.array([data], pa.large_binary())]
    return pa.RecordBatch.from_arrays(columns, schema=ITEMS.schema)


def load_items(work: str, file: RunFile) -> Benchmarks:
    """What a task of this process looks for; kept for its next ones."""
    return _load(work, msgspec.json.encode(file))


@functools.lru_cache(maxsize=1)
def _load(work: str, file: bytes) -> Benchmarks:
    rows: dict[str, tuple[str, bytes]] = {}
    for batch in read_in_order(ITEMS, work, msgspec.json.decode(file, type=RunFile)):
        for row in batch.to_pylist():
            rows[row["name"]] = (row["type"], row["data"])
    names = msgspec.json.decode(rows.pop("names")[1], type=list[Item])
    return Benchmarks.from_arrays(names, {name: np.frombuffer(data, kind) for name, (kind, data) in rows.items()})


# --- search ----------------------------------------------------------------------------------------------------------


def _warm_up(benchmarks: Benchmarks, batch: TextBatch) -> None:
    Search(benchmarks)(batch)
    example = Benchmarks.of([("a", Asked(id="a", question="one two three four five six seven", answers=("eight",)))])
    Search(example)(TextBatch.of(["one two three four five six seven eight"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPieces:
    """Reads pieces and leaves their rows, hits and counts. Called with the pieces and their numbers."""

    work: str
    items: RunFile
    reading: Reading
    memory: int

    def __call__(self, pieces: Numbered) -> TaskResult:
        reader, name = PieceReader(self.reading), f"{pieces[0][0]:06d}"
        search = Search(load_items(self.work, self.items))
        with (
            RunWriter(ROWS, self.work, name) as rows,
            RunWriter(HITS, self.work, name, memory=self.memory // 4) as hits,
            RunWriter(COUNTS, self.work, name, memory=self.memory // 4) as counts,
        ):
            for number, piece in pieces:
                for place, batch in reader.batches(number, piece):
                    found = search(batch)
                    if found.document:
                        hits.add(_hits(found, clusters.places(place, len(batch)), batch.ids))
                    rows.add(clusters.rows_of(batch))
                rows.end_part()
            seen = np.flatnonzero(search.counts)
            counts.add(_batch(COUNTS, {"seed": seen, "documents": search.counts[seen]}))
        return reader.result(rows, hits=hits, counts=counts)


def _hits(found: Hits, places: npt.NDArray[np.uint64], ids: Sequence[str]) -> pa.RecordBatch:
    columns = {name: getattr(found, name) for name in HITS.schema.names if hasattr(found, name)}
    columns |= {"place": places[found.document], "id": [ids[i] for i in found.document]}
    return _batch(HITS, columns)


def _batch(table: Table, columns: Mapping[str, Any]) -> pa.RecordBatch:
    arrays = [pa.array(columns[field.name], field.type) for field in table.schema]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumCounts:
    """Adds up how many documents have each seed. Called with all `COUNTS`."""

    work: str
    memory: int

    def __call__(self, spec: Partition) -> TaskResult:
        with RunWriter(FREQUENCIES, self.work, "all", memory=self.memory // 4) as out:
            for batch in in_groups(COUNTS, read_sorted(COUNTS, self.work, spec, memory=self.memory // 2)):
                seed = batch["seed"].to_numpy()
                starts = np.flatnonzero(np.append(True, seed[1:] != seed[:-1]))
                sums = np.add.reduceat(batch["documents"].to_numpy(), starts)
                out.add(_batch(FREQUENCIES, {"seed": seed[starts], "documents": sums}))
        return TaskResult(outputs=out.outputs, payload={"file": msgspec.to_builtins(out.file)})


# --- score -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreHits:
    """Scores the hits of a range of places and leaves the marks. Called with (name of the marks, range)."""

    work: str
    items: RunFile
    frequencies: RunFile
    documents: int
    threshold: float
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        scores = self.scores()
        hits = in_groups(HITS, read_sorted(HITS, self.work, partition, memory=self.memory // 2))
        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for batch in hits:
                marks.add(self._marks(batch, scores))
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file)})

    def scores(self) -> Scores:
        """What scores hits in this corpus."""
        benchmarks = load_items(self.work, self.items)
        counts = np.zeros(len(benchmarks.held), np.int64)
        for batch in read_in_order(FREQUENCIES, self.work, self.frequencies):
            counts[batch["seed"].to_numpy()] = batch["documents"].to_numpy()
        return Scores(benchmarks, counts, self.documents)

    def _marks(self, hits: pa.RecordBatch, scores: Scores) -> pa.RecordBatch:
        columns: dict[str, list[Any]] = {"place": [], "id": [], "score": [], "hits": []}
        for place, rows in itertools.groupby(hits.to_pylist(), key=operator.itemgetter("place")):
            best, found = 0.0, dict[tuple[int, int, int], float]()
            for row in rows:
                score = scores(row["item"], row["covered"], row["answer"], row["answer_weight"])
                best = max(best, score)
                if score >= self.threshold:
                    key = (row["start"], row["end"], row["item"])
                    found[key] = max(score, found.get(key, 0.0))
            columns["place"].append(place)
            columns["id"].append(row["id"])
            columns["score"].append(best)
            columns["hits"].append(
                [
                    {"item": item, "start": start, "end": end, "score": score}
                    for (start, end, item), score in sorted(found.items())
                ]
            )
        return _batch(MARKS, columns)


# --- outputs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Contaminated:
    """Reads rows of pieces with what is said of their documents. Called with (their files by piece, their marks)."""

    work: str
    items: RunFile
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        names = load_items(self.work, self.items).names
        cursor = Cursor(MARKS, read_sorted(MARKS, self.work, marks, memory=self.memory))
        for piece, file in rows.items():
            first = first_place(piece)
            for batch in read_in_order(ROWS, self.work, file):
                found = cursor.before(first + len(batch))
                columns = {name: batch[name] for name in batch.schema.names}
                yield pa.table(columns | _columns(found, first, len(batch), names))
                first += len(batch)


def _columns(marks: pa.RecordBatch, first: int, n: int, names: Sequence[Item]) -> dict[str, pa.Array]:
    scores, best = [0.0] * n, list[Item | None]([None] * n)
    spans: list[Sequence[tuple[int, int, float]]] = [()] * n
    for mark in marks.to_pylist():
        at = mark["place"] - first
        scores[at] = mark["score"]
        if mark["hits"]:
            best[at] = names[max(mark["hits"], key=lambda hit: (hit["score"], -hit["item"]))["item"]]
            spans[at] = merged_spans(mark["hits"])
    return {
        "score": pa.array(scores, pa.float64()),
        "benchmark": pa.array([item and item.benchmark for item in best], pa.string()),
        "item": pa.array([item and item.id for item in best], pa.string()),
        "spans": spans_of(spans),
        "duplicate": pa.array([item is not None for item in best]),
    }


def merged_spans(hits: Iterable[Mapping[str, Any]]) -> list[tuple[int, int, float]]:
    """The stretches of a text that hits lie in, each with the best score; hits come by their start.

    >>> merged_spans([{"start": 0, "end": 9, "score": 0.7}, {"start": 4, "end": 12, "score": 0.9}])
    [(0, 12, 0.9)]
    """
    spans: list[tuple[int, int, float]] = []
    for hit in hits:
        start, end, score = hit["start"], hit["end"], hit["score"]
        if spans and start < spans[-1][1]:
            start, end, score = spans[-1][0], max(spans[-1][1], end), max(spans.pop()[2], score)
        spans.append((start, end, score))
    return spans


# --- what is told ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSelf:
    """Puts items into copies of documents; how many are found? Called with (files of items, pieces of shards)."""

    scoring: ScoreHits
    reading: Reading

    def __call__(self, spec: tuple[Sequence[ItemFile], Sequence[Sequence[Piece]]]) -> TaskResult:
        files, shards = spec
        texts = [text for parts in shards for text in itertools.islice(self._texts(parts), CHECKED_DOCUMENTS)]
        recall = recall_of(
            load_items(self.scoring.work, self.scoring.items),
            [asked for _, asked in asked_in(files)],
            texts,
            scores=self.scoring.scores(),
            threshold=self.scoring.threshold,
        )
        return TaskResult(payload={"recall": msgspec.to_builtins(recall)})

    def _texts(self, parts: Sequence[Piece]) -> Iterator[str]:
        for part in parts:
            for batch in read_batches(part, self.reading, intake=Intake()):
                yield from (text[:CHECKED_CHARACTERS] for text in batch.texts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Writes which documents hold which items. Called with (folder, name of a shard, its marks), for each shard."""

    work: str
    items: RunFile
    report_items: bool
    recall: Sequence[Recall]
    memory: int

    def __call__(self, spec: Sequence[tuple[str, str, Partition]]) -> TaskResult:
        tally = Tally(load_items(self.work, self.items).names)
        outputs = []
        for folder, shards in itertools.groupby(sorted(spec, key=operator.itemgetter(0, 1)), operator.itemgetter(0)):
            lines = itertools.chain.from_iterable(self._lines(name, marks, tally) for _, name, marks in shards)
            outputs.append(_written(folder, HITS_FILE, lines))
        if self.report_items:
            folders = [out.set for out in outputs]
            outputs += [_written(folder, ITEMS_FILE, map(msgspec.json.encode, tally.items)) for folder in folders]
        notes = Contamination(benchmarks=tally.benchmarks(), recall=list(self.recall))
        return TaskResult(outputs=outputs, payload=msgspec.to_builtins(notes))

    def _lines(self, file: str, marks: Partition, tally: Tally) -> Iterator[bytes]:
        for batch in read_sorted(MARKS, self.work, marks, memory=self.memory):
            for mark in batch.to_pylist():
                tally.add(mark["id"], mark["hits"])
                for hit in mark["hits"]:
                    item = tally.items[hit["item"]]
                    line = {"benchmark": item.benchmark, "item": item.item, "file": file, "id": mark["id"]}
                    yield msgspec.json.encode(line | {name: hit[name] for name in ("start", "end", "score")})


class ItemReport(msgspec.Struct, kw_only=True):
    """What was found of an item: in how many documents, its best score, and the first document that has this.

    It is not `searched` for where it has too few words.
    """

    benchmark: str
    item: str
    searched: bool
    contaminated: bool = False
    documents: int = 0
    score: float = 0.0
    id: str | None = None


class Tally:
    """Counts what is found, by item and by benchmark."""

    def __init__(self, names: Sequence[Item]) -> None:
        self.items = [ItemReport(benchmark=one.benchmark, item=one.id, searched=one.searchable) for one in names]
        self._documents: Counter[str] = Counter()

    def add(self, id: str, hits: Sequence[Mapping[str, Any]]) -> None:
        """Count the hits of the next document."""
        best: dict[int, float] = {}
        for hit in hits:
            best[hit["item"]] = max(hit["score"], best.get(hit["item"], 0.0))
        for number, score in best.items():
            item = self.items[number]
            item.contaminated = True
            item.documents += 1
            if score > item.score:
                item.score, item.id = score, id
        self._documents.update({self.items[number].benchmark for number in best})

    def benchmarks(self) -> list[BenchmarkHits]:
        """The counts of each benchmark."""
        items = Counter(item.benchmark for item in self.items)
        too_short = Counter(item.benchmark for item in self.items if not item.searched)
        found = Counter(item.benchmark for item in self.items if item.contaminated)
        return [
            BenchmarkHits(
                benchmark=name,
                items=n,
                too_short=too_short[name],
                found=found[name],
                documents=self._documents[name],
            )
            for name, n in items.items()
        ]


def _written(folder: str, name: str, lines: Iterable[bytes]) -> OutputFile:
    with streams.open_output(streams.join(folder, name)) as out:
        for line in lines:
            out.write(line + b"\n")
    return output_file(folder, out.written)
