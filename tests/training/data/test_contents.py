"""What shards hold is read once and remembered. Run: pytest tests/training/data/test_contents.py"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dolma.data import streams
from dolma.data.tokens import NAME, read_token_manifest, write_token_manifest
from dolma.errors import DataError
from dolma.training.data import contents as contents_module
from dolma.training.data.contents import Contents
from dolma.training.data.shards import mask_path, open_shards
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced, some_ids, write_shards

OLD = 1_600_000_000 * 10**9
ONE_STEP = replaced(CONFIG, steps=1)


def serially(work: Any, items: Any, *, alike: Any) -> list[Any]:
    return [work(item) for item in items]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder of two shards, written long ago, one of them with a label mask."""
    folder = Path(write_shards(tmp_path / "tokens", [some_ids(1000, seed=1), some_ids(700, seed=2)]))
    np.ones(700, dtype=bool).tofile(mask_path(f"{folder}/part-00001.npy"))
    for path in folder.iterdir():
        os.utime(path, ns=(OLD, OLD))
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read whole."""
    paths: list[str] = []
    numbers = contents_module._numbers

    def counted(look: Any) -> Any:
        paths.append(os.path.basename(look.path))
        return numbers(look)

    monkeypatch.setattr(contents_module, "_numbers", counted)
    return paths


def read_by_process() -> int:
    """Bytes that this process has asked files for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="Linux counts bytes")
def test_a_finished_run_is_found_finished_without_a_byte_of_its_tokens(tmp_path: Path) -> None:
    tokens = Path(write_shards(tmp_path / "tokens", [some_ids(4_000_000)]))
    os.utime(tokens / "part-00000.npy", ns=(OLD, OLD))
    read = []
    for _ in range(2):
        before = read_by_process()
        train(ONE_STEP, tokens=str(tokens), output=str(tmp_path / "run"))
        read.append(read_by_process() - before)
    assert read[0] >= 8_000_000
    assert read[1] < 4_000_000


def test_shards_and_masks_are_read_once(shards: Path, tmp_path: Path, read: list[str]) -> None:
    for _ in range(2):
        train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    assert sorted(read) == ["labels_mask_part-00001.npy", "part-00000.npy", "part-00001.npy"]


def test_they_are_read_again_when_asked_for(shards: Path, tmp_path: Path, read: list[str]) -> None:
    for again in (False, True):
        train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"), check_inputs=again)
    assert len(read) == 6


def test_what_was_touched_is_read_again(shards: Path, tmp_path: Path, read: list[str]) -> None:
    train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    read.clear()
    os.utime(shards / "part-00001.npy", ns=(OLD, OLD + 1))
    train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    assert read == ["part-00001.npy"]


def test_what_was_written_just_now_is_not_remembered(shards: Path, tmp_path: Path, read: list[str]) -> None:
    os.utime(shards / "part-00001.npy")
    for _ in range(2):
        train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    assert read.count("part-00001.npy") == 2
    assert read.count("part-00000.npy") == 1


def test_a_memory_that_is_damaged_is_none(shards: Path, tmp_path: Path, read: list[str]) -> None:
    train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    memory = tmp_path / "run" / ".inputs.json"
    memory.write_bytes(memory.read_bytes().replace(b'"largest":', b'"largest":1'))
    train(ONE_STEP, tokens=str(shards), output=str(tmp_path / "run"))
    assert len(read) == 6


def test_a_smaller_vocabulary_is_noticed_without_reading(shards: Path, tmp_path: Path, read: list[str]) -> None:
    home = tmp_path / "home"
    contents = Contents(str(home), together=serially)
    contents.check([open_shards(str(shards))])
    contents.save()
    read.clear()
    manifest = read_token_manifest(str(shards))
    write_token_manifest(str(shards), msgspec.structs.replace(manifest, vocab_size=32))
    first = int(np.argmax(some_ids(1000, seed=1) >= 32))
    with pytest.raises(
        DataError, match=rf"part-00000\.npy: id [0-9]+ at position {first} is outside the vocabulary of 32"
    ):
        Contents(str(home), together=serially).check([open_shards(str(shards))])
    assert read == []


def test_a_checksum_that_is_another_is_noticed_without_reading(shards: Path, tmp_path: Path, read: list[str]) -> None:
    contents = Contents(str(tmp_path), together=serially)
    contents.check([open_shards(str(shards))])
    described = (shards / NAME).read_text()
    checksum = streams.checksum(str(shards / "part-00000.npy"))
    (shards / NAME).write_text(described.replace(checksum, "0" * 32))
    read.clear()
    with pytest.raises(DataError, match=r"part-00000\.npy: is not the file that tokens\.json describes"):
        contents.check([open_shards(str(shards))])
    assert read == []
