"""Benchmark items in documents: time against the floor, items put into documents, and what is found in a real corpus.

    python -m benchmarks.decontaminate --items 'data/sample/tasks/*.jsonl' 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.decontaminate --write 2026-11-29 --corpus "what it is" --items PATTERN PATTERN...

The whole command runs on all documents, once and then `--repeats` times with a round of the floor each, in processor
time of one core. `--copies 1 4` reads the files four times as well, which tells what the items alone cost.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import floor
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.dedupers.notes import Contamination, DedupeNotes
from dolma.runner.report import StageReport

TIMES = 2.0
PACKAGES = ("numpy", "numba", "pyarrow")


def run(patterns: list[str], items: list[str], folder: str, *, self_check: bool = False) -> StageReport[DedupeNotes]:
    """The whole command, into a folder that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    config = DedupeConfig(method="decontaminate", items=items, self_check=self_check or None)
    return dedupe(Dataset(documents=tuple(patterns), attributes=folder), config, options=ONE)


def copies(paths: list[str], n: int, folder: Path) -> list[str]:
    """A pattern of copies of these files, so many of each."""
    for i, path in enumerate(paths):
        for k in range(n):
            shutil.copyfile(path, folder / f"{k}-{i}-{Path(path).name}")
    return [f"{folder}/*"]


def times(patterns: list[str], items: list[str], *, sizes: list[int], repeats: int) -> Iterator[str]:
    """A row for each size of the corpus."""
    paths = floor.paths_of(patterns)
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            copied = Path(folder, f"copied-{n}")
            copied.mkdir()
            corpus = copies(paths, n, copied)
            ratios, seconds = [], []
            run(corpus, items, f"{folder}/out")
            for _ in range(repeats):
                least = floor.seconds(lambda corpus=corpus: floor.read_only(floor.paths_of(corpus)))
                seconds.append(floor.seconds(lambda corpus=corpus: run(corpus, items, f"{folder}/out")))
                ratios.append(seconds[-1] / least)
            ratio = statistics.median(ratios)
            met = "met" if ratio <= TIMES else "missed"
            yield (
                f"| {n} x | {statistics.median(seconds):.2f} | {ratio:.2f} | {min(ratios):.2f}-{max(ratios):.2f} | "
                f"{TIMES:g}: {met} |"
            )


def found(report: StageReport[DedupeNotes]) -> Contamination:
    """What the command counted."""
    assert report.details.contamination is not None
    return report.details.contamination


def page(patterns: list[str], items: list[str], *, sizes: list[int], repeats: int) -> Iterator[str]:
    """The tables of the result file."""
    yield "Whole command; times: how many times reading alone"
    yield ""
    yield "| corpus | seconds | times | spread | target |"
    yield "| --- | ---: | ---: | ---: | --- |"
    yield from times(patterns, items, sizes=sizes, repeats=repeats)
    with tempfile.TemporaryDirectory() as folder:
        counted = found(run(patterns, items, f"{folder}/out", self_check=True))
        hits = [path.read_text() for path in sorted(Path(folder).rglob("_hits.jsonl"))]
    yield ""
    yield "Items put into copies of documents"
    yield ""
    yield "| items | put in | planted | found | recall |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for one in counted.recall:
        yield f"| {one.items} | {one.manner} | {one.planted} | {one.found} | {one.found / one.planted:.1%} |"
    yield ""
    yield "Found in the corpus as it is"
    yield ""
    yield "| benchmark | items | too short | found | documents |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in counted.benchmarks:
        yield f"| {row.benchmark} | {row.items} | {row.too_short} | {row.found} | {row.documents} |"
    yield ""
    yield from (f"    {line}" for text in hits for line in text.splitlines()[:100])


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--items", action="append", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--write", metavar="DATE")
    parser.add_argument("--corpus", default="")
    given = parser.parse_args()
    lines = list(page(given.documents, given.items, sizes=given.copies, repeats=given.repeats))
    head = [
        f"# Benchmark items in documents, {given.write}",
        "",
        "`python -m benchmarks.decontaminate`",
        "",
        f"Corpus: {given.corpus} {given.repeats} rounds, medians of processor time, one core.",
        machine(*PACKAGES),
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    if given.write:
        Path(__file__).parent.joinpath("results", f"{given.write}-decontaminate.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
