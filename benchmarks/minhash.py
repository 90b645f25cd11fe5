"""MinHash against the libraries and the floor, in one run on one core.

    python -m benchmarks.minhash 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.minhash --write 2026-11-28 --corpus "what it is" PATTERN...

Signatures of 14 bands of 8 rows, of word 5-grams, from texts in memory: ours, and those of datasketch and rensa (left
out where it is not installed) on the same words, which Python cuts and joins for them. They take turns, on texts of
about `--megabytes`; the whole commands run on all documents. Figures are medians of processor time.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import floor
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.kernels import minhash, shingles

BANDS, ROWS, NGRAMS, SEED = 14, 8, 5, 1
TARGETS = {"rensa": 11, "datasketch": 50}
PACKAGES = ("numpy", "numba", "pyarrow", "datasketch")
_words = re.compile(r"\w+").findall


def texts_of(patterns: list[str], n_bytes: int) -> list[str]:
    """The first texts of the documents, of about so many bytes."""
    found: list[str] = []
    for records in floor.decoded(floor.paths_of(patterns), floor.Record):
        for record in records:
            found.append(record.text)
            n_bytes -= len(record.text)
            if n_bytes <= 0:
                return found
    return found


def ours(texts: list[str]) -> None:
    """Shingles, signatures and band hashes."""
    batch = TextBatch.of(texts)
    found = shingles.word_shingles(batch.utf8, batch.offsets, n=NGRAMS)
    minhash.bands(minhash.signatures(found, n=BANDS * ROWS, seed=SEED), n=BANDS, rows=ROWS)


def strings(text: str) -> set[str]:
    """The shingles as libraries take them."""
    words = _words(text.lower())
    return {" ".join(words[i : i + NGRAMS]) for i in range(max(len(words) - NGRAMS + 1, 1))}


def with_datasketch(texts: list[str]) -> None:
    """Signatures by `datasketch.MinHash`."""
    from datasketch import MinHash

    for text in texts:
        MinHash(num_perm=BANDS * ROWS, seed=SEED).update_batch([shingle.encode() for shingle in strings(text)])


def with_rensa(texts: list[str]) -> None:
    """Signatures by `rensa.RMinHash`."""
    from rensa import RMinHash

    for text in texts:
        signature = RMinHash(num_perm=BANDS * ROWS, seed=SEED)
        signature.update(list(strings(text)))
        signature.digest()


def in_memory(patterns: list[str], *, megabytes: float, repeats: int) -> Iterator[str]:
    """A row for each library."""
    works: dict[str, Callable[[list[str]], None]] = {"ours": ours, "datasketch": with_datasketch}
    try:
        import rensa  # noqa: F401
    except ImportError:
        yield "| rensa | not installed | | | |"
    else:
        works["rensa"] = with_rensa
    texts = texts_of(patterns, int(megabytes * 1e6))
    n_bytes = sum(len(text.encode()) for text in texts)
    times: dict[str, list[float]] = {name: [] for name in works}
    ours(texts)
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(floor.seconds(lambda work=work: work(texts)))
    for name, seconds in times.items():
        ratios = [one / base for one, base in zip(seconds, times["ours"], strict=True)]
        ratio, target = statistics.median(ratios), TARGETS.get(name)
        met = "" if target is None else f"{target}: {'met' if ratio >= target else 'missed'}"
        yield (
            f"| {name} | {n_bytes / 1e6 / statistics.median(seconds):.1f} | {ratio:.1f} | "
            f"{min(ratios):.1f}-{max(ratios):.1f} | {met} |"
        )


def commands(patterns: list[str], *, repeats: int) -> Iterator[str]:
    """A row for each whole command, against reading."""
    paths = floor.paths_of(patterns)
    configs = {
        "dedupe text": DedupeConfig(),
        "dedupe minhash, 14 x 8, verified": DedupeConfig(method="minhash", bands=BANDS, rows=ROWS),
        "dedupe minhash, 14 x 8, not verified": DedupeConfig(method="minhash", bands=BANDS, rows=ROWS, verify=False),
    }
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(documents=tuple(patterns), attributes=folder)

        def run(config: DedupeConfig) -> object:
            shutil.rmtree(f"{folder}/dedupe", ignore_errors=True)
            return dedupe(dataset, config, options=ONE)

        times: dict[str, list[float]] = {"floor: reading": [], **{name: [] for name in configs}}
        for config in configs.values():
            run(config)
        for _ in range(repeats):
            times["floor: reading"].append(floor.seconds(lambda: floor.read_only(paths)))
            for name, config in configs.items():
                times[name].append(floor.seconds(lambda config=config: run(config)))
    n_bytes = floor.read(paths)
    for name, seconds in times.items():
        ratios = [one / base for one, base in zip(seconds, times["floor: reading"], strict=True)]
        target = {"dedupe text": 1.5, "dedupe minhash, 14 x 8, verified": 2.0}.get(name)
        ratio = statistics.median(ratios)
        met = "" if target is None else f"{target:g}: {'met' if ratio <= target else 'missed'}"
        yield (
            f"| {name} | {n_bytes / 1e6 / statistics.median(seconds):.0f} | {ratio:.2f} | "
            f"{min(ratios):.2f}-{max(ratios):.2f} | {met} |"
        )


def report(patterns: list[str], *, megabytes: float, repeats: int, corpus: str) -> str:
    """Both tables, as Markdown."""
    return "\n".join(
        [
            f"Corpus: {corpus}. {repeats} rounds, medians of processor time, one core.",
            machine(*PACKAGES),
            "",
            f"Signatures of {BANDS * ROWS} values, of word {NGRAMS}-grams, from texts in memory; times: of our time",
            "",
            "| what | MB/s of text | times | spread | target |",
            "| --- | ---: | ---: | ---: | --- |",
            *in_memory(patterns, megabytes=megabytes, repeats=repeats),
            "",
            "Whole commands; times: how many times reading alone",
            "",
            "| what | MB/s of text | times | spread | target |",
            "| --- | ---: | ---: | ---: | --- |",
            *commands(patterns, repeats=repeats),
            "",
        ]
    )


def main() -> None:
    """Print the tables, and keep them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(given.documents, megabytes=given.megabytes, repeats=given.repeats, corpus=given.corpus)
    print(found)
    if given.write:
        title = f"# Near-duplicates, {given.write}\n\n`python -m benchmarks.minhash`\n\n"
        path = Path(__file__).parent / "results" / f"{given.write}-minhash.md"
        path.write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
