"""Megatron-LM's indexed datasets: raw ids in `.bin`, and `.idx` (`megatron/core/datasets/indexed_dataset.py`).

`.idx` has: the 9 bytes `MMIDIDX` and two zeros; uint64 1; a byte for the type of the ids; uint64 number of sequences;
uint64 number of documents plus one; int32 length of each sequence; int64 byte at which each begins; int64 number of the
sequence with which each document begins, and after the last one. A row is a sequence and a document. The types have no
uint32, so ids of 32 bits are int32: the same bytes, as every id is below 2^31.
"""

from __future__ import annotations

import struct

import numpy as np

from dolma.data.tokens import Dtype, IdsFile, TokenManifest, little_endian
from dolma.errors import DataError
from dolma.tokens.formats.format import Counts, TokenFormat
from dolma.tokens.formats.indexed import IndexedIds, read_index
from dolma.tokens.formats.pasted import paste

_MAGIC = b"MMIDIDX\x00\x00"
_CODES: dict[Dtype, int] = {"uint16": 8, "uint32": 4}
_HEAD = struct.Struct("<QBQQ")


def index_path(path: str) -> str:
    """The index of a shard.

    >>> index_path("tokens/part-00000.bin")
    'tokens/part-00000.idx'
    """
    return path.removesuffix(".bin") + ".idx"


def _open(path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile:
    itemsize = little_endian(dtype).itemsize

    def index(counts: Counts) -> bytes:
        head = _MAGIC + _HEAD.pack(1, _CODES[dtype], len(counts), len(counts) + 1)
        begins = (np.cumsum(counts) - counts) * itemsize
        documents = np.arange(len(counts) + 1, dtype="<i8")
        return head + counts.astype("<i4").tobytes() + begins.astype("<i8").tobytes() + documents.tobytes()

    return IndexedIds(path, {index_path(path): index})


def _counts(path: str, dtype: Dtype) -> Counts:
    encoded = read_index(index_path(path))
    start = len(_MAGIC) + _HEAD.size
    n = _HEAD.unpack_from(encoded, len(_MAGIC))[2] if len(encoded) >= start else 0
    if encoded[: len(_MAGIC)] != _MAGIC or len(encoded) < start + 4 * n:
        raise DataError("is no index of Megatron\n  copy the folder of shards again", file=index_path(path))
    return np.frombuffer(encoded[start : start + 4 * n], "<i4").astype(np.int64)


def _describe(folder: str, manifest: TokenManifest) -> list[str]:
    data = [part for info in manifest.shards for part in (info.tokens, info.path.removesuffix(".bin"))]
    content = {
        "data_path": data,
        "tokenizer_type": "HuggingFaceTokenizer",
        "tokenizer_model": ".",
        "vocab_size": manifest.vocab_size,
        "eod_id": manifest.eos_id,
        "dtype": "uint16" if manifest.dtype == "uint16" else "int32",
    }
    about = [
        "Megatron-LM: each key is an argument, `--data-path 700 part-00000 300 part-00001`; weights are tokens.",
        "`eod_id` and `dtype` say what is in the files. Paths are relative to this folder: put it before them.",
    ]
    return paste(folder, "megatron.yaml", content, about=about)


FORMAT = TokenFormat(name="megatron", suffix=".bin", open=_open, counts=_counts, describe=_describe)
