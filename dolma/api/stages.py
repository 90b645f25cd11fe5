"""The stages as functions: each does what its command does, and returns a report where the command prints one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from dolma.api.arguments import as_arguments, documents_of
from dolma.api.log import LOGGER, LogReporter
from dolma.config import Fields, Recipe, config_of, make_recipe, read_recipe
from dolma.errors import ConfigError, did_you_mean
from dolma.graph import node_of
from dolma.pipeline import prepare, run_node, write_recipe_beside
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.stages import PACKAGES, Node, Running, find_stage

if TYPE_CHECKING:
    import pyarrow as pa

    from dolma.dedupers.notes import DedupeNotes
    from dolma.mixers.notes import MixNotes
    from dolma.removal.receipt import Receipt
    from dolma.removal.shards import How
    from dolma.stats.statistics import Statistics
    from dolma.taggers.tag import TagDetails
    from dolma.tokens.tokenize import TokenizeNotes
    from dolma.training.trainer import TrainResult
    from dolma.verification import Verification

Function = TypeVar("Function", bound=Callable[..., Any])
Patterns = str | Sequence[str]
Settings = Mapping[str, Any]

_OF_RECIPE = [name for name in Recipe.__struct_fields__ if name not in ("fields", "documents", "stages", *PACKAGES)]
_OF_RUN = [name for name in RunOptions.__struct_fields__ if name not in (*_OF_RECIPE, "progress")]


def _accepting(stage: str) -> Callable[[Function], Function]:
    """Give a function the signature that its settings make: for `help` and completion."""

    def wrap(function: Function) -> Function:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {parameter.name for parameter in own}
        settings = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in _settings_of(stage).items()
            if name not in taken
        ]
        function.__signature__ = inspect.Signature([*own, *settings])  # type: ignore[attr-defined]
        return function

    return wrap


def _settings_of(stage: str) -> dict[str, Any]:
    """The names that a stage takes, and their defaults; None where a default depends on something."""
    structs: list[type[msgspec.Struct]] = [*_section(stage), Fields, Recipe, RunOptions]
    defaults: dict[str, Any] = {}
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            wanted = struct is not Recipe or field.name in _OF_RECIPE
            if wanted and (struct is not RunOptions or field.name in _OF_RUN):
                value = field.default if field.default is not msgspec.NODEFAULT else None
                defaults.setdefault(_argument(stage, struct, field.name), value)
    return {**defaults, "recipe": None}


def _argument(stage: str, struct: type, key: str) -> str:
    """What a key of a stage is called as an argument: `attributes` is the folder everywhere, `sets` are names."""
    return "sets" if key == "attributes" and struct in _section(stage) else key


def _section(stage: str) -> list[type[msgspec.Struct]]:
    """The settings that are this stage's own; `run` has none."""
    return [config_of(stage)] if stage in PACKAGES else []


@overload
def tag(
    documents: Patterns | None = None,
    *,
    taggers: Sequence[Any] | str | None = None,
    texts: None = None,
    attributes: str | None = None,
    **settings: Any,
) -> StageReport[TagDetails]: ...


@overload
def tag(*, taggers: Sequence[Any] | str | None = None, texts: Iterable[str], **settings: Any) -> pa.Table: ...


@_accepting("tag")
def tag(
    documents: Patterns | None = None,
    *,
    taggers: Sequence[Any] | str | None = None,
    texts: Iterable[str] | None = None,
    attributes: str | None = None,
    **settings: Any,
) -> StageReport[TagDetails] | pa.Table:
    """Measure documents, as `dolma tag` does; or `texts`, without files.

    Args:
        documents: patterns, such as `"data/**/*.parquet"`.
        taggers: names (`dolma list` shows them), `"file.py:name"`, or mappings with `use`, `name` and `options`; with
            `texts` also decorated functions.
        texts: strings to measure in this process.
        attributes: the folder to write to; None: beside each `documents` folder.
        settings: other keys of `tag` and of a recipe; `text`, `id` and `source` name fields of the documents.

    Returns:
        The report; with `texts` a `pyarrow.Table` with a row per text and a column `tagger.output` for each output.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a file or a record cannot be used.
        UnmeasuredError: taggers failed on more documents than `max_errors`.
    """
    chosen = [taggers] if isinstance(taggers, str) or callable(taggers) else taggers
    if texts is None:
        _check_for_files(chosen or (), settings.get("text"))
        return _run("tag", documents, {"taggers": chosen, "attributes": attributes, **settings})
    if documents is not None or attributes is not None:
        raise ConfigError("`texts` was given with `documents` or `attributes`, expected either texts or files")
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f'`texts` is {repr(texts)[:100]}, expected several texts\n  such as texts=["one text"]')
    from dolma.api.texts import tag_texts

    return tag_texts(texts, chosen or [], **settings)


