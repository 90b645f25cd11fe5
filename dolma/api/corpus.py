"""`Corpus`: documents and what was measured of them, as tables."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dolma.api.arguments import as_arguments, documents_of
from dolma.api.frame import Frame
from dolma.config import Recipe, make_recipe
from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.named_fields import check_named_fields
from dolma.data.shards import Piece, Shard
from dolma.errors import ConfigError, did_you_mean
from dolma.graph import corpus_of, reading_of
from dolma.html_text import shown
from dolma.lookup.choose import attribute_rows_with_ids
from dolma.lookup.documents import as_measured
from dolma.mixers.catalogue import Catalogue
from dolma.mixers.join import AttributeFile, JoinedRows

if TYPE_CHECKING:
    from dolma.api.documents import FoundDocument

_DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
    ]
)
_Rows = Mapping[str, Mapping[str, pa.Array]]


class Corpus:
    """Documents by pattern, and their attributes.

    >>> import dolma
    >>> corpus = dolma.Corpus("data/sample/books/documents/*")
    >>> corpus.documents
    <documents of 1 file: id: string, source: string, text: large_string, file: string, line: int64>
    >>> corpus.documents.select("id", "source").head(1).to_pylist()
    [{'id': 'moby/chapter_28', 'source': 'books'}]
    """

    @as_arguments()
    def __init__(
        self,
        documents: str | Sequence[str],
        *,
        attributes: str | None = None,
        sets: Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        text: str = "text",
        id: str = "id",
        source: str = "source",
        on_error: str = "fail",
        **unknown: Any,
    ) -> None:
        """Find the files; no document is read.

        Args:
            documents: patterns, such as `"data/**/*.parquet"`.
            attributes: the folder of the attribute sets; None: beside each `documents` folder.
            sets: names of the attribute sets to join; None: all that are there.
            exclude: names or patterns of files that are no documents.
            text: the field with the text; `id` and `source` likewise. Dotted names reach into objects.
            on_error: `"fail"` at a record that cannot be used, or `"skip"` it.

        Raises:
            ConfigError: a pattern matches nothing, or an attribute set is not there.
        """
        for name in unknown:
            takes = ("documents", "attributes", "sets", "exclude", "text", "id", "source", "on_error")
            raise ConfigError(f"dolma.{type(self).__name__} has no argument {name!r}; {did_you_mean(name, takes)}")
        values: dict[str, Any] = {
            "documents": documents_of(documents),
            "exclude": documents_of(exclude, "exclude"),
            "attributes": None if attributes is None else os.fspath(attributes),
            "fields": {"text": text, "id": id, "source": source},
            "on_error": on_error,
        }
        self._open(make_recipe(values), sets)

    @classmethod
    def of(cls, recipe: Recipe) -> Corpus:
        """The documents of a recipe, with all attribute sets that are there."""
        corpus = cls.__new__(cls)
        corpus._open(recipe, None)
        return corpus

    def _open(self, recipe: Recipe, sets: Sequence[str] | None) -> None:
        self._recipe: Recipe = recipe
        self._dataset: Dataset = corpus_of(self._recipe)
        self._reading: Reading = reading_of(self._recipe)
        self._shards: list[Shard] = self._dataset.shards()
        self._sets = self._found(sets)
        self._reading = as_measured(self._dataset, self._shards, self._reading)

    def _found(self, sets: Sequence[str] | None) -> list[str]:
        self._dataset.check_attributes(self._shards)
        there = self._dataset.attribute_names(self._shards) if self._dataset.has_homes(self._shards) else []
        unknown = next((name for name in sets or () if name not in there), None)
        if unknown is not None:
            hint = did_you_mean(unknown, there) if there else "there are none: `dolma.tag` makes some"
            raise ConfigError(f"no attribute set is called {unknown!r}\n  {hint}")
        return there if sets is None else list(dict.fromkeys(sets))

    @property
    def files(self) -> list[str]:
        """Paths of the document files, in corpus order."""
        return [shard.path for shard in self._shards]

    @property
    def sets(self) -> list[str]:
        """Names of the attribute sets that are joined."""
        return list(self._sets)

    @property
    def documents(self) -> Frame:
        """A row per document: id, source, text, and the file and line (1-based) that it stands in."""
        return Frame(_DOCUMENT, self._read, about=f"documents of {self._n_files()}")

    @property
    def attributes(self) -> Frame:
        """A row per document: its id and each output as `set.output`; spans are lists of start, end, score.

        Raises:
            AlignmentError: a document file has no attributes of a set.
        """
        schema = pa.schema([_DOCUMENT.field("id"), *self._measured])
        return Frame(schema, self._read, about=f"attributes of {self._n_files()}")

    @property
    def joined(self) -> Frame:
        """A row per document: the columns of `documents`, then those of `attributes`.

        Raises:
            AlignmentError: a document file has no attributes of a set.
        """
        return Frame(pa.schema([*_DOCUMENT, *self._measured]), self._read, about=f"joined rows of {self._n_files()}")

    def sql(self, query: str) -> pa.Table:
        """What a SELECT over the relation `documents` gives: the columns of `joined`, named as in rules.

        Only the columns that the query names are read, and it reaches nothing but this corpus.

        Raises:
            ConfigError: it is no single SELECT, names what is not there, or needs more than 2 GiB of memory.
            DataError: a file is missing, damaged, or does not fit the others.

        >>> import dolma
        >>> corpus = dolma.Corpus("data/sample/books/documents/*")
        >>> corpus.sql("select source, count(*) as n from documents group by 1").to_pylist()
        [{'source': 'books', 'n': 48}]
        """
        from dolma.api.query import select

        with as_arguments():
            return select(self.joined, query)

    def find(self, document: str) -> list[FoundDocument]:
        """The documents with this id, or at this `FILE:LINE`; the first 20 in corpus order.

        The index of ids is kept in the attributes' folder, where there is one; see `dolma show`.

        Raises:
            ConfigError: there is none; names ids that are near.
            DataError: a file cannot be read, or attributes are of other documents.

        >>> import dolma
        >>> (found,) = dolma.Corpus("data/sample/books/documents/*").find("moby/chapter_28")
        >>> found
        <document 'moby/chapter_28' of data/sample/books/documents/registry-0000.jsonl.gz:1, 8,062 characters>
        """
        from dolma.api.documents import found_in

        with as_arguments():
            return found_in(self._dataset, self._reading, document, home=self._recipe.output)

    def _repr_html_(self) -> str:
        """The corpus and its first documents, as a notebook shows them."""
        return f"<p>{shown(self)}</p>{self.documents._repr_html_()}"

    def __repr__(self) -> str:
        return f"<Corpus of {self._n_files()}, attributes: {', '.join(self._sets) or 'none'}>"

    def _n_files(self) -> str:
        return f"{len(self._shards):,} file{'s' if len(self._shards) != 1 else ''}"

    # --- reading ------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue(dataset=self._dataset, shards=self._shards, names=tuple(self._sets))

    @functools.cached_property
    def _measured(self) -> list[pa.Field]:
        fields = []
        for name in self._sets:
            outputs = self._catalogue.outputs(name)
            self._catalogue.files(name, list(outputs))
            fields += [pa.field(f"{name}.{output}", kind.arrow_type) for output, kind in outputs.items()]
        return fields

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with as_arguments():
            yield from self._batches(columns)

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted: dict[str, dict[str, Output]] = {}
        for column in columns:
            name, _, output = column.partition(".")
            if output:
                wanted.setdefault(name, {})[output] = self._catalogue.outputs(name)[output]
        paths = {name: self._catalogue.files(name, list(outputs)) for name, outputs in wanted.items()}
        in_documents = not wanted or any(name in _DOCUMENT.names and name not in ("id", "file") for name in columns)
        if in_documents:
            check_named_fields(self._dataset, self._reading)
        for shard in self._shards:
            files = [
                AttributeFile(set=name, path=paths[name][shard.name], outputs=outputs)
                for name, outputs in wanted.items()
            ]
            rows = self._with_documents(shard, files) if in_documents else _without_documents(shard, files)
            for found, measured in rows:
                yield _batch(columns, found, measured)

    def _with_documents(
        self, shard: Shard, files: Sequence[AttributeFile]
    ) -> Iterator[tuple[dict[str, pa.Array], _Rows]]:
        with JoinedRows(Piece(shard=shard), files) as rows:
            for batch in read_batches(shard, self._reading, intake=Intake()):
                yield _document_columns(batch), rows.take(batch)
            rows.finish()


def _document_columns(batch: TextBatch) -> dict[str, pa.Array]:
    return {
        "id": pa.array(batch.ids, pa.string()),
        "source": pa.array(batch.sources, pa.string()),
        "text": pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(batch.offsets), pa.py_buffer(batch.utf8)),
        "file": pa.array([batch.path] * len(batch), pa.string()),
        "line": pa.array(batch.lines, pa.int64()),
    }


def _without_documents(shard: Shard, files: Sequence[AttributeFile]) -> Iterator[tuple[dict[str, pa.Array], _Rows]]:
    """The attribute rows of a shard whose documents nobody asked for."""
    for ids, measured, n_rows in attribute_rows_with_ids(shard, files):
        yield {"id": ids.cast(pa.string()), "file": pa.array([shard.path] * n_rows, pa.string())}, measured


def _batch(columns: Sequence[str], found: Mapping[str, pa.Array], measured: _Rows) -> pa.RecordBatch:
    arrays = dict(found)
    for name, outputs in measured.items():
        arrays |= {f"{name}.{output}": array for output, array in outputs.items()}
    schema = pa.schema(
        [_DOCUMENT.field(name) if name in _DOCUMENT.names else pa.field(name, arrays[name].type) for name in columns]
    )
    return pa.RecordBatch.from_arrays([arrays[name] for name in columns], schema=schema)
