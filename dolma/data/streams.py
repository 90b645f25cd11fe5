"""Bytes in and out: one table of compressions, local paths and URLs, whole files or nothing.

Reading decompresses by suffix and never ends early: a truncated or corrupt file is a `DataError` that names the file
and the decompressed byte at which it breaks. Writing goes to a temporary file that is flushed and renamed (local) or
uploaded in one piece (URL), so that a path either holds the finished file or nothing.

gzip goes through isal: 3 times zlib's speed on text (docs/decisions.md). A compressed file may be several members or
frames one after the other, whatever the compression; each of them must be whole. zstd frames carry a checksum when we
write them.
"""

from __future__ import annotations

import bz2
import errno
import functools
import io
import itertools
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import xxhash
import zstandard
from isal import igzip, igzip_lib

from dolma.data.identity import CheckedFile, Content, content_of
from dolma.data.signatures import LENGTH as SIGNATURE_BYTES
from dolma.data.signatures import mistaken
from dolma.errors import ConfigError, DataError, MissingExtraError, WriteError
from dolma.printable import printable

Compression = Literal["", "gzip", "zstd", "bzip2", "xz"]
COMPRESSION_SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
}

CHUNK_BYTES = 1 << 20
WHOLE_BYTES = 1 << 30  # of a file that is read whole, such as a manifest
_COMPRESSED_CHUNK_BYTES = 1 << 16  # so that a chunk of well-compressed text stays some megabytes
_ZSTD_FED_BYTES = 1 << 13  # at a time, which comes to 256 MiB at most: a block of four bytes is up to 128 KiB
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
_TEMPORARY = re.compile(r"^\..+\.\d+-\d+\.tmp$")
_counter = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished file: its path, size on disk, and xxh3-128 of its bytes in hex."""

    path: str
    bytes: int
    checksum: str


# --- names -----------------------------------------------------------------------------------------------------------


def is_url(path: str) -> bool:
    """Whether smart_open, not the file system, reads this path.

    >>> is_url("s3://bucket/a.jsonl"), is_url("data/a.jsonl")
    (True, False)
    """
    return "://" in path and not path.startswith("file://")


def join(base: str, *parts: str) -> str:
    """`base/part/part`, for local paths and URLs alike.

    >>> join("s3://bucket/x/", "y", "z.gz")
    's3://bucket/x/y/z.gz'
    """
    return "/".join([base.rstrip("/") if base != "/" else "", *(part.strip("/") for part in parts)])


def compression_of(path: str) -> Compression:
    """How the file is compressed, by its last suffix.

    >>> compression_of("a.jsonl.zst"), compression_of("a.jsonl")
    ('zstd', '')
    """
    return COMPRESSION_SUFFIXES.get(os.path.splitext(path)[1].lower(), "")


def local_path(path: str) -> str:
    """A path as the file system takes it.

    >>> local_path("file:///data/a.jsonl"), local_path("a.jsonl")
    ('/data/a.jsonl', 'a.jsonl')
    """
    return path.removeprefix("file://")


# --- raw files -------------------------------------------------------------------------------------------------------


def _open_raw(path: str, mode: Literal["rb", "wb"]) -> BinaryIO:
    if not is_url(path):
        if mode == "rb" and not _can_be_read_again(local_path(path)):
            raise DataError("is a device or a pipe, expected a file that can be read again", file=path)
        return open(local_path(path), mode)
    scheme = path.split("://", 1)[0]
    try:
        import smart_open

        client = {"client": _s3_client()} if scheme == "s3" else None
        return smart_open.open(path, mode, compression="disable", transport_params=client)
    except (ImportError, NotImplementedError) as error:
        extra = {"s3": "s3", "gs": "gcs", "azure": "azure", "http": "http", "https": "http"}.get(scheme)
        if extra is None:
            raise ConfigError(
                f"{printable(path)}: no reader for {scheme}:// URLs; smart_open reads s3, gs, azure, http"
            ) from error
        raise MissingExtraError(f"smart_open[{extra}]", extra=extra, purpose=path) from error


def _open_input(path: str, content: Content | None) -> BinaryIO:
    """The file as it is, or only as it was when `content` was taken."""
    raw = _open_raw(path, "rb")
    return raw if content is None else cast(BinaryIO, CheckedFile(raw, content, path=path))


def _can_be_read_again(path: str) -> bool:
    kind = os.stat(path).st_mode
    return stat.S_ISREG(kind) or stat.S_ISDIR(kind)  # to open a folder says what it is


def _failures() -> tuple[type[Exception], ...]:
    """What reading may raise, of the libraries that are loaded."""
    remote = {"botocore.exceptions": ("BotoCoreError", "ClientError"), "urllib3.exceptions": ("HTTPError",)}
    loaded = {module: names for module, names in remote.items() if module in sys.modules}
    return (*_BROKEN, *(getattr(sys.modules[module], name) for module, names in loaded.items() for name in names))


def _is_missing(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return True
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
    status = getattr(response, "status_code", None)
    cause = getattr(error, "backend_error", None)  # smart_open's name for what boto raised
    return code in ("404", "NoSuchKey") or status == 404 or (cause is not None and _is_missing(cause))


def exists(path: str) -> bool:
    """Whether a file (not a folder) is there."""
    return size(path) is not None


def size(path: str) -> int | None:
    """Bytes on disk, or None when there is no such file."""
    if not is_url(path):
        return os.path.getsize(local_path(path)) if os.path.isfile(local_path(path)) else None
    if path.startswith("s3://"):
        return _s3_sizes(path, exact=True).get(path)
    try:
        with _open_raw(path, "rb") as stream:
            return sum(map(len, _limited(stream, None, CHUNK_BYTES)))
    except _failures() as error:
        if _is_missing(error):
            return None
        raise DataError(f"cannot read: {error}", file=path) from error


def remove(path: str) -> None:
    """Delete a file; a missing one is fine."""
    if not is_url(path):
        Path(local_path(path)).unlink(missing_ok=True)
    elif path.startswith("s3://"):
        bucket, key = _s3_parts(path)
        with _s3_errors(path):
            _s3_client().delete_object(Bucket=bucket, Key=key)
    else:
        raise ConfigError(f"{printable(path)}: cannot delete there; only local paths and s3:// can be overwritten")


def remove_tree(folder: str) -> None:
    """Delete a folder and all below it; a missing one is fine."""
    if is_url(folder):
        for path in list_files(folder):
            remove(path)
    elif os.path.isdir(local_path(folder)):
        shutil.rmtree(local_path(folder))


def list_files(folder: str) -> list[str]:
    """All files below a folder, sorted; hidden ones and temporary ones included, an absent folder is empty."""
    if folder.startswith("s3://"):
        return list_prefix(folder.rstrip("/") + "/")
    if is_url(folder):
        raise ConfigError(f"{printable(folder)}: cannot list there; name each file, or use a local path or s3://")
    return sorted(
        join(parent, name)
        for parent, _folders, names in os.walk(local_path(folder), onerror=_cannot_list)
        for name in names
    )


def _cannot_list(error: OSError) -> None:
    if not _is_missing(error):
        raise DataError(f"cannot be listed: {error.strerror}", file=str(error.filename)) from error


def list_prefix(prefix: str) -> list[str]:
    """All objects whose s3:// URL begins so, sorted; the prefix may end within a name."""
    return sorted(_s3_sizes(prefix))


