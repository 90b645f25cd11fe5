"""What a run finds in its folder, and what may change at resume. Run: pytest tests/training/test_run_folder.py"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dolma.errors import ConfigError, DataError, OutputExistsError
from dolma.runner.options import RunOptions
from dolma.training.config import EvalConfig, ModelConfig, SourceConfig, TrainConfig
from dolma.training.data.shards import mask_path
from dolma.training.plan import plan_training
from dolma.training.recipe import again, plan
from dolma.training.run_folder import foresee
from dolma.training.trainer import train
from tests.training.conftest import TINY, replaced, some_ids, write_shards


@pytest.fixture
def run(tokens: str, config: TrainConfig, tmp_path: Path) -> str:
    """A finished run of `config`."""
    output = str(tmp_path / "run")
    train(config, tokens=tokens, output=output)
    return output


def dry_run(config: TrainConfig, tokens: str, output: str, *, overwrite: bool = False) -> dict:
    return next(plan(config, tokens=[tokens], output=output, options=RunOptions(overwrite=overwrite)))


def said_by(work) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        work()
    return str(caught.value)


def _other_width(config: TrainConfig, tokens: str) -> TrainConfig:
    return replaced(config, model=msgspec.structs.replace(TINY, mlp_hidden=64))


def _fewer_steps(config: TrainConfig, tokens: str) -> TrainConfig:
    return replaced(config, steps=4)


def _other_shards(config: TrainConfig, tokens: str) -> TrainConfig:
    write_shards(Path(tokens), [some_ids(1000, seed=3), some_ids(700, seed=4)])
    return config


def _flipped_byte(config: TrainConfig, tokens: str) -> TrainConfig:
    path = Path(tokens) / "part-00001.npy"
    path.write_bytes(b"\x01\x00" + path.read_bytes()[2:])
    return config


def _labels(config: TrainConfig, tokens: str) -> TrainConfig:
    np.zeros(1000, dtype=bool).tofile(mask_path(f"{tokens}/part-00000.npy"))
    return config


def _evaluation_of_nothing(config: TrainConfig, tokens: str) -> TrainConfig:
    return replaced(config, steps=9, schedule="constant", evaluate=EvalConfig(sources={"held": f"{tokens}/nope"}))


@pytest.mark.parametrize(
    "change",
    [_other_width, _fewer_steps, _other_shards, _flipped_byte, _labels, _evaluation_of_nothing],
    ids=lambda change: change.__name__,
)
def test_a_dry_run_and_a_plan_refuse_what_the_run_would(change, tokens, config, tmp_path):
    run = str(tmp_path / "run")
    if change is _evaluation_of_nothing:
        config = replaced(config, schedule="constant")
    train(config, tokens=tokens, output=run)
    config = change(config, tokens)
    said = said_by(lambda: train(config, tokens=tokens, output=run))
    assert said_by(lambda: dry_run(config, tokens, run)) == said
    assert said_by(lambda: plan_training(config, tokens=tokens, output=run)) == said


def test_a_dry_run_says_what_it_finds(run, tokens, config, tmp_path):
    assert dry_run(config, tokens, str(tmp_path / "new"))["found"] == "nothing"
    assert dry_run(config, tokens, run)["found"] == "this run, saved after step 8"
    assert dry_run(replaced(config, seed=1), tokens, run, overwrite=True)["found"] == "a run that is replaced"


def test_a_dry_run_refuses_the_folder_of_a_stranger(tokens, config, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="no run of ours has written"):
        dry_run(config, tokens, str(tmp_path / "theirs"))


def test_a_dry_run_writes_nothing(run, tokens, config):
    before = {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")}
    dry_run(config, tokens, run)
    assert {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")} == before


def test_a_run_is_made_again_only_by_other_settings(run, tokens, config, tmp_path):
    assert again(config, tokens=[tokens], output=run) == {}
    assert again(replaced(config, seed=1), tokens=[tokens], output=run) == {"": "`seed` was 0, now 1"}
    assert again(config, tokens=[tokens], output=str(tmp_path / "new")) == {}


def test_what_changed_is_named_by_its_key_and_two_values(run, tokens, config):
    changed = replaced(config, model=ModelConfig(d_model=16, layers=4, heads=2, mlp_hidden=32), betas=(0.9, 0.99))
    with pytest.raises(OutputExistsError) as caught:
        foresee(changed, tokens=tokens, output=run, overwrite=False)
    first = str(caught.value).partition("\n")[0]
    assert first.endswith("holds another run: `betas` was [0.9, 0.95], now [0.9, 0.99]; `model.layers` was 2, now 4")


def test_a_source_that_is_new_is_named(tokens, config, tmp_path):
    shutil.copytree(tokens, tmp_path / "other")
    for path in (tmp_path / "other").glob("part-*.npy"):
        path.chmod(0o644)
    one = {"a": SourceConfig(tokens=tokens, share=1.0)}
    two = {
        "a": SourceConfig(tokens=tokens, share=0.5),
        "b": SourceConfig(tokens=str(tmp_path / "other"), share=0.5),
    }
    train(replaced(config, steps=2, sources=one), output=str(tmp_path / "run"))
    with pytest.raises(OutputExistsError, match=r"`sources.a.share` was 1.0, now 0.5; `sources.b` was none, now"):
        train(replaced(config, steps=2, sources=two), output=str(tmp_path / "run"))


def test_a_damaged_manifest_of_a_run_is_written_again_once_it_is_removed(run, tokens, config):
    manifest = Path(run) / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-10])
    with pytest.raises(DataError, match="remove this file: the same command writes it again"):
        train(config, tokens=tokens, output=run)
    manifest.unlink()
    train(config, tokens=tokens, output=run)
    assert manifest.read_bytes() == whole


def _moved(tokens: str, tmp_path: Path) -> str:
    shutil.copytree(tokens, tmp_path / "elsewhere" / "tokens")
    return str(tmp_path / "elsewhere" / "tokens")


def test_a_run_of_sources_that_have_moved_is_the_same_run(tokens, config, tmp_path):
    mixture = [{"a": SourceConfig(tokens=at, share=1.0)} for at in (tokens, _moved(tokens, tmp_path))]
    for name, sources in zip(("one", "two"), mixture, strict=True):
        train(replaced(config, steps=2, sources=sources), output=str(tmp_path / name))
    assert train(replaced(config, steps=2, sources=mixture[1]), output=str(tmp_path / "one")).already_complete
    assert (tmp_path / "one" / "config.json").read_bytes() == (tmp_path / "two" / "config.json").read_bytes()


def test_other_weights_to_begin_with_are_another_run(tokens, config, tmp_path):
    for seed in (1, 2):
        train(replaced(config, seed=seed, steps=1), tokens=tokens, output=str(tmp_path / f"seed{seed}"))
    shutil.copytree(tmp_path / "seed1" / "step1", tmp_path / "first")
    config = replaced(config, steps=2, init_from=str(tmp_path / "first"))
    run = str(tmp_path / "run")
    train(config, tokens=tokens, output=run)
    shutil.rmtree(tmp_path / "first")
    assert train(config, tokens=tokens, output=run).already_complete  # they are not needed any more
    shutil.copytree(tmp_path / "seed2" / "step1", tmp_path / "first")
    with pytest.raises(OutputExistsError, match="the weights in `init_from` were others"):
        train(config, tokens=tokens, output=run)
