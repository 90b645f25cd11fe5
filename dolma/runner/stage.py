"""A stage's file sets from the first look to the manifest: done, resumed, refused or made.

Beside the outputs of an unfinished stage lies `.journal/`: `run.json` in every set says what the run is, and the
first set holds one record per finished task. A record is written after the task's outputs have their names, so
`kill -9` costs at most the tasks in flight. `finish` writes the manifests, then removes the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from dolma.data import manifest as manifests
from dolma.data import streams
from dolma.data.manifest import FileSet, OutputFile
from dolma.errors import DolmaError, OutputExistsError
from dolma.printable import printable
from dolma.runner.executors import Executor, executor_for
from dolma.runner.journal import Journal, header_of, read_header, write_header
from dolma.runner.ledger import Ledger, merged
from dolma.runner.local import refuse_while_starting_up
from dolma.runner.lock import RunLock
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter
from dolma.runner.report import StageReport
from dolma.runner.standing import JOURNAL, WORK, Standing, standing
from dolma.runner.task import Task, TaskResult, Work

E = TypeVar("E")


class Unfinished(DolmaError):
    """This part of the stage is done and other parts are not; `report` says how many tasks wait for them."""

    def __init__(self, report: StageReport[None]) -> None:
        self.report = report
        super().__init__(
            f"{report.stage}: {report.waiting} tasks are left to other shards\n"
            "  run the same command with every other `--shard i/n`; the last one to end finishes the stage"
        )


def open_stage(
    sets: Sequence[FileSet],
    *,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    executor: Executor | None = None,
) -> StageRun:
    """The stage that makes these file sets, ready to run, or `complete` when they are there already.

    `executor` is one that has been started already; leaving the stage closes it.

    Raises:
        OutputExistsError: a folder holds something that this stage would not have written.
    """
    refuse_while_starting_up()
    return StageRun(list(sets), options=options or RunOptions(), reporter=reporter or NullReporter(), executor=executor)


class StageRun:
    """The making of some file sets. Use as a context manager: leaving it stops the workers and lets go of the folders.

    `complete`: everything is there already, and nothing is left to run; `report` says what.
    """

    def __init__(
        self, sets: list[FileSet], *, options: RunOptions, reporter: Reporter, executor: Executor | None = None
    ) -> None:
        if not sets:
            raise ValueError("a stage makes at least one file set")
        self.sets, self.options, self.reporter = sets, options, reporter
        self.name = sets[0].stage
        self.work_folder = streams.join(sets[0].folder, WORK)
        self._journal = Journal(sets)
        self._header = header_of(sets)
        self._lock = RunLock([streams.join(file_set.folder, JOURNAL) for file_set in sets])
        self._executor = executor
        self._phases = 0
        self._finished = False
        self.complete = self._settle_complete() or self._begin()

    def __enter__(self) -> StageRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._executor is not None:
                self._executor.close()
        finally:
            self._lock.release()

    # --- before: what is there ------------------------------------------------------------------------------------

    def _settle_complete(self) -> bool:
        found = [standing(file_set) for file_set in self.sets]
        if any(state.kind != "complete" for state in found):
            self._check_free(found)
            return False
        # A run that was killed between its manifests and the last file of its journal, whichever that was.
        own = [streams.join(file_set.folder, name) for file_set in self.sets for name in (JOURNAL, WORK)]
        if any(map(streams.list_files, own)) and self._lock.alone():
            self._tidy()
            self._lock.release()
        return True

    def _begin(self) -> bool:
        """Take the folders for this run; True when another shard has completed it in the meantime."""
        if not self._lock.alone():
            if self.options.shard is None:
                raise self._lock.taken()
            self._lock.shared()
            self._join_shards()
            return False
        found = [standing(file_set) for file_set in self.sets]
        if all(state.kind == "complete" for state in found):
            self._lock.release()
            return True
        try:
            self._prepare(found)
        except BaseException:
            self._lock.release()
            raise
        if self.options.shard is not None:
            self._lock.shared()
        return False

    def _check_free(self, found: list[Standing]) -> None:
        for file_set, state in zip(self.sets, found, strict=True):
            folder = file_set.folder
            if state.kind in ("other", "altered") and not self.options.overwrite:
                raise OutputExistsError(
                    f"{printable(folder)} holds the output of another run: {printable(state.because)}\n"
                    "  `--overwrite` removes it and makes it again; or give another output folder"
                )
            replaced = state.kind in ("other", "altered")
            if state.strays and (replaced or (state.kind == "bare" and read_header(folder) is None)):
                more = f" and {len(state.strays) - 1} more" if len(state.strays) > 1 else ""
                raise OutputExistsError(
                    f"{printable(folder)} holds files that no run of ours has written: "
                    f"{printable(state.strays[0])}{more}\n"
                    "  they are never overwritten: move them away, or give another output folder"
                )

    def _prepare(self, found: list[Standing]) -> None:
        self._check_free(found)
        resumed = read_header(self.sets[0].folder) == self._header
        for file_set, state in zip(self.sets, found, strict=True):
            if state.kind in ("other", "altered"):
                assert state.manifest is not None
                self.reporter.note(f"{self.name}: replacing {file_set.folder}: {state.because}")
                _remove_outputs(file_set.folder, [out.path for out in state.manifest.outputs])
                streams.remove(streams.join(file_set.folder, manifests.NAME))
            header = read_header(file_set.folder)
            if header is not None and header != self._header:
                if state.kind == "bare":
                    _remove_outputs(file_set.folder, state.strays)
                self._discard_journal(file_set.folder)
            if header != self._header:
                write_header(file_set.folder, self._header)
            if self.options.shard is None:
                streams.remove_temporaries(file_set.folder)
        if resumed:
            self.reporter.note(f"{self.name}: going on with the unfinished run in {self.sets[0].folder}")

    def _join_shards(self) -> None:
        if any(read_header(file_set.folder) != self._header for file_set in self.sets):
            self._lock.release()
            raise OutputExistsError(
                f"{self.sets[0].folder}: another run with another configuration is at work in this folder\n"
                "  every shard of a run takes the same configuration and the same inputs"
            )

    def _discard_journal(self, folder: str) -> None:
        lock = streams.join(folder, JOURNAL, "lock")
        for path in streams.list_files(streams.join(folder, JOURNAL)):
            if path != lock:
                streams.remove(path)
        streams.remove_tree(streams.join(folder, WORK))

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, phase: str, tasks: Sequence[Task], work: Work) -> list[TaskResult]:
        """The results of these tasks, in their order; what an earlier run has finished is not done again.

        Raises:
            Unfinished: this is one shard of several, and the others have not finished this first phase.
            DolmaError: what the work raised; other exceptions come as `WorkerError`.
        """
        if self.complete or self._finished:
            raise ValueError(f"{self.name}: the stage is complete; there is nothing to run")
        _check_keys(tasks)
        results = {i: self._journal.read(phase, task.key) for i, task in enumerate(tasks)}
        mine = self._share(len(tasks))
        self._run_here(phase, tasks, [i for i in mine if results[i] is None], work, results)
        self._phases += 1
        if self.options.shard is not None and self._phases == 1:
            self._await_shards(phase, tasks, results)
        return [result for _, result in sorted(results.items()) if result is not None]

    def _share(self, n_tasks: int) -> range:
        if self.options.shard is None or self._phases:
            return range(n_tasks)
        i, n = self.options.shard
        return range(i - 1, n_tasks, n)

    def _run_here(
        self, phase: str, tasks: Sequence[Task], todo: list[int], work: Work, results: dict[int, TaskResult | None]
    ) -> None:
        def take(index: int, result: TaskResult) -> None:
            task = tasks[todo[index]]
            results[todo[index]] = self._journal.write(phase, task.key, result)
            self.reporter.advance(tasks=1, size=task.size)

        chosen = [tasks[i] for i in todo]
        self.reporter.start(f"{self.name}: {phase}", len(chosen), sum(task.size for task in chosen))
        try:
            if chosen:
                self._executor = self._executor or executor_for(self.options, note=self.reporter.note)
                self._executor.run(work, chosen, on_result=take, on_progress=self.reporter.advance)
        finally:
            self.reporter.finish()

    def _await_shards(self, phase: str, tasks: Sequence[Task], results: dict[int, TaskResult | None]) -> None:
        for i, task in enumerate(tasks):
            results[i] = results[i] or self._journal.read(phase, task.key)
        waiting = sum(result is None for result in results.values())
        if waiting:
            raise Unfinished(
                self._report(ledger=merged_of(results.values()), manifests=[], outputs=[], waiting=waiting)
            )
        self._lock.release()
        if not self._lock.wait_alone() or read_header(self.sets[0].folder) != self._header:
            raise Unfinished(self.report())  # another shard saw the end first and has finished the stage

    # --- after: manifests -----------------------------------------------------------------------------------------

    def finish(self, results: Sequence[TaskResult], *, notes: Mapping[str, Any] | None = None) -> StageReport[None]:
        """Write the manifests of these results (of all phases that wrote outputs or counted documents).

        `notes` goes into each manifest as it is. Outputs in the work folder are not the stage's and are left out.

        Raises:
            LedgerError: the accounts do not balance.
        """
        ledger = merged_of(results)
        ledger.check(self.name)
        outputs = [out for result in results for out in result.outputs if out.set != self.work_folder]
        _check_outputs(outputs)
        for file_set in self.sets:
            manifest = manifests.manifest_of(
                file_set,
                outputs=[out for out in outputs if out.set == file_set.folder],
                ledger=msgspec.to_builtins(ledger),
                notes=dict(notes or {}),
            )
            manifests.write_manifest(file_set.folder, manifest)
        self._tidy()
        self._lock.release()
        self._finished = True
        return self._report(ledger=ledger, manifests=self._manifest_paths(), outputs=outputs)

    def report(self) -> StageReport[None]:
        """What a complete stage's manifests say.

        Raises:
            ValueError: the stage is not complete.
        """
        found = [manifests.read_manifest(file_set.folder) for file_set in self.sets]
        if any(manifest is None for manifest in found):
            raise ValueError(f"{self.name}: not complete; run it")
        complete = [manifest for manifest in found if manifest is not None]
        return self._report(
            ledger=msgspec.convert(complete[0].ledger, Ledger),
            manifests=self._manifest_paths(),
            outputs=[out for manifest in complete for out in manifest.outputs],
        )

    def noted(self, kind: type[E], **changes: Any) -> StageReport[E]:
        """What a complete stage's manifests say, with the notes of the first one as details."""
        manifest = manifests.read_manifest(self.sets[0].folder)
        notes = msgspec.convert(manifest.notes if manifest is not None else {}, kind)
        return self.report().detailed(notes, **changes)

    def _report(
        self, *, ledger: Ledger, manifests: list[str], outputs: list[OutputFile], waiting: int = 0
    ) -> StageReport[None]:
        return StageReport(
            stage=self.name,
            name=self.name,
            folder=self.sets[0].folder,
            details=None,
            complete_before=self.complete,
            waiting=waiting,
            ledger=ledger,
            manifests=manifests,
            outputs=len(outputs),
            bytes=sum(out.bytes for out in outputs),
        )

    def _manifest_paths(self) -> list[str]:
        return [streams.join(file_set.folder, manifests.NAME) for file_set in self.sets]

    def _tidy(self) -> None:
        # The first set last: while its journal stands, a killed run is taken up again.
        for file_set in reversed(self.sets):
            streams.remove_temporaries(file_set.folder)
            streams.remove_tree(streams.join(file_set.folder, WORK))
            streams.remove_tree(streams.join(file_set.folder, JOURNAL))


def merged_of(results: Iterable[TaskResult | None]) -> Ledger:
    """The sum of the results' ledgers."""
    return merged([result.ledger for result in results if result is not None])


def _check_keys(tasks: Sequence[Task]) -> None:
    seen: set[str] = set()
    for task in tasks:
        if task.key in seen:
            raise ValueError(f"two tasks have the key {task.key!r}")
        seen.add(task.key)


def _check_outputs(outputs: Sequence[OutputFile]) -> None:
    seen: set[tuple[str, str]] = set()
    for out in outputs:
        if (out.set, out.path) in seen:
            raise ValueError(f"two tasks wrote {printable(streams.join(out.set, out.path))}")
        seen.add((out.set, out.path))


def _remove_outputs(folder: str, paths: Iterable[str]) -> None:
    for path in paths:
        streams.remove(streams.join(folder, path))
