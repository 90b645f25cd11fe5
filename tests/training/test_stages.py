"""Several stages in one run. Run: pytest tests/training/test_stages.py"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dolma.errors import ConfigError, DataError
from dolma.training.config import SourceConfig, StageConfig, TrainConfig, YarnConfig
from dolma.training.stages import resolve_stages
from dolma.training.state import checkpoints, read_state
from dolma.training.trainer import train
from tests.training.conftest import (
    CONFIG,
    Stopped,
    by_source,
    log_of,
    replaced,
    some_ids,
    stop_after,
    weights,
    write_shards,
)


@pytest.fixture
def staged(tmp_path: Path) -> TrainConfig:
    """A mixture, then an anneal on other shares and longer windows whose rate begins where the first ended."""
    for number, name in enumerate(("web", "books")):
        write_shards(tmp_path / name, [some_ids(1500, seed=number)])
    web, books = str(tmp_path / "web"), str(tmp_path / "books")
    return replaced(
        CONFIG,
        steps=None,
        checkpoint_every=4,
        keep_checkpoints=0,
        stages=[
            StageConfig(
                name="pretrain",
                steps=6,
                sources={
                    "web": SourceConfig(tokens=web, share=0.75),
                    "books": SourceConfig(tokens=books, share=0.25),
                },
            ),
            StageConfig(
                name="anneal",
                duration_tokens=5 * 2 * 32,
                sequence_length=32,
                batch_size=2,
                document_masking=True,
                windows="packed",
                learning_rate="inherit",
                schedule="linear",
                min_lr_fraction=0.0,
                warmup_steps=0,
                rope_scaling=YarnConfig(factor=2.0, original_length=16),
                sources={"books": SourceConfig(tokens=books, share=1.0, max_repeat=4)},
                seed=5,
            ),
        ],
    )


def test_stages_follow_each_other(staged: TrainConfig, tmp_path: Path) -> None:
    result = train(staged, output=str(tmp_path / "run"))
    log = log_of(tmp_path / "run")
    assert [(record["step"], record["stage"]) for record in log] == [
        *((step, "pretrain") for step in range(1, 7)),
        *((step, "anneal") for step in range(7, 12)),
    ]
    assert (result.steps, result.tokens) == (11, 6 * 4 * 16 + 5 * 2 * 32)
    assert log[6]["lr"] == pytest.approx(log[5]["lr"] * 4 / 5)
    assert log[-1]["lr"] == 0
    assert set(log[0]["loss_by_source"]) <= {"web", "books"}
    assert all(not record["loss_by_source"] for record in log[6:])


def test_the_mixture_is_written_beside_the_run_and_counted(staged: TrainConfig, tmp_path: Path) -> None:
    result = train(staged, output=str(tmp_path / "run"))
    shares = json.loads((tmp_path / "run" / "mixture.json").read_bytes())
    assert [(share["source"], share["taken"]) for share in shares["pretrain"]] == [("web", 18), ("books", 6)]
    assert read_state(result.checkpoint).tokens_by_source == {"books": 6 * 16 + 5 * 2 * 32, "web": 18 * 16}


@pytest.mark.parametrize("at", [5, 6, 7, 9])
def test_a_run_stopped_in_any_stage_or_between_goes_on_to_the_same_bits(
    staged: TrainConfig, tmp_path: Path, at: int
) -> None:
    train(staged, output=str(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(staged, output=str(tmp_path / "cut"), progress=stop_after(at))
    result = train(staged, output=str(tmp_path / "cut"))
    assert result.resumed_from == {5: 4, 6: 4, 7: 6, 9: 8}[at]
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert weights(tmp_path / "cut", 11) == weights(tmp_path / "whole", 11)


@pytest.mark.parametrize("at", [6, 7])
def test_a_stage_may_begin_with_moments_of_its_own(staged: TrainConfig, tmp_path: Path, at: int) -> None:
    fresh = replaced(staged, stages=[staged.stages[0], replaced(staged.stages[1], start="weights")])
    train(staged, output=str(tmp_path / "kept"))
    train(fresh, output=str(tmp_path / "fresh"))
    assert log_of(tmp_path / "kept")[6] == log_of(tmp_path / "fresh")[6]
    assert log_of(tmp_path / "kept")[7] != log_of(tmp_path / "fresh")[7]
    with pytest.raises(Stopped):
        train(fresh, output=str(tmp_path / "cut"), progress=stop_after(at))
    train(fresh, output=str(tmp_path / "cut"))
    assert weights(tmp_path / "cut", 11) == weights(tmp_path / "fresh", 11)


def test_ends_of_stages_and_permanent_checkpoints_are_kept(staged: TrainConfig, tmp_path: Path) -> None:
    train(replaced(staged, keep_checkpoints=1, checkpoint_every=1, permanent_every=4), output=str(tmp_path / "run"))
    assert list(checkpoints(str(tmp_path / "run"))) == [4, 6, 8, 11]


def test_a_rate_cannot_be_inherited_from_nothing(tokens: str, config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="there is neither a stage before nor `init_from` to inherit a rate from"):
        resolve_stages(replaced(config, learning_rate="inherit"), tokens)


def test_a_rate_of_nothing_cannot_be_inherited(staged: TrainConfig) -> None:
    third = replaced(staged.stages[1], name="third")
    with pytest.raises(ConfigError, match=r"\$\.train\.stages\[2\]\.learning_rate: stage 'anneal' ends at a rate of 0"):
        resolve_stages(replaced(staged, stages=[*staged.stages, third]), None)


def test_a_mixture_needs_a_length(staged: TrainConfig) -> None:
    endless = replaced(staged, stages=[replaced(staged.stages[0], steps=None)])
    with pytest.raises(ConfigError, match="a mixture needs a length: give `steps` or `duration_tokens`"):
        resolve_stages(endless, None)


def test_windows_longer_than_the_context_are_refused(tokens: str, config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="`sequence_length` 5,000 is longer than the model's `context_length` 4,096"):
        resolve_stages(replaced(config, sequence_length=5000), tokens)


def test_sources_of_different_tokenizers_are_refused(staged: TrainConfig, tmp_path: Path) -> None:
    write_shards(tmp_path / "books", [some_ids(1500)], tokenizer=b"another")
    with pytest.raises(DataError, match="is of another tokenizer than"):
        resolve_stages(staged, None)


def test_a_shard_in_two_sources_is_refused(staged: TrainConfig, tmp_path: Path) -> None:
    pretrain = staged.stages[0]
    assert pretrain.sources is not None
    both = SourceConfig(tokens=[str(tmp_path / "web"), str(tmp_path / "books")], share=0.25)
    twice = replaced(staged, stages=[replaced(pretrain, sources={"web": pretrain.sources["web"], "all": both})])
    with pytest.raises(ConfigError, match="it would be counted twice"):
        resolve_stages(twice, None)


def test_a_rate_is_inherited_from_the_checkpoint_that_a_run_begins_with(tokens: str, tmp_path: Path) -> None:
    first = train(CONFIG, tokens=tokens, output=str(tmp_path / "first")).checkpoint
    config = replaced(CONFIG, init_from=first, learning_rate="inherit", schedule="constant", warmup_steps=0)
    expected = json.loads((Path(first) / "state.json").read_bytes())["learning_rate"]
    assert resolve_stages(config, tokens).stages[0].peak == expected == pytest.approx(1e-3)
    train(config, tokens=tokens, output=str(tmp_path / "second"))
    assert {record["lr"] for record in log_of(tmp_path / "second")} == {expected}
    # OLMo-core's checkpoints have the rate with the optimiser only.
    shutil.copytree(first, tmp_path / "theirs")
    for ours in ("state.json", "manifest.json"):
        (tmp_path / "theirs" / ours).unlink()
    found = resolve_stages(replaced(config, init_from=str(tmp_path / "theirs")), tokens).stages[0].peak
    assert found == expected


def test_a_mixture_takes_its_shares_from_the_shards_of_each_source(tmp_path: Path) -> None:
    tokens = by_source(tmp_path / "tokens", "books", "web")
    sources = {name: SourceConfig(tokens=tokens, source=name, share=0.5, max_repeat=1e6) for name in ("books", "web")}
    stages = resolve_stages(replaced(CONFIG, sources=sources, sequence_length=4), None)
    populations = stages.stages[0].loader.instances.populations
    assert [[len(shard.ids) for shard in population.shards] for population in populations] == [[20], [40]]


def test_shards_of_a_source_that_are_read_twice_are_refused(tmp_path: Path) -> None:
    tokens = by_source(tmp_path / "tokens", "books", "web")
    sources = {
        "books": SourceConfig(tokens=tokens, source="books", share=0.5, max_repeat=1e6),
        "all": SourceConfig(tokens=tokens, share=0.5, max_repeat=1e6),
    }
    with pytest.raises(ConfigError, match=r"part-00000\.npy is in .* and in .*: it would be counted twice"):
        resolve_stages(replaced(CONFIG, sources=sources, sequence_length=4), None)
