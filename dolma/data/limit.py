"""The first documents of a corpus, in corpus order: for runs that try something out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from dolma.data import streams
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.shards import Shard


def first_documents(shards: Sequence[Shard], reading: Reading) -> list[Shard]:
    """The shards, given in corpus order, that hold the first `reading.limit` documents that can be read so.

    Of the last one only as many `documents` are taken as are needed. As many are read here, in this process.
    """
    left, kept = reading.limit or 0, list[Shard]()
    skipping = msgspec.structs.replace(reading, on_error="skip", quarantine=None)
    for shard in shards:
        if not left:
            break
        found = _count(shard.path, streams.version(shard.path), left, skipping)
        kept.append(replace(shard, documents=left) if found == left else shard)
        left -= found
    return kept


@functools.lru_cache(maxsize=1024)
def _count(path: str, version: tuple[int, str] | None, most: int, reading: Reading) -> int:
    """How many documents a file has, `most` at the most."""
    shard = Shard(path=path, name=path, root="", inner="", size=0, documents=most)
    return sum(len(batch) for batch in read_batches(shard, reading, intake=Intake()))
