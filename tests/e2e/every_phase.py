"""Stages so small that a test can kill them in each phase, and so cut that they have all the phases there are."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dolma.config import make_recipe
from dolma.data import dataset, exchange
from dolma.data import manifest as manifests
from dolma.dedupers import method
from dolma.errors import Unfinished
from dolma.graph import graph_of
from dolma.pipeline import run_node
from dolma.runner.journal import Journal
from dolma.runner.options import RunOptions
from dolma.stages import Running

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
STAGES = {
    "measured": {"tag": {"taggers": ["length", "pii"]}},
    "copies": {"dedupe": {"by": "text", "name": "copies"}},
    "lines": {"dedupe": {"by": "paragraphs", "name": "lines"}},
    "known": {"dedupe": {"method": "bloom", "by": "both", "word_ngrams": 3, "overlap_threshold": 0.5, "name": "known"}},
    "repeated": {"dedupe": {"method": "substring", "min_tokens": 8, "name": "repeated"}},
    "embedded": {"tag": {"taggers": [f"{Path(__file__).parent / 'letters.py'}:letters"]}},
    "meant": {"dedupe": {"method": "semantic", "by": "letters.vector", "cells": 3, "name": "meant"}},
    "kept": {"mix": {"drop": ["copies.duplicate"], "dropped": True, "spans": [{"attribute": "lines.spans"}]}},
    "sampled": {
        "mix": {
            "keep": ["length.words > 5"],
            "spans": [{"attribute": "pii.email", "replace": "<mail>"}],
            "sources": {"one": {"repeat": 1.5}, "two": {"repeat": 0.5}},
        }
    },
    "apart": {
        "mix": {
            "unit": "tokens",
            "tokenizer": str(TOKENIZER),
            "total": "1k",
            "sources": {"one": {"share": 0.6}, "two": {"share": 0.4, "max_repeat": 2}},
            "holdout": {"share": 0.2, "cluster": "copies.cluster"},
        }
    },
    "arranged": {
        "mix": {
            "keep": ["length.words > 5"],
            "sources": {"one": {"repeat": 1.5}, "two": {"repeat": 0.5}},
            "shuffle": True,
            "parts": 3,
        }
    },
    "split": {"mix": {"spans": [{"attribute": "lines.spans", "lines": True}], "part_bytes": "2k"}},
    "tokens": {"tokenize": {"tokenizer": str(TOKENIZER), "max_tokens_per_shard": 1000}, "documents": "kept"},
    "counted": {"stat": {}},
}
PHASES = {
    "measured": {"measure", "join"},
    "copies": {"hash", "merge-keys-1", "group", "write"},
    "lines": {"hash", "merge-keys-1", "group", "merge-marks-1", "write"},
    "known": {"hash", "merge-items-1", "fill", "join", "write"},
    "repeated": {"seeds", "merge-seeds-1", "repeats", "windows", "merge-windows-1", "group", "write"},
    "embedded": {"measure", "join"},
    "meant": {"vectors", "sample", "centres", "assign", "compare", "write"},
    "kept": {"mix", "join"},
    "sampled": {"decide", "write", "join"},
    "apart": {"decide", "write", "join", "ids", "describe"},
    "arranged": {"decide", "write", "merge-sizes-1", "merge-records-1", "join", "parts"},
    "split": {"mix", "merge-sizes-1", "merge-records-1", "join", "parts"},
    "tokens": {"encode", "write", "describe"},
    "counted": {"count", "describe", "write"},
}
"""What is among the phases of each."""
PIECE_BYTES = 3_000
_ROUNDS = 20  # more than any stage has phases


class Killed(BaseException):
    """Stands for a kill."""


@contextmanager
def small() -> Iterator[None]:
    """Pieces, runs and partitions of a few records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "PIECE_BYTES", PIECE_BYTES)
        patch.setattr(dataset.pieces, "__kwdefaults__", {"piece_bytes": PIECE_BYTES})
        patch.setattr(exchange, "FAN_IN", 3)
        patch.setattr(exchange, "BLOCK_BYTES", 500)
        patch.setattr(method, "PARTITION_BYTES", 1_000)
        yield


