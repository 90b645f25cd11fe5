"""Finding copies in corpora of 1, 4 and 16 times a size: time for each MB, and peak memory.

    python -m benchmarks.growth 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.growth --write 2026-11-29 --corpus "what it is" PATTERN...

The first `--megabytes` of the documents' text are one size. Further copies of it have their letters exchanged, another
way in each, so that a larger corpus has as many copies of its own as a small one, and no more. Each command is a
process of its own, with one worker. Kernels are there before; seconds are processor time, and for the time of each MB
that of a corpus of one document is taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import floor
from benchmarks.accuracy import write_result
from benchmarks.stages import machine
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches

METHODS = {
    "exact": ["--by", "text"],
    "exact, paragraphs": ["--by", "paragraphs"],
    "windows": ["--method", "windows", "--by", "sentences"],
    "bloom, paragraphs": ["--method", "bloom", "--by", "paragraphs"],
    "minhash": ["--method", "minhash"],
    "substring": ["--method", "substring"],
}
TIMES, MOST = (1, 4, 16), 1.3


def texts_of(patterns: list[str], megabytes: float) -> list[str]:
    """The first texts, of so many bytes together."""
    found, left = [], megabytes * 1e6
    for shard in Dataset(documents=tuple(floor.paths_of(patterns))).shards():
        for batch in read_batches(shard, Reading(), intake=Intake()):
            for text in batch.texts():
                found.append(text)
                left -= len(text.encode())
                if left <= 0:
                    return found
    return found


def exchanged(text: str, k: int) -> str:
    """The text with each letter of ASCII in the place of another."""
    letters = string.ascii_lowercase
    turned = letters[k:] + letters[:k]
    return text.translate(str.maketrans(letters + letters.upper(), turned + turned.upper()))


def measured(options: list[str], documents: Path, out: str) -> tuple[float, float]:
    """Processor seconds and peak memory, in MB, of a command."""
    command = [sys.executable, "-m", "dolma", "dedupe", *options, "--documents", str(documents), "--attributes", out]
    done = subprocess.Popen([*command, "--workers", "1", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    assert done.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def rows(texts: list[str], chosen: list[str]) -> Iterator[str]:
    """A line of the table for each method and size."""
    n_bytes = sum(len(text.encode()) for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "one.jsonl")
        one.write_text(json.dumps({"text": "one"}) + "\n")
        for k in range(max(TIMES)):
            with Path(folder, f"{k:02d}.jsonl").open("w") as file:
                file.writelines(json.dumps({"text": exchanged(text, k)}) + "\n" for text in texts)
        for name in chosen:
            measured(METHODS[name], Path(folder, "00.jsonl"), f"{folder}/warm-{name}")
            start, _ = measured(METHODS[name], one, f"{folder}/out-{name}-0")
            first = 0.0
            for n in TIMES:
                corpus = Path(folder, f"corpus-{n}")
                corpus.mkdir(exist_ok=True)
                for k in range(n):
                    link = corpus / f"{k:02d}.jsonl"
                    if not link.exists():
                        os.link(Path(folder, f"{k:02d}.jsonl"), link)
                seconds, memory = measured(METHODS[name], corpus, f"{folder}/out-{name}-{n}")
                each = (seconds - start) / (n * n_bytes / 1e6)
                first = first or each
                met = "" if n == 1 else f"{MOST}: {'met' if each / first <= MOST else 'missed'}"
                cells = (
                    name,
                    f"{n} x",
                    f"{seconds:.1f}",
                    f"{1e3 * each:.1f}",
                    f"{each / first:.2f}",
                    met,
                    f"{memory:.0f}",
                )
                yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="+", metavar="PATTERN")
    parser.add_argument("--megabytes", type=float, default=40.0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--corpus", default="")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    table = [
        machine("numpy", "numba", "pyarrow"),
        "",
        f"{given.megabytes:g} MB of text are one size; ms: milliseconds for each MB beside start-up",
        "",
        "| method | corpus | seconds | ms | times that of 1 x | target | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
        *rows(texts_of(given.patterns, given.megabytes), given.methods),
    ]
    found = "\n".join(table)
    print(found)
    if given.write:
        write_result("growth", "Copies in growing corpora", found, date=given.write, corpus=given.corpus)


if __name__ == "__main__":
    main()
