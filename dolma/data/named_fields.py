"""Fields that were named and that no document has: a misspelt one would give every document a made-up id or source."""

from __future__ import annotations

from collections.abc import Iterator
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


def check_named_fields(dataset: Dataset, reading: Reading) -> None:
    """Return when some document at the beginnings of the files has a value in each field of ids and sources.

    At most 16 files are looked at. The usual names may be absent, as may the empty one, which stands for no field.

    Raises:
        ConfigError: no document has one; carries the key's path.
    """
    asked = dict(_named(reading))
    there: set[str] = set()
    looked_at = 0
    for records in _beginnings(dataset, reading) if asked else ():
        looked_at += 1
        there.update(field_names(records[:_LISTED]))
        asked = {key: name for key, name in asked.items() if not _has(records, name)}
        if not asked:
            return
    for key, name in asked.items() if there else ():
        near = nearest(name, there)
        meant = f"did you mean {near!r}? " if near is not None else ""
        raise ConfigError(
            f"no document at the beginnings of files ({looked_at:,} looked at) has a value in {name!r}; "
            f"they have: {', '.join(map(printable, sorted(there)))}"
            f"\n  {meant}`--{key}-field ''` takes {_INSTEAD[key]} instead of a field",
            path=f"$.fields.{key}",
        )


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
