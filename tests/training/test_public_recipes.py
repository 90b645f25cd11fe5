"""The recipes of public models in configs/train. Run: pytest tests/training/test_public_recipes.py"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from dolma.amounts import count_of
from dolma.cli.main import run
from dolma.config import read_recipe
from dolma.errors import DataError
from dolma.training.config import ModelConfig, StageConfig, TrainConfig, source_folders, stage_settings
from dolma.training.data.sizes import batch_sizes
from dolma.training.plan import plan_training
from dolma.training.presets import count_parameters, resolve_model
from dolma.training.schedule import learning_rate
from dolma.training.stages import ONLY, given_steps
from dolma.training.trainer import train
from tests.training.conftest import replaced, some_ids, write_shards

FOLDER = Path(__file__).parents[2] / "configs" / "train"
RECIPES = sorted(FOLDER.glob("olmo*.yaml"))
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
SMALLER = 64  # lengths, batches
TINY = ModelConfig(d_model=16, layers=4, heads=2, mlp_hidden=16)


def read(path: Path) -> TrainConfig:
    found = read_recipe(str(path)).train
    assert found is not None
    return found


def stages(config: TrainConfig) -> list[tuple[StageConfig, TrainConfig]]:
    return [(stage, stage_settings(config, stage)) for stage in config.stages or [StageConfig(name=ONLY)]]


def end_of(config: TrainConfig, number: int) -> float:
    """The rate of a stage's last step."""
    _, settings = stages(config)[number]
    steps = given_steps(settings)
    assert steps is not None
    return learning_rate(settings, steps, steps=steps)


def test_there_is_one_of_each_family() -> None:
    names = {str(read(path).model) for path in RECIPES}
    assert {"olmo1_7b", "olmo1_7b_0424", "olmo2_1b", "olmo2_7b", "olmo2_13b", "olmo2_32b"} <= names
    assert {"olmo3_7b", "olmo3_32b", "olmoe_1b_7b"} <= names


@each_recipe
def test_a_dry_run_of_each_lacks_nothing_but_the_shards(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "-c", str(path), "--dry-run"]) == DataError.exit_status
    first = next(folder for _, folder in source_folders(read(path)))
    assert capsys.readouterr().err.startswith(f"error: {first}: no such folder of token shards\n")


@each_recipe
def test_each_number_has_a_source(path: Path) -> None:
    head, _, body = path.read_text().partition("\ntrain:\n")
    sources = set(re.findall(r"^# (\[\d\]) ", head, re.M))
    for line in body.splitlines():
        key, _, said = line.partition("#")
        value = key.partition(":")[2]
        numbers = re.sub(r"share: 1\b|max_repeat: [\d.]+|tokens/\w+|olmo\w+", "", value)
        if re.search(r"\d", numbers) and "every" not in key:
            assert said or "share" in key, line
        assert set(re.findall(r"\[\d\]", said)) <= sources, line
    assert "Not known here" in head


@each_recipe
def test_each_is_as_large_as_it_is_said_to_be(path: Path) -> None:
    config = read(path)
    model = resolve_model(config.model)
    vocabulary = 50_280 if model.rope_theta == 10_000 else 100_278
    expected = {
        "olmo1_7b": 6_888_095_744,
        "olmo1_7b_0424": 6_888_095_744,
        "olmo2_1b": 1_484_916_736,
        "olmo2_7b": 7_298_617_344,
        "olmo2_13b": 13_716_198_400,
        "olmo2_32b": 32_234_279_936,
        "olmo3_7b": 7_298_617_344,
        "olmo3_32b": 32_234_279_936,
        "olmoe_1b_7b": 6_919_161_856,
    }
    assert count_parameters(model, vocab_size=vocabulary) == expected[str(config.model)]
    for _, settings in stages(config):
        assert batch_sizes(settings).most * settings.sequence_length in (1 << 21, 1 << 22, 1 << 23)


@pytest.mark.parametrize("name", ["olmo2_1b", "olmo2_7b", "olmo2_13b", "olmoe_1b_7b"])
def test_the_second_stage_begins_where_the_first_one_ended(name: str) -> None:
    config = read(FOLDER / f"{name}.yaml")
    _, second = stages(config)[1]
    assert isinstance(second.learning_rate, float)
    assert end_of(config, 0) == pytest.approx(second.learning_rate, rel=0.01)
    assert end_of(config, 1) == 0


def test_olmo_1_is_clipped_at_ten_in_its_first_1000_steps_and_begins_at_a_tenth() -> None:
    config = read(FOLDER / "olmo1_7b.yaml")
    assert (config.clip_norm * config.clip_warmup_factor, config.clip_warmup_steps) == (10, 1000)
    assert learning_rate(config, 0, steps=10**6) == pytest.approx(3e-5)
    assert end_of(config, 0) == pytest.approx(3e-5)


def small(config: TrainConfig, folder: Path) -> TrainConfig:
    """The recipe with a tiny model, short windows, and a few steps of each stage."""

    def shorter(tokens: int | str | None, settings: TrainConfig) -> int | None:
        if tokens is None:
            return None
        steps = count_of(tokens, key="tokens") / 6e12 * 12  # of 6T
        return max(2, round(steps)) * (settings.batch_size // SMALLER) * (settings.sequence_length // SMALLER)

    def changed(some: TrainConfig | StageConfig, settings: TrainConfig) -> dict[str, object]:
        fields: dict[str, object] = {
            name: shorter(getattr(some, name), settings)
            for name in ("duration_tokens", "horizon_tokens", "warmup_tokens")
        }
        for name in ("batch_size", "sequence_length", "micro_batch_size", "context_length"):
            value = getattr(some, name)
            fields[name] = value and max(1, value // SMALLER)
        for name in ("warmup_steps", "clip_warmup_steps"):
            fields[name] = getattr(some, name) and 1
        fields["sources"] = some.sources and {
            name: msgspec.structs.replace(source, tokens=str(folder / name)) for name, source in some.sources.items()
        }
        return fields

    listed = [
        msgspec.structs.replace(
            stage,
            **changed(stage, settings),
            rope_scaling=stage.rope_scaling and msgspec.structs.replace(stage.rope_scaling, original_length=128),
        )
        for stage, settings in (stages(config) if config.stages else ())
    ]
    how = {"device": "cpu", "dtype": "float32", "threads": 1, "keep_checkpoints": 1}
    sequence = config.sequence_length // SMALLER
    kept = {"sliding_window": 64} if "olmo3" in str(config.model) else {}
    model = msgspec.structs.replace(TINY, context_length=sequence, **kept)
    return replaced(config, **changed(config, config), **how, model=model, stages=listed)


def made_up(config: TrainConfig, folder: Path) -> TrainConfig:
    """The small recipe, with made-up shards of its sources."""
    for _, settings in stages(config):
        for number, name in enumerate(settings.sources):
            if not (folder / name).exists():
                write_shards(folder / name, [some_ids(60_000, seed=number)])
    return small(config, folder)


@each_recipe
def test_each_is_planned_on_made_up_shards(path: Path, tmp_path: Path) -> None:
    config = read(path)
    plan = plan_training(made_up(config, tmp_path), tokens=None)
    for planned, (stage, settings) in zip(plan.stages, stages(config), strict=True):
        assert planned.name == stage.name
        assert [share.source for share in planned.sources] == list(settings.sources)
    assert plan.warnings == []


def test_one_of_three_stages_trains_on_them(tmp_path: Path) -> None:
    config = made_up(read(FOLDER / "olmo3_7b.yaml"), tmp_path)
    assert train(config, output=str(tmp_path / "run")).steps == plan_training(config, tokens=None).steps
