"""What token shards hold: read once, by one process of those that train together, and remembered.

A file that has the size and the time of change that it had is taken to hold what it did; `.inputs.json` beside the
checkpoints says what that was (`dolma/runner/inputs.py`). Others are read whole: their checksums are compared with
`tokens.json`, and their largest ids with the vocabulary.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash

from dolma.data import streams
from dolma.data.identity import changed, stamp_of
from dolma.data.manifest import InputFile
from dolma.errors import DataError
from dolma.runner.inputs import InputCache, is_settled
from dolma.training.data.shards import ShardTokens, TokenShards, mask_path, not_described

_BLOCK_BYTES = 1 << 24


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of numbers held when it had this size and version: xxh3-128, and the largest number, at least 0."""

    size: int
    version: str
    checksum: str
    largest: int


class _Look(NamedTuple):
    path: str
    dtype: str


Together = Callable[..., list[Numbers]]


class Contents:
    """What shards and the label masks beside them hold.

    `home`: the folder of `.inputs.json`, "" where nothing is remembered; with `again` nothing in it counts. `together`
    is `by_shares` of the processes that train together: `together(work, items, alike=...)`; without it there is one.
    """

    def __init__(self, home: str, *, together: Together | None = None, again: bool = False) -> None:
        self._memory, self._together = InputCache(home, Numbers), together or _alone
        self._known = {} if again else self._memory.read()
        self._fresh: dict[str, Numbers] = {}

    def check(self, shards: Iterable[TokenShards]) -> None:
        """Return when all shards are as their `tokens.json` says, read where that is not known.

        Raises:
            DataError: a file has changed since it was written, or holds an id outside the vocabulary.
        """
        every = list(shards)
        self._read([look for some in every for shard in some.shards for look in _looks(shard)])
        for some in every:
            for file, shard in zip(some.files, some.shards, strict=True):
                _check(file, shard, self._known[self._memory.key(shard.path)], vocab_size=some.vocab_size)

    def labels(self, shard: ShardTokens) -> str | None:
        """xxh3-128 of the file that says which tokens of a shard are learnt; None where all are."""
        if not shard.masked:
            return None
        path = mask_path(shard.path)
        if self._memory.key(path) not in self._known:
            self._read([_Look(path, "u1")])
        return self._known[self._memory.key(path)].checksum

    def whole(self, paths: Sequence[str]) -> list[str]:
        """xxh3-128 of files, read where that is not known."""
        self._read([_Look(path, "u1") for path in paths])
        return [self._known[self._memory.key(path)].checksum for path in paths]

    def save(self) -> None:
        """Remember what was read.

        Raises:
            WriteError: the folder cannot be written to.
        """
        if self._memory.home and self._fresh:
            self._memory.write(self._memory.read() | self._fresh)
            self._fresh = {}

    def _read(self, looks: Sequence[_Look]) -> None:
        versions = {look.path: streams.version(look.path) for look in looks}
        missing = [look for look in looks if not self._is_known(look.path, versions[look.path])]
        began = time.time_ns()
        alike = xxhash.xxh3_64_intdigest(repr([(look.path, _alike(look.path)) for look in missing]).encode())
        for look, found in zip(missing, self._together(_numbers, missing, alike=alike), strict=True):
            key = self._memory.key(look.path)
            self._known[key] = found
            if versions[look.path] == (found.size, found.version) and is_settled(look.path, began):
                self._fresh[key] = found

    def _is_known(self, path: str, version: tuple[int, str] | None) -> bool:
        known = self._known.get(self._memory.key(path))
        return known is not None and version == (known.size, known.version)


def _alone(work: Callable[[_Look], Numbers], items: Sequence[_Look], *, alike: Any) -> list[Numbers]:
    return [work(item) for item in items]


def _alike(path: str) -> Any:
    """What tells files of one name apart, where nodes have disks of their own."""
    return streams.version(path) if streams.is_url(path) or not os.path.exists(path) else stamp_of(path)


def _looks(shard: ShardTokens) -> list[_Look]:
    look = _Look(shard.path, shard.ids.dtype.str)
    return [look, _Look(mask_path(shard.path), "u1")] if shard.masked else [look]


def _numbers(look: _Look) -> Numbers:
    """What a file holds, read in one pass."""
    version = streams.version(look.path)
    whole, largest, size = xxhash.xxh3_128(), 0, 0
    try:
        with streams.open_seekable(look.path) as file:
            while block := file.read(_BLOCK_BYTES):
                whole.update(block)
                size += len(block)
                numbers = np.frombuffer(block, dtype=look.dtype, count=len(block) // np.dtype(look.dtype).itemsize)
                largest = max(largest, int(numbers.max(initial=0)))
    except FileNotFoundError as error:
        raise changed(look.path) from error
    return Numbers(size=size, version=version[1] if version else "", checksum=whole.hexdigest(), largest=largest)


def _check(file: InputFile, shard: ShardTokens, found: Numbers, *, vocab_size: int) -> None:
    if (found.size, found.checksum) != (file.size, file.checksum):
        raise not_described(shard.path, found.size, file)
    if found.largest >= vocab_size:
        at = _first(shard.ids, least=vocab_size)
        raise DataError(
            f"id {int(shard.ids[at])} at position {at:,} is outside the vocabulary of {vocab_size:,}\n"
            "  the shards are of another tokenizer, or of another type than tokens.json says",
            file=shard.path,
        )


def _first(ids: Any, *, least: int) -> int:
    """Where the first id is that is not below `least`; there is one."""
    starts = range(0, len(ids), _BLOCK_BYTES)
    start = next(start for start in starts if ids[start : start + _BLOCK_BYTES].max() >= least)
    return start + int(np.argmax(ids[start : start + _BLOCK_BYTES] >= least))
