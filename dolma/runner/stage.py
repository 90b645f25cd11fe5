"""A stage's file sets from the first look to the manifest: done, resumed, refused or made.

Beside the outputs of an unfinished stage lies `.journal/`: `run.json` in every set says what the run is, and the
first set holds one record per finished task. A record is written after the task's outputs have their names, so
`kill -9` costs at most the tasks in flight. `finish` writes the manifests; the journal goes with the last who leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import xxhash

from dolma.data import manifest as manifests
from dolma.data import streams
from dolma.data.manifest import FileSet, Manifest, OutputFile
from dolma.errors import ConfigError, DataError, DolmaError, OutputExistsError, Unfinished
from dolma.printable import printable
from dolma.runner.executors import Executor, executor_for
from dolma.runner.heartbeat import Pulse
from dolma.runner.inputs import Inputs
from dolma.runner.journal import (
    Header,
    Journal,
    Released,
    header_of,
    read_header,
    record_name,
    settings_begun,
    write_header,
)
from dolma.runner.ledger import Ledger, merged
from dolma.runner.local import refuse_while_starting_up
from dolma.runner.lock import RunLock
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter
from dolma.runner.report import StageReport
from dolma.runner.room import Room
from dolma.runner.separate import account_of, grown, same_settings, without
from dolma.runner.shares import Patience, Share
from dolma.runner.standing import (
    HEADER,
    JOURNAL,
    WORK,
    Standing,
    difference,
    difference_of_settings,
    finished,
    standing,
)
from dolma.runner.task import Task, TaskResult, Work
from dolma.runner.together import Together, apart, together

E = TypeVar("E")


WAIT_SECONDS = 30.0
"""How long a shard waits for a run that is none, and that may be about to end."""


class _Complete(Exception):
    """The file sets are there. Ends with the block of the `StageRun`, which see."""


def open_stage(
    sets: Sequence[FileSet],
    *,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    executor: Executor | None = None,
    inputs: Inputs | None = None,
) -> StageRun:
    """The stage that makes these file sets, ready to run, or `complete` when they are there already.

    `executor` is one that has been started already; leaving the stage closes it. `inputs` are saved, as the folders are
    this stage's, and forget a file that is found to hold something else.

    Raises:
        OutputExistsError: a folder holds something that this stage would not have written.
    """
    refuse_while_starting_up()
    run = StageRun(list(sets), options=options or RunOptions(), reporter=reporter or NullReporter(), executor=executor)
    if inputs is not None:
        run.remember(inputs)
    return run


class StageRun:
    """The making of some file sets. Use as a context manager: leaving it stops the workers and lets go of the folders.

    `complete`: everything is there already, and nothing is left to run; `report` says what. The block is left early
    when that is so, and when other shards have made everything meanwhile:

        with open_stage(sets, options=options) as run:
            run.leave_if_complete()
            results = run.run("write", tasks, work)
            return run.finish(results)
        return run.report()

    Several shards (`options.shard`) make the same calls in the same order. Each does its tasks of a phase and waits
    until the records of all are there. So each of them does what stands between two phases, from the same results, and
    has to come to the same. There it reads no file of the work folder, which may be freed already, and writes nothing:
    what is made of the files of all tasks, a plan or an output, is a task, too.
    """

    def __init__(
        self, sets: list[FileSet], *, options: RunOptions, reporter: Reporter, executor: Executor | None = None
    ) -> None:
        if not sets:
            raise ValueError("a stage makes at least one file set")
        self.sets, self.options, self.reporter = sets, options, reporter
        self.name = sets[0].stage
        self.work_folder = _work_folder(sets, options)
        self._journal = Journal(sets, work=self.work_folder)
        self._header = header_of(sets)
        self._lock = RunLock([file_set.folder for file_set in sets], shard=options.shard is not None)
        self._share = Share.of_options(options)
        self._patience = Patience(reporter, wait=options.wait)
        self._pulse = Pulse(sets[0].folder, stage=self.name, shard=(options.shard or (1, 1))[0], of=self._share.of)
        self._executor = executor
        self._ran: dict[str, list[tuple[str, list[OutputFile]]]] = {}  # by phase, each task's key and outputs
        self._finished = False
        self._replaced: list[tuple[FileSet, Standing]] = []  # what is there and goes before outputs are written
        self._inputs: Inputs | None = None
        self.complete = self._settle_complete() or self._begin()

    def __enter__(self) -> StageRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if self._executor is not None:
                self._executor.close()
            if kind not in (None, _Complete) and not (self.complete or self._finished):
                self._pulse.say("ended" if kind is Unfinished else "failed", str(value).partition("\n")[0])
            if self._inputs is not None and isinstance(value, DataError):
                self._inputs.forget(value.file)
        finally:
            self._lock.release()
        if self.complete or self._finished or kind is None or not issubclass(kind, (_Complete, DolmaError)):
            return kind is _Complete
        if not (kind is _Complete or self._is_made_by_others()):
            return False
        if issubclass(kind, DolmaError) and kind is not Unfinished:
            self.reporter.note(f"{self.name}: others have finished this meanwhile; here it ended with: {value}")
        self._clear()
        return True

    def _is_made_by_others(self) -> bool:
        """Whether all is there, and others may have put it there: what is amiss here is then of no account."""
        return (self._share.of > 1 or not self._lock.guards) and self._is_complete()

    def remember(self, inputs: Inputs) -> None:
        """Save what was found out about the inputs, and have a file read again that turns out to be another one."""
        self._inputs = inputs
        inputs.save()

    # --- before: what is there ------------------------------------------------------------------------------------

    def _settle_complete(self) -> bool:
        if any(state.kind != "complete" for state in self._standings()):
            return False
        # A run was killed between its manifests and the last file of its journal, whichever that was.
        remains = [streams.join(one.folder, name) for one in self.sets for name in (JOURNAL, WORK)]
        if self._lock.is_there or any(map(streams.list_files, [*remains, self.work_folder])):
            self._clear()
        return True

    def _standings(self) -> list[Standing]:
        """How the sets stand.

        Raises:
            OutputExistsError: what is there is in the way.
        """
        while True:
            begun = [read_header(file_set.folder) for file_set in self.sets]
            found = list(map(standing, self.sets))
            refusal = next(filter(None, map(self._refusal, self.sets, found, begun)), None)
            if refusal is None:
                return found
            there = [manifests.read_manifest(file_set.folder) for file_set in self.sets]
            begun_now = [read_header(file_set.folder) for file_set in self.sets]
            # Else others have begun or ended there meanwhile: what was seen is of two moments.
            if (begun_now, there) == (begun, [state.manifest for state in found]):
                raise refusal

    def _begin(self) -> bool:
        """Take the folders for this run; True when others have completed it in the meantime."""
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            alone = self._lock.alone()
            if alone or (self.options.shard is not None and self._lock.shared()):
                try:
                    found = self._standings()
                    if all(state.kind == "complete" for state in found):
                        self._clear()
                        return True
                    begun = self._prepare(found) if alone else self._join()
                    if begun and (self.options.shard is None or self._lock.shared()):
                        return False
                except BaseException:
                    self._lock.release()
                    raise
                self._lock.release()
                if not begun:  # else another one was quicker when the lock was turned
                    self._patience.wait(self.name, f"shard 1/{self._share.of}, which prepares the folders")
                continue
            by_shard, is_late = self._lock.refused_by_shard, time.monotonic() > give_up
            if self.options.shard is None or (is_late and not by_shard):
                raise self._lock.taken()
            whom = "another shard, which prepares the folders" if by_shard else "another run in the same folder"
            self._patience.wait(self.name, whom, soon=not is_late)

    def _refusal(self, file_set: FileSet, state: Standing, begun: Header | None) -> OutputExistsError | None:
        folder = file_set.folder
        if state.must_go and not self.options.overwrite:
            return _other(file_set, state.because)
        unknown = begun is None and state.kind in ("bare", "growing")
        if state.strays and (state.kind in ("other", "altered") or unknown):
            more = f" and {len(state.strays) - 1} more" if len(state.strays) > 1 else ""
            return OutputExistsError(
                f"{printable(folder)} holds files that no run of ours has written: "
                f"{printable(state.strays[0])}{more}\n"
                "  they are never overwritten: move them away, or give another output folder"
            )
        return None

    def _prepare(self, found: list[Standing]) -> bool:
        """Make the folders those of this run; False when that is left to the first shard."""
        headers = [read_header(file_set.folder) for file_set in self.sets]
        others = [header not in (None, self._header) for header in headers]
        if self.options.shard is not None and not self.options.overwrite:
            self._refuse_others(headers)
        if any(others + [state.must_go for state in found]) and not (self._share.finishes or self._lock.guards):
            return False
        self._replaced = [(one, state) for one, state in zip(self.sets, found, strict=True) if state.must_go]
        if self.options.shard is not None or not self._lock.guards:
            self._replace()  # others may write outputs from now on
        for file_set, state, header in zip(self.sets, found, headers, strict=True):
            if header is not None and header != self._header:
                if state.kind in ("bare", "growing"):
                    _remove_outputs(file_set.folder, state.strays)
                self._discard_journal(file_set.folder)
            if header != self._header:
                write_header(file_set, self._header)  # last: shards elsewhere begin when they see it
            if self.options.shard is None:
                streams.remove_temporaries(streams.list_files(file_set.folder))
        if headers[0] == self._header:
            self.reporter.note(f"{self.name}: going on with the unfinished run in {self.sets[0].folder}")
        return True

    def _replace(self) -> None:
        """Remove what has finished here and is to be made again."""
        for file_set, state in self._replaced:
            assert state.manifest is not None
            self.reporter.note(f"{self.name}: replacing {file_set.folder}: {state.because}")
            _remove_outputs(file_set.folder, state.stale)
            if len(state.stale) < len(state.manifest.outputs):
                manifests.write_manifest(file_set.folder, without(state.manifest, file_set, state.stale))
            else:
                manifests.remove_manifest(file_set.folder)
        self._replaced = []

    def _join(self) -> bool:
        """Whether other shards have made the folders those of this run; False when one has just finished there."""
        headers = [read_header(file_set.folder) for file_set in self.sets]
        self._refuse_others(headers)
        return None not in headers

    def _refuse_others(self, headers: Sequence[Header | None]) -> None:
        """Return when no shard of another run has begun in these folders."""
        for file_set, header in zip(self.sets, headers, strict=True):
            if header not in (None, self._header):
                because = difference_of_settings(settings_begun(file_set.folder), file_set.config)
                raise OutputExistsError(
                    f"{printable(file_set.folder)}: another run has begun in this folder: "
                    f"{printable(because or 'it has other inputs')}\n"
                    "  every shard of a run takes the same settings and the same inputs; where that run is over, "
                    "`--overwrite` removes what it has left"
                )

    def _discard_journal(self, folder: str) -> None:
        """Remove what another run has left, but the mark that it was there."""
        header = streams.join(folder, HEADER)
        for path in streams.list_files(streams.join(folder, JOURNAL)):
            if path != header:
                streams.remove(path)
        streams.remove_tree(streams.join(folder, WORK))
        streams.remove_tree(self.work_folder)

    def leave_if_complete(self) -> None:
        """Leave the `with` block of this run when there is nothing to do."""
        if self.complete:
            raise _Complete

    # --- running --------------------------------------------------------------------------------------------------

    def run(
        self,
        phase: str,
        tasks: Sequence[Task],
        work: Work,
        *,
        scratch: float = 0.0,
        uses_up: Sequence[str] = (),
        reads: bool = False,
        reads_back: bool = False,
    ) -> list[TaskResult]:
        """The results of these tasks, in their order; what an earlier run has finished is not done again.

        Finished outputs that the stage replaces are removed after the first phases that only `reads` inputs, and writes
        into the work folder, so that they stay where an input turns out to be bad. That is not so of several shards,
        and without locks, where others may be writing outputs already.

        `scratch` is the least that the work folder takes for each byte of input, if that is known. `uses_up` names
        folders below the work folder: what earlier phases have left there is freed at the end of this one, as no later
        phase reads it. A run that is taken up later has their results all the same, and does them again only if a phase
        that has read those files has lost outputs of its own.

        Small neighbours are done as one (`together`), and what they write has its place when all of them are done: a
        work that `reads_back` what it has just written does each task by itself.

        Raises:
            WriteError: there is no room for what the phase writes.
            Unfinished: this is one shard of several that is not to wait, and others have not finished this phase.
            DolmaError: what the work raised; other exceptions come as `WorkerError`.
        """
        if not reads:
            self._replace()
        _check_keys(tasks)
        groups = [] if reads_back else together(replace(task, spec=task) for task in tasks)
        if groups and len(groups) < len(tasks):
            return list(apart(self._phase(phase, groups, Together(work=work), scratch=scratch, uses_up=uses_up)))
        return self._phase(phase, tasks, work, scratch=scratch, uses_up=uses_up)

    def plan(self, phase: str, task: Task, work: Work, *, uses_up: Sequence[str] = ()) -> TaskResult:
        """The result of a phase of one task, which every shard needs for its next tasks; it writes no outputs.

        A shard that does not wait does the task itself where no other has finished it, as each plan would cost all of
        them one more round.
        """
        mine = self._share.mine(1) if self.options.wait else [0]
        return self._phase(phase, [task], work, mine, uses_up=uses_up)[0]

    def _phase(
        self,
        phase: str,
        tasks: Sequence[Task],
        work: Work,
        share: Iterable[int] | None = None,
        *,
        scratch: float = 0.0,
        uses_up: Sequence[str] = (),
    ) -> list[TaskResult]:
        if self.complete or self._finished:
            raise ValueError(f"{self.name}: the stage is complete; there is nothing to run")
        results: dict[int, TaskResult] = {}
        lost = self._collect(phase, tasks, results)
        if lost:
            self._leave_if_others_are_done()  # who ends the stage removes its intermediate files
        mine = {*(self._share.mine(len(tasks)) if share is None else share), *lost}
        todo = sorted(mine - results.keys())
        self._pulse.phase(phase, tasks=len(mine), done=len(mine) - len(todo))
        if todo:
            try:
                self._run_here(phase, tasks, todo, work, results, scratch=scratch)
            except DolmaError as error:
                # A faster shard, or one that has taken over, may have done these tasks, and have freed what they read.
                self._collect(phase, tasks, results)
                if self._share.of == 1 or mine - results.keys():
                    raise
                self.reporter.note(f"{self.name}: others have done {phase} meanwhile; here it ended with: {error}")
        while missing := [i for i in range(len(tasks)) if i not in results]:
            self._wait(phase, self._share.named(missing))
            self._collect(phase, tasks, results)
        self._ran[phase] = [(task.key, results[i].outputs) for i, task in enumerate(tasks)]
        for below in uses_up:
            self._release(below, reader=phase)
        return [results[i] for i in range(len(tasks))]

    def _release(self, below: str, *, reader: str) -> None:
        """Free what phases before `reader` have left in a folder of the work folder."""
        if not self._share.finishes:
            return
        phases = list(self._ran)
        before = phases[: phases.index(reader)]
        for i, phase in enumerate(before):
            outputs = [
                out
                for _, outputs in self._ran[phase]
                for out in outputs
                if out.set == self.work_folder and out.path.startswith(f"{below}/")
            ]
            if outputs:
                read_by = {
                    name: [record_name(key) for key, _ in self._ran[name]] for name in [*before[i + 1 :], reader]
                }
                self._journal.release(phase, Released(below=below, read_by=read_by), outputs)

    def _collect(self, phase: str, tasks: Sequence[Task], results: dict[int, TaskResult]) -> set[int]:
        """Add the results that the journal has and `results` lacks; the numbers of tasks that have lost outputs.

        Such a task is for whoever finds it: the shard that did it may be in a later phase.
        """
        numbers = {tasks[i].key: i for i in range(len(tasks)) if i not in results}
        lost = set()
        for key, result in (self._journal.read(phase, numbers) if numbers else {}).items():
            if result is None:
                lost.add(numbers[key])
            else:
                results[numbers[key]] = result
        return lost

    def _wait(self, where: str, whom: str) -> None:
        """Let some time pass for other shards.

        Raises:
            _Complete: they have completed the file sets.
            Unfinished: this shard is not to wait.
        """
        self._leave_if_others_are_done()
        self._pulse.wait(whom)
        self._patience.wait(f"{self.name}: {where}", whom)

    def _leave_if_others_are_done(self) -> None:
        begun = read_header(self.sets[0].folder) == self._header  # looked at first: it goes after the manifests come
        if self._is_complete():
            raise _Complete
        if not begun:
            raise OutputExistsError(
                f"{printable(self.sets[0].folder)}: the journal of this run is gone, and its outputs are not complete"
                "\n  run the same command again, and leave the folder alone meanwhile"
            )

    def _is_complete(self) -> bool:
        there = streams.exists(self._manifest_paths()[-1])
        return there and all(standing(one).kind == "complete" for one in self.sets)

    def _run_here(
        self,
        phase: str,
        tasks: Sequence[Task],
        todo: list[int],
        work: Work,
        results: dict[int, TaskResult],
        *,
        scratch: float = 0.0,
    ) -> None:
        def take(index: int, result: TaskResult) -> None:
            task = tasks[todo[index]]
            results[todo[index]] = self._journal.write(phase, task.key, result)
            room.wrote(task, result.outputs)
            self.reporter.advance(tasks=1, size=task.size)
            self._pulse.advance(tasks=1, failed=result.ledger.total().failed)

        def go_on(documents: int, n_bytes: int) -> None:
            self.reporter.advance(documents, n_bytes)
            self._pulse.advance(documents, n_bytes)

        chosen = [tasks[i] for i in todo]
        room = Room(
            f"{self.name}: {phase}",
            chosen,
            folders=[file_set.folder for file_set in self.sets],
            work=self.work_folder,
            least=scratch,
            shards=self._share.of,
        )
        room.check_begin()
        self.reporter.start(f"{self.name}: {phase}", len(chosen), sum(task.size for task in chosen))
        try:
            if chosen:
                self._executor = self._executor or executor_for(self.options, note=self.reporter.note)
                self._executor.run(work, chosen, on_result=take, on_progress=go_on)
        finally:
            self.reporter.finish()

    # --- after: manifests -----------------------------------------------------------------------------------------

    def finish(self, results: Sequence[TaskResult], *, notes: Mapping[str, Any] | None = None) -> StageReport[None]:
        """Write the manifests of these results, and remove journal and work folder; the last call of a stage.

        `results` are those of all phases that wrote outputs or counted documents, each task's once: their ledgers are
        added up, and their outputs are what the manifests list, in this order. Outputs in the work folder are not the
        stage's and are left out. Of a separate set, a result is all that was made of one input. `notes` goes into each
        manifest as it is. So both have to follow from the results and the settings alone: no clock, no machine, nothing
        of how tasks were shared.

        A kill before the last manifest leaves an unfinished run, which the same command goes on with; a kill after it
        leaves a complete stage with remains that the next look removes. Of several shards the first one, or who has
        taken over from it, writes the manifests; each other one leaves the block when they are there, and the last to
        leave removes the rest.

        Raises:
            LedgerError: the accounts do not balance.
            Unfinished: this shard is not to wait for the one that writes the manifests.
        """
        while not self._share.finishes:
            self._wait("all tasks are done", f"shard 1/{self._share.of}, which ends the stage")
        self._replace()
        ledger = merged_of(results)
        ledger.check(self.name)
        outputs = [out for result in results for out in result.outputs if out.set != self.work_folder]
        _check_outputs(outputs)
        made = []
        for file_set in self.sets:
            if file_set.separate:
                manifest = grown(file_set, manifests.read_manifest(file_set.folder), results, notes or {})
            else:
                manifest = manifests.manifest_of(
                    file_set,
                    outputs=[out for out in outputs if out.set == file_set.folder],
                    ledger=msgspec.to_builtins(ledger),
                    notes=dict(notes or {}),
                )
            manifests.write_manifest(file_set.folder, manifest)
            made.append(manifest)
        self._finished = True
        self._clear()
        return self._report(ledger=self._account(made), manifests=self._manifest_paths(), outputs=outputs)

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
            ledger=self._account(complete),
            manifests=self._manifest_paths(),
            outputs=[out for manifest in complete for out in manifest.outputs],
        )

    def noted(self, kind: type[E], **changes: Any) -> StageReport[E]:
        """What a complete stage's manifests say, with the notes of the first one as details."""
        manifest = manifests.read_manifest(self.sets[0].folder)
        notes = msgspec.convert(manifest.notes if manifest is not None else {}, kind)
        return self.report().detailed(notes, **changes)

    def _account(self, made: Sequence[Manifest]) -> Ledger:
        """The account of this run's inputs: what any of its sets has, and separate ones of one name together."""
        if not self.sets[0].separate or "ledgers" not in made[0].notes:
            return msgspec.convert(made[0].ledger, Ledger)
        return merged(
            [
                account_of(manifest, [file.name for file in file_set.inputs])
                for file_set, manifest in zip(self.sets, made, strict=True)
                if file_set.name == self.sets[0].name
            ]
        )

    def _report(self, *, ledger: Ledger, manifests: list[str], outputs: list[OutputFile]) -> StageReport[None]:
        return StageReport(
            stage=self.name,
            name=self.name,
            folder=self.sets[0].folder,
            details=None,
            complete_before=self.complete,
            ledger=ledger,
            manifests=manifests,
            outputs=len(outputs),
            bytes=sum(out.bytes for out in outputs),
        )

    def _manifest_paths(self) -> list[str]:
        return [streams.join(file_set.folder, manifests.name_of(file_set.stage)) for file_set in self.sets]

    def _clear(self) -> None:
        """Remove what is left of a complete stage, unless others are still there: the last of them does."""
        self._pulse.stop()
        if not self._lock.alone():
            return
        for file_set in reversed(self.sets):
            streams.remove_temporaries(streams.list_files(file_set.folder))
            for folder in (self.work_folder, *(streams.join(file_set.folder, name) for name in (WORK, JOURNAL))):
                streams.remove_tree(folder)
        self._lock.discard()


