"""`pytest tests/runner/test_object_storage.py`: a stage whose folders are on S3, as moto plays it in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import run_works as works

from dolma.data import streams
from dolma.errors import OutputExistsError, Unfinished
from dolma.runner.options import RunOptions
from dolma.runner.stage import open_stage

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")
moto = pytest.importorskip("moto", reason="moto is not installed (dolma[dev])")

FOLDER = "s3://corpus/out"
ONE = RunOptions(workers=1)


@pytest.fixture(autouse=True)
def bucket(monkeypatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        boto3.client("s3").create_bucket(Bucket="corpus")
        yield


def relative(folder: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{folder}/"): streams.read_bytes(path) for path in streams.list_files(folder)}


def test_same_files_as_in_a_local_folder(tmp_path) -> None:
    works.run_two_phases(FOLDER, options=ONE)
    works.run_two_phases(str(tmp_path / "out"), options=ONE)
    assert relative(FOLDER) == works.contents(tmp_path / "out")


def test_a_second_run_does_nothing() -> None:
    works.run_write(FOLDER, options=ONE)
    assert works.run_write(FOLDER, options=ONE).complete_before


def test_a_stopped_run_goes_on_where_it_ended() -> None:
    specs = works.names()
    with open_stage([works.file_set(FOLDER)], options=ONE) as stage:
        stage.run("write", works.tasks_of(specs[:4]), works.Write(folder=FOLDER))
    seen: list[str] = []

    def record(name: str) -> works.TaskResult:
        seen.append(name)
        return works.Write(folder=FOLDER)(name)

    with open_stage([works.file_set(FOLDER)], options=ONE) as stage:
        assert stage.finish(stage.run("write", works.tasks_of(specs), record)).outputs == 6
    assert seen == specs[4:]
    assert not [name for name in relative(FOLDER) if name.startswith(".")]


def test_strangers_files_are_refused_and_another_output_needs_overwrite() -> None:
    streams.write_bytes("s3://corpus/mine/thesis.txt", b"mine")
    with pytest.raises(OutputExistsError, match=r"no run of ours has written: thesis\.txt"):
        works.run_write("s3://corpus/mine", options=ONE)
    works.run_write(FOLDER, options=ONE, n=1)
    with pytest.raises(OutputExistsError, match="n was 1, now 2"):
        works.run_write(FOLDER, options=ONE, n=2)
    works.run_write(FOLDER, options=RunOptions(workers=1, overwrite=True), n=2)


def attempt(i: int, **config: object) -> str:
    """What the i-th of two shards that do not wait says it is waiting for; "" when it is done."""
    options = RunOptions(workers=1, shard=(i, 2), wait=False, overwrite=True)
    try:
        works.run_write(FOLDER, options=options, **config)
    except Unfinished as unfinished:
        return str(unfinished).splitlines()[0]
    return ""


def test_shards() -> None:
    assert attempt(2) == "test: write: waiting for shard 1/2 (3 tasks)"
    assert attempt(1) == ""
    assert len(relative(FOLDER)) == 7
    assert attempt(2) == ""


def test_without_locks_the_first_shard_removes_what_others_have_left() -> None:
    works.run_write(FOLDER, options=ONE, n=1)
    assert attempt(2, n=2) == "test: waiting for shard 1/2, which prepares the folders"
    assert relative(FOLDER).keys() == {*(f"{name}.txt" for name in works.names()), "manifest.json"}
    assert attempt(1, n=2) == "test: write: waiting for shard 2/2 (3 tasks)"
    assert attempt(2, n=2) == "test: all tasks are done: waiting for shard 1/2, which ends the stage"
    assert (attempt(1, n=2), attempt(2, n=2)) == ("", "")
