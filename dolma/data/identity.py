"""What a file held when a stage began, and a reader that gives out those bytes and no others.

A stage hashes its inputs before it does anything else. What reads them afterwards, in whichever process, phase, order
or part, is given the `Content` that was found then and reads through a `CheckedFile`: every block is compared before a
byte of it is used. So a file that is rewritten, replaced, cut or extended while a stage runs is an error that names it,
and a stage's outputs are always of the inputs that its manifest lists.

Blocks, and not one hash of the whole, because pieces of long files and columns of parquet files are read apart.
xxh3 does 20 GB/s on a core of 2.6 GHz: both hashes of a first look and the one of a later read cost 0.05 ns a byte
each, where to decompress and decode costs 1 to 3.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import msgspec
import xxhash

from dolma.errors import DataError

BLOCK_BYTES = 256 << 10  # a column of an attribute file is about as long in a row group
_DIGEST_BYTES = 8


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: bytes, xxh3-128 of all in hex, and xxh3-64 of each block of `BLOCK_BYTES`, 8 bytes each."""

    size: int
    checksum: str
    blocks: bytes


def content_of(raw: BinaryIO) -> Content:
    """The content of an open file, which is read from where it stands to its end."""
    whole, blocks, size = xxhash.xxh3_128(), [], 0
    while block := _read_block(raw, BLOCK_BYTES):
        whole.update(block)
        blocks.append(xxhash.xxh3_64_digest(block))
        size += len(block)
    return Content(size=size, checksum=whole.hexdigest(), blocks=b"".join(blocks))


def _read_block(raw: BinaryIO, n_bytes: int) -> bytes:
    """The next `n_bytes`; fewer only at the end. What is no local file may give less than it was asked for."""
    block = raw.read(n_bytes)
    while len(block) < n_bytes and (more := raw.read(n_bytes - len(block))):
        block += more
    return block


class CheckedFile(io.RawIOBase):
    """An open file of which every byte that is read was there when `content` was taken; owns and closes `raw`.

    `raw` need not be able to seek unless this is asked to. Whatever lies in the file beyond what is read may have
    changed; that it has grown is found where its end is read.

    Raises:
        DataError: on reading, a block is another one; names `path`.
    """

    def __init__(self, raw: BinaryIO, content: Content, *, path: str) -> None:
        self._raw, self._content, self._path = raw, content, path
        self._position = self._raw_position = 0
        self._held, self._held_start = memoryview(b""), -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, n: int | None = -1) -> bytes:
        """The next `n` bytes; fewer only at the end."""
        start, size = self._position, self._content.size
        end = size if n is None or n < 0 else min(start + n, size)
        if start % BLOCK_BYTES == 0 and (end % BLOCK_BYTES == 0 or end == size):
            data = self._read(start, max(start, end))
            self._position = start + len(data)
            return data
        out = bytearray(max(0, end - start))
        self.readinto(memoryview(out))
        return out  # type: ignore[return-value]

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n_bytes = min(len(buffer), max(0, self._content.size - self._position))
        done = 0
        while done < n_bytes:
            skipped = self._position % BLOCK_BYTES
            block = self._block(self._position - skipped)[skipped : skipped + n_bytes - done]
            buffer[done : done + len(block)] = block
            done += len(block)
            self._position += len(block)
        return n_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _block(self, start: int) -> memoryview:
        """The block that begins there; parts of it are mostly wanted one after the other."""
        if start != self._held_start:
            self._held = memoryview(self._read(start, min(start + BLOCK_BYTES, self._content.size)))
            self._held_start = start
        return self._held

    def _read(self, start: int, end: int) -> bytes:
        """Whole blocks, if they are still those of before, and the file still ends where it did."""
        if start != self._raw_position:
            self._raw.seek(start)
        data = _read_block(self._raw, end - start)
        self._raw_position = start + len(data)
        is_same = len(data) == end - start and all(
            xxhash.xxh3_64_digest(memoryview(data)[at - start : at - start + BLOCK_BYTES]) == self._digest(at)
            for at in range(start, end, BLOCK_BYTES)
        )
        if not is_same or (end == self._content.size and self._raw.read(1)):
            raise changed(self._path)
        return data

    def _digest(self, start: int) -> bytes:
        at = start // BLOCK_BYTES * _DIGEST_BYTES
        return self._content.blocks[at : at + _DIGEST_BYTES]


Stamp = tuple[int, int, int, int]
"""Inode, bytes, and the times of the last change of content and of inode, in nanoseconds."""


def stamp_of(path: str) -> Stamp:
    """What changes when a local file is written to or replaced; not when another program maps and changes it."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def changed(path: str) -> DataError:
    """The error about an input that is not what it was when the stage began."""
    return DataError(
        "changed while it was being read: its bytes are not those that were there when this command began\n"
        "  nothing was finished from it; run the same command again when nothing else writes the file",
        file=path,
    )
