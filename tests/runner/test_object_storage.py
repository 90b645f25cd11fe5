"""`pytest tests/runner/test_object_storage.py`: a stage whose folders are on S3, as moto plays it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import run_works as works

from dolma.config import DedupeConfig, MixConfig, StatConfig, TagConfig, TokenizeConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.storage.s3 import S3
from dolma.dedupers.dedupe import dedupe
from dolma.errors import OutputExistsError, Unfinished
from dolma.mixers.mix import mix
from dolma.runner import inputs
from dolma.runner.inputs import NAME
from dolma.runner.options import RunOptions
from dolma.runner.stage import open_stage
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize

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


# --- a rerun lists, and reads nothing --------------------------------------------------------------------------------


TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")


def put(n_files: int) -> Dataset:
    for i in range(n_files):
        streams.write_bytes(f"s3://corpus/in/{i:03d}.jsonl", b'{"id": "%d", "text": "text number %d"}\n' % (i, i))
    return Dataset(documents=("s3://corpus/in/*.jsonl",), attributes="s3://corpus/attributes")


def stages(dataset: Dataset, options: RunOptions = ONE) -> dict[str, Callable[[], Any]]:
    """The stages by name, each of which reads what those before it have written."""
    rules = MixConfig(keep=["length.words > 1", "not dedupe.duplicate"])
    tokens = TokenizeConfig(tokenizer=TOKENIZER)
    return {
        "tag": lambda: tag(dataset, TagConfig(taggers=["length"]), options=options),
        "dedupe": lambda: dedupe(dataset, DedupeConfig(), options=options),
        "mix": lambda: mix(dataset, rules, output="s3://corpus/mixed", options=options),
        "tokenize": lambda: tokenize(dataset, tokens, output="s3://corpus/tokens", options=options),
        "stat": lambda: stat(dataset, StatConfig(), output="s3://corpus/stat", options=options),
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Each request: "head", "list" or "get", and for what."""
    requests: list[tuple[str, str]] = []

    def count(kind: str, name: str) -> None:
        method = getattr(S3, name)

        def counted(self: S3, path: str, *rest: Any) -> Any:
            requests.append((kind, path))
            return method(self, path, *rest)

        monkeypatch.setattr(S3, name, counted)

    for kind, name in (("head", "_entry"), ("list", "_entries"), ("get", "_range")):
        count(kind, name)
    return requests


def test_a_rerun_over_twice_the_files_asks_as_often_and_reads_none(asked: list[tuple[str, str]]) -> None:
    counts: dict[str, list[int]] = {}
    for n_files in (12, 24):
        for name, run in stages(put(n_files)).items():
            run()
            asked.clear()
            assert run().complete_before
            read = [path for kind, path in asked if kind == "get" and path.endswith((".jsonl", ".parquet"))]
            assert (name, read) == (name, [])
            counts.setdefault(name, []).append(len(asked))
        streams.remove_tree("s3://corpus")
    assert counts == {name: [n, n] for name, (n, _) in counts.items()}


def test_what_inputs_hold_is_remembered_in_the_work_folder(tmp_path: Path) -> None:
    dataset = put(3)
    options = RunOptions(workers=1, work_dir=str(tmp_path))
    for run in stages(dataset, options).values():
        run()
    assert [path for path in streams.list_files("s3://corpus") if path.endswith(NAME)] == []
    assert len(list(tmp_path.rglob(NAME))) == 4  # tag and dedupe have one folder of attributes


@pytest.mark.parametrize("name", ["tag", "dedupe", "mix", "tokenize"])
def test_each_shard_reads_its_share_of_the_inputs(
    asked: list[tuple[str, str]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "HERE_BYTES", 1)
    dataset = put(4)
    for before in ("tag", "dedupe") if name == "mix" else ():
        stages(dataset)[before]()
    asked.clear()
    done: list[Any] = []
    for _ in range(10):
        for i in (1, 2):
            try:
                done.append(stages(dataset, RunOptions(workers=1, shard=(i, 2), wait=False))[name]())
            except Unfinished:
                continue
    assert len(done) > 2
    for i in range(4):
        kinds = [kind for kind, path in asked if path == f"s3://corpus/in/{i:03d}.jsonl"]
        assert kinds.count("get") == 2  # once for what it holds, once for the work
