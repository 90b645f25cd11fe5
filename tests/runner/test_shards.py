"""`pytest tests/runner/test_shards.py`: several shards of one run, in one process."""

# ruff: noqa: SIM117 - the inner block is the one that is expected to raise

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import run_works as works

from dolma.data import streams
from dolma.errors import ConfigError, OutputExistsError, Unfinished
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter
from dolma.runner.report import StageReport
from dolma.runner.stage import open_stage

ONE = RunOptions(workers=1)
ENDS = 20
"""More rounds than any of these stages has phases."""


def shard(i: int, n: int, *, take_over: tuple[int, ...] = (), overwrite: bool = False) -> RunOptions:
    """A shard that does not wait."""
    return RunOptions(workers=1, shard=(i, n), wait=False, take_over=take_over, overwrite=overwrite)


def waiting(i: int, n: int) -> RunOptions:
    return RunOptions(workers=1, shard=(i, n))


class Meanwhile(NullReporter):
    """Keeps the notes, and does something when there is one that says what a shard waits for."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps, self.notes = list(steps), []

    def note(self, text: str) -> None:
        self.notes.append(text)
        if "waiting for" in text and self.steps:
            self.steps.pop(0)()


def attempt(run: Callable[[], StageReport]) -> StageReport | str:
    """What the stage reports, or says that it is waiting for."""
    try:
        return run()
    except Unfinished as unfinished:
        return str(unfinished).splitlines()[0]


def n_records(folder: str) -> int:
    return len(list(Path(folder, ".journal", "write").iterdir()))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    works.run_two_phases(str(tmp_path / "whole"), options=ONE, n_tasks=5)
    return works.contents(tmp_path / "whole")


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_shards_that_do_not_wait_give_the_bytes_of_one_run(
    folder: str, whole: dict[str, bytes], order: tuple[int, ...]
) -> None:
    ended: dict[int, StageReport] = {}
    for _ in range(ENDS):
        for i in order:
            made = attempt(lambda i=i: works.run_two_phases(folder, options=shard(i, 3), n_tasks=5))
            if isinstance(made, StageReport):
                ended[i] = made
        if len(ended) == 3:
            break
    assert sorted(ended) == [1, 2, 3]
    assert len({(report.outputs, report.bytes, str(report.ledger)) for report in ended.values()}) == 1
    assert works.contents(folder) == whole


def test_tasks_of_every_phase_are_shared(folder: str) -> None:
    done: dict[str, dict[int, list[str]]] = {"first": {1: [], 2: []}, "second": {1: [], 2: []}}

    def run(i: int) -> StageReport:
        def work(phase: str) -> Callable[[str], works.TaskResult]:
            def write(name: str) -> works.TaskResult:
                done[phase][i].append(name)
                return works.Write(folder=f"{folder}/.work/{phase}" if phase == "first" else folder)(name)

            return write

        with open_stage([works.file_set(folder)], options=shard(i, 2)) as stage:
            stage.leave_if_complete()
            stage.run("first", works.tasks_of(works.names(4)), lambda name: works.TaskResult(payload={}))
            return stage.finish(stage.run("second", works.tasks_of(works.names(5)), work("second")))
        return stage.report()

    for i in (1, 2, 1, 2, 1):
        attempt(lambda i=i: run(i))
    names = works.names(5)
    assert done["second"] == {1: names[0::2], 2: names[1::2]}
    assert works.run_write(folder, options=ONE).complete_before


def test_a_shard_says_for_whom_it_waits(folder: str) -> None:
    said = attempt(lambda: works.run_write(folder, options=shard(2, 3)))
    assert said == "test: write: waiting for shard 1/3 (2 tasks), shard 3/3 (2 tasks)"
    with pytest.raises(Unfinished, match=r"when they are done; `--take-over I` does the tasks of a dead shard"):
        works.run_write(folder, options=shard(2, 3))


def test_shards_that_wait_go_on_when_the_others_have_come(folder: str, whole: dict[str, bytes]) -> None:
    def second(n: int) -> Callable[[], object]:
        return lambda: [attempt(lambda: works.run_two_phases(folder, options=shard(2, 2), n_tasks=5)) for _ in range(n)]

    reporter = Meanwhile(second(1), second(1))
    report = works.run_two_phases(folder, options=waiting(1, 2), n_tasks=5, reporter=reporter)
    assert reporter.notes == ["test: parts: waiting for shard 2/2 (2 tasks)"]
    assert (report.complete_before, report.outputs) == (False, 1)
    assert works.contents(folder) == whole


def test_the_first_shard_ends_the_stage_and_the_others_report_it(folder: str, whole: dict[str, bytes]) -> None:
    def first() -> StageReport | str:
        return attempt(lambda: works.run_two_phases(folder, options=shard(1, 2), n_tasks=5))

    reporter = Meanwhile(first)
    report = works.run_two_phases(folder, options=waiting(2, 2), n_tasks=5, reporter=reporter)
    assert reporter.notes == ["test: parts: waiting for shard 1/2 (3 tasks)"]
    assert (report.complete_before, report.outputs) == (False, 1)
    assert works.contents(folder) == whole


def test_a_shard_whose_tasks_are_all_done_waits_for_the_manifests(folder: str) -> None:
    specs = works.names(2)
    attempt(lambda: works.run_write(folder, options=shard(1, 2), specs=specs))
    said = attempt(lambda: works.run_write(folder, options=shard(2, 2), specs=specs))
    assert said == "test: all tasks are done: waiting for shard 1/2, which ends the stage"
    assert not Path(folder, "manifest.json").exists()


def test_the_same_shard_again_does_nothing_new(folder: str) -> None:
    attempt(lambda: works.run_write(folder, options=shard(1, 3)))
    before = n_records(folder)
    assert attempt(lambda: works.run_write(folder, options=shard(1, 3))) == (
        "test: write: waiting for shard 2/3 (2 tasks), shard 3/3 (2 tasks)"
    )
    assert n_records(folder) == before == 2


def test_the_tasks_of_a_dead_shard_are_taken_over(folder: str, whole: dict[str, bytes]) -> None:
    attempt(lambda: works.run_two_phases(folder, options=shard(2, 3), n_tasks=5))
    report = works.run_two_phases(folder, options=shard(3, 3, take_over=(1,)), n_tasks=5)
    assert report.outputs == 1
    assert works.contents(folder) == whole


def test_a_run_without_shards_takes_everything_over(folder: str, whole: dict[str, bytes]) -> None:
    attempt(lambda: works.run_two_phases(folder, options=shard(2, 3), n_tasks=5))
    works.run_two_phases(folder, options=ONE, n_tasks=5)
    assert works.contents(folder) == whole


def test_a_shard_that_others_have_taken_over_from_reports_the_finished_stage(folder: str) -> None:
    def others() -> None:
        works.run_two_phases(folder, options=shard(1, 3, take_over=(2, 3)), n_tasks=5)

    report = works.run_two_phases(folder, options=waiting(2, 3), n_tasks=5, reporter=Meanwhile(others))
    assert (report.complete_before, report.outputs) == (False, 1)


def test_more_shards_than_tasks(folder: str) -> None:
    made = [attempt(lambda i=i: works.run_write(folder, options=shard(i, 8))) for i in range(1, 9)]
    assert made[4] == "test: write: waiting for shard 6/8 (1 task)"
    assert made[6] == "test: all tasks are done: waiting for shard 1/8, which ends the stage"
    assert isinstance(attempt(lambda: works.run_write(folder, options=shard(1, 8))), StageReport)


def test_many_shards_are_not_all_named(folder: str) -> None:
    said = attempt(lambda: works.run_write(folder, options=shard(1, 100), specs=works.names(100)))
    assert isinstance(said, str)
    assert said.endswith("shard 8/100 (1 task), shard 9/100 (1 task), 91 more shards")


def test_outputs_that_are_gone_are_made_again_by_the_shard_that_misses_them(folder: str) -> None:
    """The one that they belong to may be in a later phase."""
    attempt(lambda: works.run_write(folder, options=shard(1, 2), specs=works.names(2)))
    Path(folder, "a-00.txt").unlink()
    said = attempt(lambda: works.run_write(folder, options=shard(2, 2), specs=works.names(2)))
    assert said == "test: all tasks are done: waiting for shard 1/2, which ends the stage"
    assert Path(folder, "a-00.txt").exists()
    assert isinstance(attempt(lambda: works.run_write(folder, options=shard(1, 2), specs=works.names(2))), StageReport)


def test_a_journal_that_is_gone_ends_the_waiting(folder: str) -> None:
    def remove() -> None:
        Path(folder, ".journal", "run.json").unlink()

    with pytest.raises(OutputExistsError, match="the journal of this run is gone"):
        works.run_write(folder, options=waiting(1, 2), reporter=Meanwhile(remove))


def test_shards_of_another_configuration_are_refused(folder: str) -> None:
    with open_stage([works.file_set(folder, n=1)], options=shard(1, 2)):
        with pytest.raises(OutputExistsError, match=r"out: another run has begun in this folder: n was 1, now 2\n"):
            open_stage([works.file_set(folder, n=2)], options=shard(2, 2))


def test_shards_of_other_settings_that_do_not_run_at_once_are_refused_unless_told_to_replace(folder: str) -> None:
    attempt(lambda: works.run_write(folder, options=shard(1, 2), n=1))
    before = works.contents(folder)
    with pytest.raises(OutputExistsError, match=r"another run has begun in this folder: n was 1, now 2\n"):
        works.run_write(folder, options=shard(2, 2), n=2)
    assert works.contents(folder) == before
    said = attempt(lambda: works.run_write(folder, options=shard(2, 2, overwrite=True), n=2))
    assert said == "test: write: waiting for shard 1/2 (3 tasks)"
    with pytest.raises(OutputExistsError, match=r"n was 2, now 1\n"):
        works.run_write(folder, options=shard(1, 2), n=1)


def test_shards_of_other_inputs_that_do_not_run_at_once_are_refused(folder: str) -> None:
    sets = [works.file_set(folder), msgspec.structs.replace(works.file_set(folder), inputs=[])]
    with open_stage(sets[:1], options=shard(1, 2)):
        pass
    with pytest.raises(OutputExistsError, match="another run has begun in this folder: it has other inputs"):
        open_stage(sets[1:], options=shard(2, 2))


def test_a_shard_waits_no_longer_than_allowed_for_a_whole_run(folder: str, monkeypatch) -> None:
    monkeypatch.setattr("dolma.runner.stage.WAIT_SECONDS", 0.0)
    with open_stage([works.file_set(folder)], options=ONE):
        with pytest.raises(ConfigError, match="another run is at work"):
            open_stage([works.file_set(folder)], options=shard(1, 2))


def test_shards_replace_the_outputs_of_another_configuration_once(folder: str) -> None:
    works.run_write(folder, options=ONE, n=1)
    with pytest.raises(OutputExistsError, match="n was 1, now 2"):
        works.run_write(folder, options=shard(2, 2), n=2)
    for i in (2, 1, 2):
        made = attempt(lambda i=i: works.run_write(folder, options=shard(i, 2, overwrite=True), n=2))
    assert isinstance(made, StageReport) and made.complete_before


@pytest.mark.parametrize("take_over", [(0,), (9,)])
def test_only_shards_of_the_run_are_taken_over(take_over: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"take_over is \d, of 8 shards"):
        shard(1, 8, take_over=take_over)
    with pytest.raises(ConfigError, match="take_over is 1, of 0 shards"):
        RunOptions(take_over=(1,))


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def killed_at(moment: int, run: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a run reaches its `moment`-th record, manifest or other small file, and dies before that is written."""
    left = [moment]
    write = streams.write_bytes

    def tick(path: str, data: bytes, **given: bool) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Killed
        write(path, data, **given)

    with monkeypatch.context() as patch:
        patch.setattr(streams, "write_bytes", tick)
        try:
            run()
        except (Killed, Unfinished):
            pass
    return left[0] <= 0


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_shard_killed_at_any_phase_is_started_again_or_taken_over(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, taken_over: bool
) -> None:
    moments = 0
    for moment in itertools.count(1):
        folder = str(tmp_path / f"{moment}")
        first = shard(1, 2)
        attempt(lambda: works.run_two_phases(folder, options=shard(2, 2), n_tasks=5))  # noqa: B023
        run = lambda: works.run_two_phases(folder, options=first, n_tasks=5)  # noqa: B023, E731
        if not killed_at(moment, run, monkeypatch):
            break
        moments += 1
        if taken_over:
            works.run_two_phases(folder, options=shard(2, 2, take_over=(1,)), n_tasks=5)
        else:
            attempt(lambda: works.run_two_phases(folder, options=shard(2, 2), n_tasks=5))  # noqa: B023
            run()
        assert works.contents(folder) == whole, moment
    assert moments > 5
