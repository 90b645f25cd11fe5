"""Peak memory of every stage at 1, 10 and 100 times a corpus (`--times`): it must not grow with it.

    python -m benchmarks.memory 'data/sample/*/documents/*.jsonl.gz'

The larger corpus is the smaller one 10 times in as many files, each copy's texts and ids marked with its number so that
nothing is a duplicate of anything by that. Each stage runs in a process of its own with one worker; the figure is the
peak resident set that the system saw.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks import floor
from dolma.data import streams

HERE = Path(__file__).parent
STAGES = ("read", "tag", "dedupe", "dedupe by paragraphs", "mix", "mix, sampled", "tokenize", "stat")


def copies(patterns: list[str], folder: str, *, times: int) -> str:
    """`times` marked copies of the documents, a file each; the pattern that matches them."""
    encoder = msgspec.json.Encoder()
    for copy in range(times):
        with streams.open_output(f"{folder}/all/documents/{copy:02d}.jsonl.zst") as out:
            for records in floor.decoded(floor.paths_of(patterns), floor.Record):
                marked = [
                    msgspec.structs.replace(record, id=f"{copy}/{record.id}", text=f"copy {copy}\n{record.text}")
                    for record in records
                ]
                out.write(encoder.encode_lines(marked))
    return f"{folder}/all/documents/*.jsonl.zst"


def run_stage(stage: str, pattern: str, folder: str, *, max_memory: int | None) -> None:
    """Run one stage in this process."""
    from benchmarks.stages import ONE, TOKENIZER
    from dolma.config import DedupeConfig, MixConfig, SourceShare, StatConfig, TagConfig, TokenizeConfig
    from dolma.data.dataset import Dataset
    from dolma.data.documents import Intake, Reading, read_batches
    from dolma.dedupers.dedupe import dedupe
    from dolma.mixers.mix import mix
    from dolma.stats.stat import stat
    from dolma.taggers.tag import tag
    from dolma.tokens.tokenize import tokenize

    options = msgspec.structs.replace(ONE, max_memory=max_memory)
    keep = ["length.words >= 20"]
    dataset = Dataset(documents=(pattern,), attributes=f"{folder}/attributes")
    if stage == "read":
        for shard in dataset.shards():
            for _ in read_batches(shard, Reading(), intake=Intake()):
                pass
    elif stage == "tag":
        tag(dataset, TagConfig(taggers=["length", "gopher", "pii"]), options=options)
    elif stage == "dedupe":
        dedupe(dataset, DedupeConfig(), options=options)
    elif stage == "dedupe by paragraphs":
        dedupe(dataset, DedupeConfig(by="paragraphs", name="paragraphs"), options=options)
    elif stage == "mix":
        mix(dataset, MixConfig(keep=keep), output=f"{folder}/mixed", options=options)
    elif stage == "mix, sampled":
        source = next(iter(read_batches(dataset.shards()[0], Reading(), intake=Intake()))).sources[0]
        sampled = MixConfig(keep=keep, sources={source: SourceShare(repeat=1.5)})
        mix(dataset, sampled, output=f"{folder}/sampled", options=options)
    elif stage == "tokenize":
        tokenize(dataset, TokenizeConfig(tokenizer=str(TOKENIZER)), output=f"{folder}/tokens", options=options)
    elif stage == "stat":
        stat(dataset, StatConfig(), output=None, options=options)


def peak(stage: str, pattern: str, folder: str, *, max_memory: int | None) -> float:
    """MiB that a fresh process took at most for this stage."""
    command = [sys.executable, "-m", "benchmarks.memory", "--stage", stage, "--folder", folder, pattern]
    command += [] if max_memory is None else ["--max-memory", str(max_memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
    return json.loads(done.stdout.splitlines()[-1])


def report(patterns: list[str], sizes: list[int], max_memory: int | None) -> str:
    """The table, as Markdown."""
    with ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in sizes]
        corpora = [copies(patterns, folder, times=times) for folder, times in zip(folders, sizes, strict=True)]
        n_bytes = floor.read(floor.paths_of(patterns))
        lines = [
            f"{n_bytes / 1e6:.1f} MB of text, in marked copies. Peak resident set in MiB, one worker"
            + (f", `--max-memory {max_memory / (1 << 20):.0f}MiB`." if max_memory else "."),
            "",
            "| stage | " + " | ".join(f"{times}x" for times in sizes) + " | last to first |",
            "| --- |" + " ---: |" * (len(sizes) + 1),
        ]
        for stage in STAGES:
            peaks = [
                peak(stage, corpus, folder, max_memory=max_memory)
                for corpus, folder in zip(corpora, folders, strict=True)
            ]
            lines.append(f"| {stage} | {' | '.join(f'{mib:.0f}' for mib in peaks)} | {peaks[-1] / peaks[0]:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and keep it where asked to; with `--stage`, run that one and print its peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--times", nargs="+", type=int, default=[1, 10, 100], metavar="N", help="sizes, in copies")
    parser.add_argument("--max-memory", type=int, metavar="BYTES", help="what the stages are given")
    parser.add_argument("--write", metavar="DATE")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        run_stage(given.stage, given.documents[0], given.folder, max_memory=given.max_memory)
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(kib / 1024)
        return
    found = report(given.documents, given.times, given.max_memory)
    print(found)
    if given.write:
        title = f"# Peak memory, {given.write}\n\n`python -m benchmarks.memory`\n\n"
        (HERE / "results" / f"{given.write}-memory.md").write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
