"""`pytest tests/runner/test_room.py`: disks that are too small for what a phase writes, and where intermediates lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import run_works as works

from dolma.data.manifest import OutputFile
from dolma.errors import ConfigError, WriteError
from dolma.runner.options import RunOptions
from dolma.runner.room import Room
from dolma.runner.task import Task

TASKS = [Task(key=str(i), size=100, spec=None) for i in range(10)]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every disk have so many free bytes."""

    def have(n_bytes: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=n_bytes))

    return have


def room(tmp_path: Path, *, least: float = 0.0, shards: int = 1) -> Room:
    work = str(tmp_path / "work" / "deep")
    return Room("t: a", TASKS, folders=[str(tmp_path), "s3://b/out"], work=work, least=least, shards=shards)


def test_what_is_known_to_be_too_much_is_refused_before_it_begins(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(499)
    with pytest.raises(
        WriteError, match=r"t: a will not fit: .* GB are free\n  make room, or give a folder on another"
    ):
        room(tmp_path, least=0.5).check_begin()
    room(tmp_path, least=0.4).check_begin()
    room(tmp_path).check_begin()


def test_shards_share_the_disk(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(999)
    room(tmp_path, least=0.5).check_begin()
    with pytest.raises(WriteError):
        room(tmp_path, least=0.5, shards=2).check_begin()


def test_what_was_written_tells_what_the_rest_takes(tmp_path: Path, free: Callable[[int], None]) -> None:
    outputs = [OutputFile(set=str(tmp_path), path="x", bytes=30, checksum="")]
    free(271)
    room(tmp_path).wrote(TASKS[0], outputs)
    free(269)
    with pytest.raises(WriteError):
        room(tmp_path).wrote(TASKS[0], outputs)


def test_remote_folders_have_no_end(free: Callable[[int], None]) -> None:
    free(0)
    remote = Room("t: a", TASKS, folders=["s3://b/out"], work="s3://b/work", least=9.0, shards=1)
    remote.check_begin()
    remote.wrote(TASKS[0], [OutputFile(set="s3://b/out", path="x", bytes=9, checksum="")])


def test_a_run_stops_and_goes_on_when_there_is_room(tmp_path: Path, free: Callable[[int], None]) -> None:
    folder = str(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        with pytest.raises(WriteError, match="test: write will not fit"):
            works.run_write(folder, options=RunOptions(workers=1))
    works.run_write(folder, options=RunOptions(workers=1))
    assert len(works.contents(folder)) == 7


def test_intermediates_lie_in_the_work_dir_and_are_removed(tmp_path: Path) -> None:
    folder, scratch = str(tmp_path / "out"), tmp_path / "scratch"
    options = RunOptions(workers=1, work_dir=str(scratch))
    with works.open_stage([works.file_set(folder)], options=options) as stage:
        results = works.join_parts(stage, folder, seconds=0.0, n_tasks=4)
        (mine,) = scratch.iterdir()
        assert stage.work_folder == str(mine)
        assert len(list(mine.iterdir())) == 4
        assert not Path(folder, ".work").exists()
        stage.finish(results)
    assert list(scratch.iterdir()) == []
    works.run_two_phases(str(tmp_path / "whole"), options=RunOptions(workers=1), n_tasks=4)
    assert works.contents(folder) == works.contents(tmp_path / "whole")


@pytest.mark.parametrize("below", ["", "/scratch", "/../out/scratch"])
def test_a_work_dir_among_the_outputs_is_refused_before_anything_is_made(tmp_path: Path, below: str) -> None:
    folder = str(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"in the folder of outputs .*out.*\n  leave `--work-dir` out"):
        works.open_stage([works.file_set(folder)], options=RunOptions(workers=1, work_dir=folder + below))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_with_another_work_dir_makes_its_intermediates_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    with works.open_stage([works.file_set(folder)], options=RunOptions(workers=1)) as stage:
        stage.run("parts", works.tasks_of(works.names(4)), works.Write(folder=stage.work_folder))
    options = RunOptions(workers=1, work_dir=str(tmp_path / "scratch"))
    assert works.run_two_phases(folder, options=options, n_tasks=4).outputs == 1
    assert sorted(works.contents(folder)) == ["all.txt", "manifest.json"]
