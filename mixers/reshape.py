"""Fields of the documents as they are written: left out, under another name, and attributes among their metadata.

Fields are named as in `dolma.data.fields`, by dotted paths. A record that none of this concerns stays as it was, byte
for byte; of the others every value that is kept stays as it was written. Fields are left out first, then renamed all at
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from dolma.config import MixConfig
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.named_fields import look_for
from dolma.errors import ConfigError, DataError, nearest
from dolma.mixers.records import taken_out, with_field
from dolma.printable import printable

METADATA = "metadata"
Arrays = Mapping[str, Mapping[str, pa.Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape:
    """What is changed in the fields of each record. `copied` has the (set, output) behind each key of the metadata."""

    drop: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    copied: tuple[tuple[str, tuple[str, str]], ...]

    @classmethod
    def of(cls, config: MixConfig, copied: tuple[tuple[str, tuple[str, str]], ...]) -> Reshape:
        """What a mix asks for."""
        return cls(drop=tuple(config.fields.drop), rename=tuple(config.fields.rename.items()), copied=copied)

    @property
    def sets(self) -> set[str]:
        """The attribute sets that are copied from."""
        return {name for _, (name, _) in self.copied}

    def values(self, arrays: Arrays) -> list[pa.Array]:
        """The attributes that some documents get, in the order of `copied`."""
        return [arrays[name][output] for _, (name, output) in self.copied]

    def applied(self, record: bytes, values: list[pa.Array], batch: TextBatch, i: int) -> bytes:
        """The record of document `i` of a batch as it is written.

        Raises:
            DataError: a field is to get a name that the record has already, or its metadata are no object.
        """
        for path in self.drop:
            record, _ = taken_out(record, path)
        moved = []
        for path, name in self.rename:
            record, value = taken_out(record, path)
            moved += [] if value is None else [(name, value)]
        for name, value in moved:
            _refuse_taken(record, name, batch, i, by="another one is renamed to")
            record = with_field(record, name, value)
        if values:
            found = taken_out(record, METADATA)[1]
            if found is not None and not bytes(found).strip().startswith((b"{", b"null")):
                raise DataError(
                    f"the {METADATA} of document {batch.ids[i]!r} are no object, so no attribute can be put into them"
                    f"\n  give them another name: `fields.rename` takes `{METADATA}: NAME`",
                    file=batch.path,
                    line=int(batch.lines[i]),
                )
        for (key, _), array in zip(self.copied, values, strict=True):
            name = f"{METADATA}.{key}"
            _refuse_taken(record, name, batch, i, by="an attribute is to get")
            record = with_field(record, name, array[i].as_py())
        return record


def _refuse_taken(record: bytes, name: str, batch: TextBatch, i: int, *, by: str) -> None:
    if taken_out(record, name)[1] is not None:
        raise DataError(
            f"document {batch.ids[i]!r} has the field {name!r} already, which {by}"
            f"\n  leave it out: `fields.drop` takes {printable(name)}; or give another name",
            file=batch.path,
            line=int(batch.lines[i]),
        )


def check_written_fields(config: MixConfig, dataset: Dataset, reading: Reading) -> None:
    """Return when the fields that a mix changes, or puts into texts, are there; the first records are read.

    Raises:
        ConfigError: no document has one, or later stages need it.
    """
    asked = dict(_asked(config))
    needed = (reading.text, reading.id, reading.source)
    for i, name in enumerate(config.fields.drop):
        if any(field == name or field.startswith(f"{name}.") for field in needed):
            raise ConfigError(
                f"is {name!r}, which holds a document's text, id or source; stages that follow need it"
                "\n  leave it in, or take out fields beside it",
                path=f"$.mix.fields.drop[{i}]",
            )
    found = look_for(list(asked.values()), dataset, reading)
    for path, name in asked.items():
        if name in found.absent and found.there:
            near = nearest(name, found.there)
            hint = f"did you mean {near!r}?" if near is not None else "write one of these"
            raise found.error(name, hint=hint, path=path)


def _asked(config: MixConfig) -> Iterator[tuple[str, str]]:
    """The fields that documents must have, by the paths of their keys."""
    yield from ((f"$.mix.fields.drop[{i}]", name) for i, name in enumerate(config.fields.drop))
    yield from ((f"$.mix.fields.rename.{name}", name) for name in config.fields.rename)
    for i, edit in enumerate(config.spans):
        if edit.replace_field is not None:
            yield f"$.mix.spans[{i}].replace_field", edit.replace_field
