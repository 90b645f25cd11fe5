"""OLMo-core's unmodified readers on shards of `dolma tokenize`. Skips without the extra `parity`.

Run: pytest tests/training/parity/test_olmo_core_shards.py
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dolma.config import TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.data.tokens import TokenShard, read_token_manifest
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize

pytest.importorskip("olmo_core")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SAMPLE = Path(__file__).parents[3] / "data" / "sample"
LENGTH = 64


@pytest.fixture(scope="module", params=[None, "source"], ids=["mixed", "grouped"])
def shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "tokens"
    config = TokenizeConfig(
        tokenizer=str(SAMPLE / "tokenizer.json"), max_tokens_per_shard=200_000, group_by=request.param
    )
    documents = Dataset(documents=(str(SAMPLE / "*" / "documents" / "*.jsonl.gz"),))
    tokenize(documents, config, output=str(folder), options=RunOptions(workers=1))
    return folder


def pasted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "olmo-core.yaml").read_text())
    return found


def test_its_dataset_has_every_window_of_our_shards(shards: Path, tmp_path: Path) -> None:
    from olmo_core.data import NumpyFSLDatasetConfig, TokenizerConfig
    from olmo_core.data.types import NumpyDatasetDType

    told = pasted(shards)["dataset"]
    dataset = NumpyFSLDatasetConfig(
        paths=[str(shards / path) for path in told["paths"]],
        dtype=NumpyDatasetDType(told["dtype"]),
        tokenizer=TokenizerConfig(**told["tokenizer"]),
        sequence_length=LENGTH,
        work_dir=str(tmp_path),
    ).build()
    dataset.prepare()
    manifest = read_token_manifest(str(shards))
    every = [TokenShard(str(shards / info.path), manifest.dtype).ids for info in manifest.shards]
    windows = np.concatenate([ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH) for ids in every])
    assert len(dataset) == len(windows) > 500
    for i in range(0, len(windows), 37):
        assert dataset[i]["input_ids"].tolist() == windows[i].tolist()


def test_its_documents_are_those_of_our_rows(shards: Path) -> None:
    from olmo_core.data.utils import iter_document_indices

    manifest = read_token_manifest(str(shards))
    for info in manifest.shards:
        rows = TokenShard(str(shards / info.path), manifest.dtype).rows
        expected = list(zip(rows["start"].to_pylist(), rows["end"].to_pylist(), strict=True))
        assert list(iter_document_indices(str(shards / info.path))) == expected  # from csv.gz
        by_eos = iter_document_indices(
            str(shards / info.path),
            use_array_if_local=True,
            eos_token_id=manifest.eos_id,
            dtype=np.dtype(manifest.dtype).type,
        )
        assert list(by_eos) == expected


def test_its_mixture_takes_our_shares(shards: Path, tmp_path: Path) -> None:
    from olmo_core.data.source_mixture import SourceMixtureConfig, SourceMixtureDatasetConfig, SourceMixtureList
    from olmo_core.data.types import NumpyDatasetDType

    told = pasted(shards)
    if read_token_manifest(str(shards)).shards[0].source is None:
        assert "source_configs" not in told
        return
    sources = [
        SourceMixtureConfig(**one | {"paths": [str(shards / path) for path in one["paths"]]})
        for one in told["source_configs"]
    ]
    mixture = SourceMixtureDatasetConfig(
        source_list=SourceMixtureList(sources=sources), requested_tokens=100_000, global_batch_size=LENGTH * 4, seed=1
    ).build(npdtype=NumpyDatasetDType(told["dataset"]["dtype"]).as_np_dtype(), sequence_length=LENGTH)
    assert {source.name for source in mixture.sources} == {one["source_name"] for one in told["source_configs"]}


def test_rows_name_the_line_of_their_document(shards: Path) -> None:
    manifest = read_token_manifest(str(shards))
    row = TokenShard(str(shards / manifest.shards[0].path), manifest.dtype).rows.to_pylist()[0]
    source, name = row["path"].split("/")
    lines = gzip.decompress((SAMPLE / source / "documents" / name).read_bytes()).splitlines()
    assert json.loads(lines[row["line"] - 1])["id"] == row["id"]
