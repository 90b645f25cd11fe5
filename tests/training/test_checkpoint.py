"""Checkpoints through kills and damage. Run: pytest tests/training/test_checkpoint.py"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from dolma.data import streams
from dolma.data.manifest import read_manifest, write_manifest
from dolma.errors import ConfigError, DataError, OutputExistsError, WriteError
from dolma.runner.lock import RunLock
from dolma.training import TrainConfig, dcp, generate_text
from dolma.training import checkpoint as checkpointing
from dolma.training.config import EvalConfig, ExpertsConfig, SourceConfig, StageConfig
from dolma.training.data.shards import mask_path
from dolma.training.evaluate import evaluate_model
from dolma.training.interop.export import export_checkpoint
from dolma.training.optim import make_optimizer
from dolma.training.parallel import ALONE
from dolma.training.soup import soup
from dolma.training.state import checkpoints, read_state
from dolma.training.trace import stages_of_run
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, TINY, Stopped, log_of, replaced, some_ids, stop_after, weights, write_shards

# For each point of saving, rotating or finishing, a child that kills itself when it comes there the second time.
PROGRAM = """
import os, signal, sys
import msgspec, torch
from dolma.training import TrainConfig, checkpoint, trainer
from dolma.training.trainer import train

def dies_on_call(holder, name, nth, *, finish_it):
    original, calls = getattr(holder, name), []
    def replacement(*args, **options):
        calls.append(name)
        if len(calls) < nth:
            return original(*args, **options)
        if finish_it:
            original(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(holder, name, replacement)

points = {
    "before the weights": lambda: dies_on_call(checkpoint.dcp, "write", 2, finish_it=False),
    "before the manifest": lambda: dies_on_call(checkpoint, "write_manifest", 2, finish_it=False),
    "before the rename": lambda: dies_on_call(checkpoint, "_seal", 2, finish_it=True),
    "while removing the older one": lambda: dies_on_call(checkpoint.shutil, "rmtree", 1, finish_it=False),
    "after the last checkpoint": lambda: dies_on_call(trainer._Run, "_seal", 1, finish_it=False),
}
config, tokens, output = sys.argv[1:]
torch.set_num_threads(1)
for point, arm in points.items():
    child = os.fork()
    if child == 0:
        arm()
        train(msgspec.json.decode(config, type=TrainConfig), tokens=tokens, output=os.path.join(output, point))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, point
"""
POINTS = (
    "before the weights",
    "before the manifest",
    "before the rename",
    "while removing the older one",
    "after the last checkpoint",
)


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".inputs.json")


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A folder with a killed run for each point, a whole one, their tokens, and their settings."""
    folder = tmp_path_factory.mktemp("killed")
    config = replaced(CONFIG, steps=12, keep_checkpoints=1)
    encoded = msgspec.json.encode(config)
    (folder / "config.json").write_bytes(encoded)
    tokens = write_shards(folder / "tokens", [some_ids(1000)])
    train(config, tokens=tokens, output=str(folder / "whole"))
    subprocess.run([sys.executable, "-c", PROGRAM, encoded.decode(), tokens, str(folder)], check=True)
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_while_saving_goes_on_to_the_same_bits(killed, point):
    run, whole = killed / point, killed / "whole"
    config = msgspec.json.decode((killed / "config.json").read_bytes(), type=TrainConfig)
    train(config, tokens=str(killed / "tokens"), output=str(run))
    assert log_of(run) == log_of(whole)
    assert weights(run, 12) == weights(whole, 12)
    assert files_of(run) == files_of(whole)


def test_a_run_that_is_told_to_stop_saves_and_goes_on_to_the_same_bits(tokens, config, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) == 3

    first = train(config, tokens=tokens, output=str(run), stop=stop)
    assert (first.stopped, first.steps, Path(first.checkpoint).name) == (True, 3, "step3")
    assert not (run / "manifest.json").exists()
    second = train(config, tokens=tokens, output=str(run))
    assert (second.stopped, second.steps, second.resumed_from) == (False, 8, 3)
    train(config, tokens=tokens, output=str(whole))
    assert log_of(run) == log_of(whole)
    assert weights(run, 8) == weights(whole, 8)


def test_a_run_whose_gradients_are_not_finite_says_so_and_can_go_on(tokens, config, tmp_path):
    config = replaced(config, learning_rate=1e30, warmup_steps=0, schedule="constant")
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(run), progress=stop_after(6))
    result = train(config, tokens=tokens, output=str(run))
    assert result.resumed_from == 4
    assert (
        "7 of 8 steps were skipped, because loss or gradient were not finite or far above those before (first: step 2)"
        in result.warnings[0]
    )
    assert [record["skipped"] for record in log_of(run)] == [False] + [True] * 7
    assert weights(run, 4) == weights(run, 8)


