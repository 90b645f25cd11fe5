"""The shards of Dolma 1.x, OLMo and OLMo-core: raw ids, and document rows in csv.gz.

`olmo-core.yaml` has the arguments of OLMo-core's `NumpyFSLDatasetConfig`, and of its `SourceMixtureDatasetConfig` where
shards are grouped by source.
"""

from __future__ import annotations

from typing import Any

from dolma.data.tokens import Dtype, IdsFile, RawIds, TokenManifest
from dolma.tokens.formats.format import Counts, TokenFormat
from dolma.tokens.formats.pasted import by_source, paste, shares


def _open(path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile:
    return RawIds(path)


def _describe(folder: str, manifest: TokenManifest) -> list[str]:
    paths = {source: [info.path for info in some] for source, some in by_source(manifest).items()}
    tokenizer = {
        "vocab_size": manifest.vocab_size,
        "eos_token_id": manifest.eos_id,
        "pad_token_id": manifest.eos_id if manifest.pad_id is None else manifest.pad_id,
        "bos_token_id": manifest.bos_id,
        "identifier": manifest.tokenizer,
    }
    content: dict[str, Any] = {
        "dataset": {
            "paths": [path for some in paths.values() for path in some],
            "dtype": manifest.dtype,
            "tokenizer": tokenizer,
        }
    }
    if list(paths) != [""]:
        content["source_configs"] = [
            {"source_name": source, "target_ratio": share, "paths": paths[source]}
            for source, share in shares(manifest).items()
        ]
    about = [
        "OLMo-core: `dataset` are arguments of NumpyFSLDatasetConfig, its tokenizer those of TokenizerConfig;",
        "`source_configs`, where there are any, are those of SourceMixtureConfig, by the share of each source.",
        "Paths are relative to this folder: put it before them.",
    ]
    return paste(folder, "olmo-core.yaml", content, about=about)


FORMAT = TokenFormat(name="dolma", suffix=".npy", open=_open, describe=_describe, csv=True)
