"""Fields of the metadata that taggers read: how many documents have them, and what to say where none has.

A tagger whose field is misspelt gives nulls for every document, which is no error of any one of them; so the run says
how many had it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from dolma.config import TagConfig, TaggerSpec
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.fields import JsonField, field_names
from dolma.data.shards import Shard
from dolma.errors import ConfigError, DataError
from dolma.printable import counted, printable
from dolma.requirements import Finding, extra_finding
from dolma.runner.ledger import Ledger
from dolma.taggers.catalogue import Need
from dolma.taggers.registry import available, find, make_tagger, normal
from dolma.taggers.tagger import Declared, needs_of

if TYPE_CHECKING:
    from dolma.data.batch import TextBatch

Said = tuple[tuple[str, ...], tuple[str, ...]]
_LOOKED_AT = 20  # documents, to list what fields there are


def metadata_needs(tagger: Declared) -> list[Need]:
    """What the tagger reads of the metadata."""
    return [need for need in needs_of(tagger) if need.kind == "metadata"]


class FieldCounts:
    """Counts the documents that have what some taggers read of the metadata; each field is looked up once."""

    def __init__(self, taggers: Sequence[Declared]) -> None:
        self._labels: dict[tuple[str, ...], list[str]] = {}
        for tagger in taggers:
            for need in metadata_needs(tagger):
                self._labels.setdefault(need.fields, []).append(label_of(tagger, need))
        self._fields = {
            name: JsonField(name.split(".")[1:], kind=msgspec.Raw) for names in self._labels for name in names
        }

    @property
    def any(self) -> bool:
        """Whether a tagger reads the metadata at all."""
        return bool(self._labels)

    def count(self, batch: TextBatch, ledger: Ledger) -> None:
        """Add the documents of the batch that have a value in a field of each need."""
        for names, labels in self._labels.items():
            fields = [self._fields[name] for name in names]
            n = sum(_has_one(encoded, fields) for encoded in batch.metadata or [] if encoded is not None)
            for label in labels:
                ledger.find(label, n)


def _has_one(encoded: bytes, fields: list[JsonField]) -> bool:
    return any(field.of(encoded) is not None for field in fields)


def label_of(tagger: Declared, need: Need) -> str:
    """How the ledger calls the fields of a need of a tagger."""
    return f"{tagger.name}: {' or '.join(need.fields)}"


def said_of_fields(taggers: Sequence[Declared], ledger: Ledger, shards: Sequence[Shard], reading: Reading) -> Said:
    """Lines on how many documents have the fields, and warnings where none has; both empty without documents."""
    n_documents = ledger.total().out.documents
    lines: list[str] = []
    warnings: list[str] = []
    for tagger in taggers if n_documents else ():
        for need in metadata_needs(tagger):
            n = ledger.fields.get(label_of(tagger, need))
            fields = " or ".join(need.fields)
            if n:
                lines.append(f"{tagger.name}: {n:,} of {counted(n_documents, 'document')} have {fields}")
            elif n == 0:
                there = ", ".join(map(printable, _fields_of(shards, reading))) or "none"
                warnings.append(
                    f"{tagger.name}: none of {n_documents:,} documents has {fields}\n"
                    f"  {need.get}; fields of the first documents: {there}"
                )
    return tuple(lines), tuple(warnings)


def _fields_of(shards: Sequence[Shard], reading: Reading) -> Iterator[str]:
    """The dotted names of the fields of the first documents."""
    lenient = msgspec.structs.replace(reading, on_error="skip", quarantine=None)
    for shard in shards:
        for batch in islice(read_batches(shard, lenient, intake=Intake(), records=True, metadata=True), 1):
            metadata = [encoded for encoded in batch.metadata or [] if encoded is not None][:_LOOKED_AT]
            names = field_names((batch.records or [])[:_LOOKED_AT])
            yield from (name for name in names if name.split(".")[0] != "metadata")
            yield from (f"metadata.{name}" for name in field_names(metadata))
            return


# --- before a run: is it all there -----------------------------------------------------------------------------------


def findings(config: TagConfig, dataset: Dataset, reading: Reading) -> Iterator[Finding]:
    """What each of these taggers needs, and whether it is there: of metadata, in the first document of each folder."""
    for given in config.taggers:
        spec = normal(given)
        try:
            tagger = make_tagger(spec)
        except (ConfigError, DataError) as error:
            first, _, rest = str(error).partition("\n")
            yield Finding(what=f"tagger {spec.use}: {first}", ok=False, get=rest.strip() or _advice(spec.use))
            continue
        needs = needs_of(tagger)
        yield from (_finding(need, spec, dataset, reading) for need in needs)
        if not needs:
            yield Finding(what=f"tagger {spec.use}", ok=True)


def _advice(use: str) -> str:
    """What a tagger that cannot be made says that it needs."""
    if use not in available():
        return "see `dolma list`"
    return "; ".join(need.get for need in needs_of(find(use))) or f"see `dolma list {use}`"


def _finding(need: Need, spec: TaggerSpec, dataset: Dataset, reading: Reading) -> Finding:
    what = f"tagger {spec.use}: {need.kind} {need.name}"
    if need.kind == "extra":
        return extra_finding(need.name, purpose=f"tagger {spec.use}")
    if need.kind == "metadata":
        return _of_metadata(need, what, dataset, reading)
    # The tagger was made, so what it opens is there.
    return Finding(what=what, ok=True)


def _of_metadata(need: Need, what: str, dataset: Dataset, reading: Reading) -> Finding:
    fields = [JsonField(name.split(".")[1:]) for name in need.fields]
    first = _first_metadata(dataset, reading)
    absent = [shard for shard, encoded in first if all(field.of(encoded) is None for field in fields)]
    if not absent:
        return Finding(what=what, ok=True)
    return Finding(what=f"{what}, absent from the first document of {absent[0]}", ok=False, get=need.get)


def _first_metadata(dataset: Dataset, reading: Reading) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for shard in dataset.shards():
        folder = os.path.dirname(shard.path)
        if folder in seen:
            continue
        seen.add(folder)
        skipping = msgspec.structs.replace(reading, on_error="skip")
        for batch in islice(read_batches(shard, skipping, intake=Intake(), metadata=True), 1):
            yield shard.path, (batch.metadata or [None])[0] or b""
