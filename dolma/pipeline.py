"""From a recipe to its stages: which folder each reads and writes, and the order of `dolma run`.

    documents -> tag, dedupe -> <output>/attributes -> mix -> <output>/mixed -> tokenize -> <output>/tokens
    -> train -> <output>/train;  stat -> <output>/stat

A recipe without `mix` tokenizes its documents as they are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dolma.config import STAGES, Recipe
from dolma.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.dataset import Dataset
    from dolma.data.documents import Reading
    from dolma.mixers.notes import MixNotes
    from dolma.runner.options import RunOptions
    from dolma.runner.progress import Reporter
    from dolma.runner.report import StageReport
    from dolma.training.config import TrainConfig

FOLDERS = {
    "tag": "attributes",
    "dedupe": "attributes",
    "mix": "mixed",
    "tokenize": "tokens",
    "train": "train",
    "stat": "stat",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How stages are run: nothing here changes a byte of output."""

    options: RunOptions
    reporter: Reporter | None = None
    on_step: Callable[..., None] | None = None  # told of each training step
    stop: Callable[[], bool] | None = None  # asked after each training step whether to save and end
    tokens: str | None = None  # token shards to train on, if not the recipe's


def stages_of(recipe: Recipe) -> list[str]:
    """The stages that the recipe has, in the order in which they run."""
    return [stage for stage in STAGES if getattr(recipe, stage) is not None]


def folder_of(recipe: Recipe, stage: str) -> str:
    """The folder that a stage of this recipe writes to.

    Raises:
        ConfigError: the recipe names no output folder.
    """
    from dolma.data import streams

    if recipe.output is None:
        raise ConfigError(f"`{stage}` needs to know where to write\n  give `--output DIR`, or `output:` in the recipe")
    return streams.join(recipe.output, FOLDERS[stage])


def reading_of(recipe: Recipe) -> Reading:
    """How the recipe's records are read."""
    from dolma.data import streams
    from dolma.data.documents import Reading

    quarantine = recipe.quarantine
    if recipe.on_error == "quarantine" and quarantine is None:
        if recipe.output is None:
            raise ConfigError("on_error `quarantine` needs a folder\n  give `--quarantine DIR`", path="$.quarantine")
        quarantine = streams.join(recipe.output, "quarantine")
    return Reading(
        text=recipe.fields.text,
        id=recipe.fields.id,
        source=recipe.fields.source,
        on_error=recipe.on_error,
        quarantine=quarantine,
        invalid_unicode=recipe.invalid_unicode,
        max_line_bytes=recipe.max_line_bytes,
    )


def dataset_of(recipe: Recipe, *, output: str | None = None) -> Dataset:
    """The recipe's documents and where their attributes lie; `output` is a folder that the stage writes to.

    What the recipe and the stage write is never read as documents.
    """
    from dolma.data import streams
    from dolma.data.dataset import Dataset

    attributes = recipe.attributes
    if attributes is None and recipe.output is not None:
        attributes = streams.join(recipe.output, FOLDERS["tag"])
    written = (recipe.output, attributes, recipe.quarantine, output)
    return Dataset(
        documents=tuple(recipe.documents),
        attributes=attributes,
        exclude=tuple(recipe.exclude),
        outputs=tuple(folder for folder in written if folder is not None),
    )


def mixed_dataset_of(recipe: Recipe, *, output: str | None = None) -> Dataset:
    """What `tokenize` reads: the mixed documents, or the recipe's own when it does not mix."""
    from dolma.data import streams
    from dolma.data.dataset import Dataset

    if recipe.mix is None or recipe.output is None:
        return dataset_of(recipe, output=output)
    return Dataset(documents=(streams.join(folder_of(recipe, "mix"), "documents"),))


def input_of(recipe: Recipe, stage: str, *, output: str | None = None) -> Dataset:
    """The documents that a stage reads."""
    return (mixed_dataset_of if stage == "tokenize" else dataset_of)(recipe, output=output)


