"""A small corpus of token shards, and models that train in a second."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")


from dolma.data import streams  # noqa: E402
from dolma.data.tokens import TokenManifest, TokenShardInfo, read_token_manifest, write_token_manifest  # noqa: E402
from dolma.training import dcp  # noqa: E402
from dolma.training.config import ModelConfig, TrainConfig  # noqa: E402
from dolma.training.metrics import TIMINGS, read_metrics  # noqa: E402
from tests.data.storage.conftest import s3, s3_server  # noqa: E402, F401 - fixtures

VOCABULARY = 64
TINY = ModelConfig(d_model=16, layers=2, heads=2, mlp_hidden=32)
CONFIG = TrainConfig(
    model=TINY,
    sequence_length=16,
    batch_size=4,
    steps=8,
    learning_rate=1e-2,
    warmup_steps=2,
    checkpoint_every=4,
    threads=1,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_shards(
    folder: Path, arrays: list[np.ndarray], *, vocabulary: int = VOCABULARY, eos: int = 0, tokenizer: bytes = b""
) -> str:
    """Token shards with these ids, without document rows: training reads none."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for i, ids in enumerate(arrays):
        path = folder / f"part-{i:05d}.npy"
        ids.astype("<u2").tofile(path)
        shards.append(
            TokenShardInfo(
                path=path.name,
                tokens=len(ids),
                documents=int((ids == eos).sum()),
                bytes=path.stat().st_size,
                xxh3=streams.checksum(str(path)),
            )
        )
    manifest = TokenManifest(
        format_version=1,
        tokenizer="tokenizer.json",
        tokenizer_sha256=hashlib.sha256(tokenizer).hexdigest(),
        dtype="uint16",
        vocab_size=vocabulary,
        eos_id=eos,
        bos_id=None,
        pad_id=None,
        seed=0,
        shards=shards,
    )
    write_token_manifest(str(folder), manifest)
    return str(folder)


def some_ids(n: int, *, seed: int = 0) -> np.ndarray:
    """Ids of documents of about 20 tokens, each ended by 0."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(1, VOCABULARY, n)
    ids[::20] = 0
    ids[-1] = 0
    return ids


def log_of(folder: Path) -> list[dict]:
    """The step log without what time decides."""
    records = read_metrics(str(folder / "metrics.jsonl"))
    return [{k: v for k, v in msgspec.to_builtins(r).items() if k not in TIMINGS} for r in records]


def weights(folder: Path, step: int) -> dict[str, bytes]:
    """The weights and moments of a checkpoint, byte for byte."""
    stored = str(folder / f"step{step}" / "model_and_optim")
    metadata = dcp.read_metadata(stored)
    entries = {key: torch.zeros(kept.shape) for key, kept in metadata.items() if isinstance(kept, dcp.StoredTensor)}
    dcp.read_into(stored, entries)
    return {key: value.numpy().tobytes() for key, value in entries.items()}


def replaced(config: TrainConfig, **settings) -> TrainConfig:
    return msgspec.structs.replace(config, **settings)


class Stopped(Exception):
    """Raised by `stop_after` out of a run."""


def stop_after(step: int):
    """A `progress` that breaks off the run after this step."""

    def watch(record, steps):
        if record.step == step:
            raise Stopped

    return watch


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    return write_shards(tmp_path / "tokens", [some_ids(1000, seed=1), some_ids(700, seed=2)])


@pytest.fixture
def config() -> TrainConfig:
    return CONFIG


def by_source(folder: Path, *sources: str | None) -> str:
    """Token shards, one of each of these sources, of 20, 40, … tokens."""
    tokens = write_shards(folder, [some_ids(20 * (i + 1), seed=i) for i in range(len(sources))])
    described = read_token_manifest(tokens)
    shards = [
        msgspec.structs.replace(shard, source=source) for shard, source in zip(described.shards, sources, strict=True)
    ]
    write_token_manifest(tokens, msgspec.structs.replace(described, shards=shards))
    return tokens
