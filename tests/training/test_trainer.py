"""Whole small runs: resume to the bit, refusals, damage. Run: pytest tests/training/test_trainer.py"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from dolma import training
from dolma.config import Recipe
from dolma.errors import ConfigError, DataError, DolmaError, MissingExtraError, OutputExistsError
from dolma.runner.report import StageReport
from dolma.training import generate_text
from dolma.training.checkpoint import load_model
from dolma.training.config import EvalConfig, TrainConfig
from dolma.training.data.shards import mask_path
from dolma.training.generate import generate
from dolma.training.metrics import read_metrics
from dolma.training.trainer import train
from dolma.verification import verify
from tests.training.conftest import (
    TINY,
    VOCABULARY,
    Stopped,
    log_of,
    replaced,
    some_ids,
    stop_after,
    weights,
    write_shards,
)


def test_a_run_leaves_checkpoints_and_a_line_per_step(tokens, config, tmp_path):
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert [record["step"] for record in log_of(tmp_path / "run")] == list(range(1, 9))
    assert sorted(p.name for p in (tmp_path / "run").glob("step*")) == ["step4", "step8"]
    assert (result.steps, result.tokens, result.already_complete) == (8, 8 * 4 * 16, False)


@pytest.mark.parametrize(("at", "dtype"), [(3, "float32"), (4, "float32"), (6, "float32"), (6, "bfloat16")])
def test_a_stopped_run_goes_on_to_the_same_bits(tokens, config, tmp_path, at, dtype):
    config = replaced(config, dtype=dtype)
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "cut"), progress=stop_after(at))
    result = train(config, tokens=tokens, output=str(tmp_path / "cut"))
    assert result.resumed_from == (4 if at > 4 else None)
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert weights(tmp_path / "cut", 8) == weights(tmp_path / "whole", 8)


@pytest.mark.e2e
def test_a_killed_run_goes_on_to_the_same_bits(tokens, config, tmp_path):
    config = replaced(config, steps=60, checkpoint_every=7)
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    program = tmp_path / "program.py"
    encoded = msgspec.json.encode(config).decode()
    program.write_text(
        "import sys, msgspec\n"
        "from dolma.training import TrainConfig, train\n"
        f"config = msgspec.json.decode({encoded!r}, type=TrainConfig)\n"
        "train(config, tokens=sys.argv[1], output=sys.argv[2])\n"
    )
    run = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(program), tokens, str(run)])
    for _ in range(600):
        if (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_bytes().count(b"\n") >= 20:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(read_metrics(str(run / "metrics.jsonl"))) < 60
    train(config, tokens=tokens, output=str(run))
    assert log_of(run) == log_of(tmp_path / "whole")
    assert weights(run, 60) == weights(tmp_path / "whole", 60)


def test_a_half_written_checkpoint_is_ignored_and_removed(tokens, config, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(run), progress=stop_after(6))
    shutil.copytree(run / "step4", run / "step6.tmp")
    (run / "step6.tmp" / "manifest.json").unlink()
    assert train(config, tokens=tokens, output=str(run)).resumed_from == 4
    assert not (run / "step6.tmp").exists()


def test_saving_changes_nothing(tokens, config, tmp_path):
    train(replaced(config, checkpoint_every=1, keep_checkpoints=0), tokens=tokens, output=str(tmp_path / "often"))
    train(replaced(config, checkpoint_every=100), tokens=tokens, output=str(tmp_path / "once"))
    assert log_of(tmp_path / "often") == log_of(tmp_path / "once")
    assert weights(tmp_path / "often", 8) == weights(tmp_path / "once", 8)


def test_micro_batches_give_the_loss_of_the_whole_batch(tokens, config, tmp_path):
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    train(replaced(config, micro_batch_size=1), tokens=tokens, output=str(tmp_path / "parts"))
    for whole, parts in zip(log_of(tmp_path / "whole"), log_of(tmp_path / "parts"), strict=True):
        assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-5)
        assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-4)


def test_a_finished_run_is_not_run_again(tokens, config, tmp_path):
    run = tmp_path / "run"
    train(config, tokens=tokens, output=str(run))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("[!.]*")}
    assert train(config, tokens=tokens, output=str(run)).already_complete
    assert {path: path.stat().st_mtime_ns for path in run.rglob("[!.]*")} == before


def test_other_settings_in_the_same_folder_are_refused_and_overwrite_starts_afresh(tokens, config, tmp_path):
    run = str(tmp_path / "run")
    train(config, tokens=tokens, output=run)
    other = replaced(config, learning_rate=0.5)
    with pytest.raises(OutputExistsError, match=r"`learning_rate` was 0.01, now 0.5(.|\n)*--overwrite"):
        train(other, tokens=tokens, output=run)
    assert not train(other, tokens=tokens, output=run, overwrite=True).already_complete


def test_other_shards_in_the_same_folder_are_refused(tokens, config, tmp_path):
    run = str(tmp_path / "run")
    train(config, tokens=tokens, output=run)
    others = write_shards(tmp_path / "others", [some_ids(1000, seed=9)])
    with pytest.raises(OutputExistsError, match="its token shards were others"):
        train(config, tokens=others, output=run)


def test_files_of_strangers_are_not_touched(tokens, config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"thesis\.tex"):
        train(config, tokens=tokens, output=str(tmp_path / "run"), overwrite=True)


def test_a_flipped_byte_in_a_checkpoint_stops_the_run(tokens, config, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(run), progress=stop_after(6))
    damaged = run / "step4" / "model_and_optim" / "__0_0.distcp"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"step4/model_and_optim/__0_0.distcp: is gone or has changed"):
        train(config, tokens=tokens, output=str(run))


def test_a_model_learns_what_it_sees_again_and_again(tmp_path):
    tokens = write_shards(tmp_path / "tokens", [some_ids(8 * 32)])
    config = TrainConfig(
        model=TINY, sequence_length=32, batch_size=8, steps=150, learning_rate=2e-2, warmup_steps=5, threads=1
    )
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert result.first_loss > 3.5
    assert result.last_loss < 0.5


def test_a_numpy_header_is_told_apart_from_tokens(tokens, config, tmp_path):
    np.save(os.path.join(tokens, "part-00000.npy"), some_ids(1000).astype("<u2"))
    with pytest.raises(DataError, match=r"part-00000.npy: begins with a NumPy header"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))


def test_an_id_outside_the_vocabulary_is_named_with_its_place(config, tmp_path):
    ids = some_ids(1000)
    ids[77] = VOCABULARY
    tokens = write_shards(tmp_path / "tokens", [ids])
    with pytest.raises(DataError, match=r"part-00000.npy: id 64 at position 77 is outside the vocabulary of 64"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))


def test_a_changed_shard_stops_the_run(tokens, config, tmp_path):
    some_ids(1000, seed=5).astype("<u2").tofile(os.path.join(tokens, "part-00000.npy"))
    with pytest.raises(DataError, match=r"is not the file that tokens\.json describes"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))


def test_a_shard_without_a_last_end_of_text_is_used_whole_with_a_warning(config, tmp_path):
    ids = some_ids(1024)
    ids[-1] = 5
    tokens = write_shards(tmp_path / "tokens", [ids])
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert "does not end with the end-of-text token" in result.warnings[0]


def test_an_unknown_model_is_an_error_before_anything_is_read(config, tmp_path):
    with pytest.raises(ConfigError, match=r"no model 'olmo2_1c'; did you mean 'olmo2_1b'\?"):
        train(replaced(config, model="olmo2_1c"), tokens=str(tmp_path), output=str(tmp_path / "run"))


def test_generation_is_a_function_of_its_seed(tokens, config, tmp_path):
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    model, _ = load_model(result.checkpoint)

    def sampled(seed: int, temperature: float = 1.0, eos_id: int | None = None) -> list[int]:
        (found,) = generate(model, [[5]], max_tokens=12, eos_id=eos_id, temperature=temperature, seeds=[seed])
        return found

    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)
    assert sampled(0, 0) == sampled(1, 0)
    assert sampled(0, 0, sampled(0, 0)[0]) == []


def test_a_prompt_is_continued_as_text(tmp_path, config):
    sample = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
    tokens = write_shards(tmp_path / "tokens", [some_ids(1000)], vocabulary=4096, tokenizer=sample.read_bytes())
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert generate_text(result.checkpoint, str(sample), "The", max_tokens=4, seed=0).startswith("The")


@pytest.mark.e2e
def test_importing_the_stage_does_not_import_torch():
    code = "import sys, dolma.training, dolma.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_stage_gives_the_report_of_all_stages(tokens, config, tmp_path):
    report = training.train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert isinstance(report, StageReport)
    assert (report.stage, report.folder, report.details.steps) == ("train", str(tmp_path / "run"), config.steps)


def test_without_torch_the_error_says_what_to_install(tokens, config, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dolma train needs the package 'torch'(.|\n)*dolma\[train\]"):
        training.train(config, tokens=tokens, output=str(tmp_path / "run"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu(tokens, config, tmp_path):
    train(replaced(config, device="cuda"), tokens=tokens, output=str(tmp_path / "gpu"))
    train(config, tokens=tokens, output=str(tmp_path / "cpu"))
    on_gpu, on_cpu = ([record["loss"] for record in log_of(tmp_path / name)] for name in ("gpu", "cpu"))
    assert on_gpu == pytest.approx(on_cpu, abs=1e-3)


def test_a_disk_without_room_for_a_checkpoint_stops_the_run_before_it_begins(tokens, config, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("dolma.training.checkpoint.shutil.disk_usage", lambda path: full)
    with pytest.raises(DolmaError, match=r"a checkpoint needs .* GB, and .* has 0\.0 GB left"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def masked(tokens: str, *parts: slice) -> str:
    """The shards with the labels of some of their tokens masked."""
    for number, ids in enumerate(sorted(Path(tokens).glob("part-*.npy"))):
        learnt = np.ones(ids.stat().st_size // 2, dtype=bool)
        for part in parts if number == 0 else ():
            learnt[part] = False
        learnt.tofile(mask_path(str(ids)))
    return tokens


def test_a_batch_without_a_label_is_skipped_and_counted(config, tmp_path):
    tokens = masked(write_shards(tmp_path / "tokens", [some_ids(1000)]), slice(16, 900))
    config = replaced(config, batch_size=1, steps=60)
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    log = log_of(tmp_path / "run")
    empty = [record["step"] for record in log if record["labels"] == 0]
    assert len(log) == 60
    assert 50 <= len(empty) < 60
    assert [record["step"] for record in log if record["skipped"]] == empty
    assert all(math.isnan(record["loss"]) == (record["step"] in empty) for record in log)
    assert (
        f"{len(empty)} of 60 steps were skipped, because all labels of their batches are masked" in result.warnings[0]
    )


def test_a_step_without_a_label_changes_nothing(config, tmp_path):
    tokens = masked(write_shards(tmp_path / "tokens", [some_ids(1000)]), slice(16, None))
    config = replaced(config, batch_size=1, steps=3, checkpoint_every=1, keep_checkpoints=0)
    with pytest.raises(DolmaError, match="nothing was learnt in 3 steps in a row"):
        train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert all(record["labels"] == 0 for record in log_of(tmp_path / "run"))
    assert weights(tmp_path / "run", 1) == weights(tmp_path / "run", 2)


def test_a_run_that_learns_nothing_ends_with_an_error(config, tmp_path):
    tokens = write_shards(tmp_path / "tokens", [some_ids(1000)])
    np.zeros(1000, dtype=bool).tofile(tmp_path / "tokens" / "labels_mask_part-00000.npy")
    message = r"nothing was learnt in 5 steps in a row, the last of them step 5: 5 of 5 .* all labels of their batch"
    with pytest.raises(DolmaError, match=message):
        train(replaced(config, max_skipped_steps=5), tokens=tokens, output=str(tmp_path / "run"))
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_run_that_is_not_finite_for_ever_ends_with_an_error_and_goes_on_when_more_may_be_skipped(
    tokens, config, tmp_path
):
    config = replaced(config, learning_rate=1e30, warmup_steps=0, schedule="constant")
    message = "nothing was learnt in 4 steps in a row, the last of them step 5: .* not finite"
    for _ in range(2):
        with pytest.raises(DolmaError, match=message):
            train(replaced(config, max_skipped_steps=4), tokens=tokens, output=str(tmp_path / "run"))
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    assert (result.resumed_from, result.steps) == (4, 8)


def test_a_run_longer_than_an_epoch_goes_on_in_another_order(tokens, config, tmp_path):
    train(replaced(config, steps=None, epochs=2.0), tokens=tokens, output=str(tmp_path / "run"))
    batches = [record["batch"] for record in log_of(tmp_path / "run")]
    assert len(batches) == 2 * 26
    assert set(batches[:26]).isdisjoint(batches[26:])


def test_a_shard_that_changes_while_training_ends_the_run_without_a_checkpoint(config, tokens, tmp_path):
    shard = Path(tokens) / "part-00000.npy"
    before = shard.read_bytes()

    def change(record, steps):
        if record.step == 2:
            shard.write_bytes(before[200:] + before[:200])

    with pytest.raises(DataError, match="changed while it was being read") as caught:
        train(config, tokens=tokens, output=str(tmp_path / "run"), progress=change)
    assert caught.value.file == str(shard)
    assert list((tmp_path / "run").glob("step*")) == []
    shard.write_bytes(before)
    assert train(config, tokens=tokens, output=str(tmp_path / "run")).steps == config.steps


def test_a_checkpoint_that_is_gone_or_whose_manifest_was_edited_is_found_by_verify(config, tokens, tmp_path):
    run = tmp_path / "run"
    train(config, tokens=tokens, output=str(run))
    assert verify([str(run)], Recipe()).problems == []
    manifest = run / "step8" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"step": 8', '"step": 7'))
    (problem,) = verify([str(run)], Recipe()).problems
    assert problem.startswith(f"{manifest}: is not as a stage of this version of dolma wrote it")
    shutil.rmtree(run / "step8")
    assert verify([str(run)], Recipe()).problems == [f"{run}/step8: gone"]


def test_a_run_that_was_refused_before_its_first_step_leaves_its_folder_to_other_settings(tokens, config, tmp_path):
    items = tmp_path / "items.jsonl"
    items.write_text("no items")
    refused = replaced(config, evaluate=EvalConfig(tasks={"some": str(items)}))
    run = str(tmp_path / "run")
    with pytest.raises(DataError, match=r"items\.jsonl"):
        train(refused, tokens=tokens, output=run)
    assert train(replaced(config, batch_size=2, evaluate=None), tokens=tokens, output=run).steps == config.steps
    with pytest.raises(OutputExistsError, match="holds another run: `batch_size` was 2, now 4"):
        train(config, tokens=tokens, output=run)


def test_steps_that_were_skipped_at_the_end_are_told(tokens, config, tmp_path):
    result = train(
        replaced(config, steps=4, learning_rate=1e30, warmup_steps=0), tokens=tokens, output=str(tmp_path / "run")
    )
    (warning,) = result.warnings
    assert "of 4 steps were skipped" in warning
    assert "of them the last" in warning
