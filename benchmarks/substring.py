"""Repeated text against the floor, and the memory that it takes.

    python -m benchmarks.substring 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.substring --write 2026-11-29 --corpus "what it is" PATTERN...

Floor and commands take turns; figures are medians of processor time of one core. Peaks of memory are those of a process
of its own for each command, as Linux tells them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import floor
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.dedupers.method import PARTITION_BYTES

PACKAGES = ("numpy", "numba", "pyarrow")
TARGETS = {"50 tokens": 12.0}
CONFIGS: dict[str, dict[str, Any]] = {
    "50 tokens": {},
    "50 tokens, each occurrence, within documents too": {"keep": "none", "within_documents": True},
    "50 tokens, whole lines": {"snap": "lines"},
    "500 bytes": {"min_bytes": 500},
}
_PROGRAM = """
import json, sys
from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.runner.options import RunOptions

patterns, folder, config = json.loads(sys.argv[1])
dataset = Dataset(documents=tuple(patterns), attributes=folder)
dedupe(dataset, DedupeConfig(**config), options=RunOptions(workers=1, progress=False))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def peak(patterns: list[str], folder: str, config: dict[str, Any]) -> int:
    """The most bytes of memory that the command has, in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-c", _PROGRAM, json.dumps([patterns, folder, config])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) << 10


def rows(patterns: list[str], *, repeats: int) -> Iterator[str]:
    """A row for each command; the first two are the floor, and equal texts."""
    paths = floor.paths_of(patterns)
    n_bytes = floor.read(paths)
    configs = {"equal texts": {}} | {name: {"method": "substring", **config} for name, config in CONFIGS.items()}
    with tempfile.TemporaryDirectory() as folder:

        def run(config: dict[str, Any]) -> Any:
            shutil.rmtree(f"{folder}/out", ignore_errors=True)
            dataset = Dataset(documents=tuple(patterns), attributes=f"{folder}/out")
            return dedupe(dataset, DedupeConfig(**config), options=ONE).details

        marked = {name: run(config) for name, config in configs.items()}
        least, times = list[float](), {name: list[float]() for name in configs}
        for _ in range(repeats):
            least.append(floor.seconds(lambda: floor.read_only(paths)))
            for name, config in configs.items():
                times[name].append(floor.seconds(lambda config=config: run(config)))
        peaks = {name: peak(patterns, f"{folder}/out", config) for name, config in configs.items()}
    yield f"| floor: reading | {n_bytes / 1e6 / statistics.median(least):.0f} | 1 | | | | | |"
    for name, seconds in times.items():
        ratios = [one / base for one, base in zip(seconds, least, strict=True)]
        ratio, target = statistics.median(ratios), TARGETS.get(name)
        met = "" if target is None else f"{target:g}: {'met' if ratio <= target else 'missed'}"
        share = marked[name].duplicates / max(sum(source.seen for source in marked[name].sources), 1)
        yield (
            f"| {name} | {n_bytes / 1e6 / statistics.median(seconds):.0f} | {ratio:.1f} | "
            f"{min(ratios):.1f}-{max(ratios):.1f} | {met} | {share:.2%} of {marked[name].unit} | "
            f"{peaks[name] / 1e6:.0f} MB | {peaks[name] / PARTITION_BYTES:.1f} |"
        )


def report(patterns: list[str], *, repeats: int, corpus: str) -> str:
    """The table, as Markdown."""
    return "\n".join(
        [
            f"Corpus: {corpus}. {repeats} rounds, medians of processor time, one core.",
            machine(*PACKAGES),
            f"A partition has {PARTITION_BYTES >> 20} MiB of records; libraries and compiled code are in the peak.",
            "",
            "| what | MB/s of text | times the floor | spread | target | marked | peak RSS | of a partition |",
            "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
            *rows(patterns, repeats=repeats),
            "",
        ]
    )


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(given.documents, repeats=given.repeats, corpus=given.corpus)
    print(found)
    if given.write:
        title = f"# Repeated text, {given.write}\n\n`python -m benchmarks.substring`\n\n"
        path = Path(__file__).parent / "results" / f"{given.write}-substring.md"
        path.write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
