"""Taggers against the floor, and against what other tools take for the same measurements, in one run on one core.

    python -m benchmarks.taggers 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.taggers --dolma1 PYTHON --datatrove PYTHON --write 2026-11-24 --corpus "what it is" PATTERN...

PYTHON is an interpreter that has the package (`dolma==1.2.1`; `datatrove` and `spacy`). What is compared and how:

- passes: the whole tag stage, reading and writing included, as a multiple of the floor, on all documents;
- others: texts in memory, neither reading nor writing, on every n-th document (`--sample` MB of text);
- every tagger alone: reading included, writing not, on `--alone` MB of text. These are the MB/s of `dolma list`;
- workers: whole commands, with one worker and with two, and two independent ones at once: what the machine gives;
- start: wall time of `dolma tag` with every tagger on one document, kernels not yet compiled and then compiled.

`--write DATE` leaves `benchmarks/results/DATE-taggers.md`, and the speeds of `dolma list` in `taggers/speeds.json`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks import floor
from benchmarks.stages import HERE, machine
from dolma.config import TagConfig, TaggerSpec
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.runner.options import RunOptions
from dolma.taggers.catalogue import Speeds, catalogue
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import make_tagger, make_taggers
from dolma.taggers.tag import tag

PACKAGES = ("numpy", "numba", "pyarrow", "msgspec", "isal", "zstandard", "tokenizers", "fasttext-community")
LINES = ("gopher_v1", "c4_v2", "fineweb", "length")
PASSES = ((LINES, 3.0), ((*LINES, "pii", "language"), 5.0))
TOGETHER = ("gopher_v1", "c4_v2")
HEURISTICS = (
    "char_length_v1", "char_length_strip_ws_v1", "char_length_with_paragraphs_v1", "doc_count_v1", "bytes_length_v1",
    "whitespace_tokenizer_v1", "whitespace_tokenizer_with_paragraphs_v1", "uniseg_length_v1",
    "uniseg_length_paragraphs_v1", "uniseg_length_paragraphs_with_empty_v1",
    "uniseg_length_paragraphs_with_doc_length_v1", "not_alphanum_paragraph_v1", "repetitions_v1",
    "paragraph_repetitions_v1", "gopher_v1", "gopher_v2", "c4_v1", "c4_v2", "pii_regex_v1", "pii_regex_v2",
    "pii_regex_with_counts_v2", "pii_regex_with_counts_fast_v2", "cc_re", "cc_re_fast", "random_number_v1",
    "olmo_pretokenizer_v1", "olmo_pretokenizer_with_paragraphs_v1",
)  # fmt: skip
DATATROVE = ("gopher_datatrove", "c4_datatrove", "fineweb")
TIMES_DOLMA, TIMES_TOGETHER, TIMES_DATATROVE, TIMES_FASTTEXT, LEAST_SPEED, TIMES_WORKERS = (
    20.0,
    100.0,
    200.0,
    3.0,
    30.0,
    1.9,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compare with, on how much text, how often."""

    patterns: list[str]
    repeats: int
    sample: float
    alone: float
    copies: int = 1
    dolma1: str | None = None
    datatrove: str | None = None
    paths: list[str] = field(default_factory=list)


