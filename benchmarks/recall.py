"""Recall and precision of near-duplicates, where the truth is known.

    python -m benchmarks.recall
    python -m benchmarks.recall --write 2026-11-29 --labelled FOLDER

Pairs of texts are made so that their Jaccard similarity, of word 5-grams, is known: 184 random words, of which the last
ones differ. `dolma dedupe` runs on all of them; without verification what it joins is what shares a band, and its share
has to be that of theory. FOLDER has documents (`*.jsonl.gz`) and, in `truth/`, `*.exact.tsv.gz`, a cluster and an id of
equal texts, and `*.pairs.tsv.gz`, two ids and their Jaccard similarity: all pairs of unequal texts that have 0.5 or
more, of equal ones the first.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.accuracy import write_result
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.attributes import read_attributes
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.dedupers.minhash import MinHash
from dolma.kernels.reference.minhash import jaccard
from dolma.kernels.reference.shingles import words

SIMILARITIES = [step / 20 for step in range(10, 20)]
N_SHINGLES, N = 180, 5
SETTINGS: dict[str, dict[str, Any]] = {
    "default, 18 x 7": {},
    "datatrove, 14 x 8": {"dialect": "datatrove", "threshold": 0.8},
    "dolma3, 26 x 11": {"dialect": "dolma3"},
    "text-dedup, 25 x 10": {"dialect": "text-dedup", "threshold": 0.8},
}


def pair(similarity: float, rng: random.Random) -> tuple[str, str, float]:
    """Two texts, and their Jaccard similarity, which is about the one that is asked for."""
    n_different = round(N_SHINGLES * (1 - similarity) / (1 + similarity))
    text = [f"w{rng.randrange(1 << 40):x}" for _ in range(N_SHINGLES + N - 1)]
    other = [*text[: len(text) - n_different], *(f"w{rng.randrange(1 << 40):x}" for _ in range(n_different))]
    return " ".join(text), " ".join(other), jaccard(set(shingles(" ".join(text))), set(shingles(" ".join(other))))


def shingles(text: str) -> list[tuple[str, ...]]:
    """The word 5-grams of a text, as they are written."""
    found = words(text)
    return list(zip(*(found[i:] for i in range(N)), strict=False)) or [tuple(found)]


def made(folder: Path, *, pairs: int, seed: int) -> list[float]:
    """A file of pairs of neighbours; the similarity of each pair."""
    rng, truth = random.Random(seed), []
    folder.mkdir(parents=True)
    with (folder / "a.jsonl").open("w") as out:
        for similarity in SIMILARITIES:
            for _ in range(pairs):
                *texts, true = pair(similarity, rng)
                out.writelines(json.dumps({"text": text}) + "\n" for text in texts)
                truth.append(true)
    return truth


def rows(documents: str, **given: Any) -> list[dict[str, Any]]:
    """What `dolma dedupe --method minhash` says of each document."""
    with tempfile.TemporaryDirectory() as attributes:
        config = DedupeConfig(method="minhash", name="near", **given)
        dedupe(Dataset(documents=(documents,), attributes=attributes), config, options=ONE)
        paths = sorted(Path(attributes).rglob("*.parquet"))
        return [row for path in paths for row in read_attributes(str(path)).to_pylist()]


def synthetic(*, pairs: int, seed: int) -> Iterator[str]:
    """A row for each setting and similarity."""
    with tempfile.TemporaryDirectory() as folder:
        truth = made(Path(folder) / "documents", pairs=pairs, seed=seed)
        for name, given in SETTINGS.items():
            method = MinHash.of(DedupeConfig(method="minhash", **given))
            found = {
                verify: [row["duplicate"] for row in rows(f"{folder}/documents/*", **given | {"verify": verify})[1::2]]
                for verify in (False, True)
            }
            for i, asked in enumerate(SIMILARITIES):
                of = slice(i * pairs, (i + 1) * pairs)
                true = truth[of]
                theory = sum(map(method.likeness.bands.found, true)) / pairs
                shared, joined = (sum(found[verify][of]) / pairs for verify in (False, True))
                above = "yes" if min(true) >= method.threshold else "no"
                yield (
                    f"| {name} | {asked:.2f} | {min(true):.3f} | {theory:.1%} | {shared:.1%} | "
                    f"{100 * (shared - theory):+.1f} | {above} | {joined:.1%} |"
                )
            right = sum(one and true >= method.threshold for one, true in zip(found[True], truth, strict=True))
            yield f"| {name} | all | | | | | precision, verified: | {right / sum(found[True]):.4f} |"


def labelled(folder: Path, *, threshold: float) -> Iterator[str]:
    """A row for each setting, on labelled documents."""
    truth = {
        (first, second): float(similarity)
        for path in sorted(folder.glob("truth/*.pairs.tsv.gz"))
        for first, second, similarity, *_ in _lines(path)
    }
    equal: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("truth/*.exact.tsv.gz")):
        for cluster, id in _lines(path):
            equal[cluster].append(id)
    first_of = {id: ids[0] for ids in equal.values() for id in ids}
    alike = {frozenset(ids) for ids, similarity in truth.items() if similarity >= threshold}
    copies = {frozenset(ids) for cluster in equal.values() for ids in itertools.combinations(cluster, 2)}
    for name, given in SETTINGS.items():
        found = rows(str(folder / "*.jsonl.gz"), **given | {"threshold": threshold, "verify": True})
        clusters: dict[int, list[str]] = defaultdict(list)
        for row in found:
            if row["cluster"] is not None:
                clusters[row["cluster"]].append(row["id"])
        joined = {frozenset(ids) for cluster in clusters.values() for ids in itertools.combinations(cluster, 2)}
        kept = [(row["id"], row["kept_id"]) for row in found if row["duplicate"]]
        near = [frozenset(first_of.get(id, id) for id in ids) for ids in kept]
        right = sum(len(ids) == 1 or ids in alike for ids in near)
        yield (
            f"| {name} | {len(alike & joined)} of {len(alike)} | {len(copies & joined)} of {len(copies)} | "
            f"{right} of {len(near)} |"
        )


def _lines(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt") as lines:
        yield from (line.rstrip("\n").split("\t") for line in lines)


def report(*, pairs: int, seed: int, folder: Path | None, threshold: float = 0.8) -> str:
    """The tables, as Markdown."""
    found = [
        machine("numpy", "pyarrow"),
        "",
        f"{pairs:,} pairs of each similarity, seed {seed}; joined: with verification, at the threshold 0.8",
        "",
        "| bands x rows | similarity | true | theory | shares a band | points off | at threshold | joined |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
        *synthetic(pairs=pairs, seed=seed),
    ]
    if folder is not None:
        found += [
            "",
            f"Labelled documents ({folder.name}), threshold {threshold}, verified",
            "",
            "| bands x rows | alike pairs, joined | equal texts, joined | duplicates that are like the kept one |",
            "| --- | ---: | ---: | ---: |",
            *labelled(folder, threshold=threshold),
        ]
    return "\n".join([*found, ""])


def main() -> None:
    """Print the tables, and keep them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--labelled", metavar="FOLDER", type=Path)
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(pairs=given.pairs, seed=given.seed, folder=given.labelled)
    print(found)
    if given.write:
        write_result("recall", "Recall and precision of near-duplicates", found, date=given.write, corpus="")


if __name__ == "__main__":
    main()
