"""What `pii` finds of labelled personal data, and what it finds besides.

    python -m benchmarks.pii 'labelled/pii/*.jsonl.gz'
    python -m benchmarks.pii --write 2026-11-24 --corpus "what it is" PATTERN...

Documents are JSON lines with `text` and `spans`, each with `start`, `end` (code points, end exclusive) and `type`, by
Presidio's names. A labelled span counts as found if one of ours of its type overlaps it; ours counts as right if it
overlaps a labelled one of its type. `exact` are those with both bounds equal. Precision is among all that was found,
recall among all that is labelled. `pii_regex_v2`, which Dolma 1.x has, is shown beside for its three types.
"""

from __future__ import annotations

import bisect
import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.accuracy import arguments, keep, write_result
from dolma.config import TaggerSpec
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.taggers.catalogue import Accuracy
from dolma.taggers.pii import TYPES
from dolma.taggers.registry import make_tagger

# Presidio's name of each type, and what the two taggers call it.
NAMES: Mapping[str, Mapping[str, str]] = {
    "pii": {
        "EMAIL_ADDRESS": "email",
        "PHONE_NUMBER": "phone",
        "IP_ADDRESS": "ip",
        "MAC_ADDRESS": "mac",
        "CREDIT_CARD": "credit_card",
        "IBAN_CODE": "iban",
        "US_SSN": "ssn",
    },
    "pii_regex_v2": {name: name for name in ("EMAIL_ADDRESS", "PHONE_NUMBER", "IP_ADDRESS")},
}

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Counts of one type: spans labelled and found, labelled ones found, found ones right, and exact ones."""

    labelled: int
    found: int
    hit: int
    right: int
    exact: int

    def row(self, tagger: str, type: str) -> str:
        """A row of the table."""
        precision = f"{self.right / self.found:.3f}" if self.found else "-"
        recall = f"{self.hit / self.labelled:.3f}" if self.labelled else "-"
        counts = f"{self.labelled} | {self.found} | {self.right} | {self.hit} | {self.exact}"
        return f"| {tagger} | {type} | {counts} | {precision} | {recall} |"


def documents_of(patterns: Sequence[str]) -> list[dict]:
    """The labelled documents, in the order of their paths."""
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not paths:
        raise SystemExit(f"no file matches {patterns}")
    return [json.loads(line) for path in paths for line in b"".join(streams.read_chunks(path)).splitlines()]


def outcome(labelled: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> Outcome:
    """Both document by document."""
    pairs = list(zip(labelled, found, strict=True))
    return Outcome(
        labelled=sum(len(some) for some in labelled),
        found=sum(len(some) for some in found),
        hit=sum(_overlapping(theirs, ours) for theirs, ours in pairs),
        right=sum(_overlapping(ours, theirs) for theirs, ours in pairs),
        exact=sum(len(set(theirs) & set(ours)) for theirs, ours in pairs),
    )


def _overlapping(some: Sequence[Span], others: Sequence[Span]) -> int:
    """How many of `some` share a character with one of `others`, which are apart."""
    ordered = sorted(others)
    ends = [end for _, end in ordered]
    n = 0
    for start, end in some:
        k = bisect.bisect_right(ends, start)
        n += k < len(ordered) and ordered[k][0] < end
    return n


def outcomes(documents: Sequence[dict], tagger: str) -> tuple[dict[str, Outcome], dict[str, list]]:
    """What the tagger finds of each labelled type, and all its columns."""
    batch = TextBatch.of([document["text"] for document in documents])
    columns = {name: column.to_pylist() for name, column in make_tagger(TaggerSpec(use=tagger))(batch).items()}
    found = {}
    for type, output in NAMES[tagger].items():
        labelled = [[(s["start"], s["end"]) for s in document["spans"] if s["type"] == type] for document in documents]
        ours = [[(span["start"], span["end"]) for span in spans] for spans in columns[output]]
        found[type] = outcome(labelled, ours)
    return found, columns


def figures(patterns: Sequence[str], date: str) -> list[Accuracy]:
    """What docs/taggers.md shows of it: the types that are labelled."""
    found, _ = outcomes(documents_of(patterns), "pii")
    return [
        Accuracy(
            tagger="pii",
            script="benchmarks.pii",
            date=date,
            documents=f"Presidio's synthetic sentences, {type}",
            n=one.labelled,
            values={"precision": one.right / one.found, "recall": one.hit / one.labelled},
        )
        for type, one in found.items()
        if one.labelled and one.found
    ]


def report(patterns: Sequence[str]) -> str:
    """The table, as Markdown."""
    documents = documents_of(patterns)
    n_spans = sum(len(document["spans"]) for document in documents)
    lines = [
        f"{len(documents)} documents, {n_spans} labelled spans of all types.",
        "",
        "| tagger | type | labelled | found | right | hit | exact | precision | recall |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for tagger, names in NAMES.items():
        found, columns = outcomes(documents, tagger)
        lines.extend(one.row(tagger, type) for type, one in found.items())
        if tagger == "pii":
            others = {name: sum(map(len, columns[name])) for name in TYPES if name not in names.values()}
            lines.extend(f"| {tagger} | {name} | not labelled | {n} | | | | | |" for name, n in others.items())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and keep it where asked to."""
    given = arguments(__doc__).parse_args()
    found = report(given.documents)
    print(found)
    if given.write:
        write_result("pii", "Personal data", found, date=given.write, corpus=given.corpus)
        keep(figures(given.documents, given.write))


if __name__ == "__main__":
    main()
