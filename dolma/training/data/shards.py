"""Token shards as a trainer sees them: mapped, or where they are remote, read by ranges as windows need them.

Documents end where the rows beside a shard say so, and parts of one that is cut where the shard does; without rows,
after each end-of-text token and at the end of the shard, so that no token is lost where a document is not ended.
`labels_mask_<shard>.npy` beside a shard, a byte per token, says which tokens are learnt (open-instruct's form);
without it all are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.data import streams
from dolma.data.identity import changed, stamp_of
from dolma.data.manifest import InputFile
from dolma.data.numbers import numbers_in
from dolma.data.tokens import (
    NAME,
    TokenManifest,
    check_format,
    has_rows,
    open_tokens,
    read_rows,
    read_token_manifest,
    rows_file,
)
from dolma.errors import DataError, did_you_mean
from dolma.printable import printable

Boundaries = npt.NDArray[np.uint32] | npt.NDArray[np.int64]

_LONG = 1 << 31  # tokens of a shard: where a document that begins in it has its end at most as far again


class ShardTokens:
    """One mapped shard: its ids, where its documents end, which tokens are learnt."""

    def __init__(
        self,
        path: str,
        ids: npt.NDArray[Any],
        *,
        eos_id: int | None,
        eos_ends_documents: bool,
        stamp: Any = None,
    ) -> None:
        self.path, self.ids, self.eos_id, self._stamp = path, ids, eos_id, stamp
        self._by_eos = eos_id is not None and eos_ends_documents
        self._mask = _label_mask(path, len(ids))

    @cached_property
    def boundaries(self) -> Boundaries:
        """Where documents begin, and where the last ends; uint32, or int64 of a long shard, `(documents + 1,)`."""
        if has_rows(self.path):
            rows = read_rows(self.path, only=["end", "part", "parts"])
            ends, part, parts = (rows[name].to_numpy() for name in rows.column_names)
            _check_ends(ends, len(self.ids), rows_file(self.path))
            ends = ends[part + 1 == parts]
        elif self.eos_id is not None:
            ends = np.flatnonzero(np.asarray(self.ids) == self.eos_id) + 1
        else:
            ends = np.zeros(0, dtype=np.int64)
        inside = ends[(ends > 0) & (ends < len(self.ids))]
        bounds = np.concatenate([[0], inside, [len(self.ids)]])
        return bounds.astype(np.uint32) if len(self.ids) < _LONG else bounds.astype(np.int64)

    def documents(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """A number for each of some tokens, from 0: which of the documents among them it belongs to."""
        if self._by_eos:
            ended = np.asarray(self.ids[start : end - 1]) == self.eos_id
            return np.concatenate([[0], np.cumsum(ended)])
        numbers = np.searchsorted(self.boundaries, np.arange(start, end, dtype=self.boundaries.dtype), side="right")
        return numbers - numbers[0]

    def trained(self, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Whether each of some tokens is learnt."""
        return np.ones(end - start, dtype=bool) if self._mask is None else np.asarray(self._mask[start:end], dtype=bool)

    @property
    def masked(self) -> bool:
        """Whether a file says which tokens are learnt."""
        return self._mask is not None

    def borders_checksum(self, *, packed: bool) -> str | None:
        """xxh3-128 of where documents end; None where the ids themselves say so, in windows that are not packed."""
        return (
            None
            if self._by_eos and not packed
            else xxhash.xxh3_128_hexdigest(self.boundaries.astype(np.int64).tobytes())
        )

    def check_unchanged(self, checksum: str) -> None:
        """Return when the file is still the one that was opened. It is hashed again only if it was touched.

        Raises:
            DataError: it holds something else than what this checksum is of.
        """
        stamp = _stamp(self.path)
        if stamp is None or (stamp != self._stamp and streams.checksum(self.path) != checksum):
            raise changed(self.path)
        self._stamp = stamp


