"""Bytes in and out: one table of compressions, checksums, whole files or nothing; above the storages of `storage/`.

Reading decompresses by suffix and never ends early: a truncated or corrupt file is a `DataError` that names the file
and the decompressed byte at which it breaks. Writing goes to a temporary file that is flushed and renamed (local) or
uploaded as a whole (URL), so that a path either holds the finished file or nothing.

gzip goes through isal: 3 times zlib's speed on text (docs/decisions.md). A compressed file may be several members or
frames one after the other, whatever the compression; each of them must be whole. zstd frames carry a checksum when we
write them.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

import xxhash
import zstandard
from isal import igzip, igzip_lib

from dolma.data.identity import CheckedFile, Content, content_of
from dolma.data.signatures import LENGTH as SIGNATURE_BYTES
from dolma.data.signatures import mistaken
from dolma.data.storage.local import flushed_together as flushed_together
from dolma.data.storage.local import local_path as local_path
from dolma.data.storage.local import remove_leftover
from dolma.data.storage.reading import allowed
from dolma.data.storage.storage import Entry as Entry
from dolma.data.storage.table import is_url as is_url
from dolma.data.storage.table import remote_of, storage_of
from dolma.data.storage.writing import FULL, unwritable
from dolma.data.storage.writing import writing as writing
from dolma.errors import DataError
from dolma.printable import printable

Compression = Literal["", "gzip", "zstd", "bzip2", "xz", "lz4"]
COMPRESSION_SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".lz4": "lz4",
}

CHUNK_BYTES = 1 << 20
WHOLE_BYTES = 1 << 30  # of a file that is read whole, such as a manifest
_COMPRESSED_CHUNK_BYTES = 1 << 16  # so that a chunk of well-compressed text stays some megabytes
_ZSTD_FED_BLOCKS = 16  # at a time, of up to 128 KiB each
_ZSTD_FRAME_BYTES = 32 << 20
_WRITTEN_BYTES = 8 << 20  # at a time: bytes of gzip depend on it
_ISAL_ERROR: Any = igzip_lib.IsalError  # its stub calls the class an instance
_BROKEN: tuple[type[Exception], ...] = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    _ISAL_ERROR,
    zstandard.ZstdError,
    OSError,
)
_ASKED_ONE_BY_ONE = 8  # of the files in one remote folder
_TEMPORARY = re.compile(r"^\..+\.\d+-\d+\.tmp$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished file: its path, size on disk, and xxh3-128 of its bytes in hex."""

    path: str
    bytes: int
    checksum: str


# --- names -----------------------------------------------------------------------------------------------------------


def join(base: str, *parts: str) -> str:
    """`base/part/part`, for local paths and URLs alike.

    >>> join("s3://bucket/x/", "y", "z.gz")
    's3://bucket/x/y/z.gz'
    >>> join("", "y"), join("/", "y")
    ('y', '/y')
    """
    return "/".join([*([base.rstrip("/")] if base else []), *(part.strip("/") for part in parts)])


def compression_of(path: str) -> Compression:
    """How the file is compressed, by its last suffix.

    >>> compression_of("a.jsonl.zst"), compression_of("a.jsonl")
    ('zstd', '')
    """
    return COMPRESSION_SUFFIXES.get(os.path.splitext(path)[1].lower(), "")


# --- raw files -------------------------------------------------------------------------------------------------------


def _open_input(path: str, content: Content | None) -> BinaryIO:
    """The file as it is, or only as it was when `content` was taken."""
    raw = storage_of(path).open(path)
    return raw if content is None else cast(BinaryIO, CheckedFile(raw, content, path=path))


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def exists(path: str) -> bool:
    """Whether a file (not a folder) is there."""
    return size(path) is not None


def size(path: str) -> int | None:
    """Bytes on disk, or None when there is no such file."""
    entry = storage_of(path).entry(path)
    return None if entry is None else entry.size


def version(path: str) -> tuple[int, str] | None:
    """Bytes, and what is another one when the file is written; None where the storage does not tell of either."""
    entry = storage_of(path).entry(path)
    return (entry.size, entry.version) if entry is not None and entry.version else None


