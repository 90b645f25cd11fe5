"""What inputs hold is remembered, read by workers, and never taken for what it is not.

Run: pytest tests/runner/test_inputs.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.config import DedupeConfig, MixConfig, StatConfig, TagConfig, TokenizeConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.storage.local import Local
from dolma.dedupers.dedupe import dedupe
from dolma.errors import DataError, OutputExistsError, Unfinished
from dolma.mixers.mix import check, mix
from dolma.runner import inputs as inputs_module
from dolma.runner.inputs import NAME, Inputs
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
OLD = 1_600_000_000 * 10**9
ONE = RunOptions(workers=1)


def put(path: Path, text: str, *, at: int = OLD) -> Path:
    """A file of one document, written long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode({"id": path.name, "text": text}) + b"\n")
    os.utime(path, ns=(at, at))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with two files of documents."""
    for name in ("a", "b"):
        put(tmp_path / "web" / f"{name}.jsonl", f"text of {name}")
    return tmp_path


def dataset(home: Path) -> Dataset:
    return Dataset(documents=(f"{home}/web/*.jsonl",), attributes=str(home / "attributes"))


def run_tag(home: Path, options: RunOptions = ONE) -> Any:
    return tag(dataset(home), TagConfig(taggers=["length"]), options=options)


def run_dedupe(home: Path, options: RunOptions = ONE) -> Any:
    return dedupe(dataset(home), DedupeConfig(), options=options)


def run_mix(home: Path, options: RunOptions = ONE) -> Any:
    return mix(dataset(home), MixConfig(), output=str(home / "mixed"), options=options)


def run_tokenize(home: Path, options: RunOptions = ONE) -> Any:
    return tokenize(dataset(home), TokenizeConfig(tokenizer=TOKENIZER), output=str(home / "tokens"), options=options)


def run_stat(home: Path, options: RunOptions = ONE) -> Any:
    return stat(dataset(home), StatConfig(), output=str(home / "stat"), options=options)


def run_mix_by_rules(home: Path, options: RunOptions = ONE) -> Any:
    config = MixConfig(keep=["length.words > 1", "not dedupe.duplicate"])
    return mix(dataset(home), config, output=str(home / "ruled"), options=options)


STAGES = [run_tag, run_dedupe, run_mix, run_tokenize]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read whole to know what they hold."""
    paths: list[str] = []
    read = streams.content

    def counted(path: str) -> Any:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(streams, "content", counted)
    return paths


def shards(home: Path, **changes: Any) -> Inputs:
    found = Inputs(str(home / "out"), options=msgspec.structs.replace(ONE, **changes))
    found.shards(dataset(home).shards())
    return found


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_a_rerun_reads_no_input(corpus: Path, opened: list[str], stage: Callable[..., Any]) -> None:
    assert not stage(corpus).complete_before
    assert [path for path in opened if "/web/" in path] == [f"{corpus}/web/{name}.jsonl" for name in "ab"]
    opened.clear()
    assert stage(corpus).complete_before
    assert opened == []


@pytest.mark.parametrize("stage", STAGES)
def test_without_what_is_remembered_a_rerun_reads_and_comes_to_the_same(
    corpus: Path, opened: list[str], stage: Callable[..., Any]
) -> None:
    stage(corpus)
    for path in corpus.rglob(NAME):
        path.unlink()
    opened.clear()
    assert stage(corpus).complete_before
    assert len(opened) == 2
    assert len(list(corpus.rglob(NAME))) == 1


def test_stages_over_the_same_attributes_share_what_they_know(corpus: Path, opened: list[str]) -> None:
    run_tag(corpus)
    opened.clear()
    run_dedupe(corpus)
    assert opened == []


