"""Near-duplicates: documents whose shingles have a Jaccard similarity of at least a threshold.

    sign         piece -> a row per document; `bands`, the hash of each band of its signature with the hash of its text
    candidates   range of band hashes -> `links`: documents that share a band; `edges` between them
    components   all of these -> `members`: which documents may be in one cluster; `buckets`: the bands that they share
    shingles     piece -> `sets`: the shingles of its members, by component
    verify       range of components -> `marks`: what is said of each document that is in a cluster
    write        shard -> its attribute file

Documents with one text are taken together before they are compared, so a text that occurs 100,000 times costs what
one does. Two others are in one cluster when they share a band and their true similarity, of the sets of shingle hashes,
reaches the threshold, or when a chain of such pairs leads from one to the other. Which documents share a band follows
from the documents alone, so the answer depends on nothing else.

All that grows with the corpus lies in the work folder: 24 bytes for each band of a document, and the shingles of those
that share a band. In memory, the phase `components` alone grows: about 100 bytes for each document that shares a band.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, Output
from dolma.data.documents import Reading
from dolma.data.exchange import (
    END_OF_KEYS,
    Cursor,
    Partition,
    RunFile,
    RunWriter,
    Table,
    read_in_order,
    read_sorted,
)
from dolma.dedupers import clusters
from dolma.dedupers.clusters import MARKS, ROWS, MarkedRows, first_place
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.dialects import DIALECTS, OURS, Dialect
from dolma.dedupers.keep import Keep
from dolma.dedupers.lsh import Bands, bands_for
from dolma.dedupers.method import (
    Found,
    Job,
    Numbered,
    PieceReader,
    SortedRecords,
    by_range,
    documents_of_pieces,
    files_of,
    outputs_of,
    rows_of_pieces,
    starts_of_pieces,
    tasks_of,
)
from dolma.dedupers.notes import NearNotes
from dolma.dedupers.paragraphs import takes_part
from dolma.dedupers.verdict import COUNTS, Spill, Verdict
from dolma.kernels import minhash, shingles
from dolma.kernels.hashing import hash128_documents
from dolma.kernels.normalize import normalized
from dolma.kernels.shingles import Shingles
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult
from dolma.runner.together import grouped

T = TypeVar("T")

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

OUTPUTS: dict[str, Output] = {
    **clusters.OUTPUTS,
    "similarity": DocFloat(
        "Jaccard similarity of the shingles to those of the kept document; null for that one, and where none is",
        range="0-1",
    ),
}
BANDS = Table(
    name="bands",
    schema=pa.schema([("band", pa.uint64()), ("text", pa.uint64()), ("place", pa.uint64())]),
    key=("band",),
)
LINKS = Table(
    name="links",
    schema=pa.schema([("place", pa.uint64()), ("text", pa.uint64()), ("band", pa.uint64())]),
    key=("place",),
)
SHINGLES = Table(
    name="shingles",
    schema=pa.schema(
        [
            ("place", pa.uint64()),
            ("id", pa.string()),
            ("source", pa.string()),
            ("rank", pa.float64()),
            ("tier", pa.uint32()),
            ("shingles", pa.large_binary()),  # uint64, sorted
        ]
    ),
    key=("place",),
)
EDGES = Table(name="edges", schema=pa.schema([("place", pa.uint64()), ("other", pa.uint64())]))
MEMBERS = Table(
    name="members",
    schema=pa.schema([("place", pa.uint64()), ("component", pa.uint64()), ("same", pa.uint64())]),
    key=("place",),
)
BUCKETS = Table(
    name="buckets",
    schema=pa.schema([("component", pa.uint64()), ("band", pa.uint64()), ("place", pa.uint64())]),
    key=("component", "band", "place"),
)
SETS = Table(
    name="sets",
    schema=pa.schema(
        [
            ("component", pa.uint64()),
            ("place", pa.uint64()),
            ("same", pa.uint64()),  # the place of the first document with this text
            ("id", pa.string()),
            ("source", pa.string()),
            ("rank", pa.float64()),
            ("tier", pa.uint32()),
            ("shingles", pa.large_binary()),  # uint64, sorted; empty unless `same` is `place`
        ]
    ),
    key=("component", "place"),
)
PERMUTATIONS, RECALL, SEED = 128, 0.95, 1
SCRATCH = 0.05
"""Bytes of bands for each byte of input, at the least."""
_DOCUMENTS_PER_TASK = 1 << 14  # of those that are verified
_ROWS_PER_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What documents are compared by. `seed` is that of the permutations.

    `unit`, `normalize` and `folded` are as in `Dialect`.
    """

    unit: str
    n: int
    normalize: tuple[str, ...]
    folded: bool
    bands: Bands
    seed: int
    skip_empty: bool
    min_length: int
    min_words: int

    def shingles(self, batch: TextBatch) -> Shingles:
        """The shingles of each document."""
        utf8, offsets = batch.utf8, batch.offsets
        if self.normalize:
            utf8, offsets = normalized(utf8, offsets[:-1], offsets[1:], self.normalize)
        if self.unit == "word":
            return shingles.word_shingles(utf8, offsets, n=self.n)
        return shingles.character_shingles(utf8, offsets, n=self.n, folded=self.folded)

    def takes_part(self, batch: TextBatch, found: Shingles) -> npt.NDArray[np.bool_]:
        """Whether each document can have a copy: those without shingles cannot."""
        enough = takes_part(
            batch.utf8,
            batch.offsets[:-1],
            batch.offsets[1:],
            min_length=self.min_length,
            min_words=max(self.min_words, int(self.skip_empty)),
        )
        return enough & (np.diff(found.index) > 0)

    def bands_of(self, found: Shingles) -> Words:
        """The hash of each band of each document; uint64, shape `(n_docs, n_bands)`."""
        signed = minhash.signatures(found, n=self.bands.permutations, seed=self.seed)
        return minhash.bands(signed, n=self.bands.n, rows=self.bands.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinHash:
    """Documents that are alike."""

    likeness: Likeness
    threshold: float
    verify: bool
    link: str
    keep: Keep
    scope: str = "all"
    version = 1

    @classmethod
    def of(cls, config: DedupeConfig) -> MinHash:
        """The method with these settings.

        Raises:
            ConfigError: no bands find enough at the threshold.
        """
        dialect = OURS if config.dialect is None else DIALECTS[config.dialect]
        threshold = _or(config.threshold, dialect.threshold)
        unit = dialect.unit
        if config.word_ngrams is not None or config.character_ngrams is not None:
            unit = "word" if config.character_ngrams is None else "character"
        return cls(
            likeness=Likeness(
                unit=unit,
                n=_or(config.character_ngrams, _or(config.word_ngrams, dialect.n)),
                normalize=dialect.normalize,
                folded=dialect.folded,
                bands=_bands(config, dialect, threshold),
                seed=_or(config.seed, SEED),
                skip_empty=config.skip_empty,
                min_length=config.min_length,
                min_words=max(config.min_words, dialect.min_words),
            ),
            threshold=threshold,
            verify=_or(config.verify, dialect.verify),
            link=_or(config.link, "components"),
            keep=Keep.of(config),
            scope=_or(config.scope, "all"),
        )

    @property
    def outputs(self) -> Mapping[str, Output]:
        return OUTPUTS

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "method": "minhash",
            **asdict(self.likeness),
            "threshold": self.threshold,
            "verify": self.verify,
            "link": self.link,
            **self.keep.parameters,
            "scope": self.scope,
        }

    @property
    def reads(self) -> Sequence[str]:
        return [".".join(self.keep.field)] if self.keep.field else []

    @property
    def described(self) -> str:
        """What is compared, and what becomes of the pairs that are found."""
        unit = f"shingles are of {self.likeness.n} {self.likeness.unit}s"
        if self.likeness.unit == "word":
            unit += ", in lower case (a letter of a script without spaces is a word)"
        elif not self.likeness.folded:
            unit += ", as they are"
        if self.likeness.normalize:
            unit += f", after {', '.join(self.likeness.normalize)}"
        then = "a pair is verified before it counts" if self.verify else "a pair that is found counts, alike or not"
        return f"{unit}; {then}"

    @property
    def explained(self) -> Shown:
        bands = self.likeness.bands
        title = (
            f"{bands.n} bands of {bands.rows} rows find {bands.found(self.threshold):.1%} of pairs at "
            f"the threshold {self.threshold}; {self.described}"
        )
        rows = [(f"{similarity:.2f}", f"{found:.2%}") for similarity, found in bands.curve()]
        return Shown(title=title, headers=["similarity", "found"], rows=rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, self._warm_up)
        work, memory, likeness = stage.work_folder, job.memory, self.likeness
        within = self.scope == "within-source"
        describe = Describe(likeness=likeness, keep=self.keep, n_references=job.n_references)
        sign = SignPiece(
            work=work,
            likeness=likeness,
            reading=job.reading,
            within_source=within,
            memory=memory,
            kept=describe if job.index else None,
        )
        signed = stage.run("sign", job.tasks(), sign, scratch=SCRATCH, reads=True)
        found, members, buckets, bounds = self._components(stage, job, signed)
        described = files_of(signed, SHINGLES.name) if job.index else []
        if job.index:
            sets = self._kept_shingles(stage, job, signed, [*job.files_held(SHINGLES), *described], members)
        else:
            sets = self._shingles(stage, job, describe, members)
        documents, shared = (
            partitioned(stage, table, files, bounds, memory=memory)
            for table, files in ((SETS, sets), (BUCKETS, [buckets]))
        )
        tasks = tasks_of(documents, shared)
        verdict = Verdict(
            threshold=self.threshold,
            link=self.link,
            keep=self.keep,
            across_sources=self.scope == "across-sources",
            first_new=job.first_new,
        )
        verify = VerifyClusters(work=work, verify=self.verify, verdict=verdict, memory=memory)
        verified = stage.run("verify", tasks, verify, uses_up=(SETS.name, BUCKETS.name))
        near = NearNotes(**{name: sum(result.payload[name] for result in verified) for name in COUNTS})
        references, counted = job.apart(signed)
        return Found(
            rows=rows_of_pieces(counted),
            marks=files_of(verified, "marks"),
            table=MARKS,
            tables=MarkedRows(work=work, starts=starts_of_pieces(job, signed), memory=memory // 4),
            counted=counted,
            without_key=sum(result.payload["without_key"] for result in counted),
            near=near,
            references=references,
            made=found if job.index else [],
            kept={BANDS.name: files_of(found, "kept"), SHINGLES.name: [*job.records_held(SHINGLES), *described]},
            added=[*outputs_of(counted, ROWS), *outputs_of(signed, SHINGLES)],
        )

    def _warm_up(self, batch: TextBatch) -> None:
        found = self.likeness.shingles(batch)
        self.likeness.takes_part(batch, found)
        self.likeness.bands_of(found)

    def _components(
        self, stage: StageRun, job: Job, signed: Sequence[TaskResult]
    ) -> tuple[Sequence[TaskResult], RunFile, RunFile, list[int]]:
        work, memory = stage.work_folder, job.memory
        ranges = by_range(stage, job, BANDS, files_of(signed, "bands"))
        finding_pairs = FindCandidates(work=work, index=job.index, memory=memory)
        found = stage.run("candidates", tasks_of(ranges), finding_pairs, uses_up=(BANDS.name,), reads_back=True)
        (links,) = partitioned(stage, LINKS, files_of(found, "links"), [0, END_OF_KEYS], memory=memory)
        task = Task(key=f"all-{links.fingerprint}", size=links.n_bytes, spec=(links, files_of(found, "edges")))
        finding = FindComponents(work=work, memory=memory)
        (joined,) = stage.run("components", [task], finding, uses_up=(LINKS.name, EDGES.name))
        members, buckets = (msgspec.convert(joined.payload[name], RunFile) for name in ("members", "buckets"))
        return found, members, buckets, [0, *joined.payload["bounds"], END_OF_KEYS]

    def _shingles(self, stage: StageRun, job: Job, describe: Describe, members: RunFile) -> list[RunFile]:
        reading = job.tasks()
        bounds = [first_place(number) for number in (*(task.spec[0][0] for task in reading), len(job.parts))]
        of_tasks = partitioned(stage, MEMBERS, [members], bounds, memory=job.memory)
        tasks = [
            replace(task, spec=(task.spec, part)) for task, part in zip(reading, of_tasks, strict=True) if part.n_bytes
        ]
        take = TakeShingles(work=stage.work_folder, describe=describe, reading=job.reading, memory=job.memory)
        return files_of(stage.run("shingles", tasks, take, uses_up=(MEMBERS.name,)), "sets")

    def _kept_shingles(
        self, stage: StageRun, job: Job, signed: Sequence[TaskResult], files: Sequence[RunFile], members: RunFile
    ) -> list[RunFile]:
        documents = documents_of_pieces(job, signed)
        n_bytes = sum(file.index for file in files) // max(1, sum(documents))
        groups = grouped([n * n_bytes for n in documents])
        bounds = [*(first_place(group[0]) for group in groups), first_place(len(documents))]
        there = partitioned(stage, SHINGLES, [], bounds, memory=job.memory, before=files)
        wanted = partitioned(stage, MEMBERS, [members], bounds, memory=job.memory)
        tasks = [task for task, part in zip(tasks_of(there, wanted), wanted, strict=True) if part.n_bytes]
        take = TakeKept(work=stage.work_folder, memory=job.memory)
        return files_of(stage.run("shingles", tasks, take, uses_up=(MEMBERS.name,)), "sets")


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _bands(config: DedupeConfig, dialect: Dialect, threshold: float) -> Bands:
    if config.bands is not None and config.rows is not None:
        return Bands(n=config.bands, rows=config.rows)
    if dialect.bands is not None and config.permutations is None and config.recall is None:
        return dialect.bands
    return bands_for(threshold, permutations=_or(config.permutations, PERMUTATIONS), recall=_or(config.recall, RECALL))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignPiece:
    """Reads pieces and leaves their rows and bands; and shingles, if these are `kept`.

    Called with the pieces and their numbers.
    """

    work: str
    likeness: Likeness
    reading: Reading
    within_source: bool
    memory: int
    kept: Describe | None = None

    def __call__(self, pieces: Numbered) -> TaskResult:
        kept, name = self.kept, f"{pieces[0][0]:06d}"
        reader = PieceReader(self.reading, records=kept is not None and kept.by_field)
        memory = self.memory if kept is None else self.memory // 2
        others: dict[str, RunWriter] = {}
        with ExitStack() as stack:
            rows = stack.enter_context(RunWriter(ROWS, self.work, name))
            bands = others["bands"] = stack.enter_context(RunWriter(BANDS, self.work, name, memory=memory))
            if kept is not None:
                others[SHINGLES.name] = stack.enter_context(RunWriter(SHINGLES, self.work, name, memory=memory))
            for number, piece in pieces:
                for place, batch in reader.batches(number, piece):
                    found = self.likeness.shingles(batch)
                    takes_part = np.flatnonzero(self.likeness.takes_part(batch, found))
                    hashes = self.likeness.bands_of(found)[takes_part]
                    texts = hash128_documents(batch.utf8, batch.offsets)[takes_part, 0]
                    if self.within_source:
                        salts = clusters.salts(batch)[takes_part, 0]
                        hashes, texts = hashes ^ salts[:, None], texts ^ salts
                    places = clusters.places(place, len(batch))[takes_part]
                    n_bands = self.likeness.bands.n
                    columns = [hashes.reshape(-1), np.repeat(texts, n_bands), np.repeat(places, n_bands)]
                    bands.add(pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=BANDS.schema))
                    rows.add(clusters.rows_of(batch))
                    if kept is not None:
                        described = kept(batch, takes_part, reference=kept.are_references(pieces))
                        described.update(place=pa.array(places), shingles=encoded(found.taken(takes_part).sets()))
                        others[SHINGLES.name].add(pa.record_batch(described, schema=SHINGLES.schema))
                    reader.leave_out(len(batch) - len(takes_part))
                rows.end_part()
        return reader.result(rows, **others)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCandidates:
    """Finds documents that share a band. Called with (name, range of band hashes)."""

    work: str
    memory: int
    index: str = ""

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        bands = SortedRecords(table=BANDS, work=self.work, folder=self.index, memory=self.memory // 2)(name, partition)
        with (
            RunWriter(LINKS, self.work, name, memory=self.memory // 4) as links,
            RunWriter(EDGES, self.work, name) as edges,
        ):
            for shared, between in candidates(bands.read()):
                links.add(shared)
                edges.add(between)
        return TaskResult(
            outputs=[*links.outputs, *edges.outputs, *bands.outputs],
            payload={
                "links": msgspec.to_builtins(links.file),
                "edges": msgspec.to_builtins(edges.file),
                "kept": msgspec.to_builtins(bands.file),
            },
        )


def candidates(bands: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The `LINKS` of documents that share a band, and `EDGES` from the first of each band to the others.

    `bands` come sorted, those of one band in corpus order; one band may go on for many batches.
    """
    first = pa.RecordBatch.from_pylist([], schema=BANDS.schema)  # of the last band, and whether it was linked
    linked = False
    for batch in bands:
        if not len(batch):
            continue
        records = pa.concat_batches([first, batch]) if len(first) else batch
        band, text, place = (records[name].to_numpy() for name in ("band", "text", "place"))
        starts = np.flatnonzero(np.append(True, band[1:] != band[:-1]))
        sizes = np.diff(np.append(starts, len(band)))
        leads = np.zeros(len(band), bool)
        leads[starts] = True
        shares = np.repeat(sizes > 1, sizes)
        others = np.flatnonzero(shares & ~leads)
        first_is_linked = len(first) > 0 and linked
        linked = bool(sizes[-1] > 1) or (first_is_linked and len(starts) == 1)
        first = records.slice(int(starts[-1]), 1)
        if first_is_linked:
            shares[0] = False
        rows = np.flatnonzero(shares)
        if len(rows) or len(others):
            yield (
                pa.RecordBatch.from_arrays(
                    [pa.array(column[rows]) for column in (place, text, band)], schema=LINKS.schema
                ),
                pa.RecordBatch.from_arrays(
                    [pa.array(np.repeat(place[starts], sizes)[others]), pa.array(place[others])], schema=EDGES.schema
                ),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FindComponents:
    """Finds what may be in one cluster. Called with (all links, files of edges).

    The payload has `members`, `buckets`, and `bounds`, between which components are verified together.
    """

    work: str
    memory: int

    def __call__(self, spec: tuple[Partition, Sequence[RunFile]]) -> TaskResult:
        links, edges = spec
        places, texts = self._nodes(links)
        leaders = np.arange(len(places), dtype=np.int64)
        for file in edges:
            for batch in read_in_order(EDGES, self.work, file):
                ends = [np.searchsorted(places, batch[name].to_numpy()) for name in ("place", "other")]
                minhash.unite(leaders, *ends)
        minhash.settle(leaders)
        same = first_with_text(leaders, texts)
        with RunWriter(MEMBERS, self.work, "all") as members:
            members.write_run(_members(places, leaders, same))
        with RunWriter(BUCKETS, self.work, "all", memory=self.memory // 4) as buckets:
            for batch in read_sorted(LINKS, self.work, links, memory=self.memory // 4):
                at = np.searchsorted(places, batch["place"].to_numpy())
                firsts = np.flatnonzero(same[at] == at)
                columns = [places[leaders[at]][firsts], batch["band"].to_numpy()[firsts], places[at][firsts]]
                buckets.add(pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=BUCKETS.schema))
        return TaskResult(
            outputs=[*members.outputs, *buckets.outputs],
            payload={
                "members": msgspec.to_builtins(members.file),
                "buckets": msgspec.to_builtins(buckets.file),
                "bounds": _bounds(places, leaders, same),
            },
        )

    def _nodes(self, links: Partition) -> tuple[Words, Words]:
        """Each place once, in order, and the hash of its text."""
        places: list[Words] = [np.zeros(0, np.uint64)]
        texts: list[Words] = [np.zeros(0, np.uint64)]
        last = None
        for batch in read_sorted(LINKS, self.work, links, memory=self.memory // 4):
            place, text = batch["place"].to_numpy(), batch["text"].to_numpy()
            new = np.append(place[:1] != last, place[1:] != place[:-1])
            last = place[-1] if len(place) else last
            places.append(place[new])
            texts.append(text[new])
        return np.concatenate(places), np.concatenate(texts)


def first_with_text(leaders: Ints, texts: Words) -> Ints:
    """For each document, the first one of its component that has its text; int64.

    >>> first_with_text(np.array([0, 0, 0, 3]), np.array([7, 8, 7, 7], np.uint64)).tolist()
    [0, 1, 0, 3]
    """
    order = np.lexsort((np.arange(len(leaders)), texts, leaders))
    sorted_leaders, sorted_texts = leaders[order], texts[order]
    changes = (sorted_leaders[1:] != sorted_leaders[:-1]) | (sorted_texts[1:] != sorted_texts[:-1])
    starts = np.flatnonzero(np.append(len(leaders) > 0, changes))
    same = np.empty(len(leaders), np.int64)
    same[order] = np.repeat(order[starts], np.diff(np.append(starts, len(leaders))))
    return same


def _members(places: Words, leaders: Ints, same: Ints) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(places), _ROWS_PER_BLOCK):
        rows = slice(start, start + _ROWS_PER_BLOCK)
        columns = [places[rows], places[leaders[rows]], places[same[rows]]]
        yield pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=MEMBERS.schema)


def _bounds(places: Words, leaders: Ints, same: Ints) -> list[int]:
    """Some components, by the places of their first documents: between two, there are not many documents to verify."""
    n_docs = np.bincount(leaders[same == np.arange(len(same))], minlength=len(places))
    part = (np.cumsum(n_docs) - n_docs) // _DOCUMENTS_PER_TASK
    begins = np.flatnonzero(n_docs)
    changes = begins[1:][part[begins[1:]] != part[begins[:-1]]]
    return places[changes].tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Says what the last phases have to know of documents, beside their shingles."""

    likeness: Likeness
    keep: Keep
    n_references: int

    @property
    def by_field(self) -> bool:
        """Whether batches must hold records."""
        return bool(self.keep.field)

    def are_references(self, pieces: Numbered) -> bool:
        """Whether these are references, as all pieces of a task are, or none."""
        return pieces[0][0] < self.n_references

    def __call__(self, batch: TextBatch, at: Ints, *, reference: bool) -> dict[str, pa.Array]:
        """The columns `id`, `source`, `rank` and `tier` of the documents of these numbers."""
        return {
            "id": pa.array([batch.ids[i] for i in at.tolist()], pa.string()),
            "source": pa.array([batch.sources[i] for i in at.tolist()], pa.string()),
            "rank": pa.array(self.keep.ranks(batch)[at]),
            "tier": pa.array(self.keep.tiers(batch, reference=reference)[at]),
        }


def encoded(found: Shingles) -> pa.LargeBinaryArray:
    """The hashes of each document, as bytes."""
    offsets = found.index * found.hashes.itemsize
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(found.hashes)]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeShingles:
    """Reads the members of pieces again. Called with the pieces and their numbers, and their members."""

    work: str
    describe: Describe
    reading: Reading
    memory: int

    def __call__(self, spec: tuple[Numbered, Partition]) -> TaskResult:
        pieces, partition = spec
        members = Cursor(MEMBERS, read_sorted(MEMBERS, self.work, partition, memory=self.memory // 4))
        reader = PieceReader(self.reading, records=self.describe.by_field)
        reference = self.describe.are_references(pieces)
        with RunWriter(SETS, self.work, f"{pieces[0][0]:06d}", memory=self.memory // 2) as sets:
            for place, batch in itertools.chain.from_iterable(itertools.starmap(reader.batches, pieces)):
                found = members.before(place + len(batch))
                if len(found):
                    at = (found["place"].to_numpy() - np.uint64(place)).astype(np.int64)
                    sets.add(self._sets(batch, found, at, reference=reference))
        return TaskResult(outputs=sets.outputs, payload={"sets": msgspec.to_builtins(sets.file)})

    def _sets(self, batch: TextBatch, members: pa.RecordBatch, at: Ints, *, reference: bool) -> pa.RecordBatch:
        is_first = is_first_with_text(members)
        found = self.describe.likeness.shingles(batch.taken(at[is_first])).sets()
        counts = np.zeros(len(members), np.int64)
        counts[is_first] = np.diff(found.index)
        hashes = Shingles(hashes=found.hashes, index=np.concatenate([[0], np.cumsum(counts)]))
        columns = {name: members[name] for name in MEMBERS.schema.names}
        columns |= self.describe(batch, at, reference=reference)
        return pa.record_batch(columns | {"shingles": encoded(hashes)}, schema=SETS.schema)


def is_first_with_text(members: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Whether each of some `MEMBERS` is the first one of its text."""
    return members["same"].to_numpy() == members["place"].to_numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeKept:
    """Takes the members of documents whose shingles are kept. Called with (name, shingles, members)."""

    work: str
    memory: int

    def __call__(self, spec: tuple[str, Partition, Partition]) -> TaskResult:
        name, there, wanted = spec
        members = Cursor(MEMBERS, read_sorted(MEMBERS, self.work, wanted, memory=self.memory // 4))
        kept = read_sorted(SHINGLES, self.work, there, memory=self.memory // 4)
        with RunWriter(SETS, self.work, name, memory=self.memory // 2) as sets:
            for batch in kept:
                places = batch["place"].to_numpy()
                found = members.before(int(places[-1]) + 1)
                rows = batch.take(pa.array(np.searchsorted(places, found["place"].to_numpy())))
                columns = {column: rows[column] for column in rows.schema.names}
                columns |= {column: found[column] for column in MEMBERS.schema.names}
                columns["shingles"] = pc.if_else(pa.array(is_first_with_text(found)), rows["shingles"], b"")
                sets.add(pa.record_batch(columns, schema=SETS.schema))
        return TaskResult(outputs=sets.outputs, payload={"sets": msgspec.to_builtins(sets.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyClusters:
    """Compares documents that share a band. Called with (name, sets, buckets).

    `verify` False: all that share a band are taken for alike.
    """

    work: str
    verify: bool
    verdict: Verdict
    memory: int

    def __call__(self, spec: tuple[str, Partition, Partition]) -> TaskResult:
        name, sets, buckets = spec
        count = dict.fromkeys(COUNTS, 0)
        batches = read_sorted(SETS, self.work, sets, memory=self.memory // 4)
        shared = Cursor(BUCKETS, read_sorted(BUCKETS, self.work, buckets, memory=self.memory // 8))
        with RunWriter(MARKS, self.work, name, memory=self.memory // 8) as marks:
            for group in Group.of_batches(batches, limit=self.memory // 4):
                with group:
                    bands = shared.before(group.last + 1)
                    marks.add(self._marks(group, bands, count))
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file), **count})

    def _marks(self, group: Group, buckets: pa.RecordBatch, count: dict[str, int]) -> pa.RecordBatch:
        """The marks of all clusters of some components."""
        sets = group.sets()
        threshold = self.verdict.threshold if self.verify else 0.0
        joined = minhash.join(*in_buckets(buckets, group), sets, threshold=threshold)
        same = group.numbers(group.same)
        count["compared"] += joined.compared
        count["alike"] += joined.alike

        def similarity(left: Ints, right: Ints) -> npt.NDArray[np.float64]:
            return minhash.jaccard(sets, same[left], same[right])

        return self.verdict.marks(joined.leaders[same], group, similarity, count)


class Group:
    """The documents of some whole components, by component and place. A context manager: leaving it drops them.

    Shingles of a component that is larger than `limit` bytes lie in a temporary file.
    """

    def __init__(self, limit: int) -> None:
        self.n_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._hashes = Spill(np.uint64, 2 * limit)

    @classmethod
    def of_batches(cls, batches: Iterable[pa.RecordBatch], *, limit: int) -> Iterator[Group]:
        """Groups of about `limit` bytes of `SETS`, which come sorted; more where one component has more."""
        group = cls(limit)
        for batch in batches:
            components = batch["component"].to_numpy()
            n_more = len(batch)
            if group.n_bytes >= limit:
                n_more = int(np.searchsorted(components, group.last, side="right"))
            group._add(batch.slice(0, n_more))
            if n_more < len(batch):
                yield group
                group = cls(limit)
                group._add(batch.slice(n_more))
        if group._batches:
            yield group

    def _add(self, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        encoded = batch["shingles"]
        offsets = np.frombuffer(encoded.buffers()[1], np.int64)[encoded.offset : encoded.offset + len(encoded) + 1]
        hashes = np.frombuffer(encoded.buffers()[2] or b"", np.uint64)[offsets[0] // 8 : offsets[-1] // 8]
        self._batches.append(batch.drop_columns(["shingles"]).append_column("n", pa.array(np.diff(offsets) // 8)))
        self.n_bytes += batch.nbytes
        self._hashes.add(hashes)

    def __enter__(self) -> Group:
        records = pa.Table.from_batches(self._batches).combine_chunks()
        self.places, self.same, self.ranks, self.tiers, self._n = (
            records[name].to_numpy() for name in ("place", "same", "rank", "tier", "n")
        )
        self.ids, self.sources = (records[name].combine_chunks() for name in ("id", "source"))
        self._by_place = np.argsort(self.places)
        return self

    def __exit__(self, *_: object) -> None:
        self._hashes.close()

    @property
    def last(self) -> int:
        """The last component, by the place of its first document."""
        return int(self._batches[-1]["component"][-1].as_py())

    def sets(self) -> Shingles:
        """The shingles of each document; none for one whose text another has."""
        return Shingles(hashes=self._hashes.array(), index=np.concatenate([[0], np.cumsum(self._n)]))

    def numbers(self, places: Words) -> Ints:
        """The numbers of these documents in the group."""
        return self._by_place[np.searchsorted(self.places, places, sorter=self._by_place)]


def in_buckets(buckets: pa.RecordBatch, group: Group) -> tuple[Ints, Ints]:
    """The documents of each bucket, by number, and where each bucket begins; those of one document are left out."""
    component, band, place = (buckets[name].to_numpy() for name in ("component", "band", "place"))
    changes = (component[1:] != component[:-1]) | (band[1:] != band[:-1])
    starts = np.flatnonzero(np.append(len(band) > 0, changes))
    sizes = np.diff(np.append(starts, len(band)))
    shared = np.repeat(sizes > 1, sizes)
    return group.numbers(place[shared]), np.concatenate([[0], np.cumsum(sizes[sizes > 1])])
