"""What became of a document: where it came from, what was measured, which rules dropped it, where its tokens are.

document -> attributes, decisions of each mix -> documents that the mix wrote of it -> ... -> token shards -> steps
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.tokens import NAME as TOKENS
from dolma.data.tokens import read_rows, read_token_manifest, rows_file
from dolma.errors import ConfigError, DolmaError
from dolma.graph import Graph
from dolma.lookup.documents import Document, Documents, index_folder
from dolma.lookup.keys import FOLDER, Entry, KeyIndex, ReadKeys
from dolma.lookup.measured import Measured, attribute_row, measured, row_batches, row_of
from dolma.mixers.expressions import parse
from dolma.mixers.rules import written_rules
from dolma.mixers.sql import ExpressionError
from dolma.mixers.write import Layout
from dolma.runner.progress import Reporter
from dolma.stages import Node
from dolma.training.trace import Seen, stages_of_run, steps_of_document

_ROWS, _DOCUMENTS = "rows", "documents"


class Copies(msgspec.Struct, frozen=True, kw_only=True):
    """What a dedupe says of a document: whether it is a copy, of how many, and which one is kept.

    `kept_at` is the file and line of that one, None where it is none of these documents.
    """

    set: str
    duplicate: bool
    cluster: int | None
    cluster_size: int | None
    kept_id: str | None
    kept_at: str | None
    similarity: float | None


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that drops the document: as the ledger calls it, its SQL, and the values that it looks at."""

    rule: str
    sql: str
    values: dict[str, Any]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a mix decided on a document, and where it was written, a file and line for each copy.

    `reason` is None where it was written; else "rules", "held out" or "sampled out".
    """

    stage: str
    reason: str | None
    fired: list[Fired]
    edits: int
    bytes: int
    edited_bytes: int
    tokens: int | None
    copies: int
    written: list[str]


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Where tokens of a document are: a shard, and from which of its tokens up to which."""

    stage: str
    shard: str
    start: int
    end: int


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """A document as one stage has it: `stage` is that which wrote it, "" of a raw one."""

    stage: str
    id: str
    file: str
    line: int
    source: str
    bytes: int
    attributes: Measured
    copies: list[Copies]
    verdicts: list[Verdict]
    tokens: list[Stretch]
    seen: list[Seen]
    unknown: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A finished mix: what the recipe calls it, its folder, and its settings, where they are known."""

    name: str
    folder: str
    config: MixConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Some documents, and what reads them: mixes with the documents that these write, and folders of token shards.

    `name` is the stage that wrote the documents, "" of raw ones.
    """

    name: str
    dataset: Dataset
    reading: Reading
    mixes: Sequence[tuple[Mix, Corpus | None]] = ()
    tokens: Sequence[tuple[str, str, Sequence[str]]] = ()  # stage, folder, folders of the runs that train on it


def why(
    corpus: Corpus, given: str, *, output: str | None = None, reporter: Reporter | None = None
) -> list[list[Station]]:
    """Everything that is known of each document with this id, or at this `FILE:LINE`: itself, then what was made of it.

    `output` is the folder of the recipe: where the index of ids is kept.

    Raises:
        ConfigError: there is no such document.
        DataError: a file is damaged, or of other documents.
    """
    search = _Search(output=output, reporter=reporter)
    where, documents = search.find(corpus, given)
    return [list(search.stations(where, document)) for document in documents]


