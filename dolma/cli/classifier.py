"""`dolma classifier`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.options import FiniteRange, ManualCommand, ManualGroup, option
from dolma.cli.printing import print_json, say
from dolma.cli.session import say_left_out
from dolma.errors import ConfigError
from dolma.printable import counted, printable

if TYPE_CHECKING:
    from dolma.classifier.judging import Judgement
    from dolma.classifier.labelled import Labelled


_MOST = 2**31 - 1
"""The greatest number that fastText takes."""

EXAMPLE = """
dolma classifier train --rule 'long=length.words > 200' --rule 'short=length.words <= 200' \\
    --documents 'data/sample/*/documents/*' --attributes runs/quickstart/attributes \\
    --dim 8 --buckets 10000 --output runs/long.bin
"""


@click.group("classifier", cls=ManualGroup, example=EXAMPLE)
def command() -> None:
    """Train a fastText classifier on documents whose class is known, or see how good one is.

    A document's class is where it comes from (--class good='wiki/documents/*' --class bad='crawl/documents/*') or the
    first rule that holds for it (--documents 'crawl/documents/*' --rule good='gopher.word_count > 500' --rule ...).
    The model is then a tagger: `use: fasttext`, with `options: {path: MODEL}`.
    """


_LABELLED_OPTIONS = (
    option(
        "--class",
        "classes",
        section="Classes by source",
        metavar="NAME=PATTERN",
        multiple=True,
        help="Documents of a class: files, URLs or patterns. Repeatable, also for one class.",
    ),
    option(
        "--positive",
        section="Classes by source",
        metavar="PATTERN",
        multiple=True,
        help="Short for --class positive=PATTERN. Repeatable.",
    ),
    option(
        "--negative",
        section="Classes by source",
        metavar="PATTERN",
        multiple=True,
        help="Short for --class negative=PATTERN. Repeatable.",
    ),
    option(
        "--rule",
        "rules",
        section="Classes by rule",
        metavar="NAME=RULE",
        multiple=True,
        help="SQL over attributes, as in `mix`; the first that holds is the class. Repeatable.",
    ),
    option(
        "--documents",
        section="Classes by rule",
        metavar="PATTERN",
        multiple=True,
        help="Document files that the rules are about. Repeatable.",
    ),
    option(
        "--attributes",
        section="Classes by rule",
        metavar="DIR",
        help="Folder of attributes.  [default: beside each `documents` folder]",
    ),
    option(
        "--exclude",
        section="Records",
        metavar="PATTERN",
        multiple=True,
        help="Files and folders that are no documents, by name or, with a slash, by path. Repeatable.",
    ),
    option("--text-field", section="Records", default="text", metavar="NAME", help="Field of the text."),
    option("--id-field", section="Records", default="id", metavar="NAME", help="Field of the id."),
)


def labelled_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which documents, and of which class."""
    for decorate in reversed(_LABELLED_OPTIONS):
        function = decorate(function)
    return function


TRAIN_EXAMPLE = """
dolma classifier train --positive 'data/sample/books/documents/*' --negative 'data/sample/code/documents/*' \\
    --dim 8 --buckets 10000 --epochs 20 --output runs/prose.bin
"""


@command.command("train", cls=ManualCommand, example=TRAIN_EXAMPLE)
@labelled_options
@option(
    "-o", "--output", section="Output", metavar="FILE.bin", required=True, help="The model; beside it FILE.bin.json."
)
@option("--overwrite", section="Output", is_flag=True, show_default=False, help="Replace a model that is there.")
@option(
    "--per-class",
    section="Documents",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take N documents of each class.  [default: as many as the smallest class has]",
)
@option("--all", "everything", section="Documents", is_flag=True, show_default=False, help="Take all of every class.")
@option(
    "--held-out",
    section="Documents",
    default=0.1,
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    help="Share of them to judge by, not to train on.",
)
@option(
    "--lower", section="Documents", is_flag=True, show_default=False, help="Lower case only; taggers must do so too."
)
@option("--seed", section="Documents", default=0, type=click.IntRange(0, _MOST), help="Of choices and weights.")
@option("--ngrams", section="Model", default=2, type=click.IntRange(1, 5), help="Longest sequence of words.")
@option("--buckets", section="Model", default=2_000_000, type=click.IntRange(1, _MOST), help="Rows that n-grams share.")
@option("--dim", section="Model", default=100, type=click.IntRange(1, _MOST), help="Numbers per row.")
@option("--epochs", section="Model", default=5, type=click.IntRange(1, _MOST), help="Times to go over the documents.")
@option("--learning-rate", section="Model", default=0.1, type=FiniteRange(0, min_open=True), help="At the start.")
@option("--min-count", section="Model", default=1, type=click.IntRange(1, _MOST), help="A rarer word has no row.")
@option("--min-characters", section="Model", default=0, type=click.IntRange(0, _MOST), help="Shortest part of a word.")
@option(
    "--max-characters", section="Model", default=0, type=click.IntRange(0, _MOST), help="Longest part; 0: no parts."
)
def train(
    classes: tuple[str, ...],
    positive: tuple[str, ...],
    negative: tuple[str, ...],
    rules: tuple[str, ...],
    documents: tuple[str, ...],
    attributes: str | None,
    exclude: tuple[str, ...],
    text_field: str,
    id_field: str,
    output: str,
    *,
    overwrite: bool,
    as_json: bool,
    per_class: int | None,
    everything: bool,
    **model: Any,
) -> None:
    """Train a fastText classifier, and judge it by documents that it was not trained on.

    Same documents, settings and seed: same bytes. The model takes about (words + buckets) x dim x 4 bytes, on disk and
    in memory. What it was trained on and how it did is kept in FILE.bin.json.
    """
    from dolma.classifier.model_card import Settings, card_path
    from dolma.classifier.training import train as train_model

    if everything and per_class is not None:
        raise ConfigError(f"--all and --per-class {per_class} were given, expected one at most\n  leave out either")
    sources = [*classes, *_named("positive", positive), *_named("negative", negative)]
    labelled = _labelled(
        sources, rules, documents, attributes, exclude=exclude, text_field=text_field, id_field=id_field
    )
    settings = Settings(per_class=per_class or 0, balanced=not everything, **model)
    report = train_model(labelled, settings, output=output, overwrite=overwrite)
    if as_json:
        _print_json(report)
        return
    from dolma.cli.tables import print_table

    rows = [(row.label, row.found, row.trained, row.held_out) for row in report.classes]
    print_table(("class", "documents", "trained on", "held out"), rows)
    _print_left_out({"without text": report.blank, "of no class": report.unlabelled})
    _print_judgement(report.held_out)
    say(f"wrote {output} and {card_path(output)}")


EVAL_EXAMPLE = """
dolma classifier eval runs/prose.bin --positive 'data/sample/techdocs/documents/*' \\
    --negative 'data/sample/code/documents/*'
"""


@command.command("eval", cls=ManualCommand, example=EVAL_EXAMPLE)
@click.argument("model", type=click.Path(), metavar="MODEL")
@labelled_options
@option(
    "--only-held-out",
    section="Documents",
    is_flag=True,
    show_default=False,
    help="Leave out the documents that the model was trained on, as MODEL.json tells.",
)
@option("--lower/--no-lower", section="Documents", default=None, show_default=False, help="[default: as in training]")
def evaluate(
    model: str,
    classes: tuple[str, ...],
    positive: tuple[str, ...],
    negative: tuple[str, ...],
    rules: tuple[str, ...],
    documents: tuple[str, ...],
    attributes: str | None,
    exclude: tuple[str, ...],
    text_field: str,
    id_field: str,
    *,
    only_held_out: bool,
    lower: bool | None,
    as_json: bool,
) -> None:
    """Print how good a fastText classifier is on documents whose class is known.

    MODEL is any .bin or .ftz file that has labels of these names, or a URL that `dolma fetch` has fetched.
    """
    from dolma.classifier.evaluation import evaluate as evaluate_model

    sources = [*classes, *_named("positive", positive), *_named("negative", negative)]
    labelled = _labelled(
        sources, rules, documents, attributes, exclude=exclude, text_field=text_field, id_field=id_field
    )
    report = evaluate_model(model, labelled, lower=lower, only_held_out=only_held_out)
    if as_json:
        _print_json(report)
        return
    _print_left_out(
        {"without text": report.blank, "of no class": report.unlabelled, "on the side trained on": report.trained}
    )
    _print_judgement(report.judgement)


def _named(label: str, patterns: Sequence[str]) -> list[str]:
    return [f"{label}={pattern}" for pattern in patterns]


def _labelled(
    sources: Sequence[str],
    rules: Sequence[str],
    documents: Sequence[str],
    attributes: str | None,
    *,
    exclude: Sequence[str],
    text_field: str,
    id_field: str,
) -> Labelled:
    """The documents that the flags name, each with its class.

    Raises:
        ConfigError: both kinds of classes are given, or neither.
    """
    from dolma.classifier.labelled import by_rule, by_source
    from dolma.data.dataset import Dataset
    from dolma.data.documents import Reading

    reading = Reading(text=text_field, id=id_field)
    if rules and sources:
        raise ConfigError(
            "classes were given both by --rule and by source (--class, --positive, --negative), expected one way\n"
            "  leave out either"
        )
    if rules:
        dataset = Dataset(documents=tuple(documents), attributes=attributes, exclude=tuple(exclude))
        say_left_out(dataset)
        return by_rule(dataset, _rules(rules), reading=reading)
    if documents or attributes:
        raise ConfigError(
            "--documents and --attributes were given, which are for classes by rule, and no --rule\n"
            "  add --rule NAME=RULE, or give --class NAME=PATTERN instead"
        )
    if not sources:
        raise ConfigError(
            "no documents were given, expected some of each class\n"
            "  give `--class good=PATTERN --class bad=PATTERN`, or --documents and two of --rule"
        )
    patterns: dict[str, list[str]] = {}
    for given in sources:
        label, pattern = _pair(given, "--class", "good='wiki/documents/*'")
        patterns.setdefault(label, []).append(pattern)
    datasets = {label: Dataset(documents=tuple(some), exclude=tuple(exclude)) for label, some in patterns.items()}
    for dataset in datasets.values():
        say_left_out(dataset)
    return by_source(datasets, reading=reading)


def _rules(given: Sequence[str]) -> dict[str, str]:
    rules: dict[str, str] = {}
    for label, rule in (_pair(one, "--rule", "good='gopher.word_count > 500'") for one in given):
        if label in rules:
            raise ConfigError(
                f"the class {label!r} has two rules, expected one\n"
                f"  join them: --rule '{printable(label)}=({printable(rules[label])}) OR ({printable(rule)})'"
            )
        rules[label] = rule
    return rules


def _pair(given: str, flag: str, example: str) -> tuple[str, str]:
    label, equals, value = (part.strip() for part in given.partition("="))
    if not (label and equals and value):
        raise ConfigError(f"{flag} {printable(given)}: expected NAME=...\n  such as {flag} {example}")
    return label, value


def _print_left_out(counts: dict[str, int]) -> None:
    some = [f"{n:,} {what}" for what, n in counts.items() if n]
    if some:
        say(f"left out: {', '.join(some)}")


def _print_json(report: Any) -> None:
    import msgspec

    print_json(msgspec.json.format(msgspec.json.encode(report)))


def _print_judgement(judgement: Judgement) -> None:
    """Labels, and thresholds of the first one; JSON has those of all."""
    from dolma.cli.tables import print_table

    counts = f"{counted(judgement.documents, 'document')}, accuracy {judgement.accuracy:.3f}"
    print_table(
        ("label", "documents", "given", "precision", "recall", "F1", "AUC"),
        [
            (row.label, row.documents, row.given, *map(_share, (row.precision, row.recall, row.f1, row.auc)))
            for row in judgement.labels
        ],
        title=counts + (f", {judgement.other:,} got none of these labels" if judgement.other else ""),
    )
    first = judgement.labels[0].label
    print_table(
        ("threshold", "kept", "precision", "recall"),
        [
            (row.threshold, *map(_share, (row.kept, row.precision, row.recall)))
            for row in judgement.thresholds
            if row.label == first
        ],
        title=f"score of {first!r} at least",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