def check_settings(sets: Iterable[FileSet], options: RunOptions | None) -> None:
    """Return unless other settings than these have made what is there. Inputs are not looked at.

    Raises:
        OutputExistsError: they have, and it is not to be overwritten; or as `finished`.
    """
    for file_set in sets:
        manifest = finished(file_set.folder) if not (options and options.overwrite) else None
        if manifest is not None and not same_settings(manifest, file_set):
            raise _other(file_set, difference(manifest, msgspec.structs.replace(file_set, inputs=manifest.inputs)))


def _other(file_set: FileSet, because: str) -> OutputExistsError:
    return OutputExistsError(
        f"{printable(file_set.folder)} holds the output of another run: {printable(because)}\n  {file_set.remedy}"
    )


def left_to_make(groups: Sequence[Sequence[FileSet]]) -> list[int]:
    """The groups of file sets, by number, that are not complete.

    Complete ones whose unfinished run is to make the others as well are among them: it was killed between two
    manifests, or is writing them now, and its records are of all of them.
    """
    left = {i for i, sets in enumerate(groups) if any(standing(one).kind != "complete" for one in sets)}
    begun = [i for i, sets in enumerate(groups) if i in left or any(read_header(one.folder) for one in sets)]
    sets = [one for i in begun for one in groups[i]]
    together = bool(left) and all(read_header(one.folder) == header_of(sets) for one in sets)
    return begun if together else sorted(left)


def merged_of(results: Iterable[TaskResult]) -> Ledger:
    """The sum of the results' ledgers."""
    return merged([result.ledger for result in results])


def _work_folder(sets: Sequence[FileSet], options: RunOptions) -> str:
    """Where intermediate files lie: beside the outputs, or in a folder of the run's own in the one that is given."""
    first = sets[0].folder
    if options.work_dir is None:
        return streams.join(first, WORK)
    streams.check_writable(options.work_dir)
    inside = [one.folder for one in sets if streams.is_below(options.work_dir, one.folder)]
    if inside:
        raise ConfigError(
            f"work_dir is {printable(options.work_dir)}, in the folder of outputs {printable(inside[0])}, where every "
            "other file is taken for one that dolma did not write\n"
            "  leave `--work-dir` out, and intermediate files lie in `.work` there; or give a folder elsewhere"
        )
    home = first if streams.is_url(first) else os.path.abspath(streams.local_path(first))
    return streams.join(options.work_dir, f"dolma-{sets[0].stage}-{xxhash.xxh3_64_hexdigest(home.encode())}")


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
