"""Which attributes there are, where each shard's files of them lie, and what to say about one that is not there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.attributes import attribute_schema
from dolma.data.columns import Output
from dolma.data.dataset import Dataset, Place, Shard, is_native
from dolma.data.documents import Reading
from dolma.data.manifest import read_manifest
from dolma.errors import AlignmentError, ConfigError, DataError, did_you_mean
from dolma.mixers.fields import Fields
from dolma.printable import printable
from dolma.runner.standing import is_unfinished

DOCUMENT = "document"
DOCUMENT_COLUMNS: dict[str, Output] = {
    "id": Output(kind="text", meaning="the document's id"),
    "source": Output(kind="text", meaning="where it comes from"),
    "bytes": Output(kind="int", meaning="length of its text", unit="UTF-8 bytes", range=">= 0"),
}
Column = tuple[str, str]


def is_field(column: Column) -> bool:
    """Whether a column is a field of the records."""
    return column[0] == DOCUMENT and column[1] not in DOCUMENT_COLUMNS


# What `dolma dedupe` writes, and no tagger; so that advice names the right command.
_OF_PARAGRAPHS = frozenset({"fraction", "n_paragraphs", "n_duplicates"})
_OF_SENTENCES = "n_sentences"
_OF_DEDUPE = _OF_PARAGRAPHS | {_OF_SENTENCES, "duplicate", "cluster", "cluster_size", "kept_id", "similarity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The attribute sets of a dataset that rules may name, by name, in order; `document` is one of them.

    The outputs of a set are looked up when first asked for: in its manifest, or in the footer of one file where it has
    none that tells (Dolma 1.x: in all files).
    """

    dataset: Dataset
    shards: Sequence[Shard]
    names: tuple[str, ...]
    fields: Fields | None = None  # of the records; None where they are still to be made
    _known: dict[str, dict[str, Output]] = field(default_factory=dict)
    _found: dict[str, list[tuple[Place, str | None]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        shards: Sequence[Shard],
        config: MixConfig,
        *,
        reading: Reading,
        declared: Mapping[str, Mapping[str, Output]] | None = None,
    ) -> Catalogue:
        """The sets found on disk and those that are still to be made (`declared`), or what `config.attributes` allows.

        Raises:
            ConfigError: one that is allowed is not there.
        """
        if not config.reads_attributes:
            return cls(dataset=dataset, shards=shards, names=())
        known = {name: dict(outputs) for name, outputs in (declared or {}).items()}
        there = dataset.attribute_names(list(shards)) if config.attributes or dataset.has_homes(shards) else []
        found = sorted({*there, *known})
        for i, name in enumerate(config.attributes or []):
            if name not in found:
                hint = did_you_mean(name, found) if found else "there are none; run `dolma tag` first"
                raise ConfigError(f"no attributes called {name!r}\n  {hint}", path=f"$.mix.attributes[{i}]")
        names = found if config.attributes is None else sorted(set(config.attributes))
        if DOCUMENT in names:
            raise ConfigError(
                f"an attribute set is called {DOCUMENT!r}, which rules use for {', '.join(DOCUMENT_COLUMNS)}\n"
                "  give it another name, or list the sets that rules may name in `attributes`",
                path="$.mix.attributes",
            )
        fields = Fields(dataset=dataset, shards=shards, reading=reading) if shards else None
        return cls(dataset=dataset, shards=shards, names=tuple(names), fields=fields, _known=known)

    def outputs(self, name: str) -> dict[str, Output]:
        """The outputs of a set."""
        if name == DOCUMENT:
            return DOCUMENT_COLUMNS
        if name not in self._known:
            found = [(place.folder, path) for place, path in self._files(name) if path is not None]
            outputs = _outputs(*found[0]) if found else {}
            for _, path in found[1:]:
                if not is_native(path):
                    outputs = attribute_schema(path) | outputs
            self._known[name] = outputs
        return self._known[name]

    def _files(self, name: str) -> list[tuple[Place, str | None]]:
        if name not in self._found:
            self._found[name] = self.dataset.attribute_files(name, self.shards)
        return self._found[name]

    def find(self, name: str, output: str) -> list[Column]:
        """The columns of this name: the exact one, else those that differ in case only."""
        sets = [n for n in (*self.names, DOCUMENT) if n == name] or [
            n for n in (*self.names, DOCUMENT) if n.lower() == name.lower()
        ]
        found = []
        for found_name in sets:
            outputs = self.outputs(found_name)
            exact = [output] if output in outputs else [o for o in outputs if o.lower() == output.lower()]
            found += [(found_name, o) for o in exact]
        return found

    def resolve(self, parts: Sequence[str]) -> Column:
        """The column that `tagger.output` names, or `document.` and a field of the records.

        Raises:
            ConfigError: there is none, or the name could mean several; `path` is left to the caller.
        """
        if len(parts) == 1:
            raise self._unqualified(parts[0])
        if parts[0].lower() == DOCUMENT and parts[1].lower() not in DOCUMENT_COLUMNS:
            name = ".".join(parts[1:])
            return DOCUMENT, name if self.fields is None else self.fields.find(name).name
        found = self.find(parts[0], parts[1])
        if len(found) == 1:
            return found[0]
        given = ".".join(parts[:2])
        if found:
            raise ConfigError(
                f"{given!r} could be {' or '.join('.'.join(column) for column in found)}\n  write the one that you mean"
            )
        raise self._unknown(given)

    def type_of(self, column: Column) -> pa.DataType | None:
        """The type of a column; None of a field of records that are still to be made."""
        name, output = column
        if not is_field(column):
            return self.outputs(name)[output].arrow_type
        return None if self.fields is None else self.fields.find(output).arrow_type

    def column(self, given: str, *, path: str, kinds: Sequence[str]) -> Column:
        """The column that a key of the recipe names, which is of one of these kinds.

        Raises:
            ConfigError: there is none, or it is of another kind; `path` is the key's.
        """
        try:
            name, output = self.resolve(given.split("."))
        except ConfigError as error:
            raise ConfigError(error.message, path=path) from error
        kind = "of the document itself" if name == DOCUMENT else self.outputs(name)[output].kind
        if kind not in kinds:
            fit = [
                f"{other}.{one}"
                for other in self.names
                for one, what in self.outputs(other).items()
                if what.kind in kinds
            ]
            wanted = " or ".join(kinds)
            raise ConfigError(
                f"{given!r} is {kind}, expected {wanted}\n  these are: {', '.join(fit) or 'nowhere'}", path=path
            )
        return name, output

    def has(self, column: Column) -> bool:
        """Whether there is this column, for each shard."""
        name, output = column
        return (
            name in self.names
            and output in self.outputs(name)
            and all(path is not None for _, path in self._files(name))
        )

    def counting(self, unit: str) -> Column | None:
        """The first output that is a number of these; None where there is none."""
        columns = ((name, output) for name in self.names for output in self.outputs(name))
        return next((column for column in columns if self.outputs(column[0])[column[1]].unit == unit), None)

    def files(self, name: str, outputs: Sequence[str]) -> dict[str, str]:
        """The attribute file of each shard, by the shard's name.

        Raises:
            AlignmentError: a shard has none, or its file lacks an output that the others have.
        """
        files = {}
        for shard, (place, path) in zip(self.shards, self._files(name), strict=True):
            if path is None:
                raise AlignmentError(
                    f"no attributes {name!r} for this file: {printable(place.path())} is not there\n"
                    f"  {self._remedy(name, next(iter(outputs), ''), folder=place.folder)}",
                    file=shard.path,
                    line=1,
                )
            if is_native(path):
                there = attribute_schema(path)
                for output in outputs:
                    if output not in there or there[output].kind != self.outputs(name)[output].kind:
                        raise AlignmentError(
                            f"{printable(path)} has no {self.outputs(name)[output].kind} column {output!r}, "
                            "but other files of "
                            f"{name!r} have\n  {self._remedy(name, output)}",
                            file=shard.path,
                            line=1,
                        )
            files[shard.name] = path
        return files

    # --- what is said about names that are not there ------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Where the attributes lie, for messages; "" where that is not known before the documents are there."""
        if self.dataset.attributes is not None or not self.shards:
            return self.dataset.attributes or ""
        roots = sorted({shard.root or os.path.dirname(shard.path) for shard in self.shards})
        if len(roots) == 1 or any(streams.is_url(root) for root in roots):
            return roots[0]
        return os.path.commonpath(roots) or "."

    def _listed(self) -> str:
        sets = [f"{name} ({len(self.outputs(name))})" for name in self.names]
        place = f" under {self.place}" if self.place else ""
        return f"attributes{place}: {', '.join(sets) or 'none'}"

    def _all_names(self) -> list[str]:
        return [f"{name}.{output}" for name in (*self.names, DOCUMENT) for output in self.outputs(name)]

    def _remedy(self, name: str, output: str = "", *, folder: str = "") -> str:
        if folder and is_unfinished(folder):
            return f"the set is unfinished: run its command again, or remove {printable(folder)}"
        if not self.dataset.documents:
            return "add a stage that measures these documents, and name it in `attributes`"
        documents = " ".join(f"--documents '{pattern}'" for pattern in self.dataset.documents)
        where = f" --attributes {self.dataset.attributes}" if self.dataset.attributes is not None else ""
        stage = f"tag --taggers {name}"
        if name == "dedupe" or output in _OF_DEDUPE:
            by = " --by paragraphs" if output in _OF_PARAGRAPHS else ""
            by = " --method windows --by sentences" if output == _OF_SENTENCES else by
            stage = f"dedupe{by}" + (f" --name {name}" if name != "dedupe" else "")
        return f"run `dolma {stage} {documents}{where}` if it has not been computed yet"

    def _unknown(self, given: str) -> ConfigError:
        near = _nearest(given, self._all_names())
        name = (near or given).split(".")[0]
        hint = f"did you mean {near!r}?  " if near is not None else ""
        if name == DOCUMENT:
            return ConfigError(f"no attribute {given!r}\n  {hint}{self._listed()}")
        for shard in self.shards:
            self.dataset.attribute_folder(name, shard)  # raises where that would be a guess
        output = (near or given).partition(".")[2]
        return ConfigError(f"no attribute {given!r}\n  {hint}{self._listed()}\n  {self._remedy(name, output)}")

    def _unqualified(self, given: str) -> ConfigError:
        strings = "(a string takes single quotes)"
        if given.lower() in {name.lower() for name in (*self.names, DOCUMENT)}:
            name = next(name for name in (*self.names, DOCUMENT) if name.lower() == given.lower())
            outputs = ", ".join(f"{name}.{output}" for output in self.outputs(name))
            return ConfigError(f"{given!r} is an attribute set, expected one of its outputs\n  {outputs}")
        homes = [name for name in self._all_names() if name.split(".", 1)[1].lower() == given.lower()]
        if homes:
            hint = f"did you mean {' or '.join(repr(home) for home in homes)}?"
        else:
            full = {name.split(".", 1)[1]: name for name in self._all_names()}
            near = _nearest(given, full)
            hint = f"did you mean {full[near]!r}?" if near is not None else self._listed()
        return ConfigError(f"no attribute {given!r}: a name is `tagger.output` {strings}\n  {hint}")


def _outputs(folder: str, path: str) -> dict[str, Output]:
    """The outputs of a set, of which this is one file."""
    if is_native(path):
        with suppress(DataError, msgspec.ValidationError):  # another program's manifest, or none of ours
            manifest = read_manifest(folder)
            declared = manifest.config.get("outputs") if manifest is not None else None
            if declared:
                return msgspec.convert(declared, dict[str, Output])
    return attribute_schema(path)


def _nearest(given: str, names: Iterable[str]) -> str | None:
    """The valid name that is most like the one given; None when none is near."""
    near = difflib.get_close_matches(given, sorted(names), n=1)
    return near[0] if near else None
