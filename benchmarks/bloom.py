"""Paragraphs by a Bloom filter against the floor and Dolma 1.2.1, in one run on one core.

    python -m benchmarks.bloom 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.bloom --dolma1 PYTHON --write 2026-11-29 --corpus "what it is" PATTERN...

`--dolma1` is a Python that has `dolma==1.2.1`: its deduper, which is Rust, runs on a copy of the documents with one
thread and a filter of the same bits and hash count. Figures are medians of processor time, of whole processes for
Dolma 1.2.1; each round runs all of them in turn.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import floor
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.dedupers.dedupe import dedupe

PACKAGES = ("numpy", "numba", "pyarrow")
OURS, THEIRS = "dedupe bloom, paragraphs", "Dolma 1.2.1, paragraphs"
TARGETS = {OURS: 1.8}
TIMES_THEIRS = 3.0
PROGRAM = Path(__file__).parent / "others" / "dolma1_dedupe.py"


def theirs_of(folder: str, *, n_bytes: int, n_items: int) -> dict[str, Any]:
    """What Dolma 1.2.1 is to do with the documents below this folder."""
    return {
        "documents": [f"{source}/documents/*" for source in map(str, sorted(Path(folder).iterdir()))],
        "dedupe": {
            "name": "paragraphs",
            "paragraphs": {"attribute_name": "paragraphs"},
            "skip_empty": True,
            "min_length": 0,
            "min_words": 0,
            "num_partitions": 1,
            "partition_index": 0,
            "file_partition": False,
            "document_dir": "documents",
        },
        "bloom_filter": {
            "file": f"{folder}/filter.bin",
            "read_only": False,
            "size_in_bytes": n_bytes,
            "estimated_doc_count": n_items,
            "desired_false_positive_rate": 1e-5,
        },
        "is_s3_volume": False,
        "work_dir": {"input": f"{folder}/in", "output": f"{folder}/out"},
        "processes": 1,
        "compression": {"input": None, "output": None},
    }


def seconds_of_children(command: list[str]) -> float:
    """Processor seconds of a command."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, check=True, capture_output=True)
    return used() - before


def read_all(dataset: Dataset) -> None:
    """Read all documents as every stage does, and drop them."""
    for piece in dataset.pieces(dataset.shards()):
        for _ in read_batches(piece, Reading(), intake=Intake()):
            pass


def rows(patterns: list[str], *, repeats: int, dolma1: str | None) -> Iterator[str]:
    """A row for each thing that was run."""
    paths = floor.paths_of(patterns)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(documents=tuple(patterns), attributes=f"{folder}/ours")

        def run(**config: Any) -> Any:
            shutil.rmtree(f"{folder}/ours", ignore_errors=True)
            return dedupe(dataset, DedupeConfig(**config), options=ONE)

        found = run(method="bloom", by="paragraphs").details
        n_items, n_bytes = found.bloom.items, 1 << 20
        while n_bytes * 8 / n_items < 24:
            n_bytes *= 2
        n_hashes = math.ceil(n_bytes * 8 / n_items * math.log(2))  # as Dolma 1.2.1 takes them
        bloom: dict[str, Any] = {"method": "bloom", "filter_bytes": n_bytes, "filter_hashes": n_hashes}
        works: dict[str, Callable[[], float]] = {
            "floor: reading": lambda: floor.seconds(lambda: floor.read_only(paths)),
            "our reader alone": lambda: floor.seconds(lambda: read_all(dataset)),
            OURS: lambda: floor.seconds(lambda: run(**bloom, by="paragraphs")),
            "dedupe bloom, text": lambda: floor.seconds(lambda: run(method="bloom")),
            "dedupe bloom, paragraphs of 13-grams": lambda: floor.seconds(
                lambda: run(method="bloom", by="both", word_ngrams=13, min_ngram=13, false_positive_rate=0.01)
            ),
            "dedupe exact, paragraphs": lambda: floor.seconds(lambda: run(by="paragraphs")),
        }
        if dolma1:
            for path in paths:
                copy = Path(folder, "theirs", Path(path).parent.parent.name, "documents", Path(path).name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            settings = json.dumps(theirs_of(f"{folder}/theirs", n_bytes=n_bytes, n_items=n_items))

            def theirs() -> float:
                for path in Path(folder, "theirs").glob("*/attributes"):
                    shutil.rmtree(path)
                Path(folder, "theirs", "filter.bin").unlink(missing_ok=True)
                seconds = seconds_of_children([dolma1, "-I", str(PROGRAM), settings])
                written = list(Path(folder, "theirs").glob("*/attributes/**/*.zst"))
                if len(written) + len(list(Path(folder, "theirs").glob("*/attributes/**/*.gz"))) < len(paths):
                    raise SystemExit("Dolma 1.2.1 has not written its attributes")
                return seconds

            works[THEIRS] = theirs
        times: dict[str, list[float]] = {name: [] for name in works}
        for work in list(works.values())[2:]:
            work()
        for _ in range(repeats):
            for name, work in works.items():
                times[name].append(work())
    n_text = floor.read(paths)
    yield f"{n_items:,} paragraphs; filters of {n_bytes:,} bytes and {n_hashes} hashes where both run; reading: 1."
    yield ""
    yield "| what | MB/s of text | times reading | spread | target |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for name, seconds in times.items():
        ratios = [one / base for one, base in zip(seconds, times["floor: reading"], strict=True)]
        target, ratio = TARGETS.get(name), statistics.median(ratios)
        met = "" if target is None else f"at most {target:g}: {'met' if ratio <= target else 'missed'}"
        if name == THEIRS:
            faster = statistics.median(one / base for one, base in zip(seconds, times[OURS], strict=True))
            met = f"{faster:.1f} times ours; at least {TIMES_THEIRS:g}: {'met' if faster >= TIMES_THEIRS else 'missed'}"
        yield (
            f"| {name} | {n_text / 1e6 / statistics.median(seconds):.0f} | {ratio:.2f} | "
            f"{min(ratios):.2f}-{max(ratios):.2f} | {met} |"
        )


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dolma1", metavar="PYTHON")
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    head = f"Corpus: {given.corpus}. {given.repeats} rounds, medians of processor time, one core."
    table = rows(given.documents, repeats=given.repeats, dolma1=given.dolma1)
    found = "\n".join([head, machine(*PACKAGES), "", *table, ""])
    print(found)
    if given.write:
        title = f"# Bloom filters, {given.write}\n\n`python -m benchmarks.bloom`\n\n"
        path = Path(__file__).parent / "results" / f"{given.write}-bloom.md"
        path.write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
