"""From steps to documents and back. Run: pytest tests/training/test_trace.py"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dolma.errors import ConfigError, DataError
from dolma.training.config import SourceConfig, StageConfig
from dolma.training.stages import Stages, resolve_stages
from dolma.training.trace import documents_of_step, stages_of_run, steps_of_document
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced, write_shards


def documents(folder: Path, *, n: int, seed: int) -> str:
    """Shards of `n` documents `<folder>/<i>` with rows; the ids of document `i` are all `i + 1`."""
    lengths = np.random.default_rng(seed).integers(5, 30, n)
    ids = np.concatenate([np.append(np.full(length - 1, i % 60 + 1), 0) for i, length in enumerate(lengths)])
    tokens = write_shards(folder, [ids])
    ends = np.cumsum(lengths)
    with gzip.open(folder / "part-00000.csv.gz", "wt") as rows:
        for i, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            rows.write(f"{end - length},{end},{folder.name}/{i},{folder.name}.jsonl,{i + 1}\n")
    return tokens


@pytest.fixture(params=["concatenated", "packed"])
def stages(request: pytest.FixtureRequest, tmp_path: Path) -> Stages:
    web, books = documents(tmp_path / "web", n=60, seed=1), documents(tmp_path / "books", n=40, seed=2)
    mixed = {
        "web": SourceConfig(tokens=web, share=0.5),
        "books": SourceConfig(tokens=books, share=0.5, max_repeat=3),
    }
    config = replaced(
        CONFIG,
        windows=request.param,
        stages=[StageConfig(name="one", steps=6, sources=mixed), StageConfig(name="two", epochs=2.0, batch_size=3)],
        steps=None,
    )
    return resolve_stages(config, web if request.param == "packed" else [web])


def test_the_documents_of_a_step_are_those_of_its_batch(stages: Stages) -> None:
    for step in range(1, stages.steps + 1):
        stage = stages.of(step)
        batch = stage.loader.batch(step - stage.first)
        seen = list(documents_of_step(stages, step))
        for row, ids in enumerate(batch.ids):
            tokens = []
            for stretch in (s for s in seen if s.window == row):
                number = int(stretch.id.split("/")[1])
                assert (stretch.path, stretch.line) == (f"{stretch.id.split('/')[0]}.jsonl", number + 1)
                tokens += [number % 60 + 1] * (stretch.end - stretch.start)
            expected = ids[: len(tokens)].tolist()
            assert all(found in (wanted, 0) for wanted, found in zip(tokens, expected, strict=True))


def test_the_steps_of_a_document_are_those_that_name_it(stages: Stages) -> None:
    everything = [seen for step in range(1, stages.steps + 1) for seen in documents_of_step(stages, step)]
    for id in ("web/0", "web/17", "books/39"):
        assert list(steps_of_document(stages, id)) == [seen for seen in everything if seen.id == id]


def test_a_step_or_document_that_is_not_there_is_an_error(stages: Stages) -> None:
    with pytest.raises(ConfigError, match=f"there is no step 999: the run has {stages.steps}"):
        list(documents_of_step(stages, 999))
    with pytest.raises(ConfigError, match="no document in the shards of this run has the id 'web/999'"):
        list(steps_of_document(stages, "web/999"))


def test_a_run_is_traced_from_its_folder(tmp_path: Path) -> None:
    tokens = documents(tmp_path / "web", n=60, seed=1)
    train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    expected = list(documents_of_step(resolve_stages(CONFIG, tokens), 5))
    assert list(documents_of_step(stages_of_run(str(tmp_path / "run")), 5)) == expected


def test_shards_that_have_moved_are_found_and_others_are_refused(tmp_path: Path) -> None:
    tokens = documents(tmp_path / "web", n=60, seed=1)
    train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    (tmp_path / "web").rename(tmp_path / "moved")
    moved = stages_of_run(str(tmp_path / "run"), tokens=[str(tmp_path / "moved")])
    assert next(documents_of_step(moved, 1)).id.startswith("web/")
    other = documents(tmp_path / "other", n=60, seed=3)
    with pytest.raises(DataError, match="was trained on other shards"):
        stages_of_run(str(tmp_path / "run"), tokens=[other])


def test_a_folder_without_checkpoints_has_no_trace(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no checkpoint: give the folder of a training run"):
        stages_of_run(str(tmp_path))


def test_the_folder_above_a_training_run_proposes_the_run(tmp_path: Path) -> None:
    (tmp_path / "train" / "step2").mkdir(parents=True)
    (tmp_path / "train" / "step2" / "state.json").touch()
    with pytest.raises(DataError, match=r"has no checkpoint: .*\n  did you mean .*/train\?"):
        stages_of_run(str(tmp_path))
