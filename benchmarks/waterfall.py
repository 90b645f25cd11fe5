"""A waterfall from attributes alone against DuckDB reading the same columns. Run: python -m benchmarks.waterfall

The attributes of the sample corpus are repeated to `--rows`, in one file per set. Both read the same columns, ids with
them, with one thread; the least of `--rounds` is taken, in turns, because the machine may be shared.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dolma.config import MixConfig, TagConfig
from dolma.data.dataset import Dataset
from dolma.mixers.mix import preview
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

N_RULES = 20


def main() -> None:
    """Print both times, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dolma-waterfall-") as folder:
        data, outputs = repeated(Path(folder), given.rows)
        rules = [f"gopher.{name} >= {0.1 * (i % 10):g} OR length.words > {10 * i}" for i, name in enumerate(outputs)]
        config = MixConfig(keep=rules, missing="keep")
        ours, theirs = [], []
        for _ in range(given.rounds):
            ours.append(timed(lambda: preview(data, config, options=RunOptions(workers=1, progress=False))))
            theirs.append(timed(lambda: read(Path(folder), outputs)))
    print(f"rows {given.rows:,}, rules {len(rules)}, columns {len(outputs) + 2}; load {os.getloadavg()[0]:.1f}")
    ratio = min(ours) / min(theirs)
    print(f"waterfall {min(ours):.2f} s; DuckDB reads the columns in {min(theirs):.2f} s: {ratio:.1f} times")


def repeated(folder: Path, n_rows: int) -> tuple[Dataset, list[str]]:
    """A document file that nobody reads, and its attributes, repeated to so many rows; the outputs that rules read."""
    source = Path("data/sample/techdocs/documents")
    documents = folder / "techdocs" / "documents"
    documents.mkdir(parents=True)
    first = sorted(source.glob("*.jsonl.gz"))[0]
    (documents / first.name).write_bytes(first.read_bytes())
    data = Dataset(documents=(str(documents / "*"),))
    tag(data, TagConfig(taggers=["length", "gopher"]), options=RunOptions(workers=1, progress=False))
    outputs: list[str] = []
    for name in ("length", "gopher"):
        (path,) = (folder / "techdocs" / "attributes" / name).glob("*.parquet")
        table = pq.read_table(path)
        outputs += [output for output in table.column_names if name == "gopher" and output != "id"]
        whole = pa.concat_tables([table] * (-(-n_rows // len(table)))).slice(0, n_rows)
        pq.write_table(whole, path, row_group_size=1 << 16, compression="zstd")
    return data, outputs[:N_RULES]


def read(folder: Path, outputs: list[str]) -> None:
    """Have DuckDB read what the rules need."""
    with duckdb.connect(config={"threads": "1"}) as connection:
        for name, columns in (("length", ["words", "bytes"]), ("gopher", outputs)):
            pattern = folder / "techdocs" / "attributes" / name / "*.parquet"
            connection.sql(f"SELECT id, {', '.join(columns)} FROM '{pattern}'").to_arrow_table()


def timed(work: object) -> float:
    """Seconds of a processor that it takes."""
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


if __name__ == "__main__":
    main()