class _Search:
    """Documents and indexes of all corpora that a question leads through."""

    def __init__(self, *, output: str | None, reporter: Reporter | None) -> None:
        self._output, self._reporter = output, reporter
        self._documents: dict[str, Documents] = {}

    def documents(self, corpus: Corpus) -> Documents:
        if corpus.name not in self._documents:
            home = index_folder(corpus.dataset, corpus.dataset.shards(), self._output)
            folder = None if home is None else streams.join(home, corpus.name or "documents")
            self._documents[corpus.name] = Documents(
                corpus.dataset, corpus.reading, index=folder, reporter=self._reporter
            )
        return self._documents[corpus.name]

    def find(self, corpus: Corpus, given: str) -> tuple[Corpus, list[Document]]:
        """The documents of this name, and where they are: a copy such as `a#2` is only among what a mix wrote."""
        try:
            return corpus, self.documents(corpus).find(given)
        except ConfigError:
            for _, then in corpus.mixes:
                if then is not None and any(streams.entries_below(path) for path in then.dataset.documents):
                    with suppress(ConfigError):
                        return self.find(then, given)
            raise

    def stations(self, corpus: Corpus, document: Document) -> Iterator[Station]:
        documents = self.documents(corpus)
        values = measured(corpus.dataset, documents.shards, document)
        unknown: list[str] = []
        verdicts: list[Verdict] = []
        below: list[tuple[Corpus, str, int]] = []
        for mix, then in corpus.mixes:
            verdict = self._verdict(mix, document, values, unknown)
            if verdict is not None:
                verdicts.append(verdict)
                places = self._written(mix.folder, document) if then is not None and verdict.copies else []
                below += [(then, *place) for place in places if then is not None]
        tokens = [
            stretch for stage, folder, _ in corpus.tokens for stretch in self._tokens(stage, folder, document, unknown)
        ]
        runs = [run for _, _, of in corpus.tokens for run in of]
        yield Station(
            stage=corpus.name,
            id=document.id,
            file=document.shard.path,
            line=document.line,
            source=document.source,
            bytes=len(document.text.encode()),
            attributes=values,
            copies=[self._copies(corpus, name, of) for name, of in values.items() if of.get("duplicate") is not None],
            verdicts=verdicts,
            tokens=tokens,
            seen=list(_seen(runs, document.id, unknown)) if tokens else [],
            unknown=unknown,
        )
        for then, path, row in below:
            those = self.documents(then)
            shard = next((shard for shard in those.shards if shard.path == path), None)
            copy = None if shard is None else those.at(shard, row=row)
            if copy is None:
                unknown.append(f"{path}:{row + 1}: the document that was written there is gone")
            else:
                yield from self.stations(then, copy)

    def _copies(self, corpus: Corpus, name: str, values: dict[str, Any]) -> Copies:
        kept_id = values.get("kept_id")
        kept = []  # also of a reference, which is not of the corpus
        if kept_id is not None and values["duplicate"]:
            kept = self.documents(corpus).with_id(kept_id)
        return Copies(
            set=name,
            duplicate=values["duplicate"],
            kept_at=kept[0].place if kept else None,
            **{key: values.get(key) for key in ("cluster", "cluster_size", "kept_id", "similarity")},
        )

    def _verdict(self, mix: Mix, document: Document, values: Measured, unknown: list[str]) -> Verdict | None:
        path = streams.join(mix.folder, Layout(output=mix.folder, work="", format="").decisions_path(document.shard))
        if not streams.exists(path):
            unknown.append(f"{mix.name} has not decided on it: there is no {path}")
            return None
        decision = attribute_row(path, document)
        fired = [_fired(mix, label, values) for label in decision["rules"]]
        copies = decision["copies"]
        written = self._written(mix.folder, document) if copies else []
        reason = None
        if not copies:
            reason = "rules" if fired or not decision["kept"] else "held out" if decision["held_out"] else "sampled out"
        return Verdict(
            stage=mix.name,
            reason=reason,
            fired=fired,
            written=[f"{path}:{row + 1}" for path, row in written],
            **{key: decision[key] for key in ("edits", "bytes", "edited_bytes", "tokens", "copies")},
        )

    def _written(self, folder: str, document: Document) -> list[tuple[str, int]]:
        """The file and the 0-based row of each copy of this document that the mix wrote."""
        files = _entries(streams.join(folder, _ROWS))
        index = self._index(folder, "written", files, lambda number: _rows_of_mix(files[number].path))
        there = sorted(streams.entries_below(streams.join(folder, _DOCUMENTS)))
        found = []
        for file, row in index.find(_place(document.shard.name, document.line)):
            of = row_of(files[file].path, row) or {}
            if (of.get("shard"), of.get("line")) != (document.shard.name, document.line):
                continue  # another key of the same hash
            stem = files[file].path.removeprefix(streams.join(folder, _ROWS, "")).removesuffix(".parquet")
            paths = [path for path in there if path == stem or path.startswith(f"{stem}.")]
            found += [(streams.join(folder, _DOCUMENTS, path), row) for path in paths[:1]]
        return found

    def _tokens(self, stage: str, folder: str, document: Document, unknown: list[str]) -> Iterator[Stretch]:
        if not streams.exists(streams.join(folder, TOKENS)):
            unknown.append(f"{stage} has not run: no token shards in {folder}")
            return
        shards = [streams.join(folder, shard.path) for shard in read_token_manifest(folder).shards]
        paths = {rows_file(shard): shard for shard in shards}
        files = _entries(folder, only=paths)
        index = self._index(folder, "tokens", files, lambda number: _rows_of_shard(paths[files[number].path]))
        for file, row in index.find(_place(document.shard.name, document.line)):
            shard = paths[files[file].path]
            (of,) = read_rows(shard, only=("start", "end", "path", "line")).slice(row, 1).to_pylist()
            if (of["path"], of["line"]) == (document.shard.name, document.line):
                yield Stretch(stage=stage, shard=shard, start=of["start"], end=of["end"])

    def _index(self, folder: str, name: str, files: list[streams.Entry], read: ReadKeys) -> KeyIndex:
        where = streams.join(folder, FOLDER, name)
        return KeyIndex.there(where, files) or KeyIndex.made(where, files, read)


