"""Training runs against their recipes. Run: pytest tests/training/test_verify.py"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.cli.main import run
from dolma.config import Recipe
from dolma.data import streams
from dolma.data.manifest import read_manifest, write_manifest
from dolma.errors import DataError
from dolma.training.state import newest
from dolma.verification import verify

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
TRAIN: dict[str, Any] = {
    "model": {"d_model": 8, "layers": 1, "heads": 2, "mlp_hidden": 8},
    "steps": 3,
    "batch_size": 2,
    "sequence_length": 8,
    "threads": 1,
}


def made(home: Path, *, n_documents: int = 20, **train: Any) -> Path:
    """A run of `tokenize` and `train` in a folder of its own."""
    home.mkdir()
    lines = [json.dumps({"id": str(i), "text": f"number {i} " * (i + 1)}) + "\n" for i in range(n_documents)]
    (home / "a.jsonl").write_text("".join(lines))
    recipe = {
        "documents": [f"{home}/a.jsonl"],
        "output": f"{home}/out",
        "tokenize": {"tokenizer": TOKENIZER},
        "train": TRAIN | train,
    }
    (home / "recipe.yaml").write_bytes(msgspec.yaml.encode(recipe))
    assert run(["run", str(home / "recipe.yaml")]) == 0
    return home / "out"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def problems(out: Path, *, deep: bool = False) -> list[str]:
    return verify([str(out)], Recipe(), deep=deep).problems


def copied(out: Path, other: Path) -> list[str]:
    """What is found where the training run of another folder was copied into this one."""
    shutil.rmtree(out / "train")
    shutil.copytree(other / "train", out / "train")
    return problems(out)


def test_a_run_as_it_was_made_has_no_problems(out: Path) -> None:
    assert problems(out, deep=True) == []


def test_a_checkpoint_of_another_run_or_step_is_found_and_not_taken_for_the_newest(out: Path, tmp_path: Path) -> None:
    run_folder, last = out / "train", out / "train" / f"step{TRAIN['steps']}"
    other = made(tmp_path / "other", seed=7) / "train" / last.name
    for foreign in (last, other):
        shutil.copytree(foreign, run_folder / "step900")
        assert problems(out) == [f"{run_folder / 'step900'}: is a checkpoint of another run, or of another step"]
        with pytest.raises(DataError, match="is a checkpoint of another run, or of another step"):
            newest(str(run_folder))
        shutil.rmtree(run_folder / "step900")
    shutil.rmtree(last)
    shutil.copytree(other, last)
    assert f"{last}: is a checkpoint of another run, or of another step" in problems(out)
    with pytest.raises(DataError, match="is a checkpoint of another run"):
        newest(str(run_folder))


def test_a_run_on_other_tokens_is_found(out: Path, tmp_path: Path) -> None:
    found = copied(out, made(tmp_path / "other", n_documents=19))
    assert found == [f"{out}/train: was made from other tokens than those in {out}/tokens"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"learning_rate": 1e-3}, "its learning_rate is 0.001, recipe.yaml has 0.0004"),
        ({"steps": 2}, "its steps is 2, recipe.yaml has 3"),
        ({"model": TRAIN["model"] | {"mlp_hidden": 16}}, "its model is "),
    ],
    ids=["rate", "steps", "model"],
)
def test_a_run_of_other_settings_is_found(train: dict[str, Any], said: str, out: Path, tmp_path: Path) -> None:
    (problem,) = copied(out, made(tmp_path / "other", **train))
    assert problem.startswith(f"{out}/train: is not what the run's recipe.yaml makes: {said}")


@pytest.mark.parametrize("change", [{"batch": "0" * 16}, {"lr": 0.5}, {"tokens": 1}, {"step": 9}])
def test_a_log_that_was_changed_and_sealed_again_is_found(change: dict[str, Any], out: Path) -> None:
    log = out / "train" / "metrics.jsonl"
    first, *more = log.read_text().splitlines()
    log.write_text("\n".join([json.dumps(json.loads(first) | change), *more]) + "\n")
    manifest = read_manifest(str(out / "train"))
    assert manifest is not None
    now = {"bytes": log.stat().st_size, "checksum": streams.checksum(str(log))}
    outputs = [msgspec.structs.replace(o, **now) if o.path == log.name else o for o in manifest.outputs]
    write_manifest(str(out / "train"), msgspec.structs.replace(manifest, outputs=outputs))
    assert problems(out) == []
    (problem,) = problems(out, deep=True)
    assert problem.startswith(f"{log}: ")
