"""`pytest tests/runner/test_stage.py`: what a stage does about what it finds. One process, no workers."""

# ruff: noqa: SIM117 - the inner block is the one that is expected to raise

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
import run_works as works

from dolma.data import manifest as manifests
from dolma.data import streams
from dolma.data.documents import FailedRecord, Intake
from dolma.data.manifest import Manifest, OutputFile, read_manifest
from dolma.errors import ConfigError, LedgerError, OutputExistsError, SkippedRecordsError
from dolma.runner.lock import RunLock
from dolma.runner.options import RunOptions
from dolma.runner.stage import left_to_make, open_stage
from dolma.runner.task import Task, TaskResult

ONE = RunOptions(workers=1)
AGAIN = RunOptions(workers=1, overwrite=True)


class Stopped(KeyboardInterrupt):
    """Stands for a kill: nothing of ours catches it."""


class Recorder:
    """Counts what a work is called with; stops before a given call."""

    def __init__(self, folder: str, stop_before: int = 1 << 30) -> None:
        self.write, self.seen, self.stop_before = works.Write(folder=folder), [], stop_before

    def __call__(self, name: str) -> TaskResult:
        if len(self.seen) == self.stop_before:
            raise Stopped
        self.seen.append(name)
        return self.write(name)


def run_recorded(folder: str, recorder: Recorder, **config: object) -> None:
    with open_stage([works.file_set(folder, **config)], options=ONE) as stage:
        stage.finish(stage.run("write", works.tasks_of(works.names()), recorder))


def stop_after(folder: str, n_tasks: int, **config: object) -> None:
    with pytest.raises(Stopped):
        run_recorded(folder, Recorder(folder, stop_before=n_tasks), **config)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def test_only_outputs_and_manifest_are_left(folder: str) -> None:
    works.run_two_phases(folder, options=ONE)
    assert sorted(works.contents(folder)) == ["all.txt", "manifest.json"]
    assert not Path(folder, ".work").exists()


def test_report_counts_what_was_written(folder: str) -> None:
    report = works.run_write(folder, options=ONE)
    sizes = [len(data) for name, data in works.contents(folder).items() if name.endswith(".txt")]
    assert (report.outputs, report.bytes, report.complete_before) == (6, sum(sizes), False)
    assert report.ledger.total().taken.documents == 12
    assert report.manifests == [f"{folder}/manifest.json"]


def test_manifest_names_each_output_with_size_and_checksum(folder: str) -> None:
    works.run_write(folder, options=ONE)
    manifest = read_manifest(folder)
    assert manifest is not None
    for out in manifest.outputs:
        path = streams.join(folder, out.path)
        assert (out.bytes, out.checksum) == (streams.size(path), streams.checksum(path))
    assert [out.path for out in manifest.outputs] == sorted(f"{name}.txt" for name in works.names())