def make(home: Path) -> None:
    """A corpus, and below `out` what one process makes of it."""
    rng = random.Random(11)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(200)]
    repeated = [" ".join(rng.choices(words, k=8)) for _ in range(4)]
    for source, name in (("one", "a"), ("one", "b"), ("two", "c")):
        path = home / source / "documents" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as out:
            for i in range(25):
                own = " ".join(rng.choices(words, k=rng.randint(1, 30)))
                text = f"{own}\n{rng.choice(repeated)}\nwrite to {rng.choice(words)}@example.org"
                out.write(json.dumps({"id": f"{name}{i}", "text": rng.choice([text, repeated[0]])}) + "\n")
    for name in STAGES:
        run(home, name, RunOptions(workers=1))


def run(home: Path, name: str, options: RunOptions, **other: object) -> None:
    """Run a stage, with these settings instead of its own."""
    (stage,) = [key for key in STAGES[name] if key != "documents"]
    stages = {**STAGES, name: {**STAGES[name], stage: {**STAGES[name][stage], **other}}}
    documents = [str(home / source / "documents" / "*.jsonl") for source in ("one", "two")]
    node = graph_of(make_recipe({"documents": documents, "output": str(home / "out"), "stages": stages}))[name]
    node = replace(node, dataset=replace(node.dataset, piece_bytes=PIECE_BYTES))
    list(run_node(node, Running(options=options)))


def before(whole: Path, name: str, home: Path) -> Path:
    """A copy of the corpus and of what the stages before this one have made."""
    shutil.copytree(whole, home, copy_function=os.link)
    for later in list(STAGES)[list(STAGES).index(name) :]:
        shutil.rmtree(home / "out" / later, ignore_errors=True)
    return home


def tree(home: Path, name: str) -> dict[str, bytes]:
    """What the stage has written, hidden files too, but what is remembered of inputs."""
    root = home / "out" / name
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".inputs.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def shards_killed(
    begin: Callable[[str], Path],
    run: Callable[[Path, RunOptions], object],
    written: Callable[[Path], dict[str, bytes]],
    expected: dict[str, bytes],
) -> set[str]:
    """Kill the first of two shards once in each phase, and start it again; the phases.

    `begin` makes a place of this name, `run` runs a shard there, and what is `written` in the end has to be as
    expected.
    """

    def attempt(home: Path, options: RunOptions) -> bool:
        try:
            run(home, options)
        except Unfinished:
            return False
        return True

    first, second = (RunOptions(workers=1, shard=(i, 2), wait=False) for i in (1, 2))
    spared: set[str] = set()
    while True:
        home = begin(str(len(spared)))
        ended, killed = {1: False, 2: False}, ""
        for _ in range(_ROUNDS):
            ended[2] = attempt(home, second)
            with KillOnce(spared) as kill:
                ended[1] = attempt(home, first)
            killed = kill.at or killed
            if kill.at or all(ended.values()):
                break
        for _ in range(_ROUNDS):
            if all(ended.values()):
                break
            ended = {i: attempt(home, options) for i, options in ((1, first), (2, second))}
        assert written(home) == expected, killed
        if not killed:
            return spared
        spared.add(killed)


class KillOnce:
    """Kills at the first record of a phase, or the first manifest, that is not among these: before it is written."""

    def __init__(self, spared: set[str]) -> None:
        self.spared, self.at = spared, ""

    def __enter__(self) -> KillOnce:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(Journal, "write", self._dying(Journal.write, lambda journal, phase, *_: phase))
        write = self._dying(manifests.write_manifest, lambda *_: "the manifest")
        self._patch.setattr(manifests, "write_manifest", write)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._patch.undo()
        return kind is Killed

    def _dying(self, function, place_of):
        def tick(*arguments):
            place = place_of(*arguments)
            if place not in self.spared:
                self.at = place
                raise Killed
            return function(*arguments)

        return tick
