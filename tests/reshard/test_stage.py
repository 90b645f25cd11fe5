"""Token shards made of token shards. Run: pytest tests/reshard/test_stage.py"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma.config import MixConfig, SourceShare, TokenizeConfig, make_recipe
from dolma.data.dataset import Dataset
from dolma.data.manifest import read_manifest
from dolma.data.tokens import TokenShard, read_token_manifest
from dolma.errors import ConfigError, DataError, OutputExistsError
from dolma.reshard.stage import Layout, Mixed, PlaceShard, WriteInOrder, mix, reshard
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.runner.task import TaskResult
from dolma.tokens.tokenize import WritePart, tokenize
from dolma.tokens.verify import verify_tokens
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.stages import resolve_stages
from dolma.training.trace import documents_of_step
from dolma.verification import verify

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TOKENIZER = str(SAMPLE / "tokenizer.json")
Documents = list[tuple[str, tuple[int, ...]]]


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., str]:
    """`shards("books", n)` tokenizes `n` documents of this source into a folder of its name, and gives its path."""

    def call(source: str, n: int = 40, *, output: str = "", seed: int = 0, **config: Any) -> str:
        path = tmp_path / "corpus" / source / "documents" / "a.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"id": f"{source}{i}", "text": f"{source} {i} " * (1 + i % 7)} for i in range(n)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        settings = {"tokenizer": TOKENIZER, "max_tokens_per_shard": 300, **config}
        folder = str(tmp_path / (output or source))
        tokenize(Dataset(documents=(str(path),)), TokenizeConfig(**settings), output=folder, seed=seed, options=one())
        return folder

    return call


def one(workers: int = 1, **settings: Any) -> RunOptions:
    return RunOptions(workers=workers, **settings)


def documents(folder: str) -> Documents:
    """Id and tokens of each row, in the order of shards."""
    manifest = read_token_manifest(folder)
    found: Documents = []
    for info in manifest.shards:
        shard = TokenShard(f"{folder}/{info.path}", manifest.dtype)
        ids = shard.rows["id"].to_pylist()
        found += [(id, tuple(shard.document(i).tolist())) for i, id in enumerate(ids)]
    return found


def files(folder: str, *, but: Sequence[str] = ()) -> dict[str, bytes]:
    home = Path(folder)
    names = [path for path in home.rglob("*") if path.is_file() and path.name not in (".inputs.json", *but)]
    return {str(path.relative_to(home)): path.read_bytes() for path in names}


def mixed(tmp_path: Path, folders: dict[str, str], output: str = "mixed", **given: Any) -> StageReport[Mixed]:
    layout = Layout(**{"max_tokens_per_shard": 500, **given.pop("layout", {})})
    options, seed = given.pop("options", one()), given.pop("seed", 0)
    config = MixConfig(**{**given, "sources": {name: SourceShare(**of) for name, of in given["sources"].items()}})
    return mix(folders, config, output=str(tmp_path / output), layout=layout, options=options, seed=seed)


# --- reshard ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"group_by": "source"}, {"split_long_documents": True}])
def test_shards_reshuffled_by_a_seed_are_those_tokenized_by_it(
    tmp_path: Path, shards: Callable[..., str], settings: dict[str, Any]
):
    largest = 20 if "split_long_documents" in settings else 300
    folder = shards("books", output="in order", shuffle=False, max_tokens_per_shard=largest, **settings)
    expected = shards("books", output="shuffled", seed=3, max_tokens_per_shard=largest, **settings)
    output = str(tmp_path / "out")
    reshard(folder, output=output, layout=Layout(max_tokens_per_shard=largest), seed=3, options=one())
    assert files(output, but=["manifest.json"]) == files(expected, but=["manifest.json"])
    assert len(files(output)) > 9


def test_shards_that_are_not_shuffled_keep_the_order_of_documents(tmp_path: Path, shards: Callable[..., str]):
    folder, output = shards("books"), str(tmp_path / "out")
    report = reshard(folder, output=output, layout=Layout(shuffle=False, shards=3), options=one())
    assert documents(output) == documents(folder)
    assert [shard.path for shard in read_token_manifest(output).shards] == [f"part-0000{i}.npy" for i in range(3)]
    assert report.details.tokens == {"books": read_token_manifest(folder).tokens}


def test_sources_that_lie_apart_stay_apart(tmp_path: Path, shards: Callable[..., str]):
    folder, output = shards("books", group_by="source"), str(tmp_path / "out")
    reshard(folder, output=output, layout=Layout(shuffle=False, shards=2), options=one())
    found = read_token_manifest(output).shards
    assert [(shard.path, shard.source) for shard in found] == [
        ("books/part-00000.npy", "books"),
        ("books/part-00001.npy", "books"),
    ]
    assert documents(output) == documents(folder)


@pytest.mark.parametrize("shuffle", [True, False])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, shards: Callable[..., str], shuffle: bool):
    folder = shards("books", 200)
    for workers in (1, 2):
        layout = Layout(shuffle=shuffle, max_tokens_per_shard=700)
        reshard(folder, output=str(tmp_path / f"out{workers}"), layout=layout, options=one(workers, max_memory=1 << 26))
    assert files(str(tmp_path / "out1")) == files(str(tmp_path / "out2"))


@pytest.mark.parametrize(
    ("work", "shuffle"), [(PlaceShard, True), (PlaceShard, False), (WritePart, True), (WriteInOrder, False)]
)
def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes(
    tmp_path: Path, shards: Callable[..., str], monkeypatch: pytest.MonkeyPatch, work: type, shuffle: bool
):
    folder, layout = shards("books"), Layout(shuffle=shuffle, max_tokens_per_shard=200)
    reshard(folder, output=str(tmp_path / "whole"), layout=layout, options=one())
    does, calls = work.__call__, 0

    def fails_at_the_second(self: Any, spec: Any) -> TaskResult:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DataError("the disk went away")
        return does(self, spec)

    with monkeypatch.context() as patch:
        patch.setattr(work, "__call__", fails_at_the_second)
        with pytest.raises(DataError, match="the disk went away"):
            reshard(folder, output=str(tmp_path / "broken"), layout=layout, options=one())
    assert not {"tokens.json", "manifest.json"} & files(str(tmp_path / "broken")).keys()
    reshard(folder, output=str(tmp_path / "broken"), layout=layout, options=one())
    assert files(str(tmp_path / "broken")) == files(str(tmp_path / "whole"))


def test_a_finished_run_is_not_done_again_nor_replaced(tmp_path: Path, shards: Callable[..., str]):
    folder, output = shards("books"), str(tmp_path / "out")
    first = reshard(folder, output=output, layout=Layout(), options=one())
    again = reshard(folder, output=output, layout=Layout(), options=one())
    assert again.complete_before and again.details == first.details
    with pytest.raises(OutputExistsError, match="shuffle was true, now false"):
        reshard(folder, output=output, layout=Layout(shuffle=False), options=one())


def test_shards_without_parquet_stay_apart_by_source(tmp_path: Path, shards: Callable[..., str]):
    folder, output = Path(shards("books", group_by="source")), str(tmp_path / "out")
    expected = sorted(documents(str(folder)))
    (folder / "manifest.json").unlink()
    for path in folder.rglob("*.parquet"):
        path.unlink()
    reshard(str(folder), output=output, layout=Layout(), options=one())
    assert sorted(documents(output)) == expected
    assert {shard.source for shard in read_token_manifest(output).shards} == {"books"}


@pytest.mark.parametrize("settings", [{}, {"split_long_documents": True, "max_tokens_per_shard": 12}])
def test_a_mix_that_is_shuffled_again_has_each_document_at_a_place_of_its_own(
    tmp_path: Path, shards: Callable[..., str], settings: dict[str, Any]
):
    folders = {name: shards(name, **settings) for name in ("books", "code")}
    mixed(tmp_path, folders, sources={"books": {"repeat": 2}})
    for folder, output in (("mixed", "again"), ("again", "and again")):
        layout = Layout(max_tokens_per_shard=500)
        reshard(str(tmp_path / folder), output=str(tmp_path / output), layout=layout, options=one())
        assert verify_tokens(str(tmp_path / output)) == []
        ids = [id for id, _ in documents(str(tmp_path / output))]
        lines = [re.sub("[^0-9]", "", id.partition("#")[0]) for id in ids]
        assert len(set(ids)) == 120
        assert sum(a != b and m == n for (a, m), (b, n) in itertools.pairwise(zip(ids, lines, strict=True))) < 10


# --- mix -------------------------------------------------------------------------------------------------------------


def test_shares_are_of_tokens_to_half_a_document(tmp_path: Path, shards: Callable[..., str]):
    folders = {name: shards(name, 200) for name in ("books", "code")}
    sources = {"books": {"share": 0.25}, "code": {"share": 0.75}}
    report = mixed(tmp_path, folders, sources=sources, total=2000)
    largest = max(len(ids) for folder in folders.values() for _, ids in documents(folder))
    assert abs(report.details.tokens["books"] - 500) <= largest / 2
    assert abs(report.details.tokens["code"] - 1500) <= largest / 2
    assert report.ledger.accounts["books"].dropped["sampled out"].documents > 0


@pytest.mark.parametrize("shuffle", [True, False])
def test_repeats_are_copies_with_ids_of_their_own(tmp_path: Path, shards: Callable[..., str], shuffle: bool):
    folders = {name: shards(name) for name in ("books", "code")}
    report = mixed(
        tmp_path, folders, sources={"books": {"repeat": 2.5}, "code": {"repeat": 0}}, layout={"shuffle": shuffle}
    )
    found, given = documents(str(tmp_path / "mixed")), dict(documents(folders["books"]))
    assert len({id for id, _ in found}) == len(found) == 100
    assert all(given[id.partition("#")[0]] == ids for id, ids in found)
    assert sum(id.endswith("#2") for id, _ in found) == 40
    assert sum(id.endswith("#3") for id, _ in found) == 20
    assert report.ledger.total().written.documents == 100


def test_copies_that_are_not_shuffled_follow_a_whole_round(tmp_path: Path, shards: Callable[..., str]):
    folders = {name: shards(name, 3, shuffle=False) for name in ("books", "code")}
    mixed(tmp_path, folders, sources={"books": {"repeat": 2}}, layout={"shuffle": False})
    ids = [id for id, _ in documents(str(tmp_path / "mixed"))]
    assert ids == ["books0", "books1", "books2", "code0", "code1", "code2", "books0#2", "books1#2", "books2#2"]


def test_the_sample_is_that_of_dolma_mix(tmp_path: Path, shards: Callable[..., str]):
    from dolma.mixers.sampling import document_keys

    folder = shards("books", 50)
    mixed(tmp_path, {"books": folder}, sources={"books": {"repeat": 0.3}}, seed=7)
    keys = document_keys([f"books{i}" for i in range(50)], ["books"] * 50, range(1, 51), shard="a.jsonl", seed=7)
    expected = {f"books{i}" for i in np.argsort(keys)[:15]}
    assert {id for id, _ in documents(str(tmp_path / "mixed"))} == expected


def test_documents_that_were_cut_stay_whole(tmp_path: Path, shards: Callable[..., str]):
    folder = shards("books", 60, split_long_documents=True, max_tokens_per_shard=12)
    mixed(tmp_path, {"books": folder}, sources={"books": {"repeat": 0.5}}, layout={"max_tokens_per_shard": 100})
    output = str(tmp_path / "mixed")
    manifest = read_token_manifest(output)
    assert sum(shard.documents for shard in manifest.shards) == 30
    assert verify_tokens(output) == []
    rows = [
        row
        for shard in manifest.shards
        for row in TokenShard(f"{output}/{shard.path}", manifest.dtype).rows.to_pylist()
    ]
    assert max(row["parts"] for row in rows) > 1
    for before, row in itertools.pairwise(rows):
        assert row["part"] == 0 or (before["id"], before["part"]) == (row["id"], row["part"] - 1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_any_number_of_workers_gives_the_same_mix(tmp_path: Path, shards: Callable[..., str], shuffle: bool):
    folders = {name: shards(name) for name in ("books", "code")}
    for workers in (1, 2):
        sources = {"books": {"share": 0.4}, "code": {"share": 0.6}}
        layout = {"shuffle": shuffle}
        mixed(tmp_path, folders, f"out{workers}", sources=sources, layout=layout, options=one(workers))
    assert files(str(tmp_path / "out1")) == files(str(tmp_path / "out2"))


def test_what_is_written_can_be_verified(tmp_path: Path, shards: Callable[..., str]):
    folders = {name: shards(name) for name in ("books", "code")}
    mixed(tmp_path, folders, sources={"books": {"repeat": 1.5}})
    result = verify([str(tmp_path / "mixed")], make_recipe({}, {}))
    assert (result.problems, result.sets) == ([], 1)


def test_rows_lead_to_the_file_and_line_of_a_document(tmp_path: Path, shards: Callable[..., str]):
    mixed(tmp_path, {"books": shards("books")}, sources={"books": {"repeat": 2}})
    shard = TokenShard(str(tmp_path / "mixed" / "part-00000.npy"), "uint16")
    for position in (0, len(shard.ids) - 1):
        row = shard.trace(position)
        lines = (tmp_path / "corpus" / "books" / "documents" / row["path"]).read_text().splitlines()
        assert json.loads(lines[row["line"] - 1])["id"] == row["id"].partition("#")[0]


def test_training_reads_the_mix_and_knows_its_documents(tmp_path: Path, shards: Callable[..., str]):
    folders = {name: shards(name, 30) for name in ("books", "code")}
    mixed(tmp_path, folders, sources={"books": {"repeat": 2}})
    model = ModelConfig(d_model=8, layers=1, heads=1, mlp_hidden=8)
    training = TrainConfig(model=model, sequence_length=16, batch_size=1, epochs=1.0)
    stages = resolve_stages(training, str(tmp_path / "mixed"))
    seen = {found.id for step in range(1, stages.steps + 1) for found in documents_of_step(stages, step)}
    assert seen <= {id for id, _ in documents(str(tmp_path / "mixed"))}
    assert len(seen) > 80  # of 90; the last tokens of a shard fill no window


def test_the_manifest_lists_all_that_was_read(tmp_path: Path, shards: Callable[..., str]):
    mixed(tmp_path, {"books": shards("books", 5)}, sources={"books": {"repeat": 1}})
    manifest = read_manifest(str(tmp_path / "mixed"))
    assert manifest is not None
    names = [f"tokens/books/{name}" for name in ("part-00000.npy", "part-00000.parquet", "tokens.json")]
    assert sorted(file.name for file in manifest.inputs) == names


def test_shards_of_two_tokenizers_are_refused(tmp_path: Path, shards: Callable[..., str]):
    folders = {"books": shards("books"), "code": shards("code", dtype="uint32")}
    with pytest.raises(ConfigError, match=r"`dtype` of .*code is 'uint32', of .*books 'uint16'"):
        mixed(tmp_path, folders, sources={"books": {"repeat": 1}})


def test_too_little_of_a_source_is_an_error(tmp_path: Path, shards: Callable[..., str]):
    folders = {name: shards(name) for name in ("books", "code")}
    with pytest.raises(
        ConfigError, match=r"--share: 0.5 of 1,000,000 tokens is 500,000 tokens, but .* has 40 documents"
    ):
        mixed(tmp_path, folders, sources={"books": {"share": 0.5}, "code": {"share": 0.5}}, total="1M")


def test_a_source_without_a_folder_is_an_error(tmp_path: Path, shards: Callable[..., str]):
    with pytest.raises(ConfigError, match="no document of the corpus is of this source"):
        mixed(tmp_path, {"books": shards("books")}, sources={"code": {"repeat": 2}})


def test_nothing_asked_for_is_an_error(tmp_path: Path, shards: Callable[..., str]):
    with pytest.raises(ConfigError, match="nothing of any source is asked for"):
        mixed(tmp_path, {"books": shards("books")}, sources={"books": {"repeat": 0}})


# --- damaged shards --------------------------------------------------------------------------------------------------


def test_a_shard_whose_bytes_have_changed_is_refused(tmp_path: Path, shards: Callable[..., str]):
    folder = shards("books")
    path = Path(folder) / "part-00000.npy"
    path.write_bytes(b"\1\1" + path.read_bytes()[2:])
    with pytest.raises(DataError, match=r"part-00000.npy"):
        reshard(folder, output=str(tmp_path / "out"), layout=Layout(), options=one())
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_rows_of_another_shard_are_refused(tmp_path: Path, shards: Callable[..., str]):
    folder = Path(shards("books"))
    (folder / "manifest.json").unlink()  # which would tell first
    (folder / "part-00000.parquet").write_bytes((folder / "part-00001.parquet").read_bytes())
    with pytest.raises(DataError, match="its rows do not follow each other from its first token to its last"):
        reshard(str(folder), output=str(tmp_path / "out"), layout=Layout(), options=one())


def test_shards_with_label_masks_are_refused(tmp_path: Path, shards: Callable[..., str]):
    folder = shards("books")
    (Path(folder) / "labels_mask_part-00000.npy").write_bytes(b"")
    with pytest.raises(ConfigError, match="tells which tokens are learnt, and would be lost"):
        reshard(folder, output=str(tmp_path / "out"), layout=Layout(), options=one())


def test_another_tokenizer_beside_the_shards_is_refused(tmp_path: Path, shards: Callable[..., str]):
    folder = shards("books")
    path = Path(folder) / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(DataError, match=r"is not the tokenizer that tokens\.json tells of"):
        reshard(folder, output=str(tmp_path / "out"), layout=Layout(), options=one())
