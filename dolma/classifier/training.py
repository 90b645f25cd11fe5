"""`dolma classifier train`: a fastText model from labelled documents, and what it is worth on those held out.

The fastText library trains (Joulin et al. 2016, arXiv:1607.01759), on one thread and from a fixed seed: the same
documents and settings give the same bytes. Lines come shuffled, as it learns from them in order.

DCLM (Li et al. 2024, arXiv:2406.11794, section 4.4) trains such a model on 400,000 documents, half of them
instructions and explanations that people like, half from the crawl, and keeps the tenth of the crawl with the highest
scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from dolma import __version__
from dolma.classifier.examples import Examples, chosen_examples
from dolma.classifier.fitting import fit
from dolma.classifier.judging import judge
from dolma.classifier.labelled import Labelled
from dolma.classifier.model_card import ClassCount, ModelCard, Settings, card_path
from dolma.data import streams
from dolma.data.storage.writing import writing
from dolma.errors import ConfigError, OutputExistsError, WriteError
from dolma.kernels.fasttext import Classifier, Model
from dolma.models.fasttext import read_model
from dolma.printable import printable
from dolma.taggers.fasttext import output_name

_LABEL = re.compile(r"[A-Za-z0-9_.-]+\Z")


def train(labelled: Labelled, settings: Settings, *, output: str, overwrite: bool = False) -> ModelCard:
    """Train a model, write it to `output` and its report beside it; each wholly or not at all, the report last.

    Raises:
        ConfigError: a setting is out of range, classes are too few or too small, or fastText cannot train on them.
        OutputExistsError: `output` or its report is there and `overwrite` is false.
        WriteError: there is no room for the model, or for the lines that it is trained on.
    """
    check_settings(settings)
    check_labels(labelled.labels)
    _check_output(output, overwrite=overwrite)
    with chosen_examples(labelled, settings.choice()) as examples:
        _check_sides(examples)
        with streams.atomic_path(card_path(output)) as report_file, streams.atomic_path(output) as model:
            _train(examples, settings, model=model)
            report = _report(examples, settings, _read(model, output=output), checksum=streams.checksum(model))
            with writing(card_path(output)):
                Path(report_file).write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return report


def check_settings(settings: Settings) -> None:
    """Return when these settings go together.

    Raises:
        ConfigError: they do not; says what was expected.
    """
    if not 0 < settings.held_out < 1:
        raise ConfigError(
            f"held out is {settings.held_out}, expected more than 0 and less than 1\n  give a share such as 0.1"
        )
    if settings.min_characters > settings.max_characters:
        raise ConfigError(
            f"parts of words of {settings.min_characters} to {settings.max_characters} characters, expected the "
            "shortest first\n  give --max-characters too, or neither"
        )


def check_labels(labels: Sequence[str]) -> None:
    """Return when a model can tell these apart, and the tagger can have an output for each.

    Raises:
        ConfigError: they are fewer than two, or cannot be names.
    """
    if len(labels) < 2:
        raise ConfigError(
            f"a classifier tells classes apart, expected two or more, and there is {len(labels) or 'none'}\n"
            "  give `--class good=PATTERN --class bad=PATTERN`, or two of --rule"
        )
    taken = {"top", "top_score"}
    for label in labels:
        if not _LABEL.match(label):
            raise ConfigError(
                f"a class cannot be called {label!r}, expected letters, digits, `_`, `-` and `.`\n  rename it"
            )
        if output_name(label) in taken:
            raise ConfigError(
                f"the class {label!r} would be the output {output_name(label)!r} of the tagger, which is another's, "
                "expected one of its own\n  rename it"
            )
        taken.add(output_name(label))


def _check_output(output: str, *, overwrite: bool) -> None:
    streams.check_writable(output)
    if not output.endswith(".bin"):
        raise ConfigError(f"the output is {output!r}, expected a name that ends in .bin\n  give --output MODEL.bin")
    for path in (output, card_path(output)):
        if not overwrite and streams.exists(path):
            raise OutputExistsError(
                f"{printable(path)} is there already, expected a new name\n  give another --output, or --overwrite"
            )


def _check_sides(examples: Examples) -> None:
    for rows, what in ((examples.trained, "to train on"), (examples.judged, "held out to judge by")):
        for label, n in zip(examples.labels, examples.counts(rows), strict=True):
            if n == 0:
                raise ConfigError(
                    f"the class {label!r} has no document {what}, expected one at least\n"
                    "  give more documents, another --held-out share, or another --seed"
                )


def _train(examples: Examples, settings: Settings, *, model: str) -> None:
    with TemporaryDirectory(prefix="dolma-classifier-") as folder:
        path = Path(folder) / "shuffled"
        with streams.open_output(str(path)) as out:
            for index, line in examples.lines(examples.trained):
                out.write(b"__label__%b %b\n" % (examples.labels[index].encode(), line))
        options = {
            "input": str(path),
            "lr": settings.learning_rate,
            "dim": settings.dim,
            "epoch": settings.epochs,
            "minCount": settings.min_count,
            "wordNgrams": settings.ngrams,
            "bucket": settings.buckets,
            "minn": settings.min_characters,
            "maxn": settings.max_characters,
            "thread": 1,
            "seed": settings.seed,
            "verbose": 0,
        }
        if problem := fit(options, model=model):
            raise ConfigError(
                f"fastText cannot train on these {len(examples.trained):,} documents: {problem}\n"
                "  a lower --learning-rate helps against NaN; fewer --buckets or a lower --dim if memory is short"
            )


def _read(model: str, *, output: str) -> Model:
    try:
        return read_model(model)
    except ConfigError as error:  # fastText looks at nothing that the file system says
        raise WriteError(
            "is not whole after fastText wrote it: its disk may be full"
            "\n  make room, or give another --output; then run the same command again",
            file=output,
        ) from error


def _report(examples: Examples, settings: Settings, found: Model, *, checksum: str) -> ModelCard:
    if not found.n_words:
        raise ConfigError(
            f"no word occurs {settings.min_count:,} times, expected some that do\n  give a lower --min-count"
        )
    judgement = judge(Classifier(found), examples.labels, examples.lines(examples.judged))
    assert judgement is not None
    sides = examples.counts(examples.trained), examples.counts(examples.judged)
    return ModelCard(
        dolma=__version__,
        fasttext=version("fasttext-community"),
        checksum=checksum,
        settings=settings,
        classes=[
            ClassCount(label=label, found=n, trained=t, held_out=h)
            for label, n, t, h in zip(examples.labels, examples.found, *sides, strict=True)
        ],
        blank=examples.blank,
        unlabelled=examples.unlabelled,
        held_out=judgement,
    )
