"""What a tagger is: named, typed outputs and a function from a batch to columns. Taggers measure, mixers decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, Output, spans_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something a tagger cannot work without, and the command or option that provides it.

    `name` is the extra's (`presidio`), the path or URL of the model or list, or the metadata field (`metadata.url`);
    `others` are fields that do as well.
    """

    kind: Literal["extra", "model", "list", "metadata"]
    name: str
    get: str
    others: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The metadata fields of which one is needed."""
        return (self.name, *self.others)


@runtime_checkable
class Tagger(Protocol):
    """Measures documents. Instances are made once per worker process, so a model is loaded once.

    `name` is the attribute's name in rules (`name.output`); `version` changes when answers change. A tagger may also
    have `needs: tuple[Need, ...]`; `languages: str`, what it assumes of the text ("English", "spaces between words");
    and `files: tuple[str, ...]`, the local models and lists that it has opened: a run takes it for another tagger when
    what stands in them has changed; and `one_by_one: bool`, that it wants one document at a time, since a batch takes
    longer than one document may. One that needs a metadata field finds the JSON of each document's metadata in
    `batch.metadata`.
    """

    name: str
    version: int
    outputs: Mapping[str, Output]

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        ...


def needs_of(tagger: object) -> tuple[Need, ...]:
    """What the tagger says it needs; empty if it says nothing."""
    return tuple(getattr(tagger, "needs", ()))


def files_of(tagger: object) -> tuple[str, ...]:
    """The local models and lists that decide its answers; empty if it says nothing."""
    return tuple(getattr(tagger, "files", ()))


def one_by_one(tagger: object) -> bool:
    """Whether it wants to be called with one document at a time; false if it says nothing."""
    return bool(getattr(tagger, "one_by_one", False))


class DocumentTagger:
    """A tagger made of a function of one text.

    >>> from dolma.data.columns import DocInt
    >>> shout = DocumentTagger(lambda text: {"n": text.count("!")}, name="shout", outputs={"n": DocInt("marks")})
    >>> shout(TextBatch.of(["a!", "b"]))["n"].to_pylist()
    [1, 0]
    """

    def __init__(
        self,
        function: Callable[[str], Mapping[str, Any]],
        *,
        name: str,
        outputs: Mapping[str, Output],
        version: int = 1,
    ) -> None:
        self.function, self.name, self.outputs, self.version = function, name, outputs, version
        self.__doc__ = function.__doc__

    def __call__(self, batch: TextBatch) -> Columns:
        rows = [self.function(text) for text in batch.texts()]
        return {name: _column(output, [row[name] for row in rows]) for name, output in self.outputs.items()}


def document_tagger(
    *, name: str, version: int = 1, **outputs: Output
) -> Callable[[Callable[[str], Mapping[str, Any]]], DocumentTagger]:
    """Make a tagger of a per-document function; outputs are declared by keyword.

    >>> from dolma.data.columns import DocInt
    >>> @document_tagger(name="shout", n=DocInt("exclamation marks"))
    ... def shout(text):
    ...     return {"n": text.count("!")}
    >>> shout.outputs["n"].meaning
    'exclamation marks'
    """

    def wrap(function: Callable[[str], Mapping[str, Any]]) -> DocumentTagger:
        return DocumentTagger(function, name=name, outputs=outputs, version=version)

    return wrap


def _column(output: Output, values: list[Any]) -> pa.Array:
    return spans_of(values) if output.kind == "spans" else pa.array(values, output.arrow_type)
