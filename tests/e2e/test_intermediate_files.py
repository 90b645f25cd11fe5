"""When intermediate files are freed, and that no run needs them again. Run: pytest tests/e2e/test_intermediate_files.py

Partitions and fan-in are made small, so that small corpora have every phase that large ones have.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma.config import DedupeConfig, MixConfig, SourceShare, StatConfig, TagConfig, TokenizeConfig
from dolma.data import exchange, streams
from dolma.data.dataset import Dataset
from dolma.dedupers import method
from dolma.dedupers.dedupe import dedupe
from dolma.errors import Unfinished
from dolma.mixers.mix import mix
from dolma.runner.journal import Journal
from dolma.runner.options import RunOptions
from dolma.runner.stage import StageRun
from dolma.runner.task import TaskResult
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize
from tests.e2e.test_intermediate_reads import TOKENIZER, corpus

pytestmark = pytest.mark.e2e

ONE = RunOptions(workers=1)
STAGES: dict[str, Callable[[Dataset, str, RunOptions], Any]] = {
    "dedupe": lambda dataset, out, options: dedupe(dataset, DedupeConfig(by="paragraphs"), options=options),
    "tokenize": lambda dataset, out, options: tokenize(
        dataset, TokenizeConfig(tokenizer=str(TOKENIZER), max_tokens_per_shard=300), output=out, options=options
    ),
    "mix": lambda dataset, out, options: mix(
        dataset,
        MixConfig(sources={"s0": SourceShare(repeat=0.5), "s1": SourceShare(repeat=1.5)}),
        output=out,
        options=options,
    ),
    "stat": lambda dataset, out, options: stat(dataset, StatConfig(), output=out, options=options),
}


class Killed(KeyboardInterrupt):
    """Stands for a kill: nothing of ours catches it."""


class Run:
    """A stage over a small corpus, with small partitions; `folder` holds all that it writes."""

    def __init__(self, stage: str, folder: Path) -> None:
        self.stage, self.folder = stage, folder / "made"
        documents = corpus(folder, n_files=9, n_docs=8).documents
        self.dataset = Dataset(documents=documents, attributes=str(self.folder / "attributes"))
        if stage == "stat":
            tag(self.dataset, TagConfig(taggers=["length"], attributes_format="dolma1"), options=ONE)

    def __call__(self, options: RunOptions = ONE) -> dict[str, bytes]:
        """What the stage has made, by path."""
        STAGES[self.stage](self.dataset, str(self.folder / "out"), options)
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != ".inputs.json"]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def scratch(self) -> dict[str, int]:
        """Bytes of each intermediate file that is there."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and ".work" in path.parts]
        return {str(path).partition("/.work/")[2]: path.stat().st_size for path in files}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    monkeypatch.setattr(exchange, "FAN_IN", 2)
    monkeypatch.setattr(method, "PARTITION_BYTES", 8_000)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(params=STAGES)
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Run]:
    return lambda name: Run(request.param, tmp_path / name)


@contextlib.contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, *, records: int, removals: int) -> Iterator[None]:
    """A kill once so many tasks are recorded, or when one more file was to be removed than these."""
    left = {"records": records, "removals": removals}
    write, remove = Journal.write, streams.remove

    def last(self: Journal, phase: str, key: str, result: TaskResult) -> TaskResult:
        recorded = write(self, phase, key, result)
        left["records"] -= 1
        if not left["records"]:
            raise Killed
        return recorded

    def last_removed(path: str) -> None:
        if "/.work/" in path:
            if not left["removals"]:
                raise Killed
            left["removals"] -= 1
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", last)
        patch.setattr(streams, "remove", last_removed)
        yield


def test_a_run_that_is_killed_after_every_task_makes_the_same_files(
    runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runs("whole")()
    run, n_kills = runs("killed"), 0
    found = None
    while found is None:
        try:
            with killed_after(monkeypatch, records=1, removals=1000):
                found = run()
        except Killed:
            n_kills += 1
    assert found == expected
    assert n_kills > 12


def test_a_run_that_is_killed_while_it_frees_files_makes_the_same_files(
    runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runs("whole")()
    run, found, n_kills = runs("killed"), None, 0
    while found is None:
        try:
            with killed_after(monkeypatch, records=1000, removals=2):
                found = run()
        except Killed:
            n_kills += 1
    assert found == expected
    assert n_kills > 2


def test_shards_that_are_killed_make_the_same_files(
    runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runs("whole")()
    run, found, n_kills = runs("shards"), None, 0
    while found is None:
        for i in (2, 1, 3):
            try:
                with killed_after(monkeypatch, records=3, removals=4):
                    found = run(RunOptions(workers=1, shard=(i, 3), wait=False))
            except Unfinished:
                pass
            except Killed:
                n_kills += 1
    assert run() == expected
    assert n_kills > 3


def test_no_phase_is_done_again_where_its_files_were_freed(
    runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, written = runs("out"), []
    write = Journal.write

    def noting(self: Journal, phase: str, key: str, result: TaskResult) -> TaskResult:
        written.append((phase, key))
        return write(self, phase, key, result)

    def stop(self: StageRun, results: Any, **given: Any) -> None:
        raise Killed

    monkeypatch.setattr(Journal, "write", noting)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StageRun, "finish", stop)
        run()
    n_written = len(written)
    run()
    assert n_written and len(written) == n_written


FREED = {
    "dedupe": {"group": ["keys"]},
    "tokenize": {"cut": ["places"], "merge-documents-1": ["documents/0"], "write": ["documents/0", "places"]},
    "mix": {"write": ["decided"]},
    "stat": {"describe": ["sources", "converted"]},
}


def test_files_are_gone_once_they_are_used_up(runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run, after = runs("out"), {}
    phase_of = StageRun._phase

    def noting(self: StageRun, phase: str, *args: Any, **given: Any) -> list[TaskResult]:
        results = phase_of(self, phase, *args, **given)
        after[phase] = sorted(run.scratch())
        return results

    monkeypatch.setattr(StageRun, "_phase", noting)
    run()
    ever = {path for paths in after.values() for path in paths}
    for phase, gone in FREED[run.stage].items():
        for below in gone:
            assert any(path.startswith(below) for path in ever)
            assert not any(path.startswith(below) for path in after[phase])


def test_merges_hold_two_copies_of_the_records_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoded documents, one copy before a merge and one behind it, however many merges there are."""
    run, sizes = Run("tokenize", tmp_path), []
    write = Journal.write

    def noting(self: Journal, phase: str, key: str, result: TaskResult) -> TaskResult:
        sizes.append((phase, sum(size for path, size in run.scratch().items() if path.startswith("documents/"))))
        return write(self, phase, key, result)

    monkeypatch.setattr(Journal, "write", noting)
    run()
    whole = max(size for phase, size in sizes if phase == "encode")
    assert len({phase for phase, _ in sizes if phase.startswith("merge-documents")}) == 3
    assert max(size for _, size in sizes) < 2.2 * whole