def _place(shard: str, line: int) -> str:
    return f"{shard}:{line}"


def _entries(folder: str, *, only: Container[str] | None = None) -> list[streams.Entry]:
    """The files of a folder that count, in order, with their whole paths."""
    found = [entry._replace(path=streams.join(folder, path)) for path, entry in streams.entries_below(folder).items()]
    return sorted(entry for entry in found if only is None or entry.path in only)


def _rows_of_mix(path: str) -> Iterator[tuple[Entry | None, Iterable[str]]]:
    for batch in row_batches(path, columns=["shard", "line"]):
        yield None, map(_place, batch["shard"].to_pylist(), batch["line"].to_pylist())


def _rows_of_shard(path: str) -> Iterator[tuple[Entry | None, Iterable[str]]]:
    rows = read_rows(path, only=("path", "line"))
    yield None, map(_place, rows["path"].to_pylist(), rows["line"].to_pylist())


def _fired(mix: Mix, label: str, values: Measured) -> Fired:
    """The rule of this label, with the values of its attributes."""
    rules = () if mix.config is None else written_rules(mix.config)
    sql = next((rule.sql for rule in rules if rule.label == label), "")
    try:
        columns = parse(sql).columns if sql else ()
    except ExpressionError:  # the recipe's, which may not be that of the mix
        columns = ()
    found = {}
    for name, output, *_ in (column for column in columns if len(column) > 1):
        if output in values.get(name, {}):
            found[f"{name}.{output}"] = values[name][output]
    return Fired(rule=label, sql=sql, values=found)


def _seen(runs: Sequence[str], id: str, unknown: list[str]) -> Iterator[Seen]:
    for run in runs:
        try:
            yield from steps_of_document(stages_of_run(run), id)
        except DolmaError as error:
            unknown.append(f"training: {error}".replace("\n ", ";"))


def trail(graph: Graph, dataset: Dataset, reading: Reading) -> Corpus:
    """The documents of a recipe, and what its stages make of them."""
    nodes = list(graph)
    runs = [node for node in nodes if node.stage.writes == "checkpoints"]

    def below(name: str, dataset: Dataset, reading: Reading) -> Corpus:
        readers = [node for node in nodes if _reads_only(node, name, graph)]
        mixes = []
        for node in readers:
            if node.stage.writes != "documents" or node.output is None:
                continue
            then = next((other for other in nodes if _reads_only(other, node.name, graph)), None)
            written = None if then is None else below(node.name, then.dataset, then.reading)
            config = node.config if isinstance(node.config, MixConfig) else None
            mixes.append((Mix(name=node.name, folder=node.output, config=config), written))
        tokens = [
            (node.name, node.output, [run.output for run in runs if run.output and node.output in run.tokens])
            for node in readers
            if node.stage.writes == "tokens" and node.output is not None
        ]
        return Corpus(name=name, dataset=dataset, reading=reading, mixes=mixes, tokens=tokens)

    return below("", dataset, reading)


def _reads_only(node: Node, name: str, graph: Graph) -> bool:
    """Whether the documents that a stage reads are those of one other; "" are the raw ones."""
    writers = [other.name for other in graph.inputs(node, "documents")]
    return "documents" in node.stage.reads and writers == ([name] if name else [])
