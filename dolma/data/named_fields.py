"""Fields that were named and that no document has: a misspelt one would give every document a made-up id or source."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.fields import JsonField, field_names
from dolma.errors import ConfigError, nearest
from dolma.printable import printable

_FILES = 16
_LISTED = 20  # documents, whose fields are listed
_INSTEAD = {"id": "file and line", "source": "the folder"}


def names_fields(reading: Reading) -> bool:
    """Whether it names fields of ids or sources that are not the usual ones."""
    return any(_named(reading))


def check_named_fields(dataset: Dataset, reading: Reading) -> None:
    """Return when some document at the beginnings of the files has a value in each field of ids and sources.

    At most 16 files are looked at. The usual names may be absent, as may the empty one, which stands for no field.

    Raises:
        ConfigError: no document has one; carries the key's path.
    """
    asked = dict(_named(reading))
    found = look_for(list(asked.values()), dataset, reading)
    for key, name in asked.items():
        if name in found.absent and found.there:
            near = nearest(name, found.there)
            meant = f"did you mean {near!r}? " if near is not None else ""
            instead = f"`--{key}-field ''` takes {_INSTEAD[key]} instead of a field"
            raise found.error(name, hint=f"{meant}{instead}", path=f"$.fields.{key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Which of some fields no document at the beginnings of files has a value in, and which fields are there."""

    absent: frozenset[str]
    there: frozenset[str]
    files: int

    def error(self, name: str, *, hint: str, path: str = "") -> ConfigError:
        """That this one is absent, and what the documents have."""
        return ConfigError(
            f"no document at the beginnings of files ({self.files:,} looked at) has a value in {name!r}; "
            f"they have: {', '.join(map(printable, sorted(self.there)))}\n  {hint}",
            path=path,
        )


def look_for(names: Collection[str], dataset: Dataset, reading: Reading) -> Found:
    """Look for values in these fields, in the first records of at most 16 files, until all are found."""
    absent, there, files = set(names), set[str](), 0
    for records in _beginnings(dataset, reading) if absent else ():
        files += 1
        there.update(field_names(records[:_LISTED]))
        absent = {name for name in absent if not _has(records, name)}
        if not absent:
            break
    return Found(absent=frozenset(absent), there=frozenset(there), files=files)


def _named(reading: Reading) -> Iterator[tuple[str, str]]:
    usual = Reading()
    for key in _INSTEAD:
        if (name := getattr(reading, key)) not in ("", getattr(usual, key)):
            yield key, name


def _beginnings(dataset: Dataset, reading: Reading) -> Iterator[list[bytes]]:
    """The first records, those that can be used, of some files all over the corpus."""
    shards = dataset.shards()
    skipping = msgspec.structs.replace(reading, on_error="skip", quarantine=None)
    for shard in shards[:: -(-len(shards) // _FILES)]:
        for batch in islice(read_batches(shard, skipping, intake=Intake(), records=True), 1):
            yield batch.records or []


def _has(records: list[bytes], name: str) -> bool:
    field = JsonField(name.split("."), kind=msgspec.Raw)
    return any(field.of(record) is not None for record in records)
