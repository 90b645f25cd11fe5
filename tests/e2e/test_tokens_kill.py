"""`tokenize mix`, `reshard` and `train`, killed in each phase. Run: pytest tests/e2e/test_tokens_kill.py"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolma.config import MixConfig, SourceShare, TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.reshard.stage import Layout, mix, reshard
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize
from dolma.tokens.training import Settings, train_tokenizer
from tests.e2e.every_phase import PIECE_BYTES, TOKENIZER, shards_killed, small

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ONE = RunOptions(workers=1)
HALF = MixConfig(sources={"one": SourceShare(repeat=1.5), "two": SourceShare(repeat=0.5)})
SMALL_SHARDS = {"max_tokens_per_shard": 1500}


def mixed(home: Path, out: Path, options: RunOptions) -> object:
    folders = {name: str(home / "tokens" / name) for name in ("one", "two")}
    return mix(folders, HALF, output=str(out), layout=Layout(**SMALL_SHARDS), options=options)


def in_order(home: Path, out: Path, options: RunOptions) -> object:
    layout = Layout(shuffle=False, **SMALL_SHARDS)
    return reshard(str(home / "tokens" / "one"), output=str(out), layout=layout, options=options)


def trained(home: Path, out: Path, options: RunOptions) -> object:
    documents = tuple(str(home / source / "documents" / "*.jsonl") for source in ("one", "two"))
    dataset = Dataset(documents=documents, piece_bytes=PIECE_BYTES)
    return train_tokenizer(dataset, Settings(vocab_size=400), output=str(out), options=options)


PHASES = {
    mixed: {"draw", "sample", "place", "cut", "write", "describe", "the manifest"},
    in_order: {"place", "cut", "write", "describe", "the manifest"},
    trained: {"count", "merges", "report", "the manifest"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Documents of two sources, and the token shards of each."""
    folder = tmp_path_factory.mktemp("tokens")
    for source in ("one", "two"):
        for name in "ab":
            path = folder / source / "documents" / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [f'{{"id": "{source}{name}{i}", "text": "{source} {name} {i} {i * i} words"}}\n' for i in range(60)]
            path.write_text("".join(lines))
        config = TokenizeConfig(tokenizer=str(TOKENIZER), max_tokens_per_shard=400)
        documents = Dataset(documents=(str(folder / source / "documents"),))
        tokenize(documents, config, output=str(folder / "tokens" / source), options=ONE)
    with small():
        yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("run", PHASES, ids=lambda run: run.__name__)
def test_a_shard_killed_in_each_phase_changes_nothing(
    home: Path, tmp_path: Path, run: Callable[[Path, Path, RunOptions], object]
) -> None:
    def written(out: Path) -> dict[str, bytes]:
        files = [path for path in out.rglob("*") if path.is_file() and path.name != ".inputs.json"]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    run(home, tmp_path / "whole", ONE)
    expected = written(tmp_path / "whole")
    phases = shards_killed(
        lambda name: tmp_path / name, lambda out, options: run(home, out, options), written, expected
    )
    assert PHASES[run] <= phases
