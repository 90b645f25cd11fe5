"""`dolma tokenize mix` and `dolma tokenize reshard`: token shards in, token shards out, their ids as they were.

draw     a shard -> the sampling keys of its documents; only where some source is sampled
sample   all keys -> where the sample of each source ends
place    a shard -> the place of each copy of its documents; shuffled, also the documents, sorted by place
cut      all places -> where each new shard begins and ends
write    a range of places -> one new shard: shuffled, merged from the runs of all shards; else read from the shards

Shuffled, the place of a document follows from seed, source, file and line, as in `dolma tokenize`: shards that are
reshuffled by the seed by which they could have been made are those that would have been made. Not shuffled, documents
keep the order of the shards; copies follow when all documents have been through once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import MixConfig, TokenizeConfig
from dolma.data import streams
from dolma.data.exchange import END_OF_KEYS, MEMORY, RunFile, RunWriter
from dolma.data.manifest import FileSet, InputFile
from dolma.data.tokens import Dtype, is_padding, little_endian
from dolma.errors import ConfigError
from dolma.mixers.sampling import Cut, Quota
from dolma.mixers.waterfall import SAMPLED_OUT
from dolma.printable import printable
from dolma.reshard.allocation import CANDIDATES, DrawShard, FindCuts, cuts_of, keys_of, quotas_of, row_keys
from dolma.reshard.folders import Folders, ShardFile, documents_in, open_folders
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger, merged
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance
from dolma.runner.report import StageReport, Table
from dolma.runner.seeds import derive_seed
from dolma.runner.stage import StageRun, check_settings, open_stage
from dolma.runner.task import Task, TaskResult
from dolma.tokens.order import ROW_BITS, Counts, Places, corpus_places, parts_in_order, shuffled_places
from dolma.tokens.runs import PLACES, Documents, EncodedDocuments, Part
from dolma.tokens.tokenize import (
    EndOfText,
    describe_shards,
    planned_parts,
    shard_writer,
    shard_written,
    write_shards,
)

MIX, RESHARD = "tokenize mix", "tokenize reshard"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How documents lie in the new shards: in random order or as they come; so many shards, or of so many tokens."""

    shuffle: bool = True
    shards: int | None = None
    max_tokens_per_shard: int = 2**28


