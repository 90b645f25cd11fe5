"""Documents as JSON lines, plain or compressed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat, Lines
from dolma.data.formats.records import RecordBlocks, is_blank
from dolma.data.intake import BATCH_BYTES, KEPT_BYTES, Faults, Reading
from dolma.data.shards import Piece, Shard
from dolma.data.signatures import LENGTH, mistaken, signature_of
from dolma.errors import DataError

_JOINED_BYTES = 8 << 20  # of records, in one call of a compressor


class Jsonl(DocumentFormat):
    """One JSON object a line. A plain file can be entered at any byte, a zstd file at any frame."""

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata)
        line, offset = piece.first_line, piece.first_offset
        chunks = _piece_chunks(piece)
        if not piece.part:
            chunks = checked(chunks, piece.shard.path)
        for block in blocks(chunks, reading.batch_bytes, reading.max_line_bytes):
            if isinstance(block, LongLine):
                faults.too_long(block.head, block.n_bytes, line=line, offset=offset)
                line, offset = line + 1, offset + block.n_bytes + 1
                continue
            ends = block_of.line_ends(block)
            n_lines, n_bytes = len(ends), len(block)
            batch = block_of(block, ends=ends, line=line, offset=offset)
            del block  # a long line is in memory as few times as can be
            yield batch
            del batch
            line, offset = line + n_lines, offset + n_bytes

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        compression = streams.compression_of(shard.path)
        next(checked(_piece_chunks(Piece(shard=shard)), shard.path))
        if streams.is_url(shard.path) or compression not in ("", "zstd"):
            return [Piece(shard=shard)]
        if compression == "zstd":
            starts = _group(streams.zstd_frame_offsets(shard.path, shard.content), shard.size, piece_bytes)
        else:
            starts = list(range(0, shard.size, piece_bytes))
        return _counted(shard, starts)

    def count(self, path: str) -> int:
        found = blocks(streams.read_chunks(path), streams.CHUNK_BYTES, streams.CHUNK_BYTES)
        return sum(
            1 if isinstance(block, LongLine) else sum(not is_blank(line) for line in block.split(b"\n"))
            for block in found
        )

    def sink(self, path: str) -> JsonlSink:
        return JsonlSink(path)

    def without(self, path: str, lines: Lines, out: str) -> streams.Written:
        """Each of these lines is left empty."""
        first = 1
        with streams.open_output(out) as sink:
            for block in blocks(streams.read_chunks(path), BATCH_BYTES, sys.maxsize):
                assert not isinstance(block, LongLine)
                n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
                mine = lines[(lines >= first) & (lines < first + n_lines)] - first
                sink.write(_emptied(block, mine) if len(mine) else block)
                first += n_lines
        assert sink.written is not None
        return sink.written

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        return streams.concatenate(parts, path)


def _emptied(block: bytes, lines: Lines) -> bytes:
    """The block without what stands on these of its lines, from 0."""
    parts = block.split(b"\n")
    for line in lines.tolist():
        parts[line] = b""
    return b"\n".join(parts)


class JsonlSink(streams.OutputStream):
    """Writes records, a line each."""

    def write_records(self, records: Iterable[bytes]) -> None:
        self.write_all(_lines(records))


def _lines(records: Iterable[bytes]) -> Iterator[bytes]:
    """The records with a newline after each: many short ones at a time, a long one without a copy of it."""
    held: list[bytes] = []
    n_bytes = 0
    for record in records:
        if n_bytes + len(record) > _JOINED_BYTES:
            yield b"\n".join((*held, b""))
            held, n_bytes = [], 0
        if len(record) > _JOINED_BYTES:
            yield record
            record = b""
        held.append(record)
        n_bytes += len(record)
    yield b"\n".join((*held, b""))


class LongLine(NamedTuple):
    """A line over the limit: its first bytes, and how many it has without its newline."""

    head: bytes
    n_bytes: int


def blocks(chunks: Iterator[bytes], block_bytes: int, max_line_bytes: int) -> Iterator[bytes | LongLine]:
    """Whole lines, about `block_bytes` at a time; the last line of a file may lack its newline.

    Of a line that goes on for more than `max_line_bytes` and a chunk the rest is passed over.
    """
    parts: list[bytes] = []
    have = open_bytes = 0  # in `parts`; of its last line, which may go on
    for chunk in chunks:
        parts.append(chunk)
        have += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        open_bytes = len(chunk) - cut if cut else open_bytes + len(chunk)
        if open_bytes > max_line_bytes:
            before, head = _parted(parts, have - open_bytes)
            parts = []
            if before:
                yield _taken(before)
            n_bytes, rest = _passed_over(chunks)
            yield LongLine(head, open_bytes + n_bytes)
            parts, have = [rest] if rest else [], len(rest)
            open_bytes = have - (rest.rfind(b"\n") + 1)
        elif have >= block_bytes and cut:
            whole = [*parts[:-1], chunk[:cut]]
            parts = [chunk[cut:]] if cut < len(chunk) else []
            have = len(chunk) - cut
            yield _taken(whole)
    if parts:
        yield _taken(parts)


def _taken(parts: list[bytes]) -> bytes:
    """The parts as one block, not kept by whoever yields it: a long line is in memory as few times as can be."""
    block = b"".join(parts)
    parts.clear()
    return block


def _parted(parts: list[bytes], n_bytes: int) -> tuple[list[bytes], bytes]:
    """The first `n_bytes` of the parts, and the beginning of what follows."""
    before: list[bytes] = []
    for i, part in enumerate(parts):
        if n_bytes < len(part):
            head = part[n_bytes : n_bytes + KEPT_BYTES]
            for more in parts[i + 1 :]:
                head += more[: KEPT_BYTES - len(head)]
            return [*before, part[:n_bytes]] if n_bytes else before, head
        before.append(part)
        n_bytes -= len(part)
    return before, b""


def _passed_over(chunks: Iterator[bytes]) -> tuple[int, bytes]:
    """How many bytes come before the next newline, and what follows it in the same chunk."""
    n_bytes = 0
    for chunk in chunks:
        at = chunk.find(b"\n")
        if at >= 0:
            return n_bytes + at, chunk[at + 1 :]
        n_bytes += len(chunk)
    return n_bytes, b""


def checked(chunks: Iterator[bytes], path: str, for_: str = "JSON lines") -> Iterator[bytes]:
    """The chunks of a file, unless its first bytes are of something else than lines of text."""
    first = next(chunks, b"")
    compression = streams.compression_of(path)
    bare = os.path.splitext(path)[0] if compression else path
    said = mistaken(first[:LENGTH], path, for_=for_, bare=bare, inside=bool(compression))
    if said is not None and signature_of(first[:LENGTH]) is not None:
        raise DataError(said, file=path)
    yield first
    yield from chunks


def _piece_chunks(piece: Piece) -> Iterator[bytes]:
    """The lines that begin in this piece: the one that crosses its end included, the one that crosses its start not."""
    body = streams.read_chunks(piece.shard.path, start=piece.start, end=piece.end, content=piece.shard.content)
    if piece.parts == 1:
        yield from body
        return
    looking = piece.part > 0
    for chunk in body:
        if looking:
            at = chunk.find(b"\n")
            if at < 0:
                continue
            chunk, looking = chunk[at + 1 :], False
        yield chunk
    if looking or piece.end is None:
        return
    for chunk in streams.read_chunks(piece.shard.path, start=piece.end, content=piece.shard.content):
        at = chunk.find(b"\n")
        yield chunk if at < 0 else chunk[: at + 1]
        if at >= 0:
            return


def _group(offsets: list[int], size: int, piece_bytes: int) -> list[int]:
    starts = [0]
    for offset in offsets[1:]:
        if offset - starts[-1] >= piece_bytes and size - offset > 0:
            starts.append(offset)
    return starts


def _counted(shard: Shard, starts: list[int]) -> list[Piece]:
    ends: list[int | None] = [*starts[1:], None]
    found, newlines, offset = [], 0, 0
    for part, (start, end) in enumerate(zip(starts, ends, strict=True)):
        skipped = 0
        chunks = streams.read_chunks(shard.path, start=start, end=end, content=shard.content)
        n_newlines, n_bytes, looking = 0, 0, part > 0
        for chunk in chunks:
            n_newlines += chunk.count(b"\n")
            if looking:
                at = chunk.find(b"\n")
                skipped, looking = (n_bytes + at + 1, False) if at >= 0 else (n_bytes + len(chunk), True)
            n_bytes += len(chunk)
        found.append(
            Piece(
                shard=shard,
                part=part,
                parts=len(starts),
                start=start,
                end=end,
                first_line=newlines + (2 if part else 1),
                first_offset=offset + skipped,
            )
        )
        newlines, offset = newlines + n_newlines, offset + n_bytes
    return found
