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

from dolma.config import DedupeConfig, MixConfig, TagConfig, TokenizeConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.errors import DataError, OutputExistsError
from dolma.mixers.mix import mix
from dolma.runner import inputs as inputs_module
from dolma.runner.inputs import NAME, Inputs
from dolma.runner.options import RunOptions
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


def test_a_rerun_over_2000_files_opens_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2000):
        put(tmp_path / "web" / f"{i}.jsonl", "x")
    run_tag(tmp_path)
    paths: list[str] = []
    for module in ("dolma.data.storage.local",):
        monkeypatch.setattr(f"{module}.open", lambda path, mode: paths.append(path) or open(path, mode), raising=False)
    assert run_tag(tmp_path).complete_before
    assert [path for path in paths if path.endswith((".jsonl", ".jsonl.parquet"))] == []
    assert len(paths) < 50


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
    with pytest.raises(OutputExistsError, match="keep was"):
        run_mix(corpus)
    assert opened == []