@pytest.fixture
def interrupted(tokens, config, tmp_path) -> Path:
    """A run stopped at step 6 with a checkpoint of step 4."""
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "run"), progress=stop_after(6))
    return tmp_path / "run"


def test_a_log_that_lacks_steps_is_not_gone_on_with(interrupted, tokens, config):
    log = interrupted / "metrics.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match=r"metrics\.jsonl: does not hold the steps 1 to 4"):
        train(config, tokens=tokens, output=str(interrupted))


def test_overwrite_replaces_a_damaged_run_of_the_same_settings(interrupted, tokens, config, tmp_path):
    (interrupted / "step4" / "model_and_optim" / ".metadata").unlink()
    with pytest.raises(DataError, match=r"\.metadata: is gone or has changed(.|\n)*`--overwrite`"):
        train(config, tokens=tokens, output=str(interrupted))
    assert train(config, tokens=tokens, output=str(interrupted), overwrite=True).resumed_from is None
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    assert weights(interrupted, 8) == weights(tmp_path / "whole", 8)


def test_a_checkpoint_of_another_run_is_not_gone_on_with(interrupted, tokens, config, tmp_path):
    other = tmp_path / "other"
    train(replaced(config, seed=1), tokens=tokens, output=str(other))
    (other / "step8").rename(interrupted / "step8")
    with pytest.raises(DataError, match="step8: is a checkpoint of another run"):
        train(config, tokens=tokens, output=str(interrupted))


def test_two_processes_do_not_train_in_one_folder(tokens, config, tmp_path):
    lock = RunLock([str(tmp_path / "run")])
    assert lock.alone()
    with pytest.raises(ConfigError, match="another run is at work in this folder"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))
    lock.release()


def test_temporary_files_of_a_killed_run_are_removed(interrupted, tokens, config):
    (interrupted / ".metrics.jsonl.123-4.tmp").write_bytes(b"{")
    train(config, tokens=tokens, output=str(interrupted))
    assert not (interrupted / ".metrics.jsonl.123-4.tmp").exists()


def test_only_the_newest_checkpoints_are_kept(tokens, config, tmp_path):
    train(replaced(config, checkpoint_every=2, keep_checkpoints=3), tokens=tokens, output=str(tmp_path / "run"))
    assert sorted(path.name for path in (tmp_path / "run").glob("step*")) == ["step4", "step6", "step8"]


def test_a_text_is_not_made_with_another_tokenizer(tokens, config, tmp_path):
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: is not the tokenizer that .* was trained with"):
        generate_text(result.checkpoint, str(tmp_path / "tokenizer.json"), "The", max_tokens=1)


