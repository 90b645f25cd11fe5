"""Near vectors: what is missed at the borders of cells, and what comparing costs.

    python -m benchmarks.semantic
    python -m benchmarks.semantic --write 2026-11-29

Vectors of 384 numbers are drawn anew, with planted pairs of a known cosine. All directions are as likely in `random`
ones, which is the worst case for cells; `topics` lie around 200 centres, as embeddings of texts do. `dolma dedupe
--method semantic` runs on all of them. A pair is found if its second document is a duplicate of its first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.accuracy import write_result
from benchmarks.stages import ONE, machine
from dolma.config import DedupeConfig
from dolma.data.attributes import AttributeWriter, read_attributes
from dolma.data.columns import DocVector
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe

SIZE, TOPICS, SHARE = 384, 200, 10
COSINES = (0.99, 0.97)


def drawn(kind: str, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Unit vectors; every `SHARE`th is near the one before, at one of the `COSINES` in turn."""
    found = rng.normal(size=(n, SIZE))
    if kind == "topics":
        found = rng.normal(size=(TOPICS, SIZE))[rng.integers(0, TOPICS, n)] + 0.8 * found
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    for k, i in enumerate(range(1, n, SHARE)):
        cosine, near, other = COSINES[k % len(COSINES)], found[i - 1], rng.normal(size=SIZE)
        other -= (other @ near) * near
        found[i] = cosine * near + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
    return found


def rows(kind: str, n: int, cells: list[int]) -> list[str]:
    """A line of the table for each number of cells and cosine."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "documents").mkdir()
        with (home / "documents/a.jsonl").open("w") as out:
            out.writelines(json.dumps({"id": str(i), "text": "t"}) + "\n" for i in range(n))
        numbers = drawn(kind, n, np.random.default_rng(1)).astype(np.float32).reshape(-1)
        path = str(home / "attributes/embedding/a.jsonl.parquet")
        with AttributeWriter(path, {"vector": DocVector("drawn", size=SIZE)}, tagger="embedding") as written:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), SIZE)
            written.write(list(map(str, range(n))), {"vector": vectors})
        dataset = Dataset(documents=(str(home / "documents"),))
        for n_cells in cells:
            config = DedupeConfig(
                method="semantic", by="embedding.vector", threshold=0.95, cells=n_cells, name=f"near_{n_cells}"
            )
            begun = time.process_time()
            report = dedupe(dataset, config, options=ONE)
            seconds = time.process_time() - begun
            found = read_attributes(str(home / f"attributes/near_{n_cells}/a.jsonl.parquet")).to_pylist()
            assert report.details.near is not None
            for k, cosine in enumerate(COSINES):
                of = [found[i] for i in range(1 + SHARE * k, n, SHARE * len(COSINES))]
                share = sum(row["kept_id"] == str(int(row["id"]) - 1) for row in of) / len(of)
                compared = report.details.near.compared
                lines.append(f"| {kind} | {n_cells} | {cosine} | {share:.1%} | {compared / 1e6:,.1f} | {seconds:.1f} |")
    return lines


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    table = [
        machine("numpy", "numba", "pyarrow"),
        "",
        f"{given.documents:,} vectors of {SIZE} numbers, threshold 0.95; one process, its processor seconds",
        "",
        "| vectors | cells | cosine of pairs | found | million pairs compared | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(line for kind in ("random", "topics") for line in rows(kind, given.documents, given.cells)),
    ]
    found = "\n".join(table)
    print(found)
    if given.write:
        write_result("semantic", "Near vectors", found, date=given.write, corpus="")


if __name__ == "__main__":
    main()
