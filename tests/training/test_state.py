"""What is known of a checkpoint without torch. Run: pytest tests/training/test_state.py"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dolma.errors import DataError
from dolma.training import dcp
from dolma.training.config import EvalConfig
from dolma.training.evaluate import evaluate_model
from dolma.training.interop.export import export_checkpoint
from dolma.training.plan import plan_training
from dolma.training.stages import resolve_stages
from dolma.training.trace import stages_of_run
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced, some_ids, write_shards


@pytest.fixture
def step(tokens: str, tmp_path: Path) -> Path:
    """The last checkpoint of a run."""
    return Path(train(CONFIG, tokens=tokens, output=str(tmp_path / "first")).checkpoint)


def flipped(path: Path, *, at: int = -100) -> None:
    """Change one bit of a byte."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def begin_with(folder: Path, tokens: str) -> tuple[str, ...]:
    """The warnings of a run that begins with these weights."""
    config = replaced(CONFIG, init_from=str(folder), steps=2)
    output = folder.parent / f"second-{len(os.listdir(folder.parent))}"
    return train(config, tokens=tokens, output=str(output)).warnings


# --- state.json -------------------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[Path, str], object]] = {
    "init_from": begin_with,
    "inherit": lambda step, tokens: resolve_stages(
        replaced(CONFIG, init_from=str(step), learning_rate="inherit", schedule="constant", warmup_steps=0), tokens
    ),
    "trace": lambda step, tokens: stages_of_run(str(step.parent)),
}


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_state_that_was_edited_is_refused(reader: str, step: Path, tokens: str) -> None:
    state = json.loads((step / "state.json").read_bytes())
    (step / "state.json").write_text(json.dumps(state | {"learning_rate": 0.5}))
    with pytest.raises(DataError, match=r"step8/state\.json: is gone or has changed since the checkpoint was saved"):
        READERS[reader](step, tokens)


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_checkpoint_without_its_manifest_is_not_finished(reader: str, step: Path, tokens: str) -> None:
    (step / "manifest.json").unlink()
    with pytest.raises(DataError, match="step8: no manifest: this is no finished checkpoint"):
        READERS[reader](step, tokens)


def test_a_trace_does_not_read_weights(step: Path) -> None:
    flipped(step / "model_and_optim" / "__0_0.distcp")
    assert stages_of_run(str(step.parent)).steps == 8


# --- weights to begin with --------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_weights_to_begin_with_is_noticed(step: Path, tokens: str) -> None:
    flipped(step / "model_and_optim" / "__0_0.distcp")
    with pytest.raises(DataError, match=r"__0_0\.distcp: is gone or has changed"):
        begin_with(step, tokens)


