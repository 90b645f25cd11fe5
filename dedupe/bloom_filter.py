"""A Bloom filter as a file: how large it is, what is in it, what it may be used for.

The file is, in this order: `dolmabf1`; the length of the header, a little-endian uint64; the header, JSON; the bits, 64
bytes for each block, as `dolma.kernels.bloom` lays them out; xxh3-128 of all that, 16 bytes, the highest one first.

Expected errors are those of a blocked filter (Putze, Sanders, Singler 2007, Cache-, Hash- and Space-Efficient Bloom
Filters, section 3): the items of a block follow a Poisson distribution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import OutputFile, output_file
from dolma.errors import DataError
from dolma.kernels.bloom import BLOCK_BITS, BLOCK_BYTES, MOST_BLOCKS, SLICES

FORMAT_VERSION = 1
NAME = "_filter.bloom"
"""What it is called in an attribute set; what reads a folder of parquet passes over it."""
HASHING = "murmur3-x64-128 low half, or hash64 of words; blocks of 512 bits by MMIX"
MOST_HASHES = 32
MOST_BYTES = MOST_BLOCKS * BLOCK_BYTES
"""What blocks are numbered for: 256 GiB."""
_MAGIC = b"dolmabf1"
_DIGEST_BYTES = 16
_MOST_HEADER = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a filter is; `n_blocks` is a multiple of `SLICES`."""

    n_blocks: int
    n_hashes: int

    @property
    def n_bytes(self) -> int:
        """Bytes of its bits."""
        return self.n_blocks * BLOCK_BYTES

    def error(self, n_items: int) -> float:
        """The share of other items that it takes for known ones when it holds so many different items."""
        return _error(n_items / self.n_blocks, self.n_hashes)

    def error_of(self, fills: npt.NDArray[np.int64]) -> float:
        """The same for a filter that is there: `fills` says how many blocks have 0, 1, ... bits set."""
        share = (np.arange(BLOCK_BITS + 1) / BLOCK_BITS) ** self.n_hashes
        return float(fills @ share) / self.n_blocks


def shape_for(n_items: int, *, error: float, n_bytes: int | None = None, n_hashes: int | None = None) -> Shape:
    """The smallest filter of at most this expected error, or the one of `n_bytes`, rounded up to 256 KiB.

    Of the numbers of hashes that reach the error the smallest is taken, if none is given; else the best one.

    >>> shape_for(1_000_000, error=1e-5)
    Shape(n_blocks=61440, n_hashes=10)
    """
    if n_bytes is not None:
        blocks: float = n_bytes / BLOCK_BYTES
    else:
        candidates = range(1, MOST_HASHES + 1) if n_hashes is None else [n_hashes]
        blocks = n_items / max(_most_per_block(error, k) for k in candidates)
    n_blocks = max(1, math.ceil(blocks / SLICES)) * SLICES
    if n_hashes is None:
        errors = [_error(n_items / n_blocks, k) for k in range(1, MOST_HASHES + 1)]
        enough = [k for k, one in enumerate(errors, start=1) if one <= error]
        n_hashes = enough[0] if enough else 1 + errors.index(min(errors))
    return Shape(n_blocks=n_blocks, n_hashes=n_hashes)


def _most_per_block(error: float, n_hashes: int) -> float:
    low, high = 0.0, float(BLOCK_BITS)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _error(middle, n_hashes) <= error else (low, middle)
    return max(low, 1e-9)


def _error(per_block: float, n_hashes: int) -> float:
    """The expected error where blocks have this many items on average."""
    if per_block <= 0:
        return 0.0
    most = int(per_block + 12 * math.sqrt(per_block) + 40)
    n = np.arange(most + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
    share = np.exp(n * math.log(per_block) - per_block - log_factorials)
    filled = -np.expm1(n * n_hashes * math.log1p(-1 / BLOCK_BITS))
    return float(share @ filled**n_hashes)


# --- the file --------------------------------------------------------------------------------------------------------


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter is of.

    `items` says what was put in, `n_items` how many, `inputs` the checksums of the document files;
    `false_positive_rate`, which error it was made for.
    """

    format_version: int
    hashing: str
    n_blocks: int
    n_hashes: int
    n_items: int
    false_positive_rate: float
    items: dict[str, Any]
    inputs: list[str]

    @property
    def shape(self) -> Shape:
        """Its size."""
        return Shape(n_blocks=self.n_blocks, n_hashes=self.n_hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterFile:
    """A filter on disk: the header, where the bits begin, and the digest of the whole."""

    path: str
    header: Header
    start: int
    digest: str

    def bits(self, first_block: int, n_blocks: int) -> npt.NDArray[np.uint64]:
        """The words of these blocks; writable."""
        start = self.start + first_block * BLOCK_BYTES
        with streams.open_input(self.path, start=start, end=start + n_blocks * BLOCK_BYTES) as raw:
            return np.frombuffer(bytearray(raw.read(n_blocks * BLOCK_BYTES)), "<u8")

    def check(self) -> None:
        """Return when all bytes are those that were written.

        Raises:
            DataError: they are not.
        """
        digest, left = xxhash.xxh3_128(), self.start + self.header.shape.n_bytes
        for chunk in streams.read_chunks(self.path):
            digest.update(chunk[: max(left, 0)])
            left -= len(chunk)
        if digest.hexdigest() != self.digest:
            raise DataError(f"holds other bytes than were written\n  {_REMEDY}", file=self.path)


_REMEDY = "fetch the file again, or make it again with `dolma dedupe --method bloom`"


def open_filter(path: str) -> FilterFile:
    """The filter at this path, without its bits.

    Raises:
        DataError: there is none, or it is one of another version.
    """
    size = streams.size(path)
    if size is None:
        raise DataError(
            f"no such file\n  a run of `dolma dedupe --method bloom` leaves its filter in its set, as `{NAME}`",
            file=path,
        )
    try:
        with streams.open_input(path) as raw:
            head = raw.read(16)
            length = int.from_bytes(head[8:], "little")
            encoded = raw.read(length) if head[:8] == _MAGIC and length <= min(size, _MOST_HEADER) else b""
        header = decode_json(encoded, Header)
    except msgspec.DecodeError:
        header = None
    if header is None or (header.format_version, header.hashing) != (FORMAT_VERSION, HASHING):
        raise DataError(
            f"is no Bloom filter of this version of dolma\n  give the `{NAME}` of a set that `--method bloom` has made",
            file=path,
        )
    start = 16 + length
    if size != start + header.shape.n_bytes + _DIGEST_BYTES:
        expected = start + header.shape.n_bytes + _DIGEST_BYTES
        raise DataError(f"has {size:,} bytes, its header says {expected:,}\n  {_REMEDY}", file=path)
    with streams.open_input(path, start=size - _DIGEST_BYTES, end=size) as raw:
        return FilterFile(path=path, header=header, start=start, digest=raw.read(_DIGEST_BYTES).hex())


def write_filter(folder: str, header: Header, bits: Iterable[npt.NDArray[np.uint64]]) -> OutputFile:
    """Put a filter into an attribute set; `bits` are those of all its blocks, in order."""
    encoded, digest = msgspec.json.encode(header, order="deterministic"), xxhash.xxh3_128()
    with streams.open_output(streams.join(folder, NAME)) as out:
        head = (_MAGIC, len(encoded).to_bytes(8, "little"), encoded)
        for part in itertools.chain(head, map(_bytes, bits)):
            digest.update(part)
            out.write(part)
        out.write(digest.digest())
    return output_file(folder, out.written)


def _bytes(words: npt.NDArray[np.uint64]) -> bytes:
    return words.astype("<u8").tobytes()
