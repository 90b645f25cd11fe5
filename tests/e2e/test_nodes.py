"""`pytest tests/e2e/test_nodes.py`: the scripts of docs/nodes.md on gloo, with a loop in the place of the scheduler."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import yaml

pytest.importorskip("torch", reason="torch is not installed (dolma[train])")

from dolma.training.config import TrainConfig
from dolma.training.metrics import StepRecord, read_metrics
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced, some_ids, write_shards

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "nodes.md"
SECONDS = 400.0
NODES = 2


def script(heading: str) -> str:
    """The bash block below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    (block,) = re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)
    return block


def free_port() -> int:
    """Of those that the Slurm script takes."""
    for port in range(20000 + os.getpid() % 5000, 30000):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail("no port is free")


@pytest.fixture
def config() -> TrainConfig:
    return replaced(CONFIG, steps=6, checkpoint_every=2, batch_size=8, keep_checkpoints=0)


@pytest.fixture
def folder(tmp_path: Path, config: TrainConfig) -> Path:
    """A working folder with the recipe, and programs of a cluster: `srun` runs a command once for each node."""
    write_shards(tmp_path / "tokens", [some_ids(1600, seed=1)])
    recipe = {"output": "out", "train": msgspec.to_builtins(config)}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    programs = {
        "torchrun": f'exec {sys.executable} -m torch.distributed.run --local-addr 127.0.0.1 "$@"',
        "scontrol": "echo 127.0.0.1; echo 127.0.0.2",
        "srun": f'for node in $(seq {NODES}); do "$@" & done; for node in $(seq {NODES}); do wait -n || exit 1; done',
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def start(folder: Path, block: str, **environment: object) -> subprocess.Popen[str]:
    """Run a script of the page on the shards of this folder."""
    settings = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    settings |= {name: str(value) for name, value in environment.items()}
    command = block.replace("recipe.yaml", "recipe.yaml --tokens tokens --output out/train")
    return subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for all of them; none outlives the test."""
    try:
        said = [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            end(process)
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a script and all that it has started, as a scheduler does, and close its pipe."""
    if process.poll() is None:
        for pid in [process.pid, *below(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.communicate()


def below(pid: int) -> list[int]:
    """The processes that a process has started, and theirs; torchrun gives each a session of its own."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def agree(folder: Path, config: TrainConfig) -> None:
    """Hold the log of the run against that of one process."""
    train(config, tokens=str(folder / "tokens"), output=str(folder / "alone"))
    found, expected = (read_metrics(str(folder / name / "metrics.jsonl")) for name in ("out/train", "alone"))
    assert [record.batch for record in found] == [record.batch for record in expected]
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, StepRecord)
        assert a.loss == pytest.approx(b.loss, abs=1e-5)


def test_torchrun(folder: Path, config: TrainConfig) -> None:
    settings = {"FIRST_NODE": "127.0.0.1", "PORT": free_port(), "GPUS": 1}
    finish([start(folder, script("torchrun"), **settings) for _ in range(NODES)])
    agree(folder, config)


def test_slurm_and_again_after_a_kill(folder: Path, config: TrainConfig) -> None:
    job = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": NODES, "SLURM_GPUS_ON_NODE": 2}
    block = script("Slurm")
    first = start(folder, block, SLURM_JOB_ID=free_port() - 20000, **job)
    try:
        while first.poll() is None and not (folder / "out" / "train" / "step2").exists():
            try:
                first.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
    finally:
        end(first)
    finish([start(folder, block, SLURM_JOB_ID=free_port() - 20000, **job)])
    agree(folder, config)