def _check_for_files(taggers: Sequence[Any], text: Any) -> None:
    from dolma.taggers.tagger import Tagger

    if text is not None and not isinstance(text, str):
        raise ConfigError(f"`text` is {type(text).__name__}, expected the name of a field\n  did you mean `texts`?")
    made = next((one for one in taggers if callable(one) or isinstance(one, Tagger)), None)
    if made is not None:
        name = getattr(made, "name", getattr(made, "__name__", type(made).__name__))
        raise ConfigError(
            f"the tagger {name!r} is an object, which works with `texts` only: a run over files is recorded by name"
            f'\n  name the file that makes it: taggers=["FILE.py:{name}"]'
        )


@overload
def dedupe(
    documents: Patterns | None = None, *, attributes: str | None = None, recipe: None = None, **settings: Any
) -> StageReport[DedupeNotes]: ...


@overload
def dedupe(
    documents: Patterns | None = None, *, attributes: str | None = None, recipe: str | Settings, **settings: Any
) -> StageReport[DedupeNotes] | list[StageReport[DedupeNotes]]: ...


@_accepting("dedupe")
def dedupe(
    documents: Patterns | None = None,
    *,
    attributes: str | None = None,
    recipe: str | Settings | None = None,
    **settings: Any,
) -> StageReport[DedupeNotes] | list[StageReport[DedupeNotes]]:
    """Find copies, as `dolma dedupe` does; arguments are those of `tag` and the keys of `dedupe`.

    Returns:
        The report; of a recipe with several `dedupe` sections a list of theirs.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a file or a record cannot be used.
    """
    return _run("dedupe", documents, {"attributes": attributes, "recipe": recipe, **settings})


@_accepting("mix")
def mix(
    documents: Patterns | None = None, *, output: str | None = None, attributes: str | None = None, **settings: Any
) -> StageReport[MixNotes]:
    """Write the documents that rules keep, as `dolma mix` does; `sets` names the attribute sets that rules may use.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a file or a record cannot be used.
    """
    return _run("mix", documents, {"output": output, "attributes": attributes, **settings})


@_accepting("tokenize")
def tokenize(
    documents: Patterns | None = None, *, tokenizer: str | None = None, output: str | None = None, **settings: Any
) -> StageReport[TokenizeNotes]:
    """Write token shards, as `dolma tokenize` does; `tokenizer` is the path of a `tokenizer.json`.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a file or a record cannot be used.
    """
    return _run("tokenize", documents, {"output": output, "tokenizer": tokenizer, **settings})


@_accepting("train")
def train(tokens: str | None = None, *, output: str | None = None, **settings: Any) -> StageReport[TrainResult]:
    """Train a model on a folder of token shards, as `dolma train` does.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a shard or a checkpoint cannot be used.
    """
    return _run("train", None, {"output": output, **settings}, tokens=tokens)


@_accepting("stat")
def stat(
    documents: Patterns | None = None, *, output: str | None = None, attributes: str | None = None, **settings: Any
) -> StageReport[Statistics]:
    """Count documents and describe attributes per source, as `dolma stat` does; `sets` names the attribute sets.

    Raises:
        ConfigError: something asked for cannot be done.
        DataError: a file or a record cannot be used.
    """
    return _run("stat", documents, {"output": output, "attributes": attributes, **settings})


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of a stage that has none above: its command's, with its settings as arguments."""
    if name not in PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return function_of_stage(name)


def function_of_stage(name: str) -> Callable[..., Any]:
    """A function that does what the command of a stage does, and returns its report."""

    @_accepting(name)
    def function(documents: Patterns | None = None, **settings: Any) -> Any:
        return _run(name, documents, settings)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = inspect.cleandoc(find_stage(name).manual.help)
    return function


@as_arguments()
def verify(
    *folders: str,
    documents: Patterns | None = None,
    attributes: str | None = None,
    recipe: str | Settings | None = None,
    deep: bool = False,
) -> Verification:
    """Check finished outputs against their manifests, as `dolma verify` does; the result's `problems` are lines.

    `deep`: outputs are made again in a temporary folder, and compared.

    Raises:
        ConfigError: there is nothing to check.
    """
    from dolma.verification import verify as verify_folders

    overrides = {"documents": None if documents is None else documents_of(documents), "attributes": attributes}
    given = {key: value for key, value in overrides.items() if value is not None}
    return verify_folders(list(folders), _recipe(recipe, given), deep=deep)