def versions(paths: Iterable[str]) -> dict[str, tuple[int, str] | None]:
    """`version` of each of these; of many in one remote folder by its listing, not by a request each."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.rpartition("/")[0] if is_url(path) else "", []).append(path)
    listed: dict[str, Entry] = {}
    for folder, within in by_folder.items():
        if folder and len(within) > _ASKED_ONE_BY_ONE and can_list(folder):
            listed |= {entry.path: entry for entry in list_entries(folder + "/")}
    return {
        path: ((listed[path].size, listed[path].version) if listed[path].version else None)
        if path in listed
        else version(path)
        for within in by_folder.values()
        for path in within
    }


def remove(path: str) -> None:
    """Delete a file; a missing one is fine."""
    storage_of(path).remove(path)


def remove_tree(folder: str) -> None:
    """Delete a folder and all below it; a missing one is fine."""
    storage_of(folder).remove_tree(folder)


def list_files(folder: str) -> list[str]:
    """All files below a folder, sorted; hidden ones and temporary ones included, an absent folder is empty."""
    return sorted(storage_of(folder).paths(folder))


def entries_below(folder: str) -> dict[str, Entry]:
    """All files below a folder, by their path from there; hidden and temporary ones included, none if it is absent."""
    base = join(local_path(folder), "")
    return {entry.path.removeprefix(base): entry for entry in storage_of(folder).below(folder)}


def list_entries(prefix: str) -> list[Entry]:
    """All files whose URL begins so, sorted; the prefix may end within a name.

    Raises:
        ConfigError: that storage cannot list.
    """
    return remote_of(prefix).entries(prefix)


def check_writable(path: str) -> None:
    """Refuse a path at which nothing can be written, whatever is there.

    Raises:
        ConfigError: that storage is for reading only.
    """
    storage_of(path).check_writable(path)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is that of a folder, or of something in it, by whatever links.

    >>> is_below("a/b/../c", "a"), is_below("ab", "a")
    (True, False)
    """
    return f"{real_path(path)}/".startswith(f"{real_path(folder)}/")


def real_path(path: str) -> str:
    """The path as all others that lead there have it, without a slash at its end."""
    return path.rstrip("/") if is_url(path) else os.path.realpath(local_path(path)).rstrip("/")


def can_list(path: str) -> bool:
    """Whether wildcards and folders work there."""
    return storage_of(path).lists


def is_temporary(path: str) -> bool:
    """Whether a file is one that becomes another when it is whole, or that a crashed writer has left."""
    return _TEMPORARY.match(path.rpartition("/")[2]) is not None