def texts_of(paths: list[str], *, megabytes: float) -> list[str]:
    """Every n-th text, about so many MB of UTF-8 in all."""
    texts = [record.text for records in floor.decoded(paths, floor.Record) for record in records]
    step = max(1, round(sum(map(len, texts)) / 1e6 / megabytes))
    return texts[step // 2 :: step]


def in_memory(names: Sequence[str], texts: list[str]) -> Callable[[], float]:
    """Processor seconds of the taggers over the texts, in batches as the reader makes them; warmed up."""
    taggers = make_taggers(list(names))
    for tagger in taggers:
        tagger(TextBatch.of(texts[:2]))

    def work() -> float:
        total = 0.0
        for batch in _batches(texts):
            total += floor.seconds(lambda batch=batch: [tagger(batch) for tagger in taggers])
        return total

    return work


def _batches(texts: list[str], *, batch_bytes: int = Reading().batch_bytes) -> list[TextBatch]:
    batches, held, size = [], [], 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= batch_bytes:
            batches.append(_batch(held))
            held, size = [], 0
    return [*batches, _batch(held)] if held else batches


def _batch(texts: list[str]) -> TextBatch:
    """The texts, each in its metadata too, as the page that it was on: `cc_re` looks there."""
    return TextBatch.of(texts, metadata=[msgspec.json.encode({"html": text}) for text in texts])


def megabytes_of(texts: list[str]) -> float:
    """MB of UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def others(python: str, program: str, texts: list[str], names: Sequence[str] = ()) -> dict[str, float | None]:
    """What a program in `benchmarks/others` prints."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        # Out of the repository, where `dolma` would be this one.
        done = subprocess.run(
            [os.path.abspath(python), str(HERE / "others" / program), str(path), *names],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def met(value: float, target: float, *, most: bool = False) -> str:
    """`20: met`."""
    return f"{target:g}: {'met' if (value <= target if most else value >= target) else 'missed'}"


def passes(plan: Plan) -> list[str]:
    """The tag stage with several taggers in one pass, as a multiple of the floor."""
    n_bytes = floor.read(plan.paths)
    rows = [
        f"Passes, {n_bytes / 1e6:.0f} MB of text, {plan.repeats} rounds, floor and passes in turns.",
        "",
        "| taggers in one pass | MB/s | times the floor | spread | at most |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        works = {names: functools.partial(_tag, plan.patterns, names, f"{folder}/pass") for names, _ in PASSES}
        for work in works.values():
            work()
        floors, times = [], {names: [] for names in works}
        for _ in range(plan.repeats):
            floors.append(floor.seconds(lambda: floor.read_only(plan.paths)))
            for names, work in works.items():
                times[names].append(floor.seconds(work))
    for names, target in PASSES:
        ratios = [a / b for a, b in zip(times[names], floors, strict=True)]
        ratio, speed = statistics.median(ratios), n_bytes / 1e6 / statistics.median(times[names])
        rows.append(
            f"| {' '.join(names)} | {speed:.0f} | {ratio:.2f} | {min(ratios):.2f}-{max(ratios):.2f} "
            f"| {met(ratio, target, most=True)} |"
        )
    rows.append(f"| (floor: reading) | {n_bytes / 1e6 / statistics.median(floors):.0f} | 1 | | |")
    return rows


def _tag(patterns: list[str], names: Sequence[str], folder: str, workers: int = 1) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    dataset = Dataset(documents=tuple(patterns), attributes=folder)
    tag(dataset, TagConfig(taggers=list(names)), options=RunOptions(workers=workers))


def against_dolma1(plan: Plan, python: str) -> list[str]:
    """Each heuristic, and two together, against Dolma 1.2.1."""
    texts = texts_of(plan.paths, megabytes=plan.sample)
    size = megabytes_of(texts)
    names = [name for name in HEURISTICS if name in BUILT_IN]
    ours = {name: in_memory([name], texts) for name in names}
    together = in_memory(TOGETHER, texts)
    ratios: dict[str, list[float]] = {name: [] for name in [*names, "+"]}
    speeds: dict[str, list[float]] = {name: [] for name in [*names, "+"]}
    for _ in range(plan.repeats):
        theirs = others(python, "dolma1_taggers.py", texts, names)
        for name in names:
            mine = min(ours[name]() for _ in range(3))
            speeds[name].append(size / mine)
            if theirs[name] is not None:
                ratios[name].append(theirs[name] / mine)
        mine = min(together() for _ in range(3))
        speeds["+"].append(size / mine)
        ratios["+"].append(sum(theirs[name] or 0.0 for name in TOGETHER) / mine)
    rows = [
        f"Against Dolma 1.2.1, {size:.1f} MB of text in memory, {plan.repeats} rounds.",
        "",
        "| tagger | MB/s | times Dolma 1.2.1 | spread | at least | at least MB/s |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for name in ["+", *names]:
        speed = statistics.median(speeds[name])
        if not ratios[name]:
            rows.append(f"| {name} | {speed:.0f} | (cannot be made there) | | | {met(speed, LEAST_SPEED)} |")
            continue
        ratio, target = statistics.median(ratios[name]), TIMES_TOGETHER if name == "+" else TIMES_DOLMA
        rows.append(
            f"| {' '.join(TOGETHER) if name == '+' else name} | {speed:,.0f} | {ratio:.0f} "
            f"| {min(ratios[name]):.0f}-{max(ratios[name]):.0f} | {met(ratio, target)} | {met(speed, LEAST_SPEED)} |"
        )
    return rows


def against_datatrove(plan: Plan, python: str) -> list[str]:
    """The four quality filters as one pass, against datatrove's."""
    texts = texts_of(plan.paths, megabytes=plan.sample / 2)
    ours = in_memory(DATATROVE, texts)
    ratios, speeds = [], []
    for _ in range(plan.repeats):
        theirs = sum(seconds or 0.0 for seconds in others(python, "datatrove_filters.py", texts).values())
        mine = min(ours() for _ in range(3))
        ratios.append(theirs / mine)
        speeds.append(megabytes_of(texts) / mine)
    ratio = statistics.median(ratios)
    return [
        f"Against datatrove's four filters, {megabytes_of(texts):.1f} MB of text in memory, {plan.repeats} rounds:"
        f" `{' '.join(DATATROVE)}` takes {statistics.median(speeds):.0f} MB/s, {ratio:.0f} times as fast"
        f" ({min(ratios):.0f}-{max(ratios):.0f}); at least {met(ratio, TIMES_DATATROVE)}."
    ]


def against_fasttext(plan: Plan) -> list[str]:
    """`language` against the fastText library called once per document."""
    import importlib.resources

    import fasttext

    texts = texts_of(plan.paths, megabytes=plan.sample * 4)
    with importlib.resources.as_file(importlib.resources.files("dolma.taggers") / "models/lid.176.ftz") as file:
        model = fasttext.load_model(str(file))

    def predict() -> None:
        for text in texts:
            model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")

    ours = in_memory(["language"], texts)
    ratios, speeds = [], []
    for _ in range(plan.repeats):
        theirs, mine = floor.seconds(predict), ours()
        ratios.append(theirs / mine)
        speeds.append(megabytes_of(texts) / mine)
    ratio = statistics.median(ratios)
    return [
        f"Against the fastText library, {megabytes_of(texts):.1f} MB of text in memory, {plan.repeats} rounds:"
        f" `language` takes {statistics.median(speeds):.0f} MB/s, {ratio:.1f} times as fast as `predict` of whole texts"
        f" ({min(ratios):.1f}-{max(ratios):.1f}); at least {met(ratio, TIMES_FASTTEXT)}."
    ]


def alone(plan: Plan) -> tuple[float, dict[str, float]]:
    """MB/s of reading, and of reading and one tagger, for every built-in tagger that needs nothing that is not here."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sample.jsonl.zst"
        records = [record for records in floor.decoded(plan.paths, floor.WholeRecord) for record in records]
        step = max(1, round(sum(len(record.text) for record in records) / 1e6 / plan.alone))
        with streams.open_output(path) as out:
            out.write(msgspec.json.Encoder().encode_lines(records[step // 2 :: step]))
        (shard,) = Dataset(documents=(path,)).shards()
        size = floor.read([path]) / 1e6

        def speed(call: Callable[[TextBatch], object]) -> float:
            def work() -> None:
                for batch in read_batches(shard, Reading(), intake=Intake(), metadata=True):
                    call(batch)

            return round(size / min(floor.seconds(work) for _ in range(2)), 1)

        speeds = {}
        for name in usable():
            tagger = make_tagger(TaggerSpec(use=name))
            tagger(TextBatch.of(["a text"], metadata=[None]))  # what is compiled and loaded once is left out
            speeds[name] = speed(tagger)
        return speed(len), speeds


def usable() -> list[str]:
    """The built-in taggers that need neither model, list nor extra that is not here."""
    return [
        entry.name
        for entry in catalogue()
        if entry.name in BUILT_IN and not any(need.kind in ("model", "list", "extra") for need in entry.needs)
    ]


def workers(plan: Plan) -> list[str]:
    """Whole commands with one worker and with two, and two commands at once, which is as much as the machine gives.

    The documents are there several times over, so that what starts once weighs as little as in a real run.
    """
    names = PASSES[1][0]
    with tempfile.TemporaryDirectory() as folder:
        for k in range(plan.copies):
            for i, path in enumerate(plan.paths):
                copy = Path(folder, "documents", f"{k}-{i}-{Path(path).name}")
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
        command = [sys.executable, "-m", "dolma", "tag", "--documents", f"{folder}/documents/*", "--overwrite"]
        command += [part for name in names for part in ("-t", name)]

        def run(*n_workers: int) -> Took:
            shutil.rmtree(f"{folder}/attributes", ignore_errors=True)
            return took(
                *(
                    [*command, "--workers", str(n), "--attributes", f"{folder}/attributes/{k}"]
                    for k, n in enumerate(n_workers)
                )
            )

        run(1)
        rounds = [(run(1), run(2), run(1, 1)) for _ in range(plan.repeats)]
    size = plan.copies * floor.read(plan.paths) / 1e6
    two = [one.wall / both.wall for one, both, _ in rounds]
    machine_gives = [2 * one.wall / pair.wall for one, _, pair in rounds]
    rows = [
        f"Workers: `dolma tag` with `{' '.join(names)}`, whole commands, {size:.0f} MB of text (the corpus"
        f" {plan.copies} times), wall time, {plan.repeats} rounds in turns. {os.cpu_count()} cores, shared.",
        "",
        "| command | seconds | processor seconds | times one worker | spread |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    labels = ("one worker", "two workers", "one worker, two commands at once on as much text each")
    for k, (label, ratios) in enumerate(zip(labels, ([1.0], two, machine_gives), strict=True)):
        wall = statistics.median(some[k].wall for some in rounds)
        processor = statistics.median(some[k].processor for some in rounds)
        rows.append(
            f"| {label} | {wall:.1f} | {processor:.1f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f}-{max(ratios):.2f} |"
        )
    ratio, limit = statistics.median(two), statistics.median(machine_gives)
    return [
        *rows,
        "",
        f"Two workers are {ratio:.2f} times as fast as one; at least {met(ratio, TIMES_WORKERS)}. Two commands at once"
        f" get {limit:.2f} times as much done as one, and two workers {ratio / limit:.0%} of that.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds on the clock, and of the processor, child processes and all."""

    wall: float
    processor: float


def took(*commands: Sequence[str]) -> Took:
    """What the commands take, all started at once."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise SystemExit(f"a command failed: {commands}")
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall=wall, processor=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def start() -> list[str]:
    """Wall time of a first and a second `dolma tag` with every tagger on one short document."""
    names = usable()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.jsonl").write_text('{"id": "1", "text": "One document.", "metadata": {}}\n')
        command = [sys.executable, "-m", "dolma", "tag", "--documents", f"{folder}/a.jsonl", "--overwrite"]
        command += ["--attributes", f"{folder}/attributes", *(part for name in names for part in ("-t", name))]
        took = []
        for _ in range(3):
            began = time.perf_counter()
            subprocess.run(
                command, check=True, capture_output=True, env=os.environ | {"NUMBA_CACHE_DIR": f"{folder}/cache"}
            )
            took.append(time.perf_counter() - began)
    return [
        f"First use of all {len(names)} taggers that need no model: {took[0]:.1f} s"
        f" (at most {met(took[0], 60, most=True)}); once compiled: {min(took[1:]):.1f} s, imports included."
    ]


def report(plan: Plan) -> tuple[str, float, Mapping[str, float]]:
    """The report as Markdown; MB/s of reading and of each tagger alone."""
    base, speeds = alone(plan)
    sections = [passes(plan), against_fasttext(plan), workers(plan), start()]
    if plan.dolma1:
        sections.append(against_dolma1(plan, plan.dolma1))
    if plan.datatrove:
        sections.append(against_datatrove(plan, plan.datatrove))
    rows = [f"| {name} | {speed:,.0f} | {base / speed:.1f} |" for name, speed in speeds.items()]
    sections.append(
        [
            f"Each tagger alone, reading included, {plan.alone:.0f} MB of text; reading: {base:,.0f} MB/s.",
            "",
            "| tagger | MB/s | times reading |",
            "| --- | ---: | ---: |",
            *rows,
        ]
    )
    return "\n\n".join("\n".join(section) for section in sections) + "\n", base, speeds


def main() -> None:
    """Print the report, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--dolma1", metavar="PYTHON")
    parser.add_argument("--datatrove", metavar="PYTHON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=float, default=4, help="MB of text for comparisons with other tools")
    parser.add_argument("--alone", type=float, default=30, help="MB of text for each tagger alone")
    parser.add_argument("--copies", type=int, default=4, help="how often two workers get the documents")
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    plan = Plan(
        patterns=given.documents,
        repeats=given.repeats,
        sample=given.sample,
        alone=given.alone,
        copies=given.copies,
        dolma1=given.dolma1,
        datatrove=given.datatrove,
        paths=floor.paths_of(given.documents),
    )
    found, base, speeds = report(plan)
    text = (
        f"Corpus: {given.corpus}. Medians of processor time unless stated, one core.\n{machine(*PACKAGES)}\n\n{found}"
    )
    print(text)
    if given.write:
        title = f"# Taggers, {given.write}\n\n`python -m benchmarks.taggers`\n\n"
        (HERE / "results" / f"{given.write}-taggers.md").write_text(title + text, encoding="utf-8")
        kept = Speeds(
            date=given.write,
            machine="a 2-core cloud machine",
            corpus=given.corpus,
            floor=base,
            megabytes_per_second=dict(speeds),
        )
        encoded = msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"
        (HERE.parent / "taggers" / "speeds.json").write_bytes(encoded)


if __name__ == "__main__":
    main()
