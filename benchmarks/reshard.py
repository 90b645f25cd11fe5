"""Token shards made of token shards, against reading, checksumming and writing the same arrays and rows.

    python -m benchmarks.reshard 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.reshard --write 2026-11-29 --corpus "what it is" --tokenizer tokenizer.json PATTERN...

The documents are tokenized once, and written `--copies` times, so that fixed costs do not decide. Floor and commands
take turns; figures are medians of processor time of one core, and ratios of neighbours in time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xxhash

from benchmarks import floor
from benchmarks.stages import ONE, TOKENIZER, machine
from dolma.config import MixConfig, SourceShare, TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.data.tokens import TokenShardWriter, little_endian, read_rows, read_token_manifest
from dolma.reshard.stage import Layout, mix, reshard
from dolma.tokens.tokenize import tokenize

PACKAGES = ("numpy", "pyarrow", "xxhash", "isal")
TARGETS = {
    "reshard, in order": 2.0,
    "reshard, shuffled": 4.0,
    "mix of half of the documents, in order": 2.0,
    "mix, shuffled": 4.0,
}
_SHARD = 1 << 23  # tokens


def rewrite(folder: str, output: str) -> None:
    """The floor: read each shard and its rows, take its checksum, and write both."""
    manifest = read_token_manifest(folder)
    kind = little_endian(manifest.dtype)
    for info in manifest.shards:
        raw = Path(folder, info.path).read_bytes()
        assert xxhash.xxh3_128_hexdigest(raw) == info.xxh3
        rows = read_rows(f"{folder}/{info.path}")
        counts = rows["end"].to_numpy() - rows["start"].to_numpy()
        with TokenShardWriter(output, info.path) as writer:
            writer.write([np.frombuffer(raw, kind).data.cast("B")], counts=counts, rows=rows)


def cases(folder: str, output: str) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    half, whole = (MixConfig(sources={"all": SourceShare(repeat=repeat)}) for repeat in (0.5, 1.0))
    in_order = Layout(shuffle=False, max_tokens_per_shard=_SHARD)
    shuffled = Layout(max_tokens_per_shard=_SHARD)

    def mixed(config: MixConfig, layout: Layout) -> object:
        return mix({"all": folder}, config, output=output, layout=layout, options=ONE)

    return {
        "floor": lambda: rewrite(folder, output),
        "reshard, in order": lambda: reshard(folder, output=output, layout=in_order, options=ONE),
        "reshard, shuffled": lambda: reshard(folder, output=output, layout=shuffled, options=ONE),
        "mix of half of the documents, in order": lambda: mixed(half, in_order),
        "mix, shuffled": lambda: mixed(whole, shuffled),
    }


def rows(patterns: list[str], *, tokenizer: str, copies: int, repeats: int) -> Iterator[str]:
    """A line on the shards, and a row for each command."""
    with tempfile.TemporaryDirectory() as home:
        config = TokenizeConfig(tokenizer=tokenizer, max_tokens_per_shard=_SHARD)
        tokenize(Dataset(documents=tuple(patterns)), config, output=f"{home}/once", options=ONE)
        folder, output = f"{home}/tokens", f"{home}/out"
        copied = MixConfig(sources={"all": SourceShare(repeat=copies)})
        layout = Layout(max_tokens_per_shard=_SHARD)
        mix({"all": f"{home}/once"}, copied, output=folder, layout=layout, options=ONE)
        manifest = read_token_manifest(folder)
        n_bytes = sum(shard.bytes for shard in manifest.shards)
        n_rows = sum(shard.rows for shard in manifest.shards)
        yield f"{n_bytes / 1e6:.0f} MB of {manifest.dtype} ids, {n_rows:,} rows, {len(manifest.shards)} shards."
        yield ""
        yield "| what | MB/s of ids | times the floor | spread | target |"
        yield "| --- | ---: | ---: | ---: | --- |"
        found = cases(folder, output)
        times: dict[str, list[float]] = {name: [] for name in found}
        for i in range(repeats + 1):
            for name, work in found.items():
                shutil.rmtree(output, ignore_errors=True)
                seconds = floor.seconds(work)
                if i:  # what is compiled and loaded once is left out
                    times[name].append(seconds)
        for name, taken in times.items():
            ratios = [one / least for one, least in zip(taken, times["floor"], strict=True)]
            ratio, target = statistics.median(ratios), TARGETS.get(name)
            met = "" if target is None else f"{target:g}: {'met' if ratio <= target else 'missed'}"
            speed = n_bytes / 1e6 / statistics.median(taken)
            yield f"| {name} | {speed:.0f} | {ratio:.2f} | {min(ratios):.2f}-{max(ratios):.2f} | {met} |"


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--tokenizer", default=str(TOKENIZER))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    said = [
        f"Corpus: {given.corpus}, written {given.copies} times. {given.repeats} rounds, processor time, one core.",
        machine(*PACKAGES),
        *rows(given.documents, tokenizer=given.tokenizer, copies=given.copies, repeats=given.repeats),
        "",
    ]
    print("\n".join(said))
    if given.write:
        title = f"# Token shards of token shards, {given.write}\n\n`python -m benchmarks.reshard`\n\n"
        path = Path(__file__).parent / "results" / f"{given.write}-reshard.md"
        path.write_text(title + "\n".join(said), encoding="utf-8")


if __name__ == "__main__":
    main()