def test_a_flipped_bit_in_a_checkpoint_of_others_is_noticed(step: Path, tokens: str) -> None:
    (step / "state.json").unlink()
    (step / "manifest.json").unlink()
    embeddings = dcp.read_metadata(str(step / "model_and_optim"))["model.embeddings.weight"]
    assert isinstance(embeddings, dcp.StoredTensor)
    part = embeddings.chunks[0].part
    flipped(step / "model_and_optim" / "__0_0.distcp", at=part.at + part.length // 2)
    with pytest.raises(DataError, match=r"__0_0\.distcp: does not hold what `torch\.save` writes: Bad CRC-32"):
        begin_with(step, tokens)


@pytest.fixture
def transformers(step: Path, tmp_path: Path) -> Path:
    """The same model as a folder of transformers, as others write it."""
    export_checkpoint(str(step), str(tmp_path / "hf"))
    (tmp_path / "hf" / "SHA256SUMS").unlink()
    return tmp_path / "hf"


def test_weights_without_a_checksum_are_warned_of(transformers: Path, tokens: str) -> None:
    said = "model.safetensors has no checksum, so a damaged file would not be noticed"
    assert said in " ".join(begin_with(transformers, tokens))
    config = replaced(CONFIG, init_from=str(transformers))
    assert said in " ".join(plan_training(config, tokens=tokens).warnings)


@pytest.mark.parametrize("name", ["state.json", "model_and_optim/__0_0.distcp"])
def test_a_checkpoint_that_has_lost_its_state_is_not_taken_for_one_of_others(
    step: Path, tokens: str, name: str
) -> None:
    flipped(step / name)
    (step / "state.json").unlink()
    with pytest.raises(DataError, match="is gone or has changed"):
        begin_with(step, tokens)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_flipped_bit_in_an_export_is_noticed(step: Path, tokens: str, tmp_path: Path, name: str) -> None:
    export_checkpoint(str(step), str(tmp_path / "hf"))
    flipped(tmp_path / "hf" / name)
    with pytest.raises(DataError, match=rf"{name}: is not the file that was written or downloaded"):
        begin_with(tmp_path / "hf", tokens)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: b"", r"SHA256SUMS: has no checksum of model\.safetensors"),
        (lambda content: content[:20], r"SHA256SUMS:1: is no line of `sha256sum`"),
        (lambda content: b"g" + content[1:], r"SHA256SUMS:1: is no line of `sha256sum`"),
    ],
)
def test_damaged_checksums_beside_weights_are_refused(step: Path, tokens: str, tmp_path: Path, damage, said) -> None:
    export_checkpoint(str(step), str(tmp_path / "hf"))
    sums = tmp_path / "hf" / "SHA256SUMS"
    sums.write_bytes(damage(sums.read_bytes()))
    with pytest.raises(DataError, match=said):
        begin_with(tmp_path / "hf", tokens)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "no config.json there|Is a directory"),
        ("model.safetensors", "Is a directory"),
        ("SHA256SUMS", "Is a directory"),
    ],
)
def test_a_folder_in_the_place_of_a_file_of_an_export_is_said(
    step: Path, tokens: str, tmp_path: Path, name: str, said: str
) -> None:
    export_checkpoint(str(step), str(tmp_path / "hf"))
    (tmp_path / "hf" / name).unlink()
    (tmp_path / "hf" / name).mkdir()
    with pytest.raises(DataError, match=said):
        begin_with(tmp_path / "hf", tokens)


def test_weights_whose_link_leads_to_itself_are_said(step: Path, tokens: str, tmp_path: Path) -> None:
    export_checkpoint(str(step), str(tmp_path / "hf"))
    weights = tmp_path / "hf" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(weights.name)
    with pytest.raises(DataError, match=r"model\.safetensors: (?:cannot read: )?Too many levels of symbolic links"):
        begin_with(tmp_path / "hf", tokens)


def test_weights_of_another_tokenizer_are_warned_of(tokens: str, tmp_path: Path) -> None:
    first = train(CONFIG, tokens=tokens, output=str(tmp_path / "first")).checkpoint
    others = write_shards(tmp_path / "others", [some_ids(1000)], vocabulary=100, tokenizer=b"another")
    said = r"step8 was trained with another tokenizer than the shards' \(vocabularies of 64 and 100\)"
    config = replaced(CONFIG, init_from=first)
    assert re.search(said, " ".join(train(config, tokens=others, output=str(tmp_path / "run")).warnings))
    assert re.search(said, " ".join(plan_training(config, tokens=others).warnings))
    assert not plan_training(config, tokens=tokens).warnings


@pytest.mark.parametrize("place", ["a folder", "the cache"])
def test_downloaded_weights_are_compared_with_their_checksum(
    place: str, transformers: Path, tokens: str, tmp_path: Path
) -> None:
    weights = transformers / "model.safetensors"
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    if place == "a folder":
        notes = transformers / ".cache/huggingface/download/model.safetensors.metadata"
        notes.parent.mkdir(parents=True)
        notes.write_text(f"0123456789abcdef\n{checksum}\n1700000000.0\n")
        stored = weights
    else:
        stored = tmp_path / "blobs" / checksum
        stored.parent.mkdir()
        shutil.move(weights, stored)
        weights.symlink_to(stored)
    assert begin_with(transformers, tokens) == ()
    flipped(stored)
    said = f"model.safetensors: is not the file that was written or downloaded: its SHA-256 is not {checksum}"
    with pytest.raises(DataError, match=said):
        begin_with(transformers, tokens)
    with pytest.raises(DataError, match=said):
        evaluate_model(str(transformers), EvalConfig())