def remove_temporaries(folder: str) -> None:
    """Delete what crashed writers left below a local folder. URLs hold none: an upload is whole or absent."""
    if not is_url(folder):
        for path in list_files(folder):
            if _TEMPORARY.match(os.path.basename(path)):
                remove(path)


def _s3_client() -> Any:
    return _s3_client_of(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@functools.lru_cache(maxsize=4)
def _s3_client_of(_settings: tuple[tuple[str, str], ...]) -> Any:
    """Making a client takes some 50 ms, so a process has one, until the settings that boto reads change."""
    try:
        import boto3
    except ImportError as error:
        raise MissingExtraError("boto3", extra="s3", purpose="s3://") from error
    return boto3.client("s3")


@contextmanager
def _s3_errors(path: str) -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        raise DataError(f"cannot reach it: {error}", file=path) from error


def _s3_parts(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix("s3://").partition("/")
    return bucket, key


def _s3_sizes(prefix: str, *, exact: bool = False) -> dict[str, int]:
    """Bytes of each object under a prefix; `exact`: of the object with this very name, if it is there."""
    bucket, key = _s3_parts(prefix)
    with _s3_errors(prefix):
        if exact:
            page = _s3_client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
            return {f"s3://{bucket}/{key}": item["Size"] for item in page.get("Contents", []) if item["Key"] == key}
        pages = _s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        return {f"s3://{bucket}/{item['Key']}": item["Size"] for page in pages for item in page.get("Contents", [])}


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
    except _failures() as error:
        raise _unreadable(error, path, compression, offset) from error


def _unreadable(error: Exception, path: str, compression: Compression, offset: int) -> DataError:
    if _is_missing(error):
        return DataError("no such file", file=path)
    if isinstance(error, OSError) and error.errno in _FULL:  # what it is copied to
        raise _unwritable(error, os.path.join(tempfile.gettempdir(), "dolma-*")) from error
    if isinstance(error, OSError) and (error.errno is not None or not compression):
        return DataError(f"cannot read: {error.strerror or error}", file=path, offset=offset or None)
    if compression and not offset and (said := mistaken_for(path, compression, bare=os.path.splitext(path)[0])):
        return DataError(said, file=path)
    kind = "truncated" if isinstance(error, EOFError) else "corrupt"
    return DataError(f"{kind} {compression or 'file'}: {error}", file=path, offset=offset)


def mistaken_for(path: str, what: str, *, bare: str) -> str | None:
    """What a file is that is not `what`, by its first bytes; None where they do not tell. See `signatures.mistaken`."""
    try:
        with _open_raw(path, "rb") as raw:
            return mistaken(raw.read(SIGNATURE_BYTES), path, for_=what, bare=bare)
    except _failures():
        return None


def _decompressed(raw: BinaryIO, compression: Compression, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    if compression == "":
        yield from _limited(raw, length, chunk_bytes)
        return
    for out in _members(_limited(raw, length, _COMPRESSED_CHUNK_BYTES), compression):
        for at in range(0, len(out), chunk_bytes):
            yield out[at : at + chunk_bytes]


def _limited(raw: BinaryIO, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    left = length
    while chunk := raw.read(chunk_bytes if left is None else min(chunk_bytes, left)):
        left = None if left is None else left - len(chunk)
        yield chunk
    if left:
        raise EOFError(f"{left:,} bytes are missing")


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
    fed_bytes = _ZSTD_FED_BYTES if compression == "zstd" else _COMPRESSED_CHUNK_BYTES
    for chunk in compressed:
        while chunk:
            if n_members and not begun and compression in ("gzip", "xz"):
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
            begun = True
            fed, chunk = chunk[:fed_bytes], chunk[fed_bytes:]
            yield from _bounded(member, fed)
            if member.eof:
                chunk = member.unused_data + chunk
                member, n_members, begun = new(), n_members + 1, False
    if begun:
        raise EOFError("the file ends before its last part does")
    if not n_members:
        raise EOFError("the file is empty, not even a header")


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

    def __init__(self, path: str, *, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._chunks, self._rest = read_chunks(path, start=start, end=end, chunk_bytes=chunk_bytes), b""

    def read(self, n: int = -1) -> bytes:
        """The next `n` bytes (fewer only at the end), or all the rest."""
        parts, have = [self._rest], len(self._rest)
        while n < 0 or have < n:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        out, self._rest = (whole, b"") if n < 0 else (whole[:n], whole[n:])
        return out

    def close(self) -> None:
        """Release the file."""
        self._chunks.close()  # type: ignore[attr-defined]

    def __enter__(self) -> InputStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_input(path: str, *, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> InputStream:
    """A file's decompressed bytes, or a part of them, as a stream; see `read_chunks`."""
    return InputStream(path, start=start, end=end, chunk_bytes=chunk_bytes)


def read_bytes(path: str, *, limit: int = WHOLE_BYTES) -> bytes:
    """The bytes of a file as they are on disk.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be read, is a device or a pipe, or has more than `limit` bytes.
    """
    try:
        with _open_raw(path, "rb") as raw:
            return _joined(_limited(raw, None, 8 << 20), path, limit)
    except _failures() as error:
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
            raise DataError(f"has more than {limit:,} bytes, the most that is read of such a file", file=path)
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
        with _open_raw(path, "rb") as raw:
            return content_of(raw)
    except _failures() as error:
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
            with _open_raw(path, "rb") as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)
        except _failures() as error:
            raise _unreadable(error, path, "", 0) from error
        yield target


@contextmanager
def open_local(path: str, content: Content | None = None) -> Iterator[BinaryIO]:
    """A file that can seek: the local one, or a download that lives as long as the block; held to `content`, if given.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be downloaded, or does not hold `content`.
    """
    with local_copy(path) as local, open(local, "rb") as raw:
        yield raw if content is None else cast(BinaryIO, CheckedFile(raw, content, path=path))


def zstd_frame_offsets(path: str, content: Content | None = None) -> list[int]:
    """Where each zstd frame of a local file begins; the headers are walked, nothing is decompressed.

    Raises:
        DataError: what lies between two frames is no frame; or the file does not hold `content`.
    """
    offsets, end = [], os.path.getsize(path) if content is None else content.size
    with open_local(path, content) as raw:
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
        raise DataError(said or "corrupt zstd: no frame header", file=path, offset=None if said else position)
    try:
        parameters = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise DataError(f"corrupt zstd: {error}", file=path, offset=position) from error
    at = position + zstandard.frame_header_size(head)
    last = False
    while not last:
        raw.seek(at)
        header = int.from_bytes(raw.read(3).ljust(3, b"\1"), "little")
        last, kind, n_bytes = bool(header & 1), header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else n_bytes)
    return at + (4 if parameters.has_checksum else 0)


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Makes what the file system says inside of the block an error about the output at `path`.

    Raises:
        WriteError: says what to do about it.
    """
    try:
        yield
    except OSError as error:
        raise _unwritable(error, path) from error


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def _unwritable(error: OSError, path: str) -> WriteError:
    where = f", by way of {tempfile.gettempdir()}" if is_url(path) else ""
    if error.errno in _FULL:
        hint = "make room, or have it written elsewhere; then run the same command again: finished files are kept"
    elif error.errno in _FORBIDDEN:
        hint = "let this user write there, or have it written elsewhere; then run the same command again"
    else:
        hint = "have it written elsewhere, or put right what is in the way; then run the same command again"
    return WriteError(f"cannot be written{where}: {error.strerror or error}\n  {hint}", file=path)


@contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """A temporary local path; what the block wrote there appears at `path` when the block ends well, else nothing."""
    if is_url(path):
        with tempfile.TemporaryDirectory(prefix="dolma-") as folder:
            local = os.path.join(folder, "upload")
            yield local
            _upload(local, path)
        return
    path = local_path(path)
    parent, name = os.path.split(path)
    with writing(path):
        os.makedirs(parent or ".", exist_ok=True)
    temporary = os.path.join(parent, f".{name[:200]}.{os.getpid()}-{next(_counter)}.tmp")
    try:
        yield temporary
        with writing(path):
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _upload(local: str, path: str) -> None:
    if path.startswith("s3://"):
        bucket, key = _s3_parts(path)
        with _s3_errors(path):
            _s3_client().upload_file(local, bucket, key)
    else:
        with open(local, "rb") as source, _open_raw(path, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)


class RawOutput(io.RawIOBase):
    """A file being written as it is given: at its path only once the block ends without an error.

    `.written` tells size and checksum afterwards. Once `abandoned`, it takes what it is given and drops it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.written: Written | None = None
        self.abandoned = False
        self._digest, self._n_bytes = xxhash.xxh3_128(), 0
        self._stack = ExitStack()

    def __enter__(self) -> RawOutput:
        with ExitStack() as opening:
            temporary = opening.enter_context(atomic_path(self.path))
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
    if compression == "xz":
        return lzma.LZMAFile(sink, "wb")  # type: ignore[arg-type]
    return io.BufferedWriter(sink, CHUNK_BYTES)


def open_output(path: str) -> OutputStream:
    """A stream that becomes the file at `path`; `.written` tells size and checksum afterwards."""
    return OutputStream(path)


def write_bytes(path: str, data: bytes) -> None:
    """Put these bytes at `path`, wholly or not at all."""
    with RawOutput(path) as out:
        out.write(data)


def concatenate(parts: Sequence[str], path: str) -> Written:
    """One file of finished JSONL parts, in order: members of gzip, zstd, bzip2 and xz may follow each other."""
    with RawOutput(path) as joined:
        for part in parts:
            with _open_raw(part, "rb") as source:
                shutil.copyfileobj(source, joined, CHUNK_BYTES)
    assert joined.written is not None
    return joined.written
