"""`Shard`, one file of documents, and `Piece`, the part of one that a task reads."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dolma.data import streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of documents.

    `name` is unique in its dataset; corpus order is shards sorted by name, then line. `root` is the folder that holds
    `documents` ("" when no part of the path is called so); `inner` the path below `documents`. `size` is bytes on disk.
    """

    path: str
    name: str
    root: str
    inner: str
    size: int

    @property
    def source(self) -> str:
        """The source of a document that names none: the folder that holds `documents`, else the shard's own folder."""
        home = self.root or os.path.dirname(self.path)
        return os.path.basename(home if streams.is_url(home) else os.path.abspath(home)) or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a shard that one task reads: bytes of a plain file, frames of a zstd file, row groups of parquet.

    `start` and `end` are offsets on disk (row groups for parquet; `end` None: to the end). Except in part 0, what
    precedes the first newline belongs to the part before. `first_line` is the 1-based line of the piece's first
    document and `first_offset` its byte in the decompressed file.
    """

    shard: Shard
    part: int = 0
    parts: int = 1
    start: int = 0
    end: int | None = None
    first_line: int = 1
    first_offset: int = 0

    @property
    def key(self) -> str:
        return self.shard.name if self.parts == 1 else f"{self.shard.name}#{self.part:05d}"

    @property
    def size(self) -> int:
        return self.shard.size // self.parts
