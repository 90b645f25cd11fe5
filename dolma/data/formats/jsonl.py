"""Documents as JSON lines, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat
from dolma.data.formats.records import RecordBlocks
from dolma.data.intake import Faults, Reading
from dolma.data.shards import Piece, Shard


class Jsonl(DocumentFormat):
    """One JSON object a line. A plain file can be entered at any byte, a zstd file at any frame."""

    name = "jsonl"
    suffixes = (".jsonl", ".json", ".ndjson")
    compressible = True

    def is_text(self, path: str) -> bool:
        return not streams.compression_of(path)

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata)
        line, offset = piece.first_line, piece.first_offset
        for block in _blocks(_piece_chunks(piece), reading.batch_bytes):
            ends = block_of.line_ends(block)
            yield block_of(block, ends=ends, line=line, offset=offset)
            line += len(ends)
            offset += len(block)

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        compression = streams.compression_of(shard.path)
        if streams.is_url(shard.path) or compression not in ("", "zstd"):
            return [Piece(shard=shard)]
        if compression == "zstd":
            starts = _group(streams.zstd_frame_offsets(shard.path, shard.content), shard.size, piece_bytes)
        else:
            starts = list(range(0, shard.size, piece_bytes))
        return _counted(shard, starts)

    def count(self, path: str) -> int:
        blocks = _blocks(streams.read_chunks(path), streams.CHUNK_BYTES)
        return sum(bool(line.strip()) for block in blocks for line in block.split(b"\n"))

    def sink(self, path: str) -> JsonlSink:
        return JsonlSink(path)

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        return streams.concatenate(parts, path)


class JsonlSink(streams.OutputStream):
    """Writes records, a line each."""

    def write_records(self, records: Sequence[bytes]) -> None:
        self.write(b"\n".join((*records, b"")))


def _blocks(chunks: Iterator[bytes], block_bytes: int) -> Iterator[bytes]:
    """Whole lines, about `block_bytes` at a time; the last line of a file may lack its newline."""
    parts: list[bytes] = []
    have = 0
    for chunk in chunks:
        parts.append(chunk)
        have += len(chunk)
        if have >= block_bytes and (cut := chunk.rfind(b"\n") + 1):
            yield b"".join([*parts[:-1], chunk[:cut]])
            parts = [chunk[cut:]] if cut < len(chunk) else []
            have = len(chunk) - cut
    if rest := b"".join(parts):
        yield rest


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
