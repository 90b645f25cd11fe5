"""Documents to be looked at: a seeded sample of those that a condition holds for, or those nearest to a threshold."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import MixConfig
from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.shards import Piece, Shard
from dolma.errors import ConfigError, DataError
from dolma.lookup.documents import Document, Documents
from dolma.mixers.catalogue import DOCUMENT, Catalogue, Column
from dolma.mixers.join import AttributeFile, JoinedRows, column_of
from dolma.mixers.rules import Arrays, RuleSet, compile_rules, relation
from dolma.mixers.sql import evaluate, first_lines
from dolma.printable import printable
from dolma.runner.seeds import draws

_ROWS = 1 << 14  # of attributes that are read at once
_NEAREST = re.compile(r"\s*([^<>=!]+?)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A document near to a threshold, and its value."""

    document: Document
    value: float


def sample(documents: Documents, n: int, *, where: str | None = None, seed: int = 0) -> list[Document]:
    """At most `n` documents, drawn by the seed from those for which `where` is true, in corpus order.

    Reads attributes only, unless `where` is absent or names fields of the documents; a document whose condition is NULL
    does not count.

    Raises:
        ConfigError: `where` is no condition over attributes that are there.
        DataError: attributes are missing or do not fit the documents.
    """
    best: list[tuple[int, int, int]] = []  # of the lowest draws the greatest first, each with file and row
    for number, rows in _rows_where(documents, where):
        keys = draws(seed, "show", documents.shards[number].name, rows)
        for i in np.argsort(keys, kind="stable")[:n].tolist():
            item = (-int(keys[i]), -number, -int(rows[i]))
            if len(best) < n:
                heapq.heappush(best, item)
            elif item > best[0]:
                heapq.heapreplace(best, item)
    return _read(documents, sorted((-number, -row) for _, number, row in best))


def nearest(documents: Documents, given: str, n: int) -> tuple[list[Near], list[Near]]:
    """At most `n` documents below a threshold and as many at or above it, the nearest first.

    `given` is such as `gopher.fraction_of_duplicate_lines = 0.3`.

    Raises:
        ConfigError: it names no number that was measured.
    """
    found = _NEAREST.match(given)
    if found is None:
        raise ConfigError(
            f"{printable(given)!r} is no attribute with a threshold\n  write `gopher.word_count = 50`", path="--nearest"
        )
    names = documents.dataset.attribute_names(documents.shards)
    catalogue = Catalogue(dataset=documents.dataset, shards=documents.shards, names=tuple(names))
    column = catalogue.column(found[1], path="--nearest", kinds=("int", "float", "bool"))
    return beside(documents, catalogue, column, float(found[2]), n)


def beside(
    documents: Documents, catalogue: Catalogue, column: Column, threshold: float, n: int
) -> tuple[list[Near], list[Near]]:
    """As `nearest`, of a column of numbers of the catalogue."""
    name, output = column
    paths = catalogue.files(name, [output])
    sides: tuple[list[tuple[float, int, int, float]], ...] = ([], [])
    for number, shard in enumerate(documents.shards):
        files = [AttributeFile(set=name, path=paths[shard.name], outputs={output: catalogue.outputs(name)[output]})]
        first = 0
        for arrays, n_rows in attribute_rows(shard, files):
            values = arrays[name][output].cast(pa.float64()).to_numpy(zero_copy_only=False)
            for side, mask in zip(sides, (values < threshold, values >= threshold), strict=True):
                rows = np.flatnonzero(mask)
                for i in rows[np.argsort(np.abs(values[rows] - threshold), kind="stable")[:n]].tolist():
                    item = (-abs(float(values[i]) - threshold), -number, -(first + i), float(values[i]))
                    (heapq.heappush if len(side) < n else heapq.heappushpop)(side, item)
            first += n_rows
    below, above = (
        [
            Near(document=document, value=value)
            for (_, number, row, value) in sorted(side, reverse=True)
            for document in _read(documents, [(-number, -row)])
        ]
        for side in sides
    )
    return below, above


