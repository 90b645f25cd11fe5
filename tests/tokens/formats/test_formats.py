"""Shards for other trainers: written whole, checked, and read back by the libraries whose formats they are.

The tests with a library skip without it: `pip install datatrove mosaicml-streaming datasets megatron-core`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from dolma.config import TokenizeConfig
from dolma.data.tokens import TokenManifest, TokenShardInfo, read_rows, read_token_manifest
from dolma.errors import DataError
from dolma.runner.report import StageReport
from dolma.tokens.formats.pasted import shares
from dolma.tokens.formats.table import FORMATS, format_of, read_ids
from dolma.tokens.verify import verify_tokens
from dolma.training.data.shards import open_shards

Run = Callable[..., StageReport[Any]]
OTHERS = sorted(set(FORMATS) - {"dolma"})


@pytest.fixture
def corpus(documents: Callable[..., str]) -> list[str]:
    return [
        documents([f"{source}{i} " * (1 + i % 7) for i in range(60)], f"{source}/documents/a.jsonl")
        for source in ("books", "web")
    ]


def of_dolma(folder: Path) -> list[list[int]]:
    """The ids of each document, in order."""
    manifest = read_token_manifest(str(folder))
    found = []
    for info in manifest.shards:
        path = str(folder / info.path)
        ids = read_ids(path, manifest)
        found += [ids[row["start"] : row["end"]].tolist() for row in read_rows(path).to_pylist()]
    return found


def test_the_table_has_the_formats_of_the_recipe() -> None:
    assert set(FORMATS) == set(get_args(get_args(get_type_hints(TokenizeConfig, include_extras=True)["format"])[0]))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("format", OTHERS)
def test_every_format_has_the_same_documents_in_the_same_order(
    format: str, dtype: str, tmp_path: Path, corpus: list[str], run: Run
) -> None:
    settings = {"dtype": dtype, "max_tokens_per_shard": 700}
    run(corpus, output="dolma", **settings)
    run(corpus, output="other", format=format, **settings)
    assert of_dolma(tmp_path / "other") == of_dolma(tmp_path / "dolma")
    assert len(read_token_manifest(str(tmp_path / "other")).shards) > 2
    assert verify_tokens(str(tmp_path / "other")) == []


@pytest.mark.parametrize("format", OTHERS)
def test_workers_memory_and_groups_leave_no_trace(
    format: str, corpus: list[str], run: Run, files: Callable[..., dict[str, bytes]]
) -> None:
    settings = {"format": format, "group_by": "source", "max_tokens_per_shard": 300, "split_long_documents": True}
    run(corpus, output="one", **settings)
    run(corpus, output="two", workers=2, **settings)
    assert files("one") == files("two")
    assert not any(name.endswith((".npy", ".csv.gz")) for name in files("one"))


@pytest.mark.parametrize("format", OTHERS)
def test_damage_is_found(format: str, tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format=format)
    path = next((tmp_path / "tokens").glob(f"part-00000{FORMATS[format].suffix}"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any(str(path) in problem for problem in verify_tokens(str(tmp_path / "tokens")))


@pytest.mark.parametrize("name", ["part-00000.ds.index", "part-00000.idx"])
def test_an_index_that_does_not_fit_the_rows_is_found(name: str, tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="datatrove" if name.endswith("index") else "megatron")
    path = tmp_path / "tokens" / name
    data = bytearray(path.read_bytes())
    data[0 if name.endswith("index") else 34] ^= 1
    path.write_bytes(data)
    (problem,) = verify_tokens(str(tmp_path / "tokens"))
    assert "documents are of other lengths by the index of its format than by its rows" in problem


@pytest.mark.parametrize("name", ["part-00000.ds.index", "part-00000.idx"])
def test_an_index_that_is_cut_short_or_gone_is_named(name: str, tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="datatrove" if name.endswith("index") else "megatron")
    path = tmp_path / "tokens" / name
    path.write_bytes(path.read_bytes()[:45])
    (problem,) = verify_tokens(str(tmp_path / "tokens"))
    assert problem.startswith(f"{path}: is no index of ")
    path.unlink()
    assert verify_tokens(str(tmp_path / "tokens")) == [f"{path}: no such file"]


def test_a_sample_of_mds_that_is_no_whole_number_of_ids_is_found(tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="mds")
    path = tmp_path / "tokens" / "part-00000.mds"
    data = bytearray(path.read_bytes())
    data[8] ^= 1  # where the second sample begins
    path.write_bytes(data)
    assert f"{path}: is no shard of MDS with ids" in verify_tokens(str(tmp_path / "tokens"))


def test_shares_of_many_sources_are_those_of_their_tokens() -> None:
    shards = [
        TokenShardInfo(path=f"s{i}/part-00000.npy", tokens=7, documents=1, bytes=14, xxh3="", source=f"s{i}")
        for i in range(2400)
    ]
    manifest = TokenManifest(
        format_version=1,
        tokenizer="tokenizer.json",
        tokenizer_sha256="",
        dtype="uint16",
        vocab_size=9,
        eos_id=0,
        bos_id=None,
        pad_id=None,
        seed=0,
        shards=shards,
    )
    found = list(shares(manifest).values())
    assert sum(found) == pytest.approx(1, abs=1e-12)
    assert max(abs(share - 1 / 2400) for share in found) < 1e-9


@pytest.mark.parametrize("format", OTHERS)
def test_training_reads_the_format_of_dolma_only(format: str, tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format=format)
    with pytest.raises(DataError, match=f"has shards in the format '{format}', which only other trainers read"):
        open_shards(str(tmp_path / "tokens"))


def test_a_format_that_nobody_knows_is_refused(tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus)
    path = tmp_path / "tokens" / "tokens.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": "megatrom"}))
    with pytest.raises(DataError, match="did you mean 'megatron'"):
        format_of(read_token_manifest(str(tmp_path / "tokens")))


# --- read by others --------------------------------------------------------------------------------------------------


def written(tmp_path: Path, corpus: list[str], run: Run, format: str) -> tuple[Path, list[list[list[int]]]]:
    """A folder of shards, and the documents of each."""
    run(corpus, output="dolma", max_tokens_per_shard=700)
    run(corpus, output=format, format=format, max_tokens_per_shard=700)
    manifest = read_token_manifest(str(tmp_path / "dolma"))
    found = []
    for info in manifest.shards:
        path = str(tmp_path / "dolma" / info.path)
        ids = read_ids(path, manifest)
        found.append([ids[row["start"] : row["end"]].tolist() for row in read_rows(path).to_pylist()])
    return tmp_path / format, found


def test_datatrove_reads_its_files(tmp_path: Path, corpus: list[str], run: Run) -> None:
    files = pytest.importorskip("datatrove.pipeline.tokens.merger")
    io = pytest.importorskip("datatrove.io")
    folder, expected = written(tmp_path, corpus, run, "datatrove")
    for i, documents in enumerate(expected):
        data = io.get_datafolder(str(folder))
        ends = files.load_doc_ends(data.open(f"part-{i:05d}.ds.index", "rb"))
        stored = files.get_data_reader(data.open(f"part-{i:05d}.ds", "rb"), ends, nb_bytes=2)
        assert [np.frombuffer(some, "<u2").tolist() for some in stored] == documents
        metadata = (folder / f"part-{i:05d}.ds.metadata").read_text().split("\n")
        assert metadata[:2] == ["tokenizer.json|2", str(sum(map(len, documents)))]


def test_mosaicml_streaming_reads_its_files(tmp_path: Path, corpus: list[str], run: Run) -> None:
    reader = pytest.importorskip("streaming.base.format")
    folder, expected = written(tmp_path, corpus, run, "mds")
    shards = json.loads((folder / "index.json").read_bytes())["shards"]
    assert len(shards) == len(expected)
    for shard, documents in zip(shards, expected, strict=True):
        read = reader.reader_from_json(str(folder), None, shard)
        assert [read[i]["tokens"].tolist() for i in range(read.samples)] == documents


def test_datasets_reads_its_files(tmp_path: Path, corpus: list[str], run: Run) -> None:
    datasets = pytest.importorskip("datasets")
    folder, expected = written(tmp_path, corpus, run, "parquet")
    read = datasets.load_dataset(
        "parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert list(read["input_ids"]) == [ids for documents in expected for ids in documents]
    assert set(read["source"]) == {"books", "web"}


def test_pyarrow_reads_the_rows_with_ids(tmp_path: Path, corpus: list[str], run: Run) -> None:
    folder, expected = written(tmp_path, corpus, run, "parquet")
    for i, documents in enumerate(expected):
        table = pq.read_table(folder / f"part-{i:05d}.parquet")
        assert table["input_ids"].to_pylist() == documents
        assert table["id"].to_pylist() == read_rows(str(tmp_path / "dolma" / f"part-{i:05d}.npy"))["id"].to_pylist()


def test_megatron_reads_its_files(tmp_path: Path, corpus: list[str], run: Run) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    folder, expected = written(tmp_path, corpus, run, "megatron")
    for i, documents in enumerate(expected):
        read = indexed.IndexedDataset(str(folder / f"part-{i:05d}"))
        assert [read[j].tolist() for j in range(len(read))] == documents
        assert read.document_indices.tolist() == list(range(len(documents) + 1))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_megatron_files_are_as_their_documentation_says(
    dtype: str, tmp_path: Path, documents: Callable[..., str], run: Run
) -> None:
    run([documents(["ab", "c"])], format="megatron", shuffle=False, dtype=dtype)
    size = 2 if dtype == "uint16" else 4
    index = (tmp_path / "tokens" / "part-00000.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0" and index[9:17] == (1).to_bytes(8, "little")
    assert index[17] == {2: 8, 4: 4}[size]
    assert np.frombuffer(index[18:34], "<u8").tolist() == [2, 3]
    assert np.frombuffer(index[34:42], "<i4").tolist() == [3, 2]
    assert np.frombuffer(index[42:58], "<i8").tolist() == [0, 3 * size]
    assert np.frombuffer(index[58:], "<i8").tolist() == [0, 1, 2]
    assert np.fromfile(tmp_path / "tokens" / "part-00000.bin", f"<i{size}").tolist() == [97, 98, 256, 99, 256]


def test_mds_of_sources_has_an_index_in_each_folder(tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="mds", group_by="source", max_tokens_per_shard=300)
    for source in ("books", "web"):
        shards = json.loads((tmp_path / "tokens" / source / "index.json").read_bytes())["shards"]
        assert sum(shard["samples"] for shard in shards) == 60
        assert all((tmp_path / "tokens" / source / shard["raw_data"]["basename"]).exists() for shard in shards)


# --- what is pasted into the config of a trainer ---------------------------------------------------------------------

PASTED = {"dolma": "olmo-core.yaml", "megatron": "megatron.yaml", "datatrove": "nanotron.yaml"}


def pasted(folder: Path, format: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / PASTED[format]).read_text())
    return found


@pytest.mark.parametrize("group_by", [None, "source"])
def test_olmo_core_is_told_paths_type_and_tokenizer(
    group_by: str | None, tmp_path: Path, corpus: list[str], run: Run
) -> None:
    run(corpus, group_by=group_by, max_tokens_per_shard=700)
    found, manifest = pasted(tmp_path / "tokens", "dolma"), read_token_manifest(str(tmp_path / "tokens"))
    assert found["dataset"]["paths"] == [info.path for info in manifest.shards]
    assert (found["dataset"]["dtype"], found["dataset"]["tokenizer"]["vocab_size"]) == ("uint16", 257)
    assert found["dataset"]["tokenizer"]["eos_token_id"] == found["dataset"]["tokenizer"]["pad_token_id"] == 256
    sources = {one["source_name"]: one for one in found.get("source_configs", [])}
    assert list(sources) == (["books", "web"] if group_by else [])
    for name, one in sources.items():
        mine = [info for info in manifest.shards if info.source == name]
        assert one["paths"] == [info.path for info in mine]
        assert one["target_ratio"] == pytest.approx(sum(info.tokens for info in mine) / manifest.tokens, abs=1e-6)
    assert sum(one["target_ratio"] for one in sources.values()) == (1 if group_by else 0)


def test_megatron_is_told_weights_and_prefixes(tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="megatron", max_tokens_per_shard=700)
    found, folder = pasted(tmp_path / "tokens", "megatron"), tmp_path / "tokens"
    assert sum(found["data_path"][::2]) == read_token_manifest(str(folder)).tokens
    assert all((folder / f"{prefix}.idx").exists() for prefix in found["data_path"][1::2])
    assert (found["vocab_size"], found["eod_id"], found["dtype"]) == (257, 256, "uint16")


def test_nanotron_is_told_folders_and_weights(tmp_path: Path, corpus: list[str], run: Run) -> None:
    run(corpus, format="datatrove", group_by="source", max_tokens_per_shard=700)
    found, folder = pasted(tmp_path / "tokens", "datatrove"), tmp_path / "tokens"
    assert [len(list((folder / home).glob("*.ds"))) > 1 for home in found["dataset"]["dataset_folder"]] == [True, True]
    assert sum(found["dataset"]["dataset_weights"]) == 1
    assert (found["dataset"]["token_size_in_bytes"], found["dataset"]["vocab_size"], found["eos_id"]) == (2, 257, 256)