@pytest.fixture
def files_opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all local files that were opened for reading."""
    paths: list[str] = []
    opening = Local.open

    def counted(self: Local, path: str) -> Any:
        paths.append(path)
        return opening(self, path)

    monkeypatch.setattr(Local, "open", counted)
    return paths


def test_a_rerun_over_2000_files_opens_none_of_them(tmp_path: Path, files_opened: list[str]) -> None:
    for i in range(2000):
        put(tmp_path / "web" / f"{i}.jsonl", "x")
    run_tag(tmp_path)
    files_opened.clear()
    assert run_tag(tmp_path).complete_before
    assert [path for path in files_opened if path.endswith((".jsonl", ".jsonl.parquet"))] == []
    assert len(files_opened) < 50


@pytest.mark.parametrize("stage", [run_mix_by_rules, run_stat])
def test_a_rerun_opens_no_attribute_file(corpus: Path, files_opened: list[str], stage: Callable[..., Any]) -> None:
    run_tag(corpus)
    run_dedupe(corpus)
    for path in corpus.rglob("*.parquet"):
        os.utime(path, ns=(OLD, OLD))
    stage(corpus)
    files_opened.clear()
    assert stage(corpus).complete_before
    assert [path for path in files_opened if path.endswith((".jsonl", ".parquet"))] == []


def test_rules_are_checked_without_attribute_files_being_opened(corpus: Path, files_opened: list[str]) -> None:
    run_tag(corpus)
    run_dedupe(corpus)
    files_opened.clear()
    check(dataset(corpus), MixConfig(keep=["length.words > 1", "not dedupe.duplicate"]), declared={})
    assert [path for path in files_opened if path.endswith(".parquet")] == []


def test_a_mix_of_fewer_attributes_than_before_is_made(corpus: Path) -> None:
    run_tag(corpus)
    run_dedupe(corpus)
    run_mix_by_rules(corpus)
    put(corpus / "attributes" / "length" / "a.jsonl.parquet", "no attributes")
    with pytest.raises(DataError, match=r"changed since it was written"):
        run_mix_by_rules(corpus)
    (corpus / "attributes" / "length" / "a.jsonl.parquet").unlink()
    with pytest.raises(DataError, match=r"no attributes 'length' for this file"):
        run_mix_by_rules(corpus)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"checksum":"0","files":{}}', b"\xff"])
def test_what_is_remembered_may_be_damaged(corpus: Path, opened: list[str], damage: bytes) -> None:
    shards(corpus).save()
    (corpus / "out" / NAME).write_bytes(damage)
    opened.clear()
    shards(corpus)
    assert len(opened) == 2


def test_a_digit_that_was_changed_is_damage(corpus: Path, opened: list[str]) -> None:
    shards(corpus).save()
    path = corpus / "out" / NAME
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size":1', 1))
    opened.clear()
    shards(corpus)
    assert len(opened) == 2


def test_documents_and_what_is_remembered_may_be_moved_together(corpus: Path, opened: list[str]) -> None:
    shards(corpus).save()
    (corpus / "there").mkdir()
    for name in ("web", "out"):
        (corpus / name).rename(corpus / "there" / name)
    opened.clear()
    shards(corpus / "there")
    assert opened == []


def test_a_file_that_was_just_written_is_not_remembered(corpus: Path, opened: list[str]) -> None:
    (corpus / "web" / "b.jsonl").touch()
    shards(corpus).save()
    opened.clear()
    shards(corpus)
    assert opened == [f"{corpus}/web/b.jsonl"]


@pytest.mark.parametrize("other", ["longer than before", "text of c"])
def test_another_size_or_time_is_read(corpus: Path, opened: list[str], other: str) -> None:
    shards(corpus).save()
    put(corpus / "web" / "b.jsonl", other, at=OLD + (len(other) == 9))
    opened.clear()
    shards(corpus)
    assert opened == [f"{corpus}/web/b.jsonl"]


# --- by whom ---------------------------------------------------------------------------------------------------------


def test_many_bytes_are_read_by_workers(corpus: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    here = shards(corpus)
    monkeypatch.setattr(inputs_module, "HERE_BYTES", 10)
    opened.clear()
    by_workers = Inputs(str(corpus / "out"), options=RunOptions(workers=2))
    found = by_workers.shards(dataset(corpus).shards())
    assert opened == []
    assert found == here.shards(dataset(corpus).shards())


def test_where_a_long_file_is_cut_is_remembered(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpus / "web" / "long.jsonl"
    with path.open("wb") as out:
        for i in range(4):
            out.write(msgspec.json.encode({"id": str(i), "text": "x" * (80 << 20)}) + b"\n")
    os.utime(path, ns=(OLD, OLD))
    shards(corpus).save()
    found = Inputs(str(corpus / "out"), options=ONE).shards(dataset(corpus).shards())
    cuts = {os.path.basename(shard.path): shard.cuts for shard in found}
    assert [len(cut or ()) for cut in cuts.values()] == [1, 1, 2]

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(streams, "read_chunks", read)
    parts = dataset(corpus).pieces(found)
    assert [(piece.part, piece.start, piece.first_line) for piece in parts if piece.parts > 1] == [
        (0, 0, 1),
        (1, 256 << 20, 5),
    ]


# --- by which shard --------------------------------------------------------------------------------------------------


def shard(i: int, n: int = 2, *, check_inputs: bool = False, take_over: tuple[int, ...] = ()) -> RunOptions:
    """A shard that does not wait."""
    return RunOptions(workers=1, shard=(i, n), wait=False, check_inputs=check_inputs, take_over=take_over)


def attempt(stage: Callable[..., Any], home: Path, options: RunOptions) -> Any:
    """What the stage reports, or says that it waits for."""
    try:
        return stage(home, options)
    except Unfinished as unfinished:
        return str(unfinished).splitlines()[0]


@pytest.fixture
def four(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with four files of documents, each worth a task."""
    for name in ("c", "d"):
        put(corpus / "web" / f"{name}.jsonl", f"text of {name}")
    monkeypatch.setattr(inputs_module, "HERE_BYTES", 1)
    return corpus


def names_of(paths: list[str]) -> list[str]:
    return [Path(path).stem for path in paths if "/web/" in path]