def run_stage(recipe: Recipe, stage: str, running: Running, *, output: str | None = None) -> Iterator[StageReport[Any]]:
    """Run one stage of the recipe (`dedupe` may have several parts); `output` is its folder if not the recipe's."""
    from dolma.runner.local import refuse_while_starting_up

    refuse_while_starting_up()
    yield from _RUNNERS[stage](recipe, running, output)


def check(recipe: Recipe) -> None:
    """Return when nothing about the recipe can be seen to be wrong before data is read.

    Rules are checked against what the recipe's own taggers and dedupes declare, whether or not they have run.

    Raises:
        ConfigError: something is; carries the key's path.
    """
    dataset = dataset_of(recipe)
    if recipe.documents:
        dataset.shards()
    declared: dict[str, Mapping[str, Output]] = {}
    if recipe.tag is not None:
        from dolma.taggers.limits import outputs_of as outputs_with_error
        from dolma.taggers.registry import make_taggers

        declared |= {tagger.name: outputs_with_error(tagger) for tagger in make_taggers(recipe.tag.taggers)}
    if recipe.dedupes:
        from dolma.dedupers.exact import outputs_of

        twice = next((config.name for config in recipe.dedupes if config.name in declared), None)
        if twice is not None:
            raise ConfigError(f"a tagger is called {twice!r} too\n  give this a `name` of its own", path="$.dedupe")
        declared |= {config.name: outputs_of(config) for config in recipe.dedupes}
    if recipe.mix is not None:
        from dolma.mixers.mix import check as check_mix

        check_mix(dataset, recipe.mix, declared=declared)
    if recipe.tokenize is not None:
        from dolma.tokens.encoder import encoder_of
        from dolma.tokens.tokenizer import read_facts

        facts = read_facts(recipe.tokenize)
        encoder_of(facts, allow_special_tokens=recipe.tokenize.allow_special_tokens)
    if recipe.train is not None:
        from dolma.training import require_torch
        from dolma.training.presets import resolve_model

        resolve_model(recipe.train.model)
        _check_token_folders(recipe, recipe.train)
        require_torch()


def _check_token_folders(recipe: Recipe, train: TrainConfig) -> None:
    """Return when every folder of token shards that a mixture or an evaluation names is there, or is yet to be made."""
    stages = [("$.train", train.sources), *((f"$.train.stages[{i}]", s.sources) for i, s in enumerate(train.stages))]
    named = [
        (f"{path}.sources.{name}.tokens", source.tokens)
        for path, sources in stages
        for name, source in (sources or {}).items()
    ]
    if train.evaluate is not None:
        named += [(f"$.train.evaluate.sources.{name}", tokens) for name, tokens in train.evaluate.sources.items()]
    for path, tokens in named:
        for folder in [tokens] if isinstance(tokens, str) else tokens:
            made_here = recipe.output is not None and f"{folder}/".startswith(f"{recipe.output.rstrip('/')}/")
            if "://" in folder or made_here or os.path.exists(folder):
                continue
            parent, name = os.path.split(folder.rstrip("/"))
            beside = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
            near = f"\n  {did_you_mean(name, beside)}" if beside else ""
            raise ConfigError(f"no such folder of token shards: {folder}{near}", path=path)


def check_first_pass(recipe: Recipe, report: StageReport[Any]) -> None:
    """Return when the mix's sources and shares fit the account of a stage that has read all documents.

    Raises:
        ConfigError: they do not; carries the key's path.
    """
    if recipe.mix is None or report.stage not in ("tag", "dedupe"):
        return
    from dolma.mixers.sampling import check_corpus

    check_corpus(recipe.mix, report.ledger)


def doubts(recipe: Recipe) -> list[str]:
    """What seems wrong with the sources of a mix before the documents are read, in words.

    Raises:
        ConfigError: the documents have been seen to their ends, and a source is not among them.
    """
    if recipe.mix is None or not recipe.documents:
        return []
    from dolma.mixers.subject import doubtful_sources

    return doubtful_sources(dataset_of(recipe), recipe.mix, reading_of(recipe))


KEPT = ("mix", "tokenize", "train")
"""Stages whose finished outputs `dolma run` replaces only when told to."""


