"""datatrove's tokenized files (`DocumentTokenizer`, read by nanotron's `DatatroveFolderDataset`).

`.ds` has raw ids of 2 or 4 bytes, `.ds.index` a little-endian uint64 for each document, the token at which it ends, and
`.ds.metadata` two lines for readers: the tokenizer with the bytes of an id, and the number of tokens; then, for people,
that number again. Read from datatrove 0.10 (`pipeline/tokens/tokenizer.py`).
"""

from __future__ import annotations

import numpy as np

from dolma.data.tokens import Dtype, IdsFile, TokenManifest, little_endian, source_folder
from dolma.errors import DataError
from dolma.tokens.formats.format import Counts, TokenFormat
from dolma.tokens.formats.indexed import IndexedIds, read_index
from dolma.tokens.formats.pasted import by_source, paste, shares


def _open(path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile:
    itemsize = little_endian(dtype).itemsize

    def metadata(counts: Counts) -> bytes:
        total = int(counts.sum())
        return f"tokenizer.json|{itemsize}\n{total}\n{_for_people(total)} tokens".encode()

    return IndexedIds(
        path,
        {f"{path}.index": lambda counts: np.cumsum(counts).astype("<u8").tobytes(), f"{path}.metadata": metadata},
    )


def _for_people(n: int) -> str:
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.2f}{unit}"
    return str(n)


def _counts(path: str, dtype: Dtype) -> Counts:
    encoded = read_index(f"{path}.index")
    if len(encoded) % 8:
        raise DataError("is no index of datatrove\n  copy the folder of shards again", file=f"{path}.index")
    ends = np.frombuffer(encoded, "<u8").astype(np.int64)
    return np.diff(ends, prepend=0)


def _describe(folder: str, manifest: TokenManifest) -> list[str]:
    content = {
        "dataset": {
            "dataset_folder": [source_folder(source) if source else "." for source in by_source(manifest)],
            "dataset_weights": list(shares(manifest).values()),
            "token_size_in_bytes": little_endian(manifest.dtype).itemsize,
            "vocab_size": manifest.vocab_size,
            "tokenizer_name": ".",
        },
        "eos_id": manifest.eos_id,
    }
    about = [
        "nanotron: `dataset` is that of a stage, `data_stages[i].data.dataset`; weights are shares of the tokens.",
        "Paths are relative to this folder: put it before them.",
    ]
    return paste(folder, "nanotron.yaml", content, about=about)


FORMAT = TokenFormat(name="datatrove", suffix=".ds", open=_open, counts=_counts, describe=_describe)