class Mixed(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says beside its ledger: the end-of-text token; tokens written of each source."""

    eos: EndOfText
    tokens: dict[str, int]


def reshard(
    folder: str,
    *,
    output: str,
    layout: Layout,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    seed: int = 0,
) -> StageReport[Mixed]:
    """The documents of a folder of token shards in other shards; those of each source apart, if they were.

    Raises:
        ConfigError: the shards cannot be resharded, or other outputs are in the way.
        DataError: a file is missing, or is not as `tokens.json` says.
    """
    folders = open_folders({"": folder})
    return _run(RESHARD, folders, None, layout, output=output, options=options, reporter=reporter, seed=seed)


def mix(
    sources: Mapping[str, str],
    config: MixConfig,
    *,
    output: str,
    layout: Layout,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    seed: int = 0,
) -> StageReport[Mixed]:
    """A mixture of folders of token shards, one for each source, by the shares, repeats and the total of `config`.

    Raises:
        ConfigError: shards of different tokenizers, a source has too little, or other outputs are in the way.
        DataError: a file is missing, or is not as `tokens.json` says.
    """
    folders = open_folders(sources)
    config = msgspec.structs.replace(config, unit="tokens")
    return _run(MIX, folders, config, layout, output=output, options=options, reporter=reporter, seed=seed)


def quotas_table(quotas: Mapping[str, Quota]) -> Table:
    """What is asked of each source."""
    rows = [
        (
            source,
            quota.supply.documents,
            quota.supply.tokens,
            "-" if quota.share is None else f"{quota.share:g}",
            *_asked(quota),
        )
        for source, quota in quotas.items()
    ]
    headers = ["source", "documents", "tokens", "share", "tokens asked", "times"]
    return Table(title="mixture", headers=headers, rows=rows)


def _asked(quota: Quota) -> tuple[int, str]:
    times = quota.asked / max(1, quota.supply.amount(quota.unit))
    return quota.asked if quota.unit == "tokens" else round(times * quota.supply.tokens), f"{times:.3g}"


def _run(
    name: str,
    folders: Folders,
    config: MixConfig | None,
    layout: Layout,
    *,
    output: str,
    options: RunOptions | None,
    reporter: Reporter | None,
    seed: int,
) -> StageReport[Mixed]:
    for _, folder in folders.folders:
        if streams.is_below(output, folder) or streams.is_below(folder, output):
            raise ConfigError(
                f"{printable(output)} and {printable(folder)}: one lies in the other, and both would be token shards"
                "\n  give another output folder"
            )
    quotas = quotas_of(folders, config) if config is not None else {}
    inputs = Inputs(output, options=options, reporter=reporter)
    check_settings([_file_set(name, folders, config, layout, [], output=output, seed=seed)], options)
    folders, files = folders.identified(inputs)
    made = _file_set(name, folders, config, layout, files, output=output, seed=seed)
    with open_stage([made], options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        cuts = _cuts(stage, folders, quotas, seed)
        selection = Selection(
            cuts=cuts, sampling_seed=seed, seed=seed if layout.shuffle else None, n_shards=len(folders.shards)
        )
        grouped = config is None and all(shard.info.source is not None for shard in folders.shards)
        dtype, facts = folders.manifest.dtype, folders.facts
        tasks = [
            Task(key=f"{number:06d}-{shard.info.xxh3}", size=shard.info.bytes, spec=(number, shard), file=shard.path)
            for number, shard in enumerate(folders.shards)
        ]
        place = PlaceShard(
            selection=selection,
            dtype=dtype,
            grouped=grouped,
            work=stage.work_folder,
            memory=stage.options.max_memory or MEMORY,
        )
        placed = stage.run("place", tasks, place, reads=True)
        limit, n_parts = layout.max_tokens_per_shard, layout.shards
        if layout.shuffle:
            written = write_shards(
                stage, placed, dtype=dtype, limit=limit, grouped=grouped, output=output, n_parts=n_parts
            )
        else:
            groups = planned_parts(stage, placed, limit=limit, grouped=grouped, output=output, n_parts=n_parts)
            written = _written_in_order(stage, folders, selection, groups, output=output)
        mixed = config is not None or any(shard.mixed for shard in folders.shards)
        described = describe_shards(
            stage, _as_tokenize(folders, layout), facts, written, output=output, seed=seed, mixed=mixed
        )
        end = EndOfText(token=facts.eos, id=facts.eos_id, because="as in the shards")
        ledger = merged([result.ledger for result in placed])
        notes = Mixed(eos=end, tokens={source: one.written.tokens for source, one in ledger.accounts.items()})
        report = stage.finish([*placed, *written, *described], notes=msgspec.to_builtins(notes))
        return report.detailed(notes)
    return stage.noted(Mixed)


def _as_tokenize(folders: Folders, layout: Layout) -> TokenizeConfig:
    facts, allowed = folders.facts, folders.manifest.special_tokens_allowed
    return TokenizeConfig(tokenizer=facts.path, shuffle=layout.shuffle, allow_special_tokens=allowed)


def _file_set(
    name: str,
    folders: Folders,
    config: MixConfig | None,
    layout: Layout,
    inputs: list[InputFile],
    *,
    output: str,
    seed: int,
) -> FileSet:
    facts = folders.facts
    decides = {
        "tokenizer_sha256": facts.sha256,
        "eos": facts.eos,
        "bos": facts.bos,
        "dtype": facts.dtype,
        "allow_special_tokens": folders.manifest.special_tokens_allowed,
        "seed": seed if layout.shuffle else None,
        **msgspec.to_builtins(layout),
    }
    if config is not None:
        names = ("sources", "total", "max_repeat", "alpha", "weights")
        given = msgspec.json.decode(msgspec.json.encode(config))
        decides |= {"mix": {name: given[name] for name in names}, "sampling_seed": seed}
    return FileSet(folder=output, stage=name, name="tokens", config=decides, inputs=inputs)


def _cuts(stage: StageRun, folders: Folders, quotas: Mapping[str, Quota], seed: int) -> dict[str, Cut]:
    """How often the documents of each source are written."""
    if not any(quota.rest for quota in quotas.values()):
        return {source: Cut(copies=quotas[source].copies if quotas else 1) for source in folders.sources}
    sampled = {source: number for number, source in enumerate(quotas)}
    shards = [shard for shard in folders.shards if quotas[shard.source].rest]
    tasks = [
        Task(key=f"{number:06d}-{shard.info.xxh3}", size=shard.info.rows, spec=(number, shard), file=shard.path)
        for number, shard in enumerate(shards)
    ]
    drawn = stage.run("draw", tasks, DrawShard(work=stage.work_folder, seed=seed), reads=True)
    files = [
        (sampled[shard.source], msgspec.convert(result.payload["file"], RunFile))
        for shard, result in zip(shards, drawn, strict=True)
    ]
    task = Task(key="sample", size=sum(shard.info.rows for shard in shards), spec=files)
    find = FindCuts(work=stage.work_folder, wanted=tuple(quotas.values()))
    return dict(zip(quotas, cuts_of(stage.plan("sample", task, find, uses_up=(CANDIDATES.name,)).payload), strict=True))


# --- which documents, and where --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How often documents are written and where they go; `seed` None: in the order of the `n_shards` shards."""

    cuts: Mapping[str, Cut]
    sampling_seed: int
    seed: int | None
    n_shards: int

    def times(self, shard: ShardFile, rows: pa.Table) -> Counts:
        """How often each row is written; int64, shape `(n_rows,)`. Padding is not."""
        cut = self.cuts[shard.source]
        if not cut.key:
            return ~is_padding(rows) * cut.copies
        keys = keys_of(shard, rows, seed=self.sampling_seed)
        return ~is_padding(rows) * cut.times(keys, rows["line"].to_numpy(), shard="")

    @property
    def most(self) -> int:
        """How often a document is written at most."""
        return max((cut.copies + bool(cut.key) for cut in self.cuts.values()), default=0)

    def may_have(self, shard: ShardFile, copy: int) -> bool:
        """Whether some document of a shard may be written so often that there is this copy, the first one being 0."""
        cut = self.cuts[shard.source]
        return copy < cut.copies + bool(cut.key)

    def segment(self, number: int, copy: int) -> int:
        """The number of a copy of a shard, in the order of those that are not shuffled."""
        return copy * self.n_shards + number

    def places(self, number: int, shard: ShardFile, rows: pa.Table, copy: int) -> Places:
        """The place of each row of a shard, of this copy of it; uint64, shape `(n_rows,)`."""
        if self.seed is None:
            return corpus_places(self.segment(number, copy), 0, len(rows))
        found = (_by_id if shard.mixed else _by_line)(self.seed, shard, rows, copy)
        return parts_in_order(found, rows["part"].to_numpy(), rows["parts"].to_numpy())


def _by_line(seed: int, shard: ShardFile, rows: pa.Table, copy: int) -> Places:
    lines, paths = rows["line"].to_numpy(), rows["path"].combine_chunks().dictionary_encode()
    of = paths.indices.to_numpy()
    found = np.empty(len(rows), np.uint64)
    for index, path in enumerate(paths.dictionary.to_pylist()):
        mine = of == index
        found[mine] = shuffled_places(seed, _called(shard.source, path, copy), lines[mine])
    return found


def _by_id(seed: int, shard: ShardFile, rows: pa.Table, copy: int) -> Places:
    own = derive_seed(seed, "shuffle", shard.source, copy)
    return row_keys(rows, rows["source"].fill_null("").to_pylist(), seed=own)


def _called(source: str, path: str, copy: int) -> str:
    return path if not source and not copy else f"{source}\0{path}\0{copy}"


def _named(ids: Sequence[str], copy: int) -> Sequence[str]:
    """The ids of a copy, as `dolma mix` names them."""
    return ids if not copy else [f"{id}#{copy + 1}" for id in ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceShard:
    """Finds the place of each copy of a shard's documents; shuffled, leaves them there. Called with (number, shard)."""

    selection: Selection
    dtype: Dtype
    grouped: bool
    work: str
    memory: int

    def __call__(self, spec: tuple[int, ShardFile]) -> TaskResult:
        number, shard = spec
        rows = shard.rows()
        times = self.selection.times(shard, rows)
        leave = self._documents if self.selection.seed is not None else self._places
        result = leave(number, shard, rows, times)
        return TaskResult(outputs=result.outputs, payload=result.payload, ledger=self._ledger(shard, rows, times))

    def _places(self, number: int, shard: ShardFile, rows: pa.Table, times: Counts) -> TaskResult:
        sizes = rows["end"].to_numpy() - rows["start"].to_numpy()
        group = str(shard.info.source) if self.grouped else ""
        with RunWriter(PLACES, self.work, f"{number:06d}", memory=self.memory) as out:
            for copy in range(int(times.max(initial=0))):
                mine = np.flatnonzero(times > copy)
                places = self.selection.places(number, shard, rows, copy)[mine]
                records = [pa.array(places), pa.array(sizes[mine])]
                out.add(pa.RecordBatch.from_arrays(records, schema=PLACES.schema), group=group)
        return TaskResult(outputs=out.outputs, payload={"places": msgspec.to_builtins(out.groups)})

    def _documents(self, number: int, shard: ShardFile, rows: pa.Table, times: Counts) -> TaskResult:
        places = [self.selection.places(number, shard, rows, copy) for copy in range(int(times.max(initial=0)))]
        sizes = rows["end"].to_numpy() - rows["start"].to_numpy()
        with EncodedDocuments(
            self.work, f"{number:06d}", dtype=self.dtype, memory=self.memory, grouped=self.grouped
        ) as out:
            for some, ids in shard.ids(rows, times > 0, self.dtype):
                first = np.flatnonzero(times[some] > 0) + some.start
                for copy in range(int(times[some].max())):
                    mine = np.flatnonzero(times[some] > copy) + some.start
                    chosen = ids if len(mine) == len(first) else ids[np.repeat(times[first] > copy, sizes[first])]
                    out.add(_documents(rows.take(mine), chosen, sizes[mine], places[copy][mine], copy))
                advance(documents=len(first), bytes=ids.nbytes)
        payload = {"places": msgspec.to_builtins(out.places), "documents": msgspec.to_builtins(out.documents)}
        return TaskResult(outputs=out.outputs, payload=payload)

    def _ledger(self, shard: ShardFile, rows: pa.Table, times: Counts) -> Ledger:
        ledger = Ledger()
        sizes = rows["end"].to_numpy() - rows["start"].to_numpy()
        ends, there = documents_in(rows), ~is_padding(rows)
        names = rows["source"].to_pylist() if not shard.source else [shard.source] * len(rows)
        of = pa.array(names, pa.string()).fill_null("unknown").dictionary_encode()
        for index, source in enumerate(of.dictionary.to_pylist()):
            mine = there & (of.indices.to_numpy() == index)
            chosen, out = mine & (times > 0), mine & (times == 0)
            ledger.take(source, documents=int(ends[mine].sum()), tokens=int(sizes[mine].sum()))
            ledger.keep(source, documents=int(ends[chosen].sum()), tokens=int(sizes[chosen].sum()))
            if (more := times[chosen] - 1).any():
                documents, tokens = int((more * ends[chosen]).sum()), int((more * sizes[chosen]).sum())
                ledger.repeat(source, documents=documents, tokens=tokens)
            if out.any():
                ledger.drop(source, SAMPLED_OUT, documents=int(ends[out].sum()), tokens=int(sizes[out].sum()))
        return ledger


def _documents(rows: pa.Table, ids: npt.NDArray[Any], counts: Counts, places: Places, copy: int) -> Documents:
    return Documents(
        ids=ids,
        counts=counts,
        places=places,
        names=_named(rows["id"].to_pylist(), copy),
        sources=rows["source"].to_pylist(),
        paths=rows["path"].to_pylist(),
        lines=rows["line"].to_numpy(),
        part=rows["part"].to_numpy(),
        parts=rows["parts"].to_numpy(),
        offsets=rows["offset"].to_numpy(),
    )


# --- in the order of the shards --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Rows of a copy of a shard, from `first` up to `end` (None: the last one)."""

    shard: ShardFile
    copy: int
    first: int
    end: int | None


def _written_in_order(
    stage: StageRun, folders: Folders, selection: Selection, groups: Sequence[Sequence[Part]], *, output: str
) -> list[TaskResult]:
    dtype = folders.manifest.dtype
    tasks = []
    for parts in groups:
        ends = [*(part.first for part in parts[1:]), END_OF_KEYS - 1]
        for part, end in zip(parts, ends, strict=True):
            spec = (part, tuple(_stretches(folders, selection, part, end)))
            tasks.append(Task(key=part.name, size=part.tokens * little_endian(dtype).itemsize, spec=spec))
    return stage.run("write", tasks, WriteInOrder(selection=selection, dtype=dtype, output=output))


def _stretches(folders: Folders, selection: Selection, part: Part, end: int) -> Iterator[Stretch]:
    """What of the shards lies in a part, which begins at its first place and ends before the place `end`."""
    row = (1 << ROW_BITS) - 1
    first, last = part.first >> ROW_BITS, end >> ROW_BITS
    for segment in range(first, min(last + 1, selection.most * selection.n_shards)):
        copy, number = divmod(segment, selection.n_shards)
        shard = folders.shards[number]
        begins = segment < last or end & row > 0
        if begins and part.source in (None, shard.info.source) and selection.may_have(shard, copy):
            yield Stretch(
                shard=shard,
                copy=copy,
                first=part.first & row if segment == first else 0,
                end=end & row if segment == last else None,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteInOrder:
    """Writes a shard from stretches of others. Called with (its part, the stretches)."""

    selection: Selection
    dtype: Dtype
    output: str

    def __call__(self, spec: tuple[Part, Sequence[Stretch]]) -> TaskResult:
        part, stretches = spec
        with shard_writer(self.output, part, self.dtype) as writer:
            for stretch in stretches:
                rows = stretch.shard.rows()
                chosen = self.selection.times(stretch.shard, rows) > stretch.copy
                within = slice(stretch.first, len(rows) if stretch.end is None else stretch.end)
                rows, chosen = rows.slice(within.start, within.stop - within.start), chosen[within]
                for some, ids in stretch.shard.ids(rows, chosen, self.dtype):
                    mine = rows.take(np.flatnonzero(chosen[some]) + some.start)
                    counts = mine["end"].to_numpy() - mine["start"].to_numpy()
                    named = pa.array(_named(mine["id"].to_pylist(), stretch.copy), pa.string())
                    mine = mine.set_column(mine.schema.get_field_index("id"), "id", named)
                    writer.write([memoryview(ids).cast("B")], counts=counts, rows=mine)
                    advance(documents=len(counts), bytes=ids.nbytes)
        return shard_written(writer, part, output=self.output, made_from=", ".join(s.shard.path for s in stretches[:1]))