def attribute_rows(
    shard: Shard, files: Sequence[AttributeFile]
) -> Iterator[tuple[dict[str, dict[str, pa.Array]], int]]:
    """The attribute rows of a shard whose documents are not read, some at a time, by set and output; and how many.

    Raises:
        AlignmentError: the files have rows of different documents.
    """
    for _, arrays, n_rows in attribute_rows_with_ids(shard, files):
        yield arrays, n_rows


def attribute_rows_with_ids(
    shard: Shard, files: Sequence[AttributeFile]
) -> Iterator[tuple[pa.Array, dict[str, dict[str, pa.Array]], int]]:
    """As `attribute_rows`, with the ids of the documents."""
    with ExitStack() as stack:
        readers = [stack.enter_context(AttributeReader(file.path, file.columns)) for file in files]
        while n_rows := len(first := readers[0].take(_ROWS)):
            ids = first.column("id").combine_chunks()
            arrays: dict[str, dict[str, pa.Array]] = {}
            for file, reader in zip(files, readers, strict=True):
                found = first if reader is readers[0] else reader.take(n_rows)
                if not found.column("id").equals(first.column("id")):
                    lines = np.zeros(n_rows, dtype=np.int64)
                    check_alignment(ids.to_pylist(), found, documents=shard.path, attributes=file.path, lines=lines)
                arrays[file.set] = {
                    name: column_of(found, name, output, path=file.path) for name, output in file.outputs.items()
                }
            yield ids, arrays, n_rows
        for reader in readers[1:]:
            check_exhausted(reader, documents=shard.path)


def _rows_where(documents: Documents, where: str | None) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """The numbers of files and the rows of the documents for which the condition is true."""
    if where is None:
        for number, shard in enumerate(documents.shards):
            first = 0
            for batch in read_batches(shard, documents.reading, intake=Intake()):
                yield number, np.arange(first, first + len(batch))
                first += len(batch)
        return
    config = MixConfig(keep=[where], missing="drop")
    try:
        catalogue = Catalogue.of(documents.dataset, documents.shards, config, reading=documents.reading)
        rules = compile_rules(config, catalogue)
    except ConfigError as error:
        raise ConfigError(error.message, path="--where") from error
    paths = {name: catalogue.files(name, rules.columns_of(name)) for name in rules.sets}
    for number, shard in enumerate(documents.shards):
        files = [
            AttributeFile(set=name, path=paths[name][shard.name], outputs=rules.outputs[name]) for name in rules.sets
        ]
        needs_documents = DOCUMENT in rules.outputs or bool(rules.fields)
        truths = (_with_documents if needs_documents else _without)(shard, files, rules, documents.reading)
        first = 0
        for true in truths:
            yield number, np.flatnonzero(true) + first
            first += len(true)


def _without(
    shard: Shard, files: Sequence[AttributeFile], rules: RuleSet, reading: Reading
) -> Iterator[npt.NDArray[np.bool_]]:
    for arrays, n_rows in attribute_rows(shard, files):
        try:
            yield evaluate([rules.rules[0].holds], relation(arrays, n_rows))[0][0]
        except duckdb.Error as error:
            raise DataError(
                f"the condition cannot be evaluated on some document: {printable(first_lines(error))}"
                "\n  TRY_CAST and TRY(...) give NULL instead",
                file=shard.path,
            ) from error


def _with_documents(
    shard: Shard, files: Sequence[AttributeFile], rules: RuleSet, reading: Reading
) -> Iterator[npt.NDArray[np.bool_]]:
    with JoinedRows(Piece(shard=shard), files) as rows:
        for batch in read_batches(shard, reading, intake=Intake(), records=bool(rules.fields)):
            arrays: Arrays = rules.with_own(batch, rows.take(batch))
            yield rules.holds(batch, arrays)[0]
        rows.finish()


def _read(documents: Documents, places: Sequence[tuple[int, int]]) -> list[Document]:
    found = (documents.at(documents.shards[number], row=row) for number, row in places)
    return [document for document in found if document is not None]