def made_again(recipe: Recipe) -> dict[str, str]:
    """Which of the `KEPT` stages have finished outputs that a run of this recipe would replace, and why.

    Reads no document. What cannot be seen without reading, such as another file of the same size, is found by the stage
    itself, which then refuses.
    """
    from dolma.data import streams

    stages = [stage for stage in stages_of(recipe) if stage in KEPT and streams.list_files(folder_of(recipe, stage))]
    found: dict[str, str] = {}
    if "mix" in stages and (why := _mixed_again(recipe)):
        found["mix"] = why
    if "tokenize" in stages and (why := _tokenized_again(recipe, mixed_again="mix" in found)):
        found["tokenize"] = why
    if "train" in stages and "tokenize" in found:
        found["train"] = "its tokens are made again"
    return found


def made_otherwise(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The finished folders below the output that were made with other settings than these, and the differences.

    Imports no tagger; a stage that cannot be asked, as its documents or its tokenizer are gone, is passed over.
    """
    from dolma.dedupers.exact import made_again as deduped
    from dolma.errors import DolmaError
    from dolma.mixers.mix import made_again as mixed
    from dolma.tokens.tokenize import made_again as tokenized

    reading, seed = reading_of(recipe), recipe.seed
    asked: list[tuple[str, Callable[[], str]]] = []
    for config in recipe.dedupes if recipe.attributes is None else ():
        ask = functools.partial(deduped, config=config, reading=reading)
        asked.append((f"{FOLDERS['dedupe']}/{config.name}", lambda ask=ask: ask(dataset_of(recipe))))  # type: ignore[misc]
    if (mix := recipe.mix) is not None:
        home = folder_of(recipe, "mix")
        asked.append((FOLDERS["mix"], lambda: mixed(dataset_of(recipe), mix, output=home, reading=reading, seed=seed)))
    if (tokens := recipe.tokenize) is not None:
        output = folder_of(recipe, "tokenize")
        asked.append(
            (
                FOLDERS["tokenize"],
                lambda: tokenized(mixed_dataset_of(recipe), tokens, output=output, reading=reading, seed=seed),
            )
        )
    for folder, ask_why in asked:
        try:
            why = ask_why()
        except DolmaError:
            continue
        if why and not why.startswith("input "):  # documents may have changed since
            yield folder, why


def _mixed_again(recipe: Recipe) -> str:
    from dolma.data.manifest import read_manifest
    from dolma.mixers.mix import made_again

    assert recipe.mix is not None
    folder, dataset, reading = folder_of(recipe, "mix"), dataset_of(recipe), reading_of(recipe)
    if why := made_again(dataset, recipe.mix, output=folder, reading=reading, seed=recipe.seed):
        return why
    manifest = read_manifest(folder)
    names = [file.name for file in manifest.inputs] if manifest is not None else []
    used = {name.split("/")[1] for name in names if name.startswith("attributes/")}
    again = {name: why for name, why in _measured_again(recipe).items() if name in used}
    return next((f"its attributes {name!r} are made again: {why}" for name, why in again.items()), "")


def _measured_again(recipe: Recipe) -> dict[str, str]:
    dataset, reading = dataset_of(recipe), reading_of(recipe)
    found: dict[str, str] = {}
    if recipe.tag is not None:
        from dolma.taggers.tag import made_again as tagged_again

        found |= tagged_again(dataset, recipe.tag, reading=reading)
    for config in recipe.dedupes:
        from dolma.dedupers.exact import made_again as deduped_again

        if why := deduped_again(dataset, config, reading=reading):
            found[config.name] = why
    return found


def _tokenized_again(recipe: Recipe, *, mixed_again: bool) -> str:
    from dolma.tokens.tokenize import made_again

    assert recipe.tokenize is not None
    if mixed_again:
        return "its documents are mixed again"
    if waits_for(recipe, "tokenize"):
        return ""
    folder, dataset, reading = folder_of(recipe, "tokenize"), mixed_dataset_of(recipe), reading_of(recipe)
    return made_again(dataset, recipe.tokenize, output=folder, reading=reading, seed=recipe.seed)


def plan_stage(recipe: Recipe, stage: str, *, output: str | None = None) -> list[dict[str, Any]]:
    """What the stage would do, as plain rows; reads no text and writes nothing."""
    if stage == "tag":
        from dolma.taggers.tag import plan as plan_tag

        assert recipe.tag is not None
        return list(plan_tag(dataset_of(recipe), recipe.tag, reading=reading_of(recipe)))
    if stage == "dedupe":
        from dolma.dedupers.exact import plan as plan_dedupe

        dataset, reading = dataset_of(recipe), reading_of(recipe)
        return [row for config in recipe.dedupes for row in plan_dedupe(dataset, config, reading=reading)]
    if stage == "mix":
        from dolma.mixers.mix import plan as plan_mix

        assert recipe.mix is not None
        folder = output or folder_of(recipe, "mix")
        return list(
            plan_mix(
                dataset_of(recipe, output=folder),
                recipe.mix,
                output=folder,
                reading=reading_of(recipe),
                seed=recipe.seed,
            )
        )
    if stage == "tokenize":
        from dolma.tokens.tokenize import plan as plan_tokenize

        assert recipe.tokenize is not None
        folder = output or folder_of(recipe, "tokenize")
        dataset, reading = mixed_dataset_of(recipe, output=folder), reading_of(recipe)
        return list(plan_tokenize(dataset, recipe.tokenize, output=folder, reading=reading, seed=recipe.seed))
    if stage == "stat":
        from dolma.stats.stat import plan as plan_stat

        assert recipe.stat is not None
        home = output or (folder_of(recipe, "stat") if recipe.output is not None else None)
        return list(plan_stat(dataset_of(recipe, output=home), recipe.stat, output=home, reading=reading_of(recipe)))
    assert recipe.train is not None
    settings = msgspec.to_builtins(recipe.train)
    return [{"input": folder_of(recipe, "tokenize"), "output": output or folder_of(recipe, "train"), **settings}]


def waits_for(recipe: Recipe, stage: str) -> list[str]:
    """The stages of the recipe whose outputs this one reads, and that have not been run."""
    from dolma.data import streams
    from dolma.data.manifest import read_manifest

    if stage == "mix":
        measured = [name for name in ("tag", "dedupe") if getattr(recipe, name) is not None]
        return [name for name in measured if not all(streams.exists(row["output"]) for row in plan_stage(recipe, name))]
    before = {"tokenize": "mix", "train": "tokenize"}.get(stage, "")
    if not before or getattr(recipe, before) is None or read_manifest(folder_of(recipe, before)) is not None:
        return []
    return [before]


def preview_mix(recipe: Recipe, running: Running) -> StageReport[MixNotes]:
    """What `mix` would drop and keep, by rule and source; reads documents, writes none."""
    from dolma.mixers.mix import preview

    assert recipe.mix is not None
    return preview(
        dataset_of(recipe),
        recipe.mix,
        reading=reading_of(recipe),
        options=running.options,
        seed=recipe.seed,
        reporter=running.reporter,
    )


def _run_tag(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.taggers.tag import tag

    assert recipe.tag is not None
    dataset = dataset_of(recipe)
    report = tag(dataset, recipe.tag, reading=reading_of(recipe), options=running.options, reporter=running.reporter)
    yield report


def _run_dedupe(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.dedupers.exact import dedupe

    dataset = dataset_of(recipe)
    for config in recipe.dedupes:
        report = dedupe(dataset, config, reading=reading_of(recipe), options=running.options, reporter=running.reporter)
        yield report


def _run_mix(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.mixers.mix import mix

    assert recipe.mix is not None
    folder = output or folder_of(recipe, "mix")
    report = mix(
        dataset_of(recipe, output=folder),
        recipe.mix,
        output=folder,
        reading=reading_of(recipe),
        options=running.options,
        seed=recipe.seed,
        reporter=running.reporter,
    )
    yield report


def _run_tokenize(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.tokens.tokenize import tokenize

    assert recipe.tokenize is not None
    folder = output or folder_of(recipe, "tokenize")
    report = tokenize(
        mixed_dataset_of(recipe, output=folder),
        recipe.tokenize,
        output=folder,
        reading=reading_of(recipe),
        options=running.options,
        seed=recipe.seed,
        reporter=running.reporter,
    )
    yield report


def _run_stat(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.stats.stat import stat

    assert recipe.stat is not None
    config = recipe.stat
    folder = output or (folder_of(recipe, "stat") if recipe.output is not None else None)
    if config.tokens is None and recipe.output is not None and recipe.tokenize is not None:
        config = msgspec.structs.replace(config, tokens=folder_of(recipe, "tokenize"))
    report = stat(
        dataset_of(recipe, output=folder),
        config,
        output=folder,
        reading=reading_of(recipe),
        options=running.options,
        reporter=running.reporter,
    )
    yield report


def _run_train(recipe: Recipe, running: Running, output: str | None) -> Iterator[StageReport[Any]]:
    from dolma.runner.report import StageReport
    from dolma.training import train

    assert recipe.train is not None
    folder = output or folder_of(recipe, "train")
    report = train(
        recipe.train,
        tokens=running.tokens or folder_of(recipe, "tokenize"),
        output=folder,
        overwrite=running.options.overwrite,
        progress=running.on_step,
        stop=running.stop,
    )
    yield StageReport(
        stage="train",
        name="train",
        folder=folder,
        complete_before=report.already_complete,
        warnings=report.warnings,
        done=(
            f"{report.steps:,} steps, {report.tokens:,} tokens, "
            f"loss {report.first_loss:.3f} -> {report.last_loss:.3f}, {report.checkpoint}"
        ),
        stopped=f"stopped after step {report.steps:,}, saved in {report.checkpoint}" if report.stopped else "",
        details=report,
    )


_RUNNERS = {
    "tag": _run_tag,
    "dedupe": _run_dedupe,
    "mix": _run_mix,
    "tokenize": _run_tokenize,
    "train": _run_train,
    "stat": _run_stat,
}


def write_recipe(recipe: Recipe) -> bool:
    """Write the resolved recipe into its output folder; whether the folder is ours to rewrite.

    It is when it is empty or absent, or already holds a recipe: then measurements and statistics of other settings may
    be replaced. What `KEPT` stages wrote is replaced only when told to.
    """
    from dolma.config import dump_recipe
    from dolma.data import streams
    from dolma.data.manifest import RECIPE

    assert recipe.output is not None
    path = streams.join(recipe.output, RECIPE)
    empty = not streams.list_files(recipe.output)  # looked at first: another shard may be writing the recipe
    there = streams.read_bytes(path) if streams.exists(path) else None
    ours = empty or there is not None
    if ours and there != (resolved := dump_recipe(recipe)):
        streams.write_bytes(path, resolved)
    return ours


def writes_within_output(recipe: Recipe, stage: str) -> bool:
    """Whether the stage writes below the recipe's output folder; attributes may lie elsewhere, for other runs too."""
    if stage not in ("tag", "dedupe") or recipe.attributes is None:
        return True
    output, attributes = (
        os.path.abspath(path) if "://" not in path else path for path in (recipe.output or "", recipe.attributes)
    )
    return f"{attributes}/".startswith(f"{output.rstrip('/')}/")


def write_recipe_beside(recipe: Recipe, report: StageReport[Any]) -> None:
    """Write the resolved recipe beside what a single command wrote, unless it was there already."""
    from dolma.config import dump_recipe
    from dolma.data import streams
    from dolma.data.manifest import RECIPE

    for manifest in report.manifests:
        path = streams.join(manifest.rpartition("/")[0], RECIPE)
        # A stage that was complete before may have been killed just before its recipe was written.
        if not (report.complete_before and (_belongs_to_run(recipe) or streams.exists(path))):
            streams.write_bytes(path, dump_recipe(recipe))


def _belongs_to_run(recipe: Recipe) -> bool:
    from dolma.data import streams
    from dolma.data.manifest import RECIPE

    return recipe.output is not None and streams.exists(streams.join(recipe.output, RECIPE))
