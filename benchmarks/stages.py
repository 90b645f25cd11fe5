"""Every stage against the floor, in one run on one core.

    python -m benchmarks.stages 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.stages --write 2026-11-23 --corpus "what it is" PATTERN...

Floor and stages take turns, so that a machine whose speed drifts is the same for all; figures are medians of processor
time. `--write DATE` leaves `benchmarks/results/DATE-stages.md`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import floor
from dolma.config import DedupeConfig, MixConfig, StatConfig, TagConfig, TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "data" / "sample" / "tokenizer.json"
ONE = RunOptions(workers=1)
PACKAGES = ("numpy", "numba", "pyarrow", "duckdb", "msgspec", "isal", "zstandard", "tokenizers", "fasttext-community")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to time; `against` names the floor, `target` is the most times that floor it may take."""

    name: str
    work: Callable[[], object]
    against: str = "reading"
    target: float | None = None


def bare_encoding(paths: list[str]) -> Callable[[], None]:
    """`encode_batch` of the tokenizers library over all texts, held in memory: no reading, nothing kept."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    texts = [record.text for records in floor.decoded(paths, floor.Record) for record in records]

    def encode() -> None:
        for start in range(0, len(texts), 256):
            tokenizer.encode_batch(texts[start : start + 256])

    return encode


def cases(patterns: list[str], folder: str) -> list[Case]:
    """The stages, each into a folder of its own; attributes of `length` are there for those that need some."""
    paths = floor.paths_of(patterns)

    def dataset(name: str) -> Dataset:
        return Dataset(documents=tuple(patterns), attributes=f"{folder}/{name}")

    def fresh(name: str, work: Callable[[], object]) -> Callable[[], object]:
        return lambda: (shutil.rmtree(f"{folder}/{name}", ignore_errors=True), work())

    def tagging(*names: str) -> Callable[[], object]:
        key = "-".join(names)
        return fresh(key, lambda: tag(dataset(key), TagConfig(taggers=list(names)), options=ONE))

    def mixing() -> object:
        config = MixConfig(keep=["length.words >= 0"], allow_duplicate_inputs=True)
        return mix(dataset("given"), config, output=f"{folder}/mixed", options=ONE)

    def encoding() -> object:
        return tokenize(dataset("x"), TokenizeConfig(tokenizer=str(TOKENIZER)), output=f"{folder}/tokens", options=ONE)

    tag(dataset("given"), TagConfig(taggers=["length"]), options=ONE)
    by_paragraphs = DedupeConfig(by="paragraphs")
    return [
        Case(name="floor: reading", work=lambda: floor.read_only(paths), against="reading"),
        Case(
            name="floor: reading and writing", work=lambda: floor.read_and_write(paths), against="reading and writing"
        ),
        Case(
            name="floor: reading, and encode_batch", work=_after(lambda: floor.read_only(paths), bare_encoding(paths))
        ),
        Case(name="tag length", work=tagging("length")),
        Case(name="tag length gopher", work=tagging("length", "gopher"), target=4),
        Case(name="tag length gopher language pii", work=tagging("length", "gopher", "language", "pii")),
        Case(
            name="dedupe text", work=fresh("dt", lambda: dedupe(dataset("dt"), DedupeConfig(), options=ONE)), target=2
        ),
        Case(name="dedupe paragraphs", work=fresh("dp", lambda: dedupe(dataset("dp"), by_paragraphs, options=ONE))),
        Case(name="mix, one rule", work=fresh("mixed", mixing), against="reading and writing", target=2),
        Case(name="tokenize", work=fresh("tokens", encoding), against="reading, and encode_batch", target=2),
        Case(name="stat", work=lambda: stat(dataset("given"), StatConfig(), output=None, options=ONE)),
    ]


def _after(*works: Callable[[], object]) -> Callable[[], object]:
    return lambda: [work() for work in works]


def report(patterns: list[str], *, repeats: int, corpus: str) -> str:
    """The table, as Markdown."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    n_bytes = floor.read(floor.paths_of(patterns))
    with tempfile.TemporaryDirectory() as folder:
        found = cases(patterns, folder)
        for case in found:
            case.work()  # what is compiled and loaded once is left out
        times: dict[str, list[float]] = {case.name: [] for case in found}
        for _ in range(repeats):
            for case in found:
                times[case.name].append(floor.seconds(case.work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        f"Corpus: {corpus}, {n_bytes / 1e6:.0f} MB of text. {repeats} rounds, medians of processor time, one core.",
        machine(*PACKAGES),
        "",
        "| what | MB/s of text | seconds | against | times | spread | target |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for case in found:
        base = times[f"floor: {case.against}"]
        ratios = [a / b for a, b in zip(times[case.name], base, strict=True)]
        ratio = statistics.median(ratios)
        met = "" if case.target is None else f"{case.target:g}: {'met' if ratio <= case.target else 'missed'}"
        seconds = medians[case.name]
        lines.append(
            f"| {case.name} | {n_bytes / 1e6 / seconds:.0f} | {seconds:.2f} | {case.against} | {ratio:.2f} | "
            f"{min(ratios):.2f}-{max(ratios):.2f} | {met} |"
        )
    return "\n".join(lines) + "\n"


def machine(*packages: str) -> str:
    """The processor, and the versions of Python and packages, in a line."""
    named = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"Machine: {_processor()}, {os.cpu_count()} cores, shared. Python {platform.python_version()}, {named}."


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


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
        title = f"# Stages against the floor, {given.write}\n\n`python -m benchmarks.stages`\n\n"
        (HERE / "results" / f"{given.write}-stages.md").write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
