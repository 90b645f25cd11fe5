"""How good classifiers of `dolma classifier` are on documents that people labelled, held out from training.

    python -m benchmarks.classifiers label=quality.jsonl.gz label_name=tweets.jsonl.gz
    python -m benchmarks.classifiers --write 2026-11-26 --corpus "what they are" FIELD=FILE...

Documents are JSON lines with `text` and a field that has the class. Each file is split five times, by five seeds:
figures are means over the five, with the least and the greatest AUC. All documents are used, so classes keep their
sizes. Two settings are shown, both with fewer and shorter rows than the command would take. Beside them stands the AUC
of the text's length alone, in code points, over all documents, short ones first where that is better: what a
classifier has to beat.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np

from benchmarks.accuracy import keep
from dolma.classifier.judging import LabelRow, auc_of
from dolma.classifier.labelled import Classes
from dolma.classifier.model_card import ModelCard, Settings
from dolma.classifier.training import train
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.table import strip_suffixes
from dolma.taggers.catalogue import Accuracy

HERE = Path(__file__).parent
SEEDS = range(5)
HELD_OUT = 0.2
SETTINGS = {
    "5 epochs at 0.1": Settings(balanced=False, held_out=HELD_OUT, dim=50, buckets=100_000),
    "25 epochs at 0.5": Settings(
        balanced=False, held_out=HELD_OUT, dim=50, buckets=100_000, epochs=25, learning_rate=0.5
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ByField:
    """Documents in memory, each of the class that a field of its record has."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    classes: Classes

    @classmethod
    def of(cls, path: str, field: str) -> ByField:
        """The documents of a file."""
        records = [json.loads(line) for line in b"".join(streams.read_chunks(path)).splitlines()]
        labels = sorted({str(record[field]) for record in records})
        classes = np.array([labels.index(str(record[field])) for record in records], dtype=np.int64)
        return cls(labels=tuple(labels), texts=tuple(record["text"] for record in records), classes=classes)

    def __iter__(self) -> Iterator[tuple[TextBatch, Classes]]:
        for i in range(0, len(self.texts), 1000):
            yield TextBatch.of(self.texts[i : i + 1000]), self.classes[i : i + 1000]


def splits(documents: ByField, settings: Settings) -> list[ModelCard]:
    """A model for each seed, and how it did."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            train(
                documents,
                msgspec.structs.replace(settings, seed=seed),
                output=f"{folder}/{seed}.bin",
            )
            for seed in SEEDS
        ]


def mean(values: Sequence[float | None]) -> str:
    """Their mean; "-" if one is none."""
    found = [value for value in values if value is not None]
    return f"{fmean(found):.3f}" if len(found) == len(values) else "-"


def auc_of_length(documents: ByField, k: int) -> str:
    """How well label `k` is told by the length of texts."""
    found = auc_of(documents.classes == k, np.array([len(text) for text in documents.texts], dtype=float))
    return "-" if found is None else f"{max(found, 1 - found):.3f}"


def row(name: str, settings: str, rows: Sequence[LabelRow], *, length: str) -> str:
    """A row of the table: one label in all splits."""
    aucs = [found.auc for found in rows if found.auc is not None]
    cells = [
        *(name, settings, rows[0].label),
        f"{fmean(found.documents for found in rows):.0f}",
        *(mean([getattr(found, figure) for found in rows]) for figure in ("precision", "recall", "f1", "auc")),
        f"{min(aucs):.3f}-{max(aucs):.3f}" if aucs else "-",
        length,
    ]
    return f"| {' | '.join(cells)} |"


def report(given: Sequence[str], date: str = "") -> tuple[str, list[Accuracy]]:
    """The table, as Markdown, and what docs/taggers.md shows of it: with the last settings."""
    lines, shown = [], {}
    counts = []
    for one in given:
        field, equals, path = one.partition("=")
        if not equals:
            raise SystemExit(f"{one}: expected FIELD=FILE, such as label=quality.jsonl.gz")
        documents, name = ByField.of(path, field), strip_suffixes(Path(path).name)
        counts.append(f"{name}: {len(documents.texts):,} documents")
        for settings_name, settings in SETTINGS.items():
            reports = splits(documents, settings)
            for k in range(len(documents.labels)):
                rows = [found.held_out.labels[k] for found in reports]
                lines.append(row(name, settings_name, rows, length=auc_of_length(documents, k)))
                shown[name, k] = figure(f"{name}, {settings_name}", rows, date)
            accuracy = fmean(found.held_out.accuracy for found in reports)
            n_documents = fmean(found.held_out.documents for found in reports)
            lines.append(f"| {name} | {settings_name} | all, accuracy {accuracy:.3f} | {n_documents:.0f} | | | | | | |")
    head = [
        f"{'; '.join(counts)}. Means over {len(SEEDS)} splits, about {HELD_OUT:.0%} held out in each.",
        "",
        "| documents | settings | label | held out | precision | recall | F1 | AUC | AUC from, to | AUC of length |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *lines]) + "\n", list(shown.values())


def figure(name: str, rows: Sequence[LabelRow], date: str) -> Accuracy:
    """One label: means over all splits."""
    return Accuracy(
        tagger="fasttext",
        script="benchmarks.classifiers",
        date=date,
        documents=f"{name}, label {rows[0].label}",
        n=round(fmean(found.documents for found in rows)),
        values={name: fmean(getattr(found, name) or 0.0 for found in rows) for name in ("precision", "recall", "auc")},
    )


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", metavar="FIELD=FILE")
    parser.add_argument("--write", metavar="DATE")
    parser.add_argument("--corpus", default="", help="what the documents are, for the result file")
    given = parser.parse_args()
    found, shown = report(given.documents, given.write or "")
    print(found)
    if given.write:
        versions = f"Python {platform.python_version()}, fasttext-community {version('fasttext-community')}"
        title = f"# Classifiers, {given.write}\n\n`python -m benchmarks.classifiers`, {versions}\n\n"
        text = f"{title}{given.corpus}\n\n{found}" if given.corpus else title + found
        (HERE / "results" / f"{given.write}-classifiers.md").write_text(text, encoding="utf-8")
        keep(shown)


if __name__ == "__main__":
    main()