def _check_ends(ends: npt.NDArray[np.int64], n_tokens: int, path: str) -> None:
    """Return when documents follow one another, up to the end of the shard."""
    if len(wrong := np.flatnonzero((np.diff(ends, prepend=0) < 0) | (ends > n_tokens))):
        at = int(wrong[0])
        raise DataError(
            f"a document ends at token {ends[at]:,}: expected {ends[at - 1] if at else 0:,}, where the one before "
            f"ends, to {n_tokens:,}, where the shard does\n  copy the whole folder of shards again, or tokenize again",
            file=path,
            line=at + 1,
        )
    if (last := int(ends[-1]) if len(ends) else 0) != n_tokens:
        raise DataError(
            f"its last document ends at token {last:,}, expected {n_tokens:,}, where the shard does\n"
            "  copy the whole folder of shards again, or tokenize again",
            file=path,
        )


def _stamp(path: str) -> Any:
    """What changes when a file is written to or replaced; None where there is none."""
    if streams.is_url(path):
        return streams.version(path)
    return stamp_of(path) if os.path.exists(path) else None


def mask_path(shard: str) -> str:
    """The file that says which tokens of a shard are learnt.

    >>> mask_path("sft/token_ids_part_0000.npy"), mask_path("tokens/part-00000.npy")
    ('sft/labels_mask_part_0000.npy', 'tokens/labels_mask_part-00000.npy')
    """
    folder, name = os.path.split(shard)
    return os.path.join(folder, "labels_mask_" + name.removeprefix("token_ids_"))


