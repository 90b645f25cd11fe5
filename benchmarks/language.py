"""How often `language` names the language of labelled documents, and how close it is to the fastText library.

    python -m benchmarks.language 'labelled/langid/*.jsonl.gz'
    python -m benchmarks.language --write 2026-11-26 --corpus "what it is" PATTERN...

Documents are JSON lines with `text` and `lang`, a code of two or three letters. Counted are those of the languages that
the model knows. Three answers are looked at: that of `language` as it is, `und` included; its answer where it gives
one; and the library's, for the text as it is with newlines as spaces (`language` shows the model lower case). The last
column is the greatest difference of the probability of the library's label between the library and our kernel, both
shown the same.
"""

from __future__ import annotations

import glob
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy import arguments, keep, write_result
from dolma.data import streams
from dolma.data.batch import TextBatch, offsets_of
from dolma.data.formats.table import strip_suffixes
from dolma.taggers.catalogue import Accuracy
from dolma.taggers.fasttext import scores_of
from dolma.taggers.language import UNDETERMINED, Language, identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One set: shares of its documents of known languages, from 0 to 1; `difference` is of probabilities."""

    name: str
    documents: int
    languages: int
    right: float
    undetermined: float
    right_of_told: float
    right_of_library: float
    difference: float

    def row(self) -> str:
        """A row of the table."""
        shares = (self.right, self.undetermined, self.right_of_told, self.right_of_library)
        cells = " | ".join(f"{share:.3f}" for share in shares)
        return f"| {self.name} | {self.documents:,} | {self.languages} | {cells} | {self.difference:.1e} |"


def outcome(path: str) -> Outcome:
    """The answers for one file."""
    import fasttext

    with importlib.resources.as_file(importlib.resources.files("dolma.taggers") / "models/lid.176.ftz") as file:
        library = fasttext.load_model(str(file))
    ours = identifier()
    known = ours.model.labels
    records = [json.loads(line) for line in b"".join(streams.read_chunks(path)).splitlines()]
    records = [record for record in records if record["lang"] in known]
    truth = np.array([record["lang"] for record in records])
    tops = np.array(Language()(TextBatch.of([record["text"] for record in records]))["top"].to_pylist())
    lines = [record["text"].replace("\n", " ").encode() for record in records]
    theirs = [library.f.predict(line.decode() + "\n", 1, 0.0, "strict")[0] for line in lines]
    labels = np.array([label.removeprefix("__label__") for _, label in theirs])
    offsets = offsets_of(lines)
    scores = scores_of(ours, np.frombuffer(b"".join(lines), np.uint8), offsets[:-1], offsets[1:])
    mine = scores[np.arange(len(lines)), [known.index(label) for label in labels]]
    told = tops != UNDETERMINED
    return Outcome(
        name=strip_suffixes(Path(path).name),
        documents=len(records),
        languages=len(set(truth)),
        right=float((tops == truth).mean()),
        undetermined=float((~told).mean()),
        right_of_told=float((tops == truth)[told].mean()),
        right_of_library=float((labels == truth).mean()),
        difference=float(np.abs(mine - np.minimum([score for score, _ in theirs], 1)).max()),
    )


def report(found: Sequence[Outcome]) -> str:
    """The table, as Markdown."""
    head = (
        "documents | of known languages | languages | right | `und` | right of the others | library right | difference"
    )
    return "\n".join([f"| {head} |", f"| --- {'| ---: ' * 7}|", *(one.row() for one in found)]) + "\n"


def figures(found: Sequence[Outcome], date: str) -> list[Accuracy]:
    """What docs/taggers.md shows of it."""
    return [
        Accuracy(
            tagger="language",
            script="benchmarks.language",
            date=date,
            documents=f"{one.name}, {one.languages} languages",
            n=one.documents,
            values={"right": one.right, "und": one.undetermined, "right of the others": one.right_of_told},
        )
        for one in found
    ]


def main() -> None:
    """Print the table, and keep it where asked to."""
    given = arguments(__doc__).parse_args()
    paths = sorted(path for pattern in given.documents for path in glob.glob(pattern))
    if not paths:
        raise SystemExit(f"no file matches {given.documents}")
    found = [outcome(path) for path in paths]
    print(report(found))
    if given.write:
        write_result("language", "Language", report(found), date=given.write, corpus=given.corpus)
        keep(figures(found, given.write))


if __name__ == "__main__":
    main()
