"""Checkpoints that are written while steps go on. Run: pytest tests/training/test_saving.py"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.data import streams
from dolma.errors import WriteError
from dolma.training import checkpoint
from dolma.training.config import TrainConfig
from dolma.training.trainer import train
from tests.training.conftest import log_of, replaced, weights

MINUTE = 60.0


@pytest.fixture
def behind(config: TrainConfig) -> TrainConfig:
    return replaced(config, asynchronous_checkpoints=True, checkpoint_every=2, keep_checkpoints=0)


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a run, without what time decides and without the setting itself."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("metrics.jsonl", "loss.html", ".inputs.json", "manifest.json"):
            setting = b'"asynchronous_checkpoints": true'
            found[str(path.relative_to(folder))] = path.read_bytes().replace(
                setting, setting.replace(b"true", b"false")
            )
    return found


def test_checkpoints_in_the_background_are_the_same_bytes(tokens: str, behind: TrainConfig, tmp_path: Path) -> None:
    train(behind, tokens=tokens, output=str(tmp_path / "behind"))
    train(replaced(behind, asynchronous_checkpoints=False), tokens=tokens, output=str(tmp_path / "before"))
    assert log_of(tmp_path / "behind") == log_of(tmp_path / "before")
    assert tree(tmp_path / "behind") == tree(tmp_path / "before")


def test_steps_go_on_while_a_checkpoint_is_written(
    tokens: str, behind: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(behind, tokens=tokens, output=str(tmp_path / "whole"))
    ahead, write = threading.Event(), checkpoint.write

    def late(output: str, entries: Any, state: Any, processes: Any) -> str:
        assert ahead.wait(MINUTE) or state.step != 2
        return write(output, entries, state, processes)

    monkeypatch.setattr(checkpoint, "write", late)
    train(
        behind,
        tokens=tokens,
        output=str(tmp_path / "run"),
        progress=lambda record, _: ahead.set() if record.step == 3 else None,
    )
    assert weights(tmp_path / "run", 2) == weights(tmp_path / "whole", 2)


def test_a_checkpoint_that_cannot_be_written_stops_the_run_and_the_last_whole_one_stays(
    tokens: str, behind: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = tmp_path / "run", []
    with monkeypatch.context() as patch:

        def full(folder: str, entries: Any, *, group: Any) -> None:
            if "step4" in folder:
                with streams.writing(folder):
                    raise OSError(errno.ENOSPC, "No space left on device")
            write(folder, entries, group=group)

        write = checkpoint.dcp.write
        patch.setattr(checkpoint.dcp, "write", full)
        with pytest.raises(WriteError, match=r"step4\.tmp/model_and_optim: cannot be written: No space left"):
            train(behind, tokens=tokens, output=str(run), progress=lambda record, _: steps.append(record.step))
    assert max(steps) < 8
    assert [path.name for path in run.glob("step*") if not path.name.endswith(".tmp")] == ["step2"]
    assert train(behind, tokens=tokens, output=str(run)).resumed_from == 2
    train(behind, tokens=tokens, output=str(tmp_path / "whole"))
    assert weights(run, 8) == weights(tmp_path / "whole", 8)


KILLED = """
import os, signal, sys, threading, msgspec
from dolma.training import TrainConfig
from dolma.training import checkpoint
from dolma.training.trainer import train
config = msgspec.json.decode(sys.argv[1], type=TrainConfig)
writing = threading.Event()
write_state = checkpoint._write_state
def slow(folder, state, output):
    if state.step == 4:
        writing.set()
        threading.Event().wait(60)
    write_state(folder, state, output)
checkpoint._write_state = slow
def progress(record, steps):
    if record.step == 5 and writing.wait(60):
        os.kill(os.getpid(), signal.SIGKILL)
train(config, tokens=sys.argv[2], output=sys.argv[3], progress=progress)
"""


def test_a_run_that_is_killed_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    tokens: str, behind: TrainConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    encoded = msgspec.json.encode(behind).decode()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, encoded, tokens, str(run)], env=os.environ, timeout=240, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in run.glob("step*")) == ["step2", "step4.tmp"]
    assert train(behind, tokens=tokens, output=str(run)).resumed_from == 2
    train(behind, tokens=tokens, output=str(tmp_path / "whole"))
    assert tree(run) == tree(tmp_path / "whole")
