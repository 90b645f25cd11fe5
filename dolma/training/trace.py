"""Which documents a step saw, and which steps saw a document: order is a function of recipe and shards, so no log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data import streams
from dolma.data.tokens import has_rows, parquet_path, read_rows, rows_file
from dolma.errors import ConfigError, DataError
from dolma.printable import printable
from dolma.training.stages import Stage, Stages, resolve_stages
from dolma.training.state import checkpoints, read_state


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a document in a window of a batch.

    `window` is the row of the batch, from 0; `start` and `end` are tokens of the document, `end` exclusive; `source` is
    that of the mixture; `id`, `path` and `line` say where the document is from, as the rows beside the shard do.
    """

    step: int
    stage: str
    window: int
    source: str
    shard: str
    id: str
    path: str
    line: int
    start: int
    end: int


def documents_of_step(stages: Stages, step: int) -> Iterator[Seen]:
    """Every document in the batch of a step, counted from 1 over all stages, in the order of the batch.

    Raises:
        ConfigError: there is no such step.
        DataError: a shard has no rows.
    """
    if not 1 <= step <= stages.steps:
        raise ConfigError(f"there is no step {step:,}: the run has {stages.steps:,}\n  steps are counted from 1")
    stage = stages.of(step)
    instances = stage.loader.instances
    for window, instance in enumerate(stage.loader.indices(step - stage.first)):
        source = int(instances.sources[instance])
        yield from _stretches(stage, source, int(instances.windows[instance]), step=step, window=window)


def steps_of_document(stages: Stages, id: str) -> Iterator[Seen]:
    """Every stretch of the documents of this id that a step sees, in the order of the run.

    Raises:
        ConfigError: no document has this id.
        DataError: a shard has no rows.
    """
    ids = frozenset((id,))
    paths = (shard.path for stage in stages.stages for of in stage.loader.instances.populations for shard in of.shards)
    if not any(id in _ids(path) for path in paths):
        raise ConfigError(
            f"no document in the shards of this run has the id {id!r}"
            "\n  give an id as it stands in the documents, a copy's with `#2`"
        )
    yield from steps_of_documents(stages, ids)


def steps_of_documents(stages: Stages, ids: frozenset[str]) -> Iterator[Seen]:
    """Every stretch of the documents of these ids that a step sees, in the order of the run.

    Raises:
        DataError: a shard has no rows.
    """
    for stage in stages.stages:
        instances = stage.loader.instances
        wanted = set()
        for source, population in enumerate(instances.populations):
            places = {
                n: where for n, shard in enumerate(population.shards) if len((where := _places(shard.path, ids))[0])
            }
            for window in range(len(population)) if places else ():
                if any(
                    stretch.shard in places and _overlaps(places[stretch.shard], stretch.start, stretch.end)
                    for stretch in population.stretches(window)
                ):
                    wanted.add((source, window))
        for step, row, source, window in _occurrences(stage, wanted):
            for seen in _stretches(stage, source, window, step=step, window=row):
                if seen.id in ids:
                    yield seen


def _occurrences(stage: Stage, wanted: set[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Step (over all stages), row of the batch, source and window of all wanted windows, in the order of the run."""
    loader, instances = stage.loader, stage.loader.instances
    keys = instances.sources.astype(np.uint64) << np.uint64(32) | instances.windows.astype(np.uint64)
    codes = np.array(sorted(source << 32 | window for source, window in wanted), dtype=np.uint64)
    chosen = np.flatnonzero(np.isin(keys, codes))
    total = loader.sizes.until(stage.steps)
    for epoch in range(-(-total // loader.per_epoch) if len(chosen) else 0):
        order = loader.order(epoch + 1)
        for place in np.flatnonzero(np.isin(order, chosen)).tolist():
            at = epoch * loader.per_epoch + place
            if place < loader.per_epoch and at < total:
                step = loader.sizes.step_of(at)
                row = at - loader.sizes.until(step - 1)
                instance = int(order[place])
                yield stage.first + step, row, int(instances.sources[instance]), int(instances.windows[instance])


def _stretches(stage: Stage, source: int, number: int, *, step: int, window: int) -> Iterator[Seen]:
    instances = stage.loader.instances
    population = instances.populations[source]
    for stretch in population.stretches(number):
        path = population.shards[stretch.shard].path
        rows = _rows(path)
        ends = rows["end"].to_numpy()
        first = int(np.searchsorted(ends, stretch.start, side="right"))
        last = int(np.searchsorted(ends, stretch.end, side="left"))
        for row in rows.slice(first, last - first + 1).to_pylist():
            yield Seen(
                step=step,
                stage=stage.name,
                window=window,
                source=instances.names[source],
                shard=path,
                id=row["id"],
                path=row["path"],
                line=row["line"],
                start=max(stretch.start, row["start"]) - row["start"] + row["offset"],
                end=min(stretch.end, row["end"]) - row["start"] + row["offset"],
            )


def _rows(shard: str) -> pa.Table:
    return _rows_of(shard, streams.version(rows_file(shard)))


@lru_cache(maxsize=64)
def _rows_of(shard: str, version: tuple[int, str] | None) -> pa.Table:
    if not has_rows(shard):
        raise DataError(
            "has no document rows beside it, so nothing says what its tokens are of\n"
            f"  copy {os.path.basename(parquet_path(shard))} beside it, or tokenize again",
            file=shard,
        )
    return read_rows(shard)


def _ids(shard: str) -> frozenset[str]:
    return frozenset(_rows(shard)["id"].to_pylist())


_Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _overlaps(places: _Places, start: int, end: int) -> bool:
    """Whether any of these places, which follow one another, has a token from `start` to before `end`."""
    first = int(np.searchsorted(places[1], start, side="right"))
    return first < len(places[0]) and int(places[0][first]) < end


def _places(shard: str, ids: frozenset[str]) -> _Places:
    """Where the documents of these ids begin and end."""
    rows = _rows(shard)
    chosen = rows.filter(pc.is_in(rows["id"], pa.array(sorted(ids), pa.string())))
    return chosen["start"].to_numpy(), chosen["end"].to_numpy()


def stages_of_run(run: str, *, tokens: Sequence[str] | None = None) -> Stages:
    """The stages of a training run, from its newest checkpoint; `tokens` says where its shards are now.

    Raises:
        DataError: there is no checkpoint, or the shards are not those that it was trained on.
    """
    found = checkpoints(run)
    if not found:
        below = streams.join(run, "train")
        hint = f"did you mean {printable(below)}?" if checkpoints(below) else "`dolma train` writes them to its output"
        raise DataError(f"has no checkpoint: give the folder of a training run\n  {hint}", file=run)
    state = read_state(found[max(found)], weights=False)
    stages = resolve_stages(state.config, tokens or state.tokens)
    here = {file.name: file.checksum for file in stages.files()}
    if here != state.shards:
        other = sorted(name for name in here.keys() | state.shards.keys() if here.get(name) != state.shards.get(name))
        raise DataError(f"was trained on other shards ({other[0]} differs): give theirs with --tokens", file=run)
    return stages
