"""`Shard`, one file of documents, and `Piece`, the part of one that a task reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dolma.data import streams
from dolma.data.identity import Content
from dolma.data.manifest import InputFile, input_content, input_file


class Cut(NamedTuple):
    """Where a piece of a shard is; see `Piece`."""

    start: int
    end: int | None
    first_line: int
    first_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of documents.

    `name` is unique in its dataset; corpus order is shards sorted by name, then line. `root` is the folder that holds
    `documents` ("" when no part of the path is called so); `inner` the path below `documents`. `size` is bytes on disk.
    `content`, once the file was hashed, is what it has to hold whenever it is read, and `cuts` its pieces of the usual
    size. Only its first `documents` are read, if that is not None.
    """

    path: str
    name: str
    root: str
    inner: str
    size: int
    content: Content | None = None
    cuts: tuple[Cut, ...] | None = None
    documents: int | None = None

    @property
    def input(self) -> InputFile:
        """The shard as a manifest lists it; it must have been hashed."""
        assert self.content is not None
        return input_file(self.name, self.content)

    @property
    def source(self) -> str:
        """The source of a document that names none: the folder that holds `documents`, else the shard's own folder."""
        home = self.root or os.path.dirname(self.path)
        return os.path.basename(home if streams.is_url(home) else os.path.abspath(home)) or "unknown"


def identified(shards: Sequence[Shard]) -> list[Shard]:
    """The shards with what they hold now; what reads them later is held to it.

    Raises:
        DataError: a file cannot be read, or is not what its manifest says was written.
    """
    contents = [input_content(shard.path) for shard in shards]
    return [replace(shard, content=content, size=content.size) for shard, content in zip(shards, contents, strict=True)]


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
    def cut(self) -> Cut:
        return Cut(self.start, self.end, self.first_line, self.first_offset)

    @property
    def key(self) -> str:
        return self.shard.name if self.parts == 1 else f"{self.shard.name}#{self.part:05d}"

    @property
    def words(self) -> str:
        """Which part of its file it is, in words; "" for the whole."""
        return "" if self.parts == 1 else f"part {self.part + 1} of {self.parts}, from line {self.first_line:,}"

    @property
    def size(self) -> int:
        return self.shard.size // self.parts
