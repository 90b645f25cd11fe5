"""Token shards and checkpoints behind a network, as moto plays S3. Run: pytest tests/training/test_remote.py"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from dolma.cli.main import run
from dolma.data import streams
from dolma.data.numbers import RemoteNumbers
from dolma.data.storage.s3 import S3
from dolma.errors import ConfigError, DataError, WriteError
from dolma.training import checkpoint, dcp
from dolma.training.checkpoint import load_model
from dolma.training.config import TrainConfig
from dolma.training.data.shards import mask_path, open_shards
from dolma.training.metrics import TIMINGS, read_metrics
from dolma.training.state import checkpoints
from dolma.training.trainer import train
from tests.training.conftest import Stopped, replaced, some_ids, stop_after, write_shards
from tests.training.test_parallel import PROGRAM as PARALLEL
from tests.training.test_parallel import in_processes, started

# boto of before 2025 asks the clock in a way that Python 3.12 warns of.
pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow\(\) is deprecated:DeprecationWarning")

PROGRAM = """
import os, signal, sys, msgspec
from dolma.training import TrainConfig
from dolma.training.trainer import train
config = msgspec.json.decode(sys.argv[1], type=TrainConfig)
def kill(record, steps):
    if record.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
train(config, tokens=sys.argv[2], output=sys.argv[3], progress=kill)
"""


@pytest.fixture
def shards(s3: str, tmp_path: Path) -> tuple[str, str]:
    """The same shards, with masks, here and there."""
    here = write_shards(tmp_path / "tokens", [some_ids(1000, seed=1), some_ids(700, seed=2)])
    trained = np.random.default_rng(0).random(1000) < 0.8
    trained.tofile(mask_path(f"{here}/part-00000.npy"))
    there = f"{s3}/tokens"
    for path in Path(here).iterdir():
        streams.write_bytes(f"{there}/{path.name}", path.read_bytes())
    return here, there


def log_of(run: str) -> list[dict[str, Any]]:
    records = read_metrics(streams.join(run, "metrics.jsonl"))
    return [{k: v for k, v in msgspec.to_builtins(record).items() if k not in TIMINGS} for record in records]


def weights(run: str, step: int) -> dict[str, torch.Tensor]:
    folder = streams.join(run, f"step{step}", "model_and_optim")
    stored = dcp.read_metadata(folder).items()
    entries = {key: torch.zeros(kept.shape) for key, kept in stored if isinstance(kept, dcp.StoredTensor)}
    dcp.read_into(folder, entries)
    return entries


def equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(value, others[key]) for key, value in some.items())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_killed_run_from_s3_to_s3_goes_on_to_the_same_bits(
    *,
    asynchronous: bool,
    shards: tuple[str, str],
    s3: str,
    config: TrainConfig,
    tmp_path: Path,
) -> None:
    here, there = shards
    config = replaced(config, asynchronous_checkpoints=asynchronous, checkpoint_every=3)
    train(config, tokens=here, output=str(tmp_path / "run"))
    output = f"{s3}/run"
    arguments = [msgspec.json.encode(config).decode(), there, output]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=os.environ, timeout=240, check=False)
    assert killed.returncode == -signal.SIGKILL
    whole = max(checkpoints(output), default=None)
    assert whole in ((None, 3, 6) if asynchronous else (6,))
    assert train(config, tokens=there, output=output).resumed_from == whole
    assert log_of(output) == log_of(str(tmp_path / "run"))
    assert equal(weights(output, 8), weights(str(tmp_path / "run"), 8))
    assert train(config, tokens=there, output=output).already_complete
    model, state = load_model(output)
    assert (state.step, state.tokens) == (8, [there])
    assert model.vocab_size == 64


@pytest.mark.e2e
@pytest.mark.slow
def test_two_processes_killed_in_an_upload_go_on_to_the_same_bytes(
    shards: tuple[str, str], s3: str, config: TrainConfig, tmp_path: Path
) -> None:
    here, there = shards
    killed = """
import os, signal
from dolma.training import checkpoint
upload = checkpoint._upload
def half(near, folder):
    if "/step8/" in folder and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    upload(near, folder)