READERS = {
    "export": lambda folder, out: export_checkpoint(str(folder), str(out)),
    "soup": lambda folder, out: soup([str(folder), str(folder)], str(out)),
    "eval": lambda folder, out: evaluate_model(str(folder), EvalConfig()),
    "generate": lambda folder, out: generate_text(str(folder), "tokenizer.json", "The", max_tokens=1),
}


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("kind", ["empty", "absent", "file", "tokens", "run without checkpoints"])
def test_a_folder_that_is_no_checkpoint_is_said_to_be_none(kind, reader, tokens, config, tmp_path):
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_bytes(b"x")
    elif kind == "tokens":
        folder = Path(tokens)
    elif kind == "run without checkpoints":
        train(config, tokens=tokens, output=str(folder))
        shutil.rmtree(folder / "step4")
        shutil.rmtree(folder / "step8")
    said = r"no such folder|this is no finished checkpoint|is no checkpoint\n  give a `stepN` folder"
    with pytest.raises(DataError, match=said):
        READERS[reader](folder, tmp_path / "out")


def seal(step: Path) -> None:
    """Make the manifest of a checkpoint fit what has been done to its files, as whoever made it would have."""
    manifest = read_manifest(str(step))
    outputs = [
        msgspec.structs.replace(
            out, bytes=(step / out.path).stat().st_size, checksum=streams.checksum(str(step / out.path))
        )
        for out in manifest.outputs
    ]
    write_manifest(str(step), msgspec.structs.replace(manifest, outputs=outputs))


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"step": "x"}'])
def test_a_state_that_is_none_is_named(content, reader, tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    (step / "state.json").write_bytes(content)
    seal(step)
    with pytest.raises(DataError, match=r"step8/state\.json: is not the state of a checkpoint: "):
        READERS[reader](step, tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value"),
    [("eos_id", 10**12), ("eos_id", -1), ("step", 9), ("tokens_seen", -1), ("learning_rate", -1.0), ("processes", 0)],
)
def test_values_that_no_training_has_are_refused(key, value, tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    state = json.loads((step / "state.json").read_bytes())
    (step / "state.json").write_text(json.dumps(state | {key: value}))
    seal(step)
    with pytest.raises(DataError, match=rf"step8/state\.json: is not the state of a checkpoint: `{key}` is "):
        read_state(str(step))


def test_a_link_out_of_the_checkpoint_is_refused(tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    (step / "state.json").rename(tmp_path / "elsewhere.json")
    (step / "state.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DataError, match=r"step8/state\.json: is a link that leads out of its checkpoint"):
        read_state(str(step))


def test_a_model_of_more_layers_than_any_is_not_built(tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    state = json.loads((step / "state.json").read_bytes())
    state["model"] |= {"layers": 10_001}
    (step / "state.json").write_text(json.dumps(state))
    seal(step)
    with pytest.raises(DataError, match=r"is not the state of a checkpoint: `layers` is 10,001, expected"):
        checkpointing.load_model(str(step))


def test_a_model_larger_than_its_files_is_not_built(tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    state = json.loads((step / "state.json").read_bytes())
    state["model"] |= {"d_model": 1 << 20, "layers": 1000}
    (step / "state.json").write_text(json.dumps(state))
    seal(step)
    with pytest.raises(DataError, match="has fewer bytes than its model has parameters, 4,398,"):
        checkpointing.load_model(str(step))


def test_training_leaves_the_random_state_of_torch_alone(tokens, config, tmp_path):
    before = torch.get_rng_state()
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_manifest_accounts_for_the_tokens(tokens, config, tmp_path):
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    stage = json.loads((tmp_path / "run" / "manifest.json").read_bytes())["notes"]["stages"]["train"]
    assert (stage["windows"], stage["steps_per_epoch"]) == (62 + 43, 26)
    assert stage["windows"] * config.sequence_length + stage["tokens_outside_windows"] == 1000 + 700


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_a_configuration_error(tokens, config, tmp_path):
    with pytest.raises(ConfigError, match=r"\$\.train\.device: `device` is cuda, and this torch sees no CUDA device"):
        train(replaced(config, device="cuda"), tokens=tokens, output=str(tmp_path / "run"))


# --- equal runs, equal bytes ------------------------------------------------------------------------------------------


def test_equal_runs_in_different_folders_have_the_same_bytes(config, tmp_path):
    found = []
    for name in ("a", "another/b"):
        tokens = write_shards(tmp_path / name / "tokens", [some_ids(1000)])
        train(config, tokens=tokens, output=str(tmp_path / name / "run"))
        found.append(
            {path: (tmp_path / name / "run" / path).read_bytes() for path in checkpoint_files(tmp_path / name)}
        )
    assert found[0] == found[1]
    assert len(found[0]) == 8
    assert not any(str(tmp_path).encode() in content for content in found[0].values())


def checkpoint_files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder / "run")) for path in sorted(folder.rglob("step*/**/*")) if path.is_file()]


def test_a_run_that_is_moved_with_its_shards_finds_them(config, tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    write_shards(Path("tokens"), [some_ids(1000)])
    train(config, tokens="tokens", output="runs/first")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_state("new/runs/first/step8").tokens == [str(tmp_path / "new" / "tokens")]
    assert stages_of_run("new/runs/first").steps == 8


def test_a_checkpoint_has_no_path_of_a_machine(tokens, config, tmp_path):
    first = train(config, tokens=tokens, output=str(tmp_path / "first")).checkpoint
    sources = {"all": SourceConfig(tokens=[tokens], share=1.0)}
    stages = [StageConfig(name="one", steps=4), StageConfig(name="two", steps=4, sources=sources)]
    settings = replaced(config, steps=None, init_from=first, sources=sources, stages=stages)
    assert os.path.isabs(tokens)
    run = tmp_path / "runs" / "second"
    train(settings, tokens=None, output=str(run))
    for path in (path for step in run.glob("step*") for path in step.rglob("*") if path.is_file()):
        assert str(tmp_path).encode() not in path.read_bytes(), path
    assert json.loads((run / "step4" / "state.json").read_bytes())["parent"] == "../../first/step8"
    assert read_state(str(run / "step8")).config == settings
    moved = tmp_path / "new"
    moved.mkdir()
    for name in ("tokens", "first", "runs"):
        (tmp_path / name).rename(moved / name)
    assert stages_of_run(str(moved / "runs" / "second")).steps == 8


def test_torch_reads_what_is_written(tokens, config, tmp_path):
    step = Path(train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    model, _ = checkpointing.load_model(str(step))
    entries = {name: torch.zeros_like(tensor) for name, tensor in dcp.model_entries(model).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        torch.distributed.checkpoint.load(entries, checkpoint_id=str(step / "model_and_optim"), no_dist=True)
    for name, tensor in dcp.model_entries(model).items():
        assert torch.equal(entries[name], tensor), name


# --- what lies beside the shards --------------------------------------------------------------------------------------


def with_labels(tokens: str) -> Path:
    path = Path(mask_path(f"{tokens}/part-00000.npy"))
    (np.arange(1000) % 3 > 0).tofile(path)
    return path


def with_rows(tokens: str) -> Path:
    described = Path(tokens) / "tokens.json"
    fields = json.loads(described.read_bytes()) | {"special_tokens_allowed": True}  # the ids do not say where they end
    described.write_text(json.dumps(fields))
    path = Path(tokens) / "part-00000.csv.gz"
    with gzip.open(path, "wt") as rows:
        for start in range(0, 1000, 50):
            rows.write(f"{start},{start + 50},id-{start},a.jsonl,{start + 1}\n")
    return path


BESIDE = {
    "labels": (with_labels, {}, "the labels of part-00000.npy were others"),
    "documents, packed": (with_rows, {"windows": "packed"}, "the documents of part-00000.npy were others"),
    "documents, masked": (with_rows, {"document_masking": True}, "the documents of part-00000.npy were others"),
}


@pytest.mark.parametrize("how", ["removed", "changed"])
@pytest.mark.parametrize("finished", [False, True], ids=["stopped", "finished"])
@pytest.mark.parametrize("kind", sorted(BESIDE))
def test_a_run_is_not_gone_on_with_when_what_lies_beside_its_shards_is_another(
    kind, finished, how, tokens, config, tmp_path
):
    write, settings, said = BESIDE[kind]
    path, config, run = write(tokens), replaced(config, **settings), str(tmp_path / "run")
    train(config, tokens=tokens, output=run, stop=lambda: not finished)
    assert train(config, tokens=tokens, output=run, stop=lambda: True).resumed_from == (None if finished else 1)
    if how == "removed":
        path.unlink()
    elif kind == "labels":
        (np.arange(1000) % 2 > 0).tofile(path)
    else:
        path.write_bytes(gzip.compress(b"0,500,a,a.jsonl,1\n500,1000,b,a.jsonl,2\n"))
    with pytest.raises(OutputExistsError, match=f"holds another run: {said}"):
        train(config, tokens=tokens, output=run)


def test_rows_that_say_what_the_tokens_say_may_go(tokens, config, tmp_path):
    config = replaced(config, windows="packed")
    train(config, tokens=tokens, output=str(tmp_path / "run"), stop=lambda: True)
    ids = np.fromfile(f"{tokens}/part-00000.npy", dtype="<u2")
    borders = [0, *(np.flatnonzero(ids == 0) + 1).tolist()]
    rows = "".join(f"{a},{b},x,a.jsonl,1\n" for a, b in itertools.pairwise(borders))
    (Path(tokens) / "part-00000.csv.gz").write_bytes(gzip.compress(rows.encode()))
    assert train(config, tokens=tokens, output=str(tmp_path / "run")).resumed_from == 1


def test_a_disk_that_is_full_names_the_checkpoint_and_the_rerun_goes_on(config, tokens, tmp_path):
    run = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(WriteError, match=r"step4\.tmp/model_and_optim: cannot be written: .*\n  make room"):
            train(config, tokens=tokens, output=str(run))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (run / "step4").exists()
    train(config, tokens=tokens, output=str(run))
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    assert weights(run, 8) == weights(tmp_path / "whole", 8)


PLACES = {  # of a checkpoint: what writes it, and its largest file
    "weights": (dcp, "write", "model_and_optim/__0_0.distcp"),
    "metadata": (dcp._Writer, "finish", "model_and_optim/.metadata"),
    "state": (checkpointing, "_write_state", "state.json"),
    "manifest": (checkpointing, "write_manifest", "manifest.json"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_is_full_at_any_byte_is_an_error_and_leaves_the_last_checkpoint(
    place: str, config: TrainConfig, tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(config, tokens=tokens, output=str(run), stop=lambda: True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    state = msgspec.structs.replace(read_state(str(run / "step1")), step=2)
    model, _ = checkpointing.load_model(str(run / "step1"))
    entries = checkpointing.entries_of(model, make_optimizer(model, config))
    owner, name, largest = PLACES[place]
    writes, room = getattr(owner, name), [0]

    def on_a_full_disk(*args: Any, **options: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room[0], hard))
        try:
            return writes(*args, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(owner, name, on_a_full_disk)
    size = (run / "step1" / largest).stat().st_size
    for room[0] in (0, 1, *range(7, size, -(-size // 5)), size - 150):
        with pytest.raises(WriteError, match=r"step2\.tmp/\S+: cannot be written: File too large\n  make room"):
            checkpointing.write(str(run), entries, state, ALONE)
        assert list(checkpoints(str(run))) == [1]
        checkpointing.remove_unfinished(str(run))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


# --- what may change where a run is gone on with ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "noted"),
    [
        ({"micro_batch_size": 2}, {"micro_batch_size": "None -> 2"}),
        (
            {"activation_checkpointing": True, "threads": 2},
            {"activation_checkpointing": "False -> True", "threads": "1 -> 2"},
        ),
        ({"hsdp_replicas": 1}, {"hsdp_replicas": "None -> 1"}),
    ],
)
def test_how_a_run_is_computed_may_change_and_is_noted(changed, noted, tokens, config, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(config, tokens=tokens, output=str(run), stop=lambda: True)
    assert train(replaced(config, **changed), tokens=tokens, output=str(run)).resumed_from == 1
    train(config, tokens=tokens, output=str(whole))
    records = log_of(run)
    assert [record.pop("changed") for record in records] == [{}, noted, *[{}] * 6]
    for found, expected in zip(records, log_of(whole), strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-6)
        assert found["batch"] == expected["batch"]


@pytest.mark.parametrize("damage", [lambda lines: "{" + lines, lambda lines: lines[:-9]], ids=["first", "last"])
def test_damaged_evaluations_are_named_and_none_is_lost(damage, tokens, config, tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "tokens" / "tokenizer.json").write_bytes(
        b'{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
    )
    config = replaced(config, evaluate=EvalConfig(every=1, sources={"held": tokens}))
    train(config, tokens=tokens, output=str(folder), stop=lambda: True)
    evaluations = folder / "evaluations.jsonl"
    evaluations.write_text(damage(evaluations.read_text()))
    before = evaluations.read_bytes()
    with pytest.raises(DataError, match=r"evaluations\.jsonl:\d: is no evaluation"):
        train(config, tokens=tokens, output=str(folder))
    assert evaluations.read_bytes() == before


@pytest.mark.parametrize("balance", [0.5, 0.0])
def test_another_size_of_passes_is_noted_as_another_loss_where_experts_are_balanced(balance, tokens, config, tmp_path):
    experts = ExpertsConfig(count=4, active=2, load_balance_loss=balance, router_z_loss=0.5)
    config = replaced(config, model=msgspec.structs.replace(TINY, experts=experts))
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(config, tokens=tokens, output=str(run), stop=lambda: True)
    train(replaced(config, micro_batch_size=1), tokens=tokens, output=str(run))
    train(config, tokens=tokens, output=str(whole))
    found, expected = log_of(run)[1], log_of(whole)[1]
    said = " (changes the loss: experts are balanced within each pass)" if balance else ""
    assert found["changed"] == {"micro_batch_size": "None -> 1" + said}
    assert (found["router_loss"] != pytest.approx(expected["router_loss"], abs=1e-6)) == bool(said)


def test_a_setting_of_a_stage_may_change_and_is_noted(tokens, config, tmp_path):
    run = str(tmp_path / "run")
    stages = [StageConfig(name="only", micro_batch_size=4)]
    train(replaced(config, stages=stages), tokens=tokens, output=run, stop=lambda: True)
    stages = [StageConfig(name="only", micro_batch_size=2)]
    train(replaced(config, stages=stages), tokens=tokens, output=run)
    assert log_of(tmp_path / "run")[1]["changed"] == {"micro_batch_size": "4 -> 2"}


def test_the_dtype_may_change_where_that_is_asked_for_and_is_noted(tokens, config, tmp_path):
    run = str(tmp_path / "run")
    train(config, tokens=tokens, output=run, stop=lambda: True)
    other = replaced(config, dtype="bfloat16")
    with pytest.raises(
        OutputExistsError, match=r"`dtype` was 'float32', now 'bfloat16'(.|\n)*allow_dtype_change: true"
    ):
        train(other, tokens=tokens, output=run)
    allowed = replaced(other, allow_dtype_change=True)
    assert train(allowed, tokens=tokens, output=run, stop=lambda: True).resumed_from == 1
    assert train(other, tokens=tokens, output=run).resumed_from == 2  # it is a run of the new one now
    noted = [record["changed"] for record in log_of(tmp_path / "run")]
    assert noted == [{}, {"dtype": "float32 -> bfloat16"}, *[{}] * 6]


def test_the_dtype_of_a_finished_run_does_not_change(tokens, config, tmp_path):
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    with pytest.raises(OutputExistsError, match="`dtype` was 'float32', now 'bfloat16': all steps are done"):
        train(replaced(config, dtype="bfloat16", allow_dtype_change=True), tokens=tokens, output=str(tmp_path / "run"))


def test_how_a_stage_is_computed_may_change(tokens, config, tmp_path):
    stages = [StageConfig(name="a", steps=2), StageConfig(name="b", steps=2)]
    train(replaced(config, steps=None, stages=stages), tokens=tokens, output=str(tmp_path / "run"), stop=lambda: True)
    stages[1] = msgspec.structs.replace(stages[1], micro_batch_size=1)
    found = train(replaced(config, steps=None, stages=stages), tokens=tokens, output=str(tmp_path / "run"))
    assert found.resumed_from == 1


@pytest.mark.parametrize(
    "settings",
    [{"schedule": "constant"}, {"schedule": "wsd", "horizon_steps": 100}, {"horizon_steps": 16}],
    ids=["constant", "wsd", "horizon"],
)
def test_a_run_may_be_made_longer_where_its_rates_stay(settings, tokens, config, tmp_path):
    config = replaced(config, **settings)
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    longer = replaced(config, steps=12)
    result = train(longer, tokens=tokens, output=str(tmp_path / "run"))
    assert (result.resumed_from, result.steps) == (8, 12)
    assert train(longer, tokens=tokens, output=str(tmp_path / "run")).already_complete
    train(longer, tokens=tokens, output=str(tmp_path / "whole"))
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    assert weights(tmp_path / "run", 12) == weights(tmp_path / "whole", 12)


def test_a_run_may_be_made_longer_and_shorter_before_its_decay(tokens, config, tmp_path):
    config = replaced(config, schedule="wsd", steps=20, decay_fraction=0.2)
    seen = []
    train(config, tokens=tokens, output=str(tmp_path / "run"), stop=lambda: seen.append(1) or len(seen) == 5)
    for steps in (40, 8):
        again = replaced(config, steps=steps)
        assert train(again, tokens=tokens, output=str(tmp_path / "run"), stop=lambda: True).resumed_from in (5, 6)
    train(replaced(config, steps=8), tokens=tokens, output=str(tmp_path / "run"))
    train(replaced(config, steps=8), tokens=tokens, output=str(tmp_path / "whole"))
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "steps", "said"),
    [
        ({}, 12, r"`steps` was 8, now 12: the rate of step 3 was .* and would be .*\n  lengths may change where"),
        ({"schedule": "constant"}, 2, "`steps` was 8, now 2: 4 steps are done, more than the 2 that are asked for"),
    ],
)
def test_a_run_is_not_made_longer_where_its_rates_would_be_others(settings, steps, said, tokens, config, tmp_path):
    config = replaced(config, **settings)
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "run"), progress=stop_after(6))
    with pytest.raises(OutputExistsError, match=said):
        train(replaced(config, steps=steps), tokens=tokens, output=str(tmp_path / "run"))


def test_a_run_of_a_mixture_is_not_made_longer(tokens, config, tmp_path):
    config = replaced(config, schedule="constant", sources={"a": SourceConfig(tokens=tokens, share=1.0)})
    train(config, output=str(tmp_path / "run"))
    with pytest.raises(OutputExistsError, match="the mixture of stage 'train' takes other windows for another length"):
        train(replaced(config, steps=12), output=str(tmp_path / "run"))


# --- outputs of export and soup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write", [lambda output: soup(["a", "b"], output), lambda output: export_checkpoint("a", output)]
)
def test_what_is_no_new_folder_is_refused_before_anything_is_read(write, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="file is a file, expected an output folder"):
        write(str(tmp_path / "file"))
    with pytest.raises(OutputExistsError, match="is not empty\n  give another output folder"):
        write(str(tmp_path))
    with pytest.raises(OutputExistsError, match="checkpoints are written to a local disk only"):
        write("s3://bucket/a")
    with pytest.raises(ConfigError, match="an output has an empty path"):
        write("")