@pytest.mark.parametrize("stage", STAGES)
def test_each_shard_reads_its_share_once(four: Path, opened: list[str], stage: Callable[..., Any]) -> None:
    said = attempt(stage, four, shard(1))
    assert said == "inputs: waiting for shard 2/2 (2 files)"
    assert names_of(opened) == ["a", "c"]
    opened.clear()
    attempt(stage, four, shard(2))
    assert names_of(opened) == ["b", "d"]
    opened.clear()
    for _ in range(8):
        done = [attempt(stage, four, shard(i)) for i in (1, 2)]
    assert not any(isinstance(one, str) for one in done)
    assert names_of(opened) == []


def test_less_than_a_task_is_not_waited_for_and_read_once(
    four: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(streams, "content", lambda path, read=streams.content: opened.append(path) or read(path))
    assert attempt(run_tag, four, shard(2)) == "tag: measure: waiting for shard 1/2 (2 tasks)"
    attempt(run_tag, four, shard(1))
    assert names_of(opened) == ["b", "d", "a", "c"]


def test_a_shard_is_done_with_a_finished_stage_alone(four: Path) -> None:
    run_tag(four)
    assert run_tag(four, shard(2)).complete_before


def test_the_share_of_a_dead_shard_is_read_by_who_takes_over(four: Path, opened: list[str]) -> None:
    attempt(run_tag, four, shard(1, 3))
    opened.clear()
    assert attempt(run_tag, four, shard(3, 3, take_over=(2,))) == ("tag: measure: waiting for shard 1/3 (2 tasks)")
    assert names_of(opened) == ["b", "c"]


def test_a_shard_goes_on_when_the_others_have_read_their_share(four: Path) -> None:
    class Second(NullReporter):
        def note(self, text: str) -> None:
            if text.startswith("inputs: waiting for"):
                attempt(run_tag, four, shard(2))

    found = Inputs(dataset(four).attributes or "", options=RunOptions(workers=1, shard=(1, 2)), reporter=Second())
    assert found.shards(dataset(four).shards()) == Inputs("").shards(dataset(four).shards())


def test_a_file_of_another_time_on_each_machine_is_read_by_each(four: Path, opened: list[str]) -> None:
    attempt(run_tag, four, shard(1))
    os.utime(four / "web" / "a.jsonl", ns=(OLD + 1, OLD + 1))  # as on the disk of another machine
    opened.clear()
    attempt(run_tag, four, shard(2))
    assert names_of(opened) == ["a", "b", "d"]


def test_each_shard_checks_its_share_of_the_inputs(four: Path, opened: list[str]) -> None:
    run_tag(four)
    opened.clear()
    for i in (1, 2):
        assert run_tag(four, shard(i, check_inputs=True)).complete_before
    assert names_of(opened) == ["a", "c", "b", "d"]
    put(four / "web" / "b.jsonl", "text of z")
    assert run_tag(four, shard(1, check_inputs=True)).complete_before
    with pytest.raises(OutputExistsError, match=r"input 'b\.jsonl' is changed"):
        run_tag(four, shard(2, check_inputs=True))
    with pytest.raises(OutputExistsError, match=r"input 'b\.jsonl' is changed"):
        run_tag(four, shard(1))


# --- what changes unseen ---------------------------------------------------------------------------------------------


@pytest.fixture
def changed(corpus: Path) -> Path:
    """The corpus, measured; then a file got other bytes of the same size and time."""
    run_tag(corpus)
    put(corpus / "web" / "b.jsonl", "text of c")
    return corpus


def test_a_change_under_the_same_size_and_time_is_not_seen_by_a_rerun(changed: Path) -> None:
    assert run_tag(changed).complete_before


def test_check_inputs_finds_it(changed: Path) -> None:
    with pytest.raises(OutputExistsError, match=r"input 'b\.jsonl' is changed"):
        run_tag(changed, RunOptions(workers=1, check_inputs=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_stage_that_reads_it_finds_it_and_the_one_after_reads_it_anew(changed: Path, workers: int) -> None:
    options = RunOptions(workers=workers)
    with pytest.raises(DataError, match=r"web/b\.jsonl: changed while it was being read"):
        run_dedupe(changed, options)
    assert run_dedupe(changed, options).ledger.total().taken.documents == 2
    with pytest.raises(OutputExistsError, match=r"input 'b\.jsonl' is changed"):
        run_tag(changed)


# --- what is decided when --------------------------------------------------------------------------------------------


def test_other_settings_are_refused_before_inputs_are_read(corpus: Path, opened: list[str]) -> None:
    mix(dataset(corpus), MixConfig(keep=["document.bytes > 1"]), output=str(corpus / "mixed"), options=ONE)
    (corpus / "mixed" / NAME).unlink()
    opened.clear()
    with pytest.raises(OutputExistsError, match="keep now lacks"):
        run_mix(corpus)
    assert opened == []


def test_other_settings_of_statistics_are_refused_before_inputs_are_read(corpus: Path, opened: list[str]) -> None:
    run_stat(corpus)
    (corpus / "stat" / NAME).unlink()
    opened.clear()
    with pytest.raises(OutputExistsError, match="bins was 20, now 5"):
        stat(dataset(corpus), StatConfig(bins=5), output=str(corpus / "stat"), options=ONE)
    assert opened == []