checkpoint._upload = half
"""
    in_processes(2, config, here, tmp_path / "run")
    output = f"{s3}/run"
    arguments = [msgspec.json.encode(config).decode(), there, output, "9"]
    assert [status for status, _, _ in started(2, killed + PARALLEL, *arguments)] == [1, -signal.SIGKILL]
    assert list(checkpoints(output)) == [4]
    assert [status for status, _, _ in started(2, PARALLEL, *arguments)] == [0, 0]
    for step in (4, 8):
        near, far = tmp_path / "run" / f"step{step}" / "model_and_optim", f"{output}/step{step}/model_and_optim"
        written = {path.name: path.read_bytes() for path in near.iterdir()}
        assert sorted(written) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
        assert {path.rpartition("/")[2]: streams.read_bytes(path) for path in streams.list_files(far)} == written
    assert log_of(output) == log_of(str(tmp_path / "run"))


def test_a_run_may_begin_with_a_remote_checkpoint(
    shards: tuple[str, str], s3: str, config: TrainConfig, tmp_path: Path
) -> None:
    here, there = shards
    train(config, tokens=here, output=str(tmp_path / "first"))
    train(config, tokens=there, output=f"{s3}/first")
    for name, first in (("near", str(tmp_path / "first")), ("far", f"{s3}/first")):
        start = {"init_from": f"{first}/step8", "init_optimizer": True, "learning_rate": "inherit"}
        train(replaced(config, **start), tokens=here, output=str(tmp_path / name))
    assert log_of(str(tmp_path / "far")) == log_of(str(tmp_path / "near"))
    assert equal(weights(str(tmp_path / "far"), 8), weights(str(tmp_path / "near"), 8))


def test_a_remote_folder_of_transformers_is_to_be_downloaded(
    shards: tuple[str, str], s3: str, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "model.safetensors"):
        streams.write_bytes(f"{s3}/model/{name}", b"{}")
    with pytest.raises(DataError, match=r"is a remote folder of transformers.*\n  download it, with `hf download`"):
        train(replaced(config, init_from=f"{s3}/model"), tokens=shards[0], output=str(tmp_path / "run"))
    assert run(["eval", f"{s3}/model", "--tokens", f"held={shards[0]}"]) == 3
    assert "is a remote folder of transformers" in capsys.readouterr().err


def test_windows_and_labels_of_remote_shards_are_those_of_local_ones(shards: tuple[str, str]) -> None:
    here, there = (open_shards(folder).shards for folder in shards)
    for near, far in zip(here, there, strict=True):
        assert isinstance(far.ids, RemoteNumbers)
        assert len(far.ids) == len(near.ids)
        assert int(far.ids[-1]) == int(near.ids[-1])
        assert np.array_equal(far.ids[5:105], near.ids[5:105])
        assert np.array_equal(np.asarray(far.ids), np.asarray(near.ids))
        assert np.array_equal(far.trained(0, 300), near.trained(0, 300))
        assert np.array_equal(far.boundaries, near.boundaries)
    with pytest.raises(IndexError):
        there[0].ids[len(there[0].ids)]


def test_a_remote_shard_that_changes_ends_the_run_without_a_checkpoint(
    shards: tuple[str, str],
    config: TrainConfig,
    s3: str,
) -> None:
    _, there = shards

    def change(record: Any, _: int) -> None:
        if record.step == 2:
            streams.write_bytes(f"{there}/part-00001.npy", some_ids(700, seed=3).astype("<u2").tobytes())

    with pytest.raises(DataError, match=r"part-00001\.npy"):
        train(config, tokens=there, output=f"{s3}/run", progress=change)
    assert checkpoints(f"{s3}/run") == {}


def test_an_upload_that_fails_ends_the_run_and_the_last_whole_checkpoint_stays(
    shards: tuple[str, str],
    config: TrainConfig,
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, there = shards
    output, config = f"{s3}/run", replaced(config, checkpoint_every=3)
    put = S3._put

    def failing(self: S3, local: str, path: str) -> None:
        if "/step6/model_and_optim/" in path:
            raise WriteError("cannot be written: no more room", file=path)
        put(self, local, path)

    with monkeypatch.context() as patch:
        patch.setattr(S3, "_put", failing)
        with pytest.raises(WriteError, match=r"step6/model_and_optim/.*: cannot be written: no more room"):
            train(config, tokens=there, output=output)
    assert list(checkpoints(output)) == [3]
    assert train(config, tokens=there, output=output).resumed_from == 3


def test_what_a_killed_upload_left_is_removed(
    shards: tuple[str, str],
    config: TrainConfig,
    s3: str,
) -> None:
    _, there = shards
    output = f"{s3}/run"
    with pytest.raises(Stopped):
        train(config, tokens=there, output=output, progress=stop_after(6))
    streams.write_bytes(f"{output}/step5/model_and_optim/__0_0.distcp", b"half")
    assert list(checkpoints(output)) == [4]
    checkpoint.remove_unfinished(output)
    assert not any("step5" in path for path in streams.list_files(output))
    assert train(config, tokens=there, output=output).resumed_from == 4


def test_events_have_no_place_in_a_bucket(shards: tuple[str, str], config: TrainConfig, s3: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\.train\.tensorboard: events are written to a local disk only"):
        train(replaced(config, tensorboard=True), tokens=shards[1], output=f"{s3}/run")


def test_the_command_trains_from_s3_to_s3(shards: tuple[str, str], s3: str) -> None:
    arguments = ["--model", "olmo2_14m", "--sequence-length", "16", "--batch-size", "2", "--steps", "1"]
    assert run(["train", "--tokens", shards[1], *arguments, "--output", f"{s3}/out", "--threads", "1"]) == 0
    assert [path.rpartition("/")[2] for path in checkpoints(f"{s3}/out").values()] == ["step1"]