@as_arguments()
def takedown(
    *folders: str,
    ids: str | None = None,
    domains: str | None = None,
    rule: str | None = None,
    with_cluster: str | Sequence[str] = (),
    url_field: str | Sequence[str] = (),
    recipe: str | Settings | None = None,
    documents: Patterns | None = None,
    attributes: str | None = None,
    read_only: str | Sequence[str] = (),
    tokens: How = "pad",
    dry_run: bool = False,
) -> Receipt:
    """Take documents out of everything that a recipe has written, or that lies in folders, as `dolma takedown` does.

    Args:
        folders: folders to look in, beside those of the recipe.
        ids: a file with an id on each line.
        domains: a file with a domain on each line; documents whose URL is of it, or of a subdomain, go.
        rule: a condition in SQL over attributes and fields, as a mix has them; documents of which it is true go.
        with_cluster: attributes of clusters, such as `near.cluster`, which go whole.
        url_field: where records have their URL; none: `metadata.url` and `url`.
        recipe: the path of a recipe file, or the same as a mapping.
        documents: patterns of documents, if not the recipe's.
        attributes: the folder of their attributes.
        read_only: patterns and folders of document files that stay as they are.
        tokens: `"pad"`: tokens become padding in their place; `"rewrite"`: shards are written again without them.
        dry_run: say what would go, and touch nothing.

    Returns:
        The receipt, with `to_dict()` and `tables()`.

    Raises:
        ConfigError: nothing is found, or a folder is in use.
        DataError: a file has changed since its stage wrote it, or cannot be read.
    """
    from dolma.removal.asked import read_asked
    from dolma.removal.takedown import takedown as take_down

    overrides = {"documents": None if documents is None else documents_of(documents), "attributes": attributes}
    given = {key: value for key, value in overrides.items() if value is not None}
    asked = read_asked(ids=ids, domains=domains, rule=rule, clusters=_several(with_cluster), urls=_several(url_field))
    made = _recipe(recipe, given)
    return take_down(made, list(folders), asked, read_only=_several(read_only), tokens=tokens, dry_run=dry_run)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@_accepting("run")
@as_arguments()
def run(
    recipe: str | Settings,
    *,
    output: str | None = None,
    start: str | None = None,
    only: Sequence[str] = (),
    **settings: Any,
) -> dict[str, list[StageReport[Any]]]:
    """Run the stages of a recipe in order, as `dolma run` does; only what changed runs again.

    Args:
        recipe: the path of a recipe file, or the same as a mapping.
        output: the folder for everything; None: the recipe's.
        start: the first stage to run, with those that read what it writes (`--from`).
        only: names of the stages to run.
        settings: keys of a recipe outside of its stages; `text`, `id` and `source`; `overwrite`.

    Returns:
        The reports of each stage that ran, by the stage's name.

    Raises:
        ConfigError: something asked for cannot be done, or finished outputs would be replaced without `overwrite`.
        DataError: a file or a record cannot be used.
    """
    overrides, options = _sorted("run", {"output": output, **settings})
    made = _recipe(recipe, overrides)
    run = prepare(made, start=start, only=only)
    for doubt in run.doubts:
        LOGGER.warning("%s", doubt)
    overwrite = bool(options.get("overwrite"))
    reports: dict[str, list[StageReport[Any]]] = {}

    def running(*, replaces: bool) -> Running:
        return Running(options=_options(made, {**options, "overwrite": replaces}), reporter=LogReporter())

    found = run.go(lambda node, replaces: run_node(node, running(replaces=replaces)), overwrite=overwrite)
    for node, report in found:
        reports.setdefault(node.name, []).append(report)
        _warn(report)
    run.accept(reports)
    return reports


@as_arguments()
def _run(stage: str, documents: Patterns | None, given: Settings, *, tokens: str | None = None) -> Any:
    overrides, options = _sorted(stage, given)
    output = overrides.pop("output", None)
    if documents is not None:
        overrides["documents"] = documents_of(documents)
    recipe = _recipe(given.get("recipe"), overrides)
    if stage not in recipe.given:
        recipe = _recipe(given.get("recipe"), overrides | {stage: {}})
    node = node_of(recipe, stage, output=output, tokens=tokens)
    running = Running(options=_options(recipe, options), reporter=LogReporter())
    reports = [_checked(report, node, recipe) for report in run_node(node, running)]
    return reports[0] if len(reports) == 1 else reports


def _checked(report: StageReport[Any], node: Node, recipe: Recipe) -> StageReport[Any]:
    write_recipe_beside(recipe, report)
    _warn(report)
    report.check_skipped(recipe.max_errors)
    node.accept(report, recipe.max_errors)
    return report


def _warn(report: StageReport[Any]) -> None:
    for warning in report.warnings:
        LOGGER.warning("%s: %s", report.label, warning)


def _recipe(base: str | Settings | None, overrides: Settings) -> Recipe:
    return read_recipe(base, overrides) if isinstance(base, str) else make_recipe(base or {}, overrides)


def _options(recipe: Recipe, options: Settings) -> RunOptions:
    same = {name: getattr(recipe, name) for name in RunOptions.__struct_fields__ if name in _OF_RECIPE}
    return RunOptions.of(**same, **options)


def _sorted(stage: str, given: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments as keys of a recipe, and as options of the run; those that are None are left out."""
    overrides: dict[str, Any] = {}
    options: dict[str, Any] = {}
    of_stage = {_argument(stage, section, key): key for section in _section(stage) for key in section.__struct_fields__}
    for name, value in given.items():
        if value is None or name == "recipe":
            continue
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if name in of_stage:
            overrides[f"{stage}.{of_stage[name]}"] = value
        elif name in Fields.__struct_fields__:
            overrides[f"fields.{name}"] = value
        elif name in _OF_RECIPE:
            overrides[name] = documents_of(value, "exclude") if name == "exclude" else value
        elif name in _OF_RUN:
            options[name] = value
        else:
            takes = [*_settings_of(stage), "documents", "texts", "tokens"]
            raise ConfigError(f"dolma.{stage} has no argument {name!r}; {did_you_mean(name, takes)}")
    return overrides, options
