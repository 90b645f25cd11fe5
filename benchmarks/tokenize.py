"""`dolma tokenize` against the library's `encode_batch`, and what long and strange texts cost.

    python -m benchmarks.tokenize --tokenizer data/sample/tokenizer.json 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.tokenize --write DATE --corpus "what it is" --tokenizer A.json --tokenizer B.json PATTERN...

One core; processor seconds, all in one process. `encode_batch` has the same texts in memory, 256 at a time. The command
reads files and writes shards; from its time goes that of a run over one document, which loads the same tokenizer. Its
table of pre-tokens is empty when it begins. Ids of both are compared. `--write DATE` leaves `results/DATE-tokenize.md`.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import os
import platform
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import floor
from dolma.config import TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.models.encoder import Encoder, encoder_of
from dolma.models.tokenizer_facts import read_facts
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize

HERE = Path(__file__).parent
ONE = RunOptions(workers=1)
PACKAGES = ("numpy", "numba", "tokenizers")
MEGABYTE = 1_000_000


def command(paths: list[str], tokenizer: str) -> float:
    """Processor seconds of a run of the stage, with an empty table."""
    encoder_of.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        dataset, config = Dataset(documents=tuple(paths)), TokenizeConfig(tokenizer=tokenizer)
        return floor.seconds(lambda: tokenize(dataset, config, output=f"{folder}/tokens", options=ONE))


def bare(tokenizer: str, texts: list[str]) -> float:
    """Processor seconds of `encode_batch` over all texts; nothing is kept."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(tokenizer)

    def encode() -> None:
        for start in range(0, len(texts), 256):
            library.encode_batch(texts[start : start + 256])

    return floor.seconds(encode)


def sources(paths: list[str], tokenizer: str) -> Iterator[list[str]]:
    """A row for each file, and for all: MB of text, milliseconds per MB of floor, library and command; the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        one = f"{folder}/one.jsonl"
        Path(one).write_bytes(msgspec.json.encode({"id": "1", "text": "one document", "source": "s"}) + b"\n")
        command([one], tokenizer)  # compiles what is not yet
        start_up = command([one], tokenizer)
    sums = np.zeros(4)
    for path in paths:
        texts = [record.text for records in floor.decoded([path], floor.Record) for record in records]
        n_bytes = sum(len(text.encode()) for text in texts)
        reading = floor.seconds(lambda path=path: floor.read_only([path]))
        found = np.array([n_bytes / 1e6, reading, bare(tokenizer, texts), command([path], tokenizer) - start_up])
        sums += found
        yield [Path(path).name.split(".")[0], *_row(found)]
    yield ["each by itself, sum", *_row(sums)]
    texts = [record.text for records in floor.decoded(paths, floor.Record) for record in records]
    whole = np.array([sums[0], sums[1], bare(tokenizer, texts), command(paths, tokenizer) - start_up])
    yield ["all in one run", *_row(whole)]


def _row(found: Any) -> list[str]:
    n_bytes, reading, library, whole = found
    return [
        f"{n_bytes:.1f}",
        *(f"{1e3 * one / n_bytes:.2f}" for one in (reading, library, whole)),
        f"{library / whole:.2f}",
    ]


def strange() -> dict[str, Callable[[int], str]]:
    """Texts of about so many bytes, by what they are."""
    draw = random.Random(0)
    words = ["the", "of", "water", "measured", "language", "in", "1987", "and", "model", "is", "tokens,", "so."]
    return {
        "prose": lambda n: " ".join(draw.choices(words, k=n // 5))[:n],
        "letters without a space": lambda n: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
        "base64": lambda n: base64.b64encode(draw.randbytes(n * 3 // 4)).decode(),
        "one letter": lambda n: "a" * n,
        "blanks": lambda n: " " * n,
        "newlines": lambda n: "\n" * n,
        "digits": lambda n: "".join(draw.choices("0123456789", k=n)),
        "CJK": lambda n: "".join(chr(draw.randrange(0x4E00, 0x9FA0)) for _ in range(n // 3)),
        "marks": lambda n: "a" + "\u0301" * (n // 2),
        "emoji": lambda n: "\U0001f600" * (n // 4),
    }


def costs(tokenizer: str, sizes: list[int]) -> Iterator[list[str]]:
    """A row for each kind of text: milliseconds per MB by the table, and by the library alone, at each size."""
    facts = read_facts(TokenizeConfig(tokenizer=tokenizer))
    for kind, make in strange().items():
        row = [kind]
        for size in sizes:
            text = make(size)
            encoder = Encoder(facts)
            found: list[Any] = []
            n_bytes = len(text.encode()) / 1e6
            by_table = floor.seconds(lambda: found.append(encoder([text])[0]))  # noqa: B023
            by_library = floor.seconds(lambda: found.append(encoder._encode([text])[0]))  # noqa: B023
            same = np.array_equal(found[0][:-1], found[1])
            row += [f"{1e3 * by_table / n_bytes:.1f}", f"{1e3 * by_library / n_bytes:.1f}", "yes" if same else "NO"]
        yield row


def table(head: list[str], rows: Iterator[list[str]]) -> str:
    """The rows as Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        print(*row, flush=True)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def report(patterns: list[str], tokenizers: list[str], *, corpus: str, sizes: list[int]) -> str:
    """All tables."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    paths = floor.paths_of(patterns)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    parts = [
        f"# dolma tokenize\n\n{corpus}. {platform.machine()}, Python {platform.python_version()}, {versions}; load "
        f"{os.getloadavg()[0]:.1f} at the start. Milliseconds of a processor per MB of text."
    ]
    for tokenizer in tokenizers:
        name = Path(tokenizer).name
        head = ["source", "MB", "floor: reading", "encode_batch", "dolma tokenize", "encode_batch / dolma tokenize"]
        parts.append(f"## {name}\n\n{table(head, sources(paths, tokenizer))}")
        head = [
            "one text",
            *(f"{what}, {size // MEGABYTE} MB" for size in sizes for what in ("table", "library", "same")),
        ]
        parts.append(f"### Long and strange text\n\n{table(head, costs(tokenizer, sizes))}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    parts.append(f"The process had {peak} MiB at the most, with all texts of the corpus in it.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the report, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--tokenizer", action="append", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8], help="megabytes of each strange text")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    text = report(given.documents, given.tokenizer, corpus=given.corpus, sizes=[n * MEGABYTE for n in given.sizes])
    if given.write:
        (HERE / "results" / f"{given.write}-tokenize.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
