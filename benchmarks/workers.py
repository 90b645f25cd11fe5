"""Whole commands with one worker and with two, and two commands with one worker at once.

    python -m benchmarks.workers --copies 4 'PATH/*/documents/*'

The corpus is as many marked copies of the documents, a file each, as of `benchmarks.memory`. Runs of the three kinds
take turns. Times of the clock mean little on a busy machine, so processor seconds are counted too, those of the
command's own process apart from those of its workers. What the own process does is taken to be serial, all of it, and
so is the start of a worker; `little to do` shows these two. The most that two workers can gain follows: the processor
seconds of one worker, to those of the own process and half of those of two workers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import floor
from benchmarks.memory import copies
from benchmarks.stages import TOKENIZER

HERE = Path(__file__).parent
COMMANDS = {
    "tag": ["tag", "--taggers", "length,gopher,pii", "--attributes", "{out}"],
    "dedupe": ["dedupe", "--attributes", "{out}"],
    "mix": ["mix", "--keep", "document.bytes > 200", "--output", "{out}"],
    "tokenize": ["tokenize", "--tokenizer", str(TOKENIZER), "--output", "{out}"],
}
"""What follows `dolma`; documents and workers are added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Seconds of one run: by the clock, of the command's own process, of its workers."""

    clock: float
    own: float
    workers: float

    @property
    def total(self) -> float:
        return self.own + self.workers


def start(stage: str, patterns: list[str], out: str, *, workers: int) -> subprocess.Popen[str]:
    """A command in a process of its own, which prints its processor seconds."""
    shutil.rmtree(out, ignore_errors=True)
    command = [part.format(out=out) for part in COMMANDS[stage]] + ["--workers", str(workers)]
    command += [part for pattern in patterns for part in ("--documents", pattern)]
    own = [sys.executable, "-m", "benchmarks.workers", "--one", *command]
    return subprocess.Popen(own, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)


def finish(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Processor seconds of a command that was started, and of its workers."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    own, workers = json.loads(out.splitlines()[-1])
    return own, workers


def measured(stage: str, parts: list[list[str]], folder: str, *, workers: int) -> Run:
    """One command for each part of the documents, all at once."""
    began = time.perf_counter()
    running = [start(stage, part, f"{folder}/out-{i}", workers=workers) for i, part in enumerate(parts)]
    used = [finish(process) for process in running]
    return Run(
        clock=time.perf_counter() - began, own=sum(own for own, _ in used), workers=sum(workers for _, workers in used)
    )


def report(patterns: list[str], *, n_copies: int, repeats: int, stages: list[str]) -> str:
    """The table, as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        copies(patterns, folder, times=n_copies)
        copies(patterns[:1], f"{folder}/little", times=2)
        n_bytes = floor.read(floor.paths_of(patterns)) * n_copies
        files = sorted(str(path) for path in Path(folder, "all", "documents").iterdir())
        little = sorted(str(path) for path in Path(folder, "little", "all", "documents").iterdir())
        lines = [
            f"{n_bytes / 1e6:.0f} MB of text in {n_copies} files; {os.cpu_count()} CPUs; load before and "
            f"after: {os.getloadavg()[0]:.1f}, LOAD. Seconds, medians of {repeats}; in brackets of processors.",
            "",
            "| command | one worker | two: own process + workers | two commands, half each | two to one, clock "
            "| two commands to one, clock | at most |",
            "| --- |" + " ---: |" * 6,
        ]
        for stage in stages:
            runs: dict[str, list[Run]] = {"one": [], "two": [], "apart": []}
            for _ in range(repeats):
                runs["one"].append(measured(stage, [files], folder, workers=1))
                runs["two"].append(measured(stage, [files], folder, workers=2))
                runs["apart"].append(measured(stage, [files[0::2], files[1::2]], folder, workers=1))
            lines.append(_row(stage, runs))
            fixed = measured(stage, [little], folder, workers=2)
            lines.append(f"| {stage}, little to do | | ({fixed.own:.2f} + {fixed.workers:.2f}) | | | | |")
    return "\n".join(lines).replace("LOAD", f"{os.getloadavg()[0]:.1f}") + "\n"


def _row(stage: str, runs: dict[str, list[Run]]) -> str:
    one, two, apart = (runs[kind] for kind in ("one", "two", "apart"))
    clock = {kind: statistics.median(run.clock for run in some) for kind, some in runs.items()}
    own, workers = statistics.median(run.own for run in two), statistics.median(run.workers for run in two)
    alone, both = statistics.median(run.total for run in one), statistics.median(run.total for run in apart)
    return (
        f"| {stage} | {clock['one']:.1f} ({alone:.2f}) | {clock['two']:.1f} ({own:.2f} + {workers:.2f}) "
        f"| {clock['apart']:.1f} ({both:.2f}) | {clock['one'] / clock['two']:.2f} "
        f"| {clock['one'] / clock['apart']:.2f} | {alone / (own + workers / 2):.2f} |"
    )


def _run_one(command: list[str]) -> None:
    from dolma.cli.main import run

    status = run(command)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps([one.ru_utime + one.ru_stime for one in used]))
    sys.exit(status)


def main() -> None:
    """Print the table, and keep it where asked to."""
    if sys.argv[1:2] == ["--one"]:
        _run_one(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--copies", type=int, default=4, metavar="N", help="of the documents, an even number")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stages", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(given.documents, n_copies=given.copies, repeats=given.repeats, stages=given.stages)
    print(found)
    if given.write:
        title = f"# One worker and two, {given.write}\n\n`python -m benchmarks.workers`\n\n"
        (HERE / "results" / f"{given.write}-workers.md").write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