def test_a_second_run_does_nothing(folder: str) -> None:
    first = works.run_write(folder, options=ONE)
    before = {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    second = works.run_write(folder, options=ONE)
    assert second.complete_before
    assert (second.ledger, second.outputs, second.bytes) == (first.ledger, first.outputs, first.bytes)
    assert {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()} == before


def test_overwrite_of_a_complete_output_does_nothing(folder: str) -> None:
    works.run_write(folder, options=ONE)
    assert works.run_write(folder, options=AGAIN).complete_before


def test_running_a_complete_stage_is_a_mistake(folder: str) -> None:
    works.run_write(folder, options=ONE)
    with open_stage([works.file_set(folder)]) as stage, pytest.raises(ValueError, match="there is nothing to run"):
        stage.run("write", [], works.Write(folder=folder))


def test_another_configuration_is_refused_and_named(folder: str) -> None:
    works.run_write(folder, options=ONE, min={"length": 3}, old=1)
    before = works.contents(folder)
    expected = r"min.length was 3, now 4; new was not set, now \[1\]; old was 1, now not set\n  `--overwrite`"
    with pytest.raises(OutputExistsError, match=expected):
        works.run_write(folder, options=ONE, min={"length": 4}, new=[1])
    assert works.contents(folder) == before


def test_overwrite_removes_the_other_output(folder: str, tmp_path: Path) -> None:
    works.run_write(folder, options=ONE, specs=["old"], n=1)
    works.run_write(folder, options=AGAIN, n=2)
    works.run_write(str(tmp_path / "fresh"), options=ONE, n=2)
    assert works.contents(folder) == works.contents(tmp_path / "fresh")


def test_strangers_files_are_refused(folder: str) -> None:
    Path(folder, "sub").mkdir(parents=True)
    Path(folder, "sub", "thesis.txt").write_text("mine")
    for options in (ONE, AGAIN):
        with pytest.raises(OutputExistsError, match=r"no run of ours has written: sub/thesis.txt\n  they are never"):
            works.run_write(folder, options=options)
    assert works.contents(folder) == {"sub/thesis.txt": b"mine"}


def test_strangers_files_among_other_outputs_are_refused(folder: str) -> None:
    works.run_write(folder, options=ONE, n=1)
    Path(folder, "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"thesis\.txt"):
        works.run_write(folder, options=AGAIN, n=2)
    assert len(works.contents(folder)) == 8


def test_a_set_inside_another_is_no_stranger(folder: str) -> None:
    works.run_write(f"{folder}/attributes/x", options=ONE)
    works.run_write(folder, options=ONE, n=1)
    works.run_write(folder, options=AGAIN, n=2)
    assert works.run_write(f"{folder}/attributes/x", options=ONE).complete_before


def test_another_programs_manifest_is_refused(folder: str) -> None:
    Path(folder).mkdir()
    Path(folder, "manifest.json").write_text('{"packages": []}')
    with pytest.raises(OutputExistsError, match=r"cannot be an output folder: .*not a manifest"):
        works.run_write(folder, options=AGAIN)


def test_a_file_in_place_of_the_folder_is_refused(folder: str) -> None:
    Path(folder).write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file, expected an output folder"):
        works.run_write(folder, options=ONE)


def test_an_altered_output_is_refused_until_overwritten(folder: str) -> None:
    works.run_write(folder, options=ONE)
    whole = works.contents(folder)
    Path(folder, "a-00.txt").write_text("edited")
    with pytest.raises(OutputExistsError, match=r"a-00.txt has 6 bytes, its manifest says 4,005"):
        works.run_write(folder, options=ONE)
    works.run_write(folder, options=AGAIN)
    assert works.contents(folder) == whole


def test_a_lost_output_is_made_again(folder: str) -> None:
    works.run_write(folder, options=ONE)
    whole = works.contents(folder)
    Path(folder, "a-00.txt").unlink()
    assert not works.run_write(folder, options=ONE).complete_before
    assert works.contents(folder) == whole


@pytest.mark.parametrize("n_tasks", [0, 1, 5])
def test_a_stopped_run_goes_on_where_it_ended(folder: str, tmp_path: Path, n_tasks: int) -> None:
    stop_after(folder, n_tasks)
    recorder = Recorder(folder)
    run_recorded(folder, recorder)
    assert recorder.seen == works.names()[n_tasks:]
    run_recorded(str(tmp_path / "whole"), Recorder(str(tmp_path / "whole")))
    assert works.contents(folder).keys() == works.contents(tmp_path / "whole").keys()


def test_a_finished_task_whose_output_is_gone_is_done_again(folder: str) -> None:
    stop_after(folder, 3)
    Path(folder, f"{works.names()[1]}.txt").unlink()
    recorder = Recorder(folder)
    run_recorded(folder, recorder)
    assert recorder.seen == [works.names()[1], *works.names()[3:]]


def test_a_stopped_run_of_another_configuration_is_discarded(folder: str) -> None:
    stop_after(folder, 3, n=1)
    Path(folder, "unrecorded.txt").write_text("of a task that was killed before its record")
    recorder = Recorder(folder)
    run_recorded(folder, recorder, n=2)
    assert recorder.seen == works.names()
    assert "unrecorded.txt" not in works.contents(folder)


def test_payload_and_ledger_come_back_from_the_journal(folder: str) -> None:
    tasks = works.tasks_of(works.names())
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        first = stage.run("write", tasks, works.Write(folder=folder))
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        assert stage.run("write", tasks, works.Write(folder=folder)) == first


def test_leftover_temporary_files_are_removed(folder: str) -> None:
    stop_after(folder, 2)
    for parent in (folder, f"{folder}/.work"):
        Path(parent).mkdir(exist_ok=True)
        Path(parent, ".a-00.txt.4242-7.tmp").write_text("half")
    works.run_write(folder, options=ONE)
    assert not [name for name in works.contents(folder) if name.endswith(".tmp")]


def test_a_run_killed_between_manifest_and_journal_is_tidied(folder: str, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(streams, "remove_tree", lambda folder: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            works.run_write(folder, options=ONE)
    assert Path(folder, ".journal").is_dir()
    assert works.run_write(folder, options=ONE).complete_before
    assert not Path(folder, ".journal").exists()


@pytest.mark.parametrize("left", [".journal/write/0.json", ".lock", ".work/part"])
def test_a_run_killed_while_it_tidies_is_tidied(folder: str, left: str) -> None:
    works.run_write(folder, options=ONE)
    path = Path(folder, left)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    assert works.run_write(folder, options=ONE).complete_before
    assert not [path for path in Path(folder).iterdir() if path.name.startswith(".")]


def test_resume_from_another_working_directory(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    stop_after("out", 3)
    monkeypatch.chdir(tmp_path / "below")
    recorder = Recorder("../out")
    run_recorded("../out", recorder)
    assert recorder.seen == works.names()[3:]


def test_shuffled_tasks_give_the_same_bytes(folder: str, tmp_path: Path) -> None:
    works.run_write(folder, options=ONE)
    shuffled = random.Random(3).sample(works.names(), 6)
    works.run_write(str(tmp_path / "other"), options=ONE, specs=shuffled)
    assert works.contents(folder) == works.contents(tmp_path / "other")


def test_several_sets_each_get_their_outputs(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in "xy"]

    def write_both(name: str) -> TaskResult:
        results = [works.Write(folder=folder)(name) for folder in folders]
        return TaskResult(outputs=[out for result in results for out in result.outputs], ledger=results[0].ledger)

    sets = [works.file_set(folder, name=folder[-1]) for folder in folders]
    with open_stage(sets, options=ONE) as stage:
        report = stage.finish(stage.run("write", works.tasks_of(works.names()), write_both), notes={"seen": 1})
    assert report.outputs == 12
    for folder in folders:
        manifest = read_manifest(folder)
        assert manifest is not None and len(manifest.outputs) == 6 and manifest.notes == {"seen": 1}
        assert ".journal/run.json" not in works.contents(folder)


def test_one_set_of_an_unfinished_pair_is_no_stranger(tmp_path: Path) -> None:
    sets = [works.file_set(str(tmp_path / name), name=name) for name in "xy"]
    with open_stage(sets, options=ONE) as stage:
        stage.run("write", works.tasks_of(["a"]), works.Write(folder=sets[1].folder))
    with open_stage(sets[1:], options=ONE) as stage:
        assert not stage.complete
    assert "a.txt" not in works.contents(tmp_path / "y")


def test_an_imbalance_leaves_no_manifest(folder: str) -> None:
    def lose_one(name: str) -> TaskResult:
        result = works.Write(folder=folder)(name)
        result.ledger.take("books", documents=1)
        return result

    with open_stage([works.file_set(folder)], options=ONE) as stage:
        results = stage.run("write", works.tasks_of(["a"]), lose_one)
        with pytest.raises(LedgerError, match="source 'books': 1 in, but 0 out"):
            stage.finish(results)
    assert read_manifest(folder) is None


def test_skipped_records_beyond_the_limit(folder: str) -> None:
    def skip_two(name: str) -> TaskResult:
        intake = Intake()
        intake.n_failed = 2
        intake.failed = [FailedRecord(file=f"/in/{name}", line=7, offset=9, reason="no text")]
        result = works.Write(folder=folder)(name)
        result.ledger.fail("books", intake)
        return result

    with open_stage([works.file_set(folder)], options=ONE) as stage:
        report = stage.finish(stage.run("write", works.tasks_of(["a"]), skip_two))
    report.check_skipped(2)
    with pytest.raises(SkippedRecordsError, match=r"2 records were skipped; at most 1 may be\n  /in/a:7: no text"):
        report.check_skipped(1)


def test_equal_keys_are_a_mistake(folder: str) -> None:
    tasks = works.tasks_of(["a", "a"])
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        with pytest.raises(ValueError, match="two tasks have the key 'a'"):
            stage.run("write", tasks, works.Write(folder=folder))


def test_one_file_from_two_tasks_is_a_mistake(folder: str) -> None:
    tasks = [Task(key=key, size=1, spec="same") for key in "ab"]
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        results = stage.run("write", tasks, works.Write(folder=folder))
        with pytest.raises(ValueError, match=r"two tasks wrote .*same.txt"):
            stage.finish(results)


def test_outputs_outside_the_sets_are_a_mistake(folder: str, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        with pytest.raises(ValueError, match=r"wrote a.txt in .*elsewhere, which is no file set of this stage"):
            stage.run("write", works.tasks_of(["a"]), works.Write(folder=elsewhere))


def test_a_stage_without_tasks_gets_its_manifest(folder: str) -> None:
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        report = stage.finish(stage.run("write", [], works.Write(folder=folder)))
    assert (report.outputs, list(works.contents(folder))) == (0, ["manifest.json"])


def test_two_runs_at_once_are_refused(folder: str) -> None:
    with open_stage([works.file_set(folder)], options=ONE):
        with pytest.raises(ConfigError, match=r"out: another run is at work in this folder\n  wait for it or stop it"):
            open_stage([works.file_set(folder)], options=ONE)
    works.run_write(folder, options=ONE)


def test_a_folder_that_cannot_be_written_is_said(folder: str, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.makedirs", refuse)
    with pytest.raises(ConfigError, match=r"out: cannot write there: Permission denied\n  give an output folder"):
        works.run_write(folder, options=ONE)


def test_a_run_that_shares_one_set_with_another_is_refused(tmp_path: Path) -> None:
    sets = [works.file_set(str(tmp_path / name), name=name) for name in "xy"]
    with open_stage(sets, options=ONE):
        for one in sets:
            with pytest.raises(ConfigError, match=rf"/{one.config['name']}: another run is at work"):
                open_stage([one], options=ONE)
    works.run_write(sets[1].folder, options=ONE, name="y")


# --- the parts -------------------------------------------------------------------------------------------------------


def test_lock_is_free_again_after_its_file_was_removed(tmp_path: Path) -> None:
    first, second = RunLock([str(tmp_path / "j")]), RunLock([str(tmp_path / "j")])
    assert first.alone() and not second.alone()
    (tmp_path / "j" / ".lock").unlink()
    assert second.alone()
    first.release()
    second.release()


def test_journal_records_are_json(folder: str) -> None:
    stop_after(folder, 1)
    (path,) = Path(folder, ".journal", "write").iterdir()
    record = json.loads(path.read_bytes())
    assert record["key"] == works.names()[0]
    assert record["result"]["outputs"][0]["set"] == "0"


def test_a_record_that_was_lost_with_the_power_is_none(folder: str) -> None:
    stop_after(folder, 2)
    records = sorted(Path(folder, ".journal", "write").iterdir())
    records[0].write_bytes(b"")
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        specs = works.names()
        report = stage.finish(stage.run("write", works.tasks_of(specs), works.Write(folder=folder)))
    assert report.outputs == len(specs)


def test_an_output_is_flushed_to_the_disk_and_a_record_is_not(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else records would cost as much as small outputs; one that is lost costs its task once more."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    counts = []
    for n_files in (5, 25):
        flushed.clear()
        specs = [f"{n_files}-{i}.txt" for i in range(n_files)]
        works.run_write(f"{folder}-{n_files}", options=ONE, specs=specs)
        counts.append(len(flushed))
    assert counts == [5 + 3, 25 + 3]  # what the run is, its heartbeat, the manifest


def test_output_file_in_the_work_folder_is_not_the_stages(folder: str) -> None:
    with open_stage([works.file_set(folder)], options=ONE) as stage:
        out = OutputFile(set=stage.work_folder, path="x", bytes=1, checksum="")
        assert stage.finish([TaskResult(outputs=[out])]).outputs == 0


def test_a_set_that_is_complete_belongs_to_its_unfinished_run(tmp_path: Path, monkeypatch) -> None:
    sets = [works.file_set(str(tmp_path / name), name=name) for name in "abc"]
    groups = [[one] for one in sets]
    works.run_write(sets[2].folder, options=ONE, name="c")
    write_manifest, written = manifests.write_manifest, []

    def stop_before_the_second(folder: str, manifest: Manifest) -> None:
        if written:
            raise Stopped
        written.append(folder)
        write_manifest(folder, manifest)

    monkeypatch.setattr(manifests, "write_manifest", stop_before_the_second)
    with pytest.raises(Stopped), open_stage(sets[:2], options=ONE) as stage:
        stage.finish([])
    assert written == [sets[0].folder]
    assert left_to_make(groups) == [0, 1]
    assert left_to_make(groups[1:]) == [0]
    monkeypatch.setattr(manifests, "write_manifest", write_manifest)
    with open_stage(sets[:2], options=ONE) as stage:
        stage.finish([])
    assert left_to_make(groups) == []