def _label_mask(shard: str, n_tokens: int) -> npt.NDArray[Any] | None:
    path = mask_path(shard)
    size = streams.size(path)
    if size is None:
        return None
    if size != n_tokens:
        raise DataError(
            f"has {size:,} bytes, expected {n_tokens:,}: one per token of {os.path.basename(shard)}\n"
            "  write it with `mask.astype(bool).tofile(path)`",
            file=path,
        )
    return numbers_in(path, np.uint8, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShards:
    """Mapped shards in the order of their folders and manifests, with what is odd about them in words.

    `files`, `origins` and `shards` are parallel. Of several folders, file names begin with the folder's number, from 0.
    `origins` are the checksums by which a run knows them: those from before documents became padding.
    """

    tokenizer: str | None  # path of the copy beside the shards, if it is there
    tokenizer_sha256: str
    vocab_size: int
    eos_id: int | None
    files: tuple[InputFile, ...]
    origins: tuple[str, ...]
    shards: tuple[ShardTokens, ...]
    warnings: tuple[str, ...]

    def check_unchanged(self) -> None:
        """Return when all files are still those that were opened.

        Raises:
            DataError: names one that is not.
        """
        for file, shard in zip(self.files, self.shards, strict=True):
            shard.check_unchanged(file.checksum)


def open_shards(tokens: str | Sequence[str], *, source: str | None = None) -> TokenShards:
    """The shards of one folder or several, of which sizes are looked at and nothing else (`Contents.check` does).

    `source`: only those of this source.

    Raises:
        DataError: a file is gone, of another size, or has a NumPy header; the folders are of different tokenizers; or
            they have no shards of this source.
    """
    folders = [tokens] if isinstance(tokens, str) else list(tokens)
    manifests = [read_token_manifest(folder) for folder in folders]
    if source is not None:
        manifests = _of_source(source, manifests, folders)
    if not any(manifest.shards for manifest in manifests):
        raise DataError(
            "no shards: nothing to train on\n  give a folder that `dolma tokenize` wrote", file=", ".join(folders)
        )
    first = manifests[0]
    for folder, manifest in zip(folders, manifests, strict=True):
        check_format(folder, manifest)
        if _tokenizer(manifest) != _tokenizer(first):
            raise DataError(
                f"is of another tokenizer than {printable(folders[0])}\n  tokenize both with the same one", file=folder
            )
    files, origins, shards, unended = [], [], [], []
    for number, (folder, manifest) in enumerate(zip(folders, manifests, strict=True)):
        for info in manifest.shards:
            path = streams.join(folder, info.path)
            stamp = _stamp(path)
            name = info.path if len(folders) == 1 else f"{number}/{info.path}"
            files.append(InputFile(name=name, size=info.bytes, checksum=info.xxh3))
            origins.append(info.origin)
            array = open_tokens(path, manifest.dtype)
            if array.nbytes != info.bytes:
                raise not_described(path, array.nbytes, files[-1])
            shards.append(
                ShardTokens(
                    path,
                    array,
                    stamp=stamp,
                    eos_id=manifest.eos_id,
                    eos_ends_documents=not manifest.special_tokens_allowed,
                )
            )
            if manifest.eos_id is not None and not info.continued and len(array) and array[-1] != manifest.eos_id:
                unended.append(streams.join(folder, info.path))
    return TokenShards(
        tokenizer=tokenizer_beside(folders, first.tokenizer_sha256),
        tokenizer_sha256=first.tokenizer_sha256,
        vocab_size=first.vocab_size,
        eos_id=first.eos_id,
        files=tuple(files),
        origins=tuple(origins),
        shards=tuple(shards),
        warnings=_unended(unended, n_shards=len(files)),
    )


def _of_source(source: str, manifests: Sequence[TokenManifest], folders: Sequence[str]) -> list[TokenManifest]:
    """The same with the shards of a source alone."""
    sources = {shard.source for manifest in manifests for shard in manifest.shards}
    if source not in sources:
        grouped = sorted(one for one in sources if one is not None)
        raise DataError(
            f"has no shards of the source {source!r}\n  "
            + (
                did_you_mean(source, grouped)
                if grouped
                else "its sources are mixed: tokenize with `--group-by source`, or leave `source` out"
            ),
            file=", ".join(folders),
        )
    return [
        msgspec.structs.replace(manifest, shards=[shard for shard in manifest.shards if shard.source == source])
        for manifest in manifests
    ]


def tokenizer_beside(folders: Iterable[str], sha256: str) -> str | None:
    """The first copy of the tokenizer with this checksum beside shards, if there is one."""
    for folder in folders:
        if streams.exists(streams.join(folder, NAME)):
            manifest = read_token_manifest(folder)
            path = streams.join(folder, manifest.tokenizer)
            if manifest.tokenizer_sha256 == sha256 and streams.exists(path):
                return path
    return None


def _tokenizer(manifest: TokenManifest) -> tuple[str, int, int | None]:
    return manifest.tokenizer_sha256, manifest.vocab_size, manifest.eos_id


def _unended(shards: list[str], *, n_shards: int) -> tuple[str, ...]:
    if not shards:
        return ()
    end = "do" if len(shards) > 1 else "does"
    return (
        f"{len(shards):,} of {n_shards:,} shards {end} not end with the end-of-text token (first: {shards[0]}); "
        "all tokens are used",
    )


def not_described(path: str, size: int, file: InputFile) -> DataError:
    """The error about a shard of this size that is not the one that `tokens.json` describes."""
    return DataError(
        f"is not the file that tokens.json describes ({size:,} bytes, expected {file.size:,} and xxh3 "
        f"{file.checksum})\n  run `dolma verify {printable(os.path.dirname(path))}`, then tokenize again",
        file=path,
    )


def path_of_run(run: str, stored: str) -> str:
    """A path in a checkpoint's `state.json`: relative to the run's folder, where both are local.

    >>> path_of_run("/data/runs/first", "../../tokens")
    '/data/tokens'
    """
    if streams.is_url(run) or streams.is_url(stored):
        return stored
    return os.path.normpath(os.path.join(os.path.abspath(run), stored))


def path_from_run(run: str, given: str) -> str:
    """A path as `state.json` has it.

    Relative, a run that is moved with what it read still finds it, and no machine's path is passed around.

    >>> path_from_run("runs/first", "tokens"), path_from_run("runs/first", "s3://bucket/tokens")
    ('../../tokens', 's3://bucket/tokens')
    """
    return given if streams.is_url(given) or streams.is_url(run) else os.path.relpath(given, run)