def remove_temporaries(paths: Iterable[str]) -> None:
    """Delete what crashed writers left among these files. URLs hold none: an upload is whole or absent."""
    for path in paths:
        if is_temporary(path) and not is_url(path):
            remove_leftover(path)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_chunks(
    path: str,
    *,
    start: int = 0,
    end: int | None = None,
    content: Content | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[bytes]:
    """The decompressed bytes of a file, in order, in chunks of at most `chunk_bytes`.

    `start` and `end` are offsets into the file on disk: any byte of a plain file, frame borders of a zstd file;
    other compressions cannot be entered in the middle. `content` is what the file has to hold.

    Raises:
        DataError: the file is missing, truncated or corrupt, and names the decompressed byte up to which it is whole;
            or it does not hold `content`.
    """
    offset, compression = 0, compression_of(path)
    if compression not in ("", "zstd") and (start or end is not None):
        raise ValueError(f"{compression} files are read whole")
    try:
        with _open_input(path, content) as raw:
            if start:
                raw.seek(start)
            length = None if end is None else end - start
            for chunk in _decompressed(raw, compression, length, chunk_bytes):
                offset += len(chunk)
                yield chunk
    except _BROKEN as error:
        raise _unreadable(error, path, compression, offset) from error


def _unreadable(error: Exception, path: str, compression: Compression, offset: int) -> DataError:
    if _is_missing(error):
        return DataError("no such file\n  look for the name in its folder", file=path)
    if isinstance(error, OSError) and error.errno in FULL:  # what it is copied to
        raise unwritable(error, os.path.join(tempfile.gettempdir(), "dolma-*")) from error
    if isinstance(error, OSError) and (error.errno is not None or not compression):
        return DataError(
            f"cannot read: {error.strerror or error}\n  {allowed(error, 'u+r')}, or copy it to another disk",
            file=path,
            offset=offset or None,
        )
    if compression and not offset and (said := mistaken_for(path, compression, bare=os.path.splitext(path)[0])):
        return DataError(said, file=path)
    kind = "truncated" if isinstance(error, EOFError) else "corrupt"
    return DataError(f"{kind} {compression or 'file'}: {error}", file=path, offset=offset)


def mistaken_for(path: str, what: str, *, bare: str) -> str | None:
    """What a file is that is not `what`, by its first bytes; None where they do not tell. See `signatures.mistaken`."""
    try:
        with storage_of(path).open(path) as raw:
            return mistaken(raw.read(SIGNATURE_BYTES), path, for_=what, bare=bare)
    except _BROKEN:
        return None


def _decompressed(raw: BinaryIO, compression: Compression, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    if compression == "":
        yield from _limited(raw, length, chunk_bytes)
        return
    compressed = _limited(raw, length, _COMPRESSED_CHUNK_BYTES)
    if compression == "zstd":
        compressed = _zstd_blocks(compressed)
    for out in _lz4(raw) if compression == "lz4" else _members(compressed, compression):
        for at in range(0, len(out), chunk_bytes):
            yield out[at : at + chunk_bytes]


def _limited(raw: BinaryIO, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    left = length
    while chunk := raw.read(chunk_bytes if left is None else min(chunk_bytes, left)):
        left = None if left is None else left - len(chunk)
        yield chunk
    if left:
        raise EOFError(f"{left:,} bytes are missing")


def _lz4(raw: BinaryIO) -> Iterator[bytes]:
    """What the frames hold, by Arrow, which knows what follows a frame."""
    import pyarrow as pa

    source = pa.PythonFile(raw, mode="r")
    stream = pa.CompressedInputStream(source, "lz4")
    try:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        if "Truncated" in str(error):
            raise EOFError(str(error)) from error
        raise
    if not source.tell():
        raise EOFError("the file is empty, not even a header")


_DECOMPRESSORS: dict[Compression, Callable[[], Any]] = {
    "gzip": lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


def _members(compressed: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """What the members or frames hold. Unlike the standard library's readers, takes no broken one for trailing waste.

    Zero bytes after a member of gzip or xz are padding.
    """
    new = _DECOMPRESSORS[compression]
    member, n_members, begun = new(), 0, False
    for chunk in compressed:
        while chunk:
            if n_members and not begun and compression in ("gzip", "xz"):
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
            begun = True
            yield from _bounded(member, chunk)
            chunk = b""
            if member.eof:
                chunk = member.unused_data
                member, n_members, begun = new(), n_members + 1, False
    if begun:
        raise EOFError("the file ends before its last part does")
    if not n_members:
        raise EOFError("the file is empty, not even a header")


def _zstd_blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut where more than some blocks would be in one: four bytes may stand for 128 KiB.

    Only headers are looked at, RFC 8878 section 3.1. What is no zstd is passed on: the library refuses it.
    """
    headers = _zstd_headers()
    (want, skip), header = next(headers), b""
    for chunk in chunks:
        begin = at = n_blocks = 0
        while at < len(chunk):
            if skip:
                passed = min(skip, len(chunk) - at)
                at, skip = at + passed, skip - passed
                continue
            part = chunk[at : at + want - len(header)]
            at, header = at + len(part), header + part
            if len(header) == want:
                (want, skip), header = headers.send(header), b""
                n_blocks += 1
                if n_blocks == _ZSTD_FED_BLOCKS:
                    yield chunk[begin:at]
                    begin, n_blocks = at, 0
        yield chunk[begin:]


def _zstd_headers() -> Generator[tuple[int, int], bytes, None]:
    """The bytes of the next header, of a frame or a block, and how many come before it; is sent that header."""
    before = 0
    while True:
        head = yield 5, before
        magic, flags = int.from_bytes(head[:4], "little"), head[4]
        if 0x184D2A50 <= magic <= 0x184D2A5F:  # a skippable frame
            before = int.from_bytes(head[4:] + (yield 3, 0), "little")
            continue
        single = flags >> 5 & 1
        before = 1 - single + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        last = magic != 0xFD2FB528  # no zstd
        while not last:
            block = int.from_bytes((yield 3, before), "little")
            last, before = bool(block & 1), 1 if block >> 1 & 3 == 1 else block >> 3
        before += flags & 4  # a checksum


def _bounded(member: Any, fed: bytes) -> Iterator[bytes]:
    """What these bytes decompress to, a little at a time where the library can: a byte may stand for a million."""
    if not hasattr(member, "needs_input"):
        if out := member.decompress(fed):
            yield out
        return
    out = member.decompress(fed, CHUNK_BYTES)
    while out:
        yield out
        if member.eof or member.needs_input:
            return
        out = member.decompress(b"", CHUNK_BYTES)


class InputStream:
    """A decompressed file, or a part of it, as `read(n)`; a context manager. It takes what `read_chunks` does."""

    def __init__(self, path: str, **settings: Any) -> None:
        self._chunks, self._rest = read_chunks(path, **settings), memoryview(b"")

    def read(self, n: int = -1) -> bytes:
        """The next `n` bytes (fewer only at the end), or all the rest."""
        parts, left = [], n
        while left:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            part = self._rest if n < 0 else self._rest[:left]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            left -= len(part) if n > 0 else 0
        return b"".join(parts)

    def close(self) -> None:
        """Release the file."""
        self._chunks.close()  # type: ignore[attr-defined]

    def __enter__(self) -> InputStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_input(
    path: str,
    *,
    start: int = 0,
    end: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    content: Content | None = None,
) -> InputStream:
    """A file's decompressed bytes, or a part of them, as a stream; see `read_chunks`."""
    return InputStream(path, start=start, end=end, chunk_bytes=chunk_bytes, content=content)


def read_bytes(path: str, *, limit: int = WHOLE_BYTES) -> bytes:
    """The bytes of a file as they are on disk.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be read, is a device or a pipe, or has more than `limit` bytes.
    """
    try:
        with storage_of(path).open(path) as raw:
            return _joined(_limited(raw, None, 8 << 20), path, limit)
    except _BROKEN as error:
        if _is_missing(error):
            raise FileNotFoundError(path) from error
        raise _unreadable(error, path, "", 0) from error


def read_decompressed(path: str, *, limit: int = WHOLE_BYTES) -> bytes:
    """What a file holds, decompressed.

    Raises:
        DataError: as `read_chunks`, or it is more than `limit` bytes.
    """
    return _joined(read_chunks(path), path, limit)


def _joined(chunks: Iterable[bytes], path: str, limit: int) -> bytes:
    parts, have = [], 0
    for chunk in chunks:
        have += len(chunk)
        if have > limit:
            raise DataError(
                f"has more than {limit:,} bytes, the most that is read of such a file"
                "\n  give the right file: this one is of another kind",
                file=path,
            )
        parts.append(chunk)
    return b"".join(parts)


def checksum(path: str) -> str:
    """xxh3-128 of the file's bytes on disk, in hex.

    Raises:
        DataError: it is missing or cannot be read.
    """
    return content(path).checksum


def content(path: str) -> Content:
    """What the file holds now, to be given to what reads it later.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        with storage_of(path).open(path) as raw:
            return content_of(raw)
    except _BROKEN as error:
        raise _unreadable(error, path, "", 0) from error


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path with the file's bytes: the path itself, or a download that lives as long as the block.

    Raises:
        DataError: it cannot be downloaded.
    """
    if not is_url(path):
        yield local_path(path)
        return
    with tempfile.TemporaryDirectory(prefix="dolma-") as folder:
        target = os.path.join(folder, "download")
        try:
            with storage_of(path).open(path) as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)
        except _BROKEN as error:
            raise _unreadable(error, path, "", 0) from error
        yield target


def open_seekable(path: str, content: Content | None = None) -> BinaryIO:
    """The file's bytes as they are, from any position; held to `content`, if given. Remote ones are read by ranges.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be read, or does not hold `content`.
    """
    try:
        return _open_input(path, content)
    except _BROKEN as error:
        if _is_missing(error):
            raise FileNotFoundError(path) from error
        raise _unreadable(error, path, "", 0) from error


def zstd_frame_offsets(path: str, content: Content | None = None) -> list[int]:
    """Where each zstd frame of a local file begins; the headers are walked, nothing is decompressed.

    Raises:
        DataError: what lies between two frames is no frame; or the file does not hold `content`.
    """
    offsets, end = [], os.path.getsize(path) if content is None else content.size
    with open_seekable(path, content) as raw:
        position = 0
        while position < end:
            offsets.append(position)
            position = _frame_end(raw, position, path)
    return offsets


def _frame_end(raw: BinaryIO, position: int, path: str) -> int:
    raw.seek(position)
    head = raw.read(18)
    magic = int.from_bytes(head[:4], "little")
    if 0x184D2A50 <= magic <= 0x184D2A5F:  # a skippable frame, RFC 8878 section 3.1.2
        return position + 8 + int.from_bytes(head[4:8], "little")
    if magic != 0xFD2FB528 or len(head) < 6:
        said = None if position else mistaken_for(path, "zstd", bare=os.path.splitext(path)[0])
        raise DataError(
            said or "corrupt zstd: no frame header\n  copy or download the file again",
            file=path,
            offset=None if said else position,
        )
    try:
        parameters = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise DataError(
            f"corrupt zstd: {printable(error)}\n  copy or download the file again", file=path, offset=position
        ) from error
    at = position + zstandard.frame_header_size(head)
    last = False
    while not last:
        raw.seek(at)
        header = int.from_bytes(raw.read(3).ljust(3, b"\1"), "little")
        last, kind, n_bytes = bool(header & 1), header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else n_bytes)
    return at + (4 if parameters.has_checksum else 0)


# --- writing ---------------------------------------------------------------------------------------------------------


def atomic_path(path: str, *, flushed: bool = True) -> AbstractContextManager[str]:
    """A temporary local path; what the block wrote there appears at `path` when the block ends well, else nothing."""
    return storage_of(path).atomic_path(path, flushed=flushed)


class RawOutput(io.RawIOBase):
    """A file being written as it is given: at its path only once the block ends without an error.

    `.written` tells size and checksum afterwards. Once `abandoned`, it takes what it is given and drops it.
    """

    def __init__(self, path: str, *, flushed: bool = True) -> None:
        self.path = path
        self.written: Written | None = None
        self.abandoned = False
        self._flushed = flushed
        self._digest, self._n_bytes = xxhash.xxh3_128(), 0
        self._stack = ExitStack()

    def __enter__(self) -> RawOutput:
        with ExitStack() as opening:
            temporary = opening.enter_context(atomic_path(self.path, flushed=self._flushed))
            with writing(self.path):
                self._file = opening.enter_context(open(temporary, "wb", buffering=0))
            self._stack = opening.pop_all()
        return self

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if not self.abandoned:
            try:
                with writing(self.path):
                    left = view
                    while left:
                        left = left[self._file.write(left) :]
            except BaseException:
                self.abandoned = True
                raise
            self._digest.update(view)
            self._n_bytes += len(view)
        return len(view)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._stack.__exit__(kind, value, trace)
        if kind is None:
            self.written = Written(path=self.path, bytes=self._n_bytes, checksum=self._digest.hexdigest())


class OutputStream:
    """A file being written: compressed by suffix, at its path only once closed without an error.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder, open_output(os.path.join(folder, "a.gz")) as out:
    ...     out.write(b"text")
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.written: Written | None = None
        self._stack = ExitStack()

    def __enter__(self) -> OutputStream:
        with ExitStack() as opening:
            self._raw = opening.enter_context(RawOutput(self.path))
            self._encoder = _encoder(compression_of(self.path), self._raw)  # may write a header
            self._stack = opening.pop_all()
        return self

    def write(self, data: bytes) -> None:
        """Append; a later reader may be given a part of the file that begins where a call ended."""
        self.write_all((data,))

    def write_all(self, parts: Iterable[bytes]) -> None:
        """Append the parts, as one call of `write` would; what compresses them sees a few MB at a time."""
        for part in parts:
            for at in range(0, len(part), _WRITTEN_BYTES):
                self._encoder.write(memoryview(part)[at : at + _WRITTEN_BYTES])
        if isinstance(self._encoder, _ZstdFrames):
            self._encoder.end_long_frame()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._raw.abandoned = True
            self._encoder.close()
            self._stack.__exit__(kind, value, trace)
            return
        with self._stack:
            self._encoder.close()
        self.written = self._raw.written


class _ZstdFrames:
    """zstd in frames of about 32 MiB of input, so that a long file can be read in pieces."""

    def __init__(self, sink: RawOutput) -> None:
        self._sink, self._in_frame = sink, 0
        self._compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self._frame = self._compressor.compressobj()
        self._frames = 0

    def write(self, data: memoryview) -> None:
        self._sink.write(self._frame.compress(data))
        self._in_frame += len(data)

    def end_long_frame(self) -> None:
        if self._in_frame >= _ZSTD_FRAME_BYTES:
            self._end_frame()

    def _end_frame(self) -> None:
        self._sink.write(self._frame.flush())
        self._frame, self._in_frame = self._compressor.compressobj(), 0
        self._frames += 1

    def close(self) -> None:
        if self._in_frame or not self._frames:
            self._end_frame()


def _encoder(compression: Compression, sink: RawOutput) -> Any:
    if compression == "zstd":
        return _ZstdFrames(sink)
    if compression == "gzip":
        return igzip.IGzipFile(filename="", mode="wb", fileobj=sink, compresslevel=2, mtime=0)
    if compression == "bzip2":
        return bz2.BZ2File(sink, "wb")
    if compression == "lz4":
        import pyarrow as pa

        return pa.CompressedOutputStream(pa.PythonFile(sink, mode="w"), "lz4")
    if compression == "xz":
        return lzma.LZMAFile(sink, "wb")  # type: ignore[arg-type]
    return io.BufferedWriter(sink, CHUNK_BYTES)


def open_output(path: str) -> OutputStream:
    """A stream that becomes the file at `path`; `.written` tells size and checksum afterwards."""
    return OutputStream(path)


def write_bytes(path: str, data: bytes, *, flushed: bool = True) -> None:
    """Put these bytes at `path`, wholly or not at all; not `flushed`, a loss of power may leave an empty file there."""
    with RawOutput(path, flushed=flushed) as out:
        out.write(data)


def write_note(path: str, data: bytes) -> None:
    """As `write_bytes`, for a file that no run clears up after: what killed writers of it have left goes as well."""
    folder, _, name = path.rpartition("/")
    if not is_url(path) and os.path.isdir(local_path(folder) or "."):
        left = [there for there in os.listdir(local_path(folder) or ".") if there.startswith(f".{name}.")]
        remove_temporaries(join(folder, there) for there in left)
    write_bytes(path, data)


def concatenate(parts: Sequence[str], path: str) -> Written:
    """One file of finished JSONL parts, in order: members of gzip, zstd, bzip2 and xz may follow each other."""
    with RawOutput(path) as joined:
        for part in parts:
            with storage_of(part).open(part) as source:
                shutil.copyfileobj(source, joined, CHUNK_BYTES)
    assert joined.written is not None
    return joined.written
