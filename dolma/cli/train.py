"""`dolma train`, and what is done with its recipes and checkpoints: `plan`, `export`, `soup`."""

from __future__ import annotations

import click

from dolma.cli.options import FiniteRange, ManualCommand, ManualGroup, option
from dolma.cli.printing import say_warnings
from dolma.cli.stage_command import stage_command

command = stage_command("train", cls=ManualGroup, invoke_without_command=True)


PLAN_EXAMPLE = """
dolma train plan configs/quickstart.yaml
dolma train plan configs/quickstart.yaml --devices 8 --mfu 0.35
"""


@command.command("plan", cls=ManualCommand, example=PLAN_EXAMPLE)
@click.argument("recipe", type=click.Path(), metavar="RECIPE")
@option("--tokens", section="Input", metavar="DIR", help="Folder of token shards.  [default: the recipe's]")
@option("--devices", section="Machine", default=1, type=click.IntRange(min=1), help="GPUs, or processes.")
@option(
    "--peak-flops",
    section="Machine",
    default=989e12,
    type=FiniteRange(1, 1e30),
    help="Operations per second of a device at most.",
)
@option("--mfu", section="Machine", default=0.4, type=FiniteRange(1e-6, 1), help="Share reached.")
def plan(recipe: str, tokens: str | None, devices: int, peak_flops: float, mfu: float, *, as_json: bool) -> None:
    """Print what a recipe would train on, for how long, at which rates, and what that needs. Works without torch."""
    from dolma.api.training import plan_of_recipe
    from dolma.cli.terminal import show_training_plan
    from dolma.config import read_recipe

    found = plan_of_recipe(read_recipe(recipe, {}), tokens=tokens, devices=devices, peak_flops=peak_flops, mfu=mfu)
    show_training_plan(found, as_json=as_json)


PRESETS_EXAMPLE = """
dolma train presets
"""


@command.command("presets", cls=ManualCommand, example=PRESETS_EXAMPLE)
def presets(*, as_json: bool) -> None:
    """List the models that `--model` and `model:` know by name, with their sizes."""
    from dolma.cli.terminal import show_presets

    show_presets(as_json=as_json)


EXPORT_EXAMPLE = """
dolma train export runs/quickstart/train --output runs/hf
"""


@command.command("export", cls=ManualCommand, example=EXPORT_EXAMPLE)
@click.argument("checkpoint", type=click.Path(), metavar="CHECKPOINT")
@option("-o", "--output", section="Output", metavar="DIR", required=True, help="Folder to write, new or empty.")
@option("--tokenizer", section="Input", metavar="FILE", help="tokenizer.json to put beside.  [default: the shards']")
@option(
    "--dtype", section="Output", default="float32", type=click.Choice(["float32", "bfloat16", "float16"]), help="Type."
)
@option("--trim-vocabulary", section="Output", is_flag=True, show_default=False, help="Cut the rows that pad it.")
def export(
    checkpoint: str, output: str, tokenizer: str | None, dtype: str, *, trim_vocabulary: bool, as_json: bool
) -> None:
    """Write a checkpoint, or the newest one of a run, as a folder of transformers."""
    from dolma.training import require_torch

    require_torch()
    from dolma.cli.terminal import show_written
    from dolma.training.interop.export import export_checkpoint

    written = export_checkpoint(checkpoint, output, tokenizer=tokenizer, dtype=dtype, trim_vocabulary=trim_vocabulary)
    if written is None:
        say_warnings(["no tokenizer.json was written: there is none beside the token shards; name it by `--tokenizer`"])
    how = f"read it with transformers' AutoModelForCausalLM.from_pretrained({output!r})"
    show_written(output, f"{output}: {how}", as_json=as_json)


SOUP_EXAMPLE = """
dolma train soup runs/quickstart/train/step150 runs/quickstart/train/step300 --output runs/soup
"""


@command.command("soup", cls=ManualCommand, example=SOUP_EXAMPLE)
@click.argument("checkpoints", type=click.Path(), metavar="CHECKPOINT...", nargs=-1, required=True)
@option("-o", "--output", section="Output", metavar="DIR", required=True, help="Folder to write, new or empty.")
def soup(checkpoints: tuple[str, ...], output: str, *, as_json: bool) -> None:
    """Write the mean of several checkpoints' weights as a checkpoint, `DIR/step0`."""
    from dolma.training import require_torch

    require_torch()
    from dolma.cli.terminal import show_written
    from dolma.training.soup import soup as mean

    written = mean(checkpoints, output)
    show_written(written, written, as_json=as_json)
