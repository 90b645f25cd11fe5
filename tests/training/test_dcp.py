"""Distributed checkpoints are read without trusting them. Run: pytest tests/training/test_dcp.py"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata

from dolma.errors import DataError, WriteError
from dolma.training import checkpoint, dcp
from dolma.training.config import EvalConfig
from dolma.training.evaluate import evaluate_model
from dolma.training.interop.export import export_checkpoint
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer
from dolma.training.optim import make_optimizer
from dolma.training.parallel import Processes
from dolma.training.soup import soup
from dolma.training.stages import resolve_stages
from dolma.training.state import CheckpointState
from dolma.training.steps import Training
from dolma.training.torch_file import Part, read_value
from dolma.training.trainer import train
from tests.training import hostile
from tests.training.conftest import CONFIG, TINY, VOCABULARY, replaced


@pytest.fixture
def model() -> Transformer:
    found = Transformer(TINY, vocab_size=VOCABULARY)
    initialise(found, seed=0)
    return found


# --- what would run code ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", sorted(hostile.pickles("")))
def test_metadata_that_would_run_code_is_refused(way: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / ".metadata").write_bytes(hostile.pickles(str(marker))[way])
    with hostile.extension(), pytest.raises(DataError, match=r"\.metadata: is no metadata of a checkpoint: "):
        dcp.read_metadata(str(tmp_path))
    assert not marker.exists()


READERS = {
    "export": lambda run, out, tokens: export_checkpoint(str(run), str(out)),
    "soup": lambda run, out, tokens: soup([str(run), str(run)], str(out)),
    "eval": lambda run, out, tokens: evaluate_model(str(run), EvalConfig()),
    "init_from": lambda run, out, tokens: train(
        replaced(CONFIG, init_from=str(run / "step8")), tokens=tokens, output=str(out)
    ),
    "init_optimizer": lambda run, out, tokens: train(
        replaced(CONFIG, init_from=str(run / "step8"), init_optimizer=True), tokens=tokens, output=str(out)
    ),
}


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("way", ["dotted", "os.system, protocol 4"])
def test_no_command_runs_what_a_sealed_checkpoint_says(way: str, reader: str, tokens: str, tmp_path: Path) -> None:
    run, marker = tmp_path / "run", tmp_path / "marker"
    step = Path(train(CONFIG, tokens=tokens, output=str(run)).checkpoint)
    (step / "model_and_optim" / ".metadata").write_bytes(hostile.pickles(str(marker))[way])
    sealed_again(step)
    with pytest.raises(DataError, match=r"\.metadata: is no metadata of a checkpoint: it names"):
        READERS[reader](run, tmp_path / "out", tokens)
    assert not marker.exists()


def sealed_again(step: Path) -> None:
    """Write the manifest of a checkpoint that has been changed."""
    checkpoint._seal(str(step), msgspec.json.decode((step / "state.json").read_bytes(), type=CheckpointState))


# --- what is not what it says -----------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint of two tensors and a number."""
    dcp.write(str(tmp_path / "small"), entries())
    return tmp_path / "small"


def entries() -> dict[str, Any]:
    return {"a": torch.arange(12, dtype=torch.float32).reshape(3, 4), "b": torch.tensor(3.0), "c": 0.5}


def metadata_of(folder: Path) -> Metadata:
    return pickle.loads((folder / ".metadata").read_bytes())


def with_metadata(folder: Path, metadata: Any) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def read(folder: Path) -> dict[str, torch.Tensor]:
    found = {"a": torch.zeros(3, 4), "b": torch.zeros(())}
    dcp.read_into(str(folder), found)
    return found


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../secret", "/etc/passwd", "sub/file", "a\0b", "link", "fifo", "none", "sub", "..\\secret", 7],
)
def test_files_are_those_of_the_folder(name: Any, small: Path) -> None:
    (small / "sub").mkdir()
    for path in (small.parent / "secret", small / "sub" / "file"):
        path.write_bytes((small / "__0_0.distcp").read_bytes())
    (small / "link").symlink_to(small.parent / "secret")
    os.mkfifo(small / "fifo")
    metadata = metadata_of(small)
    for info in metadata.storage_data.values():
        info.relative_path = name
    with_metadata(small, metadata)
    with pytest.raises(DataError, match=r"\.metadata: is no metadata of a checkpoint: (it is|a file|'.*' (is|cannot))"):
        dcp.read_metadata(str(small))


def test_metadata_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".metadata")
    with pytest.raises(DataError, match="this is no checkpoint of torch"):
        dcp.read_metadata(str(tmp_path))


def storage(metadata: Metadata, key: str) -> Any:
    return next(info for index, info in metadata.storage_data.items() if index.fqn == key)


def changed(**fields: Any) -> Callable[[Metadata], None]:
    return lambda metadata: storage(metadata, "a").__dict__.update(fields)


def of_chunk(**fields: Any) -> Callable[[Metadata], None]:
    return lambda metadata: metadata.state_dict_metadata["a"].chunks[0].__dict__.update(fields)


def forgotten(metadata: Metadata) -> None:
    metadata.storage_data = {index: info for index, info in metadata.storage_data.items() if index.fqn != "a"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(offset=-1), "looks for bytes in '__0_0.distcp' that are not there"),
        (changed(offset=1 << 70), "looks for bytes"),
        (changed(length=1 << 40), "looks for bytes"),
        (changed(length=True), "looks for bytes"),
        (changed(length=None), "looks for bytes"),
        (changed(transform_descriptors=["zstd"]), "its files were transformed"),
        (of_chunk(sizes=torch.Size([4, 4])), "has a chunk that lies outside of it"),
        (of_chunk(sizes=torch.Size([3, 4, 1])), "has a chunk that lies outside of it"),
        (of_chunk(sizes=torch.Size([2, 4])), "the chunks of 'a' are not the whole of it"),
        (of_chunk(sizes=(3, 4)), "it has no size where one belongs"),
        (of_chunk(sizes=None), "it has no size where one belongs"),
        (lambda metadata: metadata.state_dict_metadata["a"].chunks.clear(), "the chunks of 'a' are not the whole"),
        (lambda metadata: metadata.state_dict_metadata["a"].chunks.append(1), "it has a int in the place of a Chunk"),
        (lambda metadata: metadata.state_dict_metadata.update(a=None), "it has a NoneType in the place of a Tensor"),
        (lambda metadata: metadata.state_dict_metadata.update({7: None}), "a key is no text"),
        (lambda metadata: setattr(metadata, "storage_data", None), "it has no 'storage_data'"),
        (lambda metadata: setattr(metadata, "state_dict_metadata", []), "it has no 'state_dict_metadata'"),
        (forgotten, "it does not say where 'a' is"),
    ],
)
def test_metadata_that_is_out_of_bounds_is_refused(change: Callable, said: str, small: Path) -> None:
    metadata = metadata_of(small)
    change(metadata)
    with_metadata(small, metadata)
    with pytest.raises(DataError, match=rf"\.metadata: is no metadata of a checkpoint: .*{said}"):
        dcp.read_metadata(str(small))


def test_chunks_that_lie_over_each_other_are_refused(small: Path) -> None:
    metadata = metadata_of(small)
    half = ChunkStorageMetadata(torch.Size([0, 0]), torch.Size([1, 4]))
    metadata.state_dict_metadata["a"].chunks[:] = [half, half, half]
    dcp.write(str(small / "half"), {"a": torch.zeros(1, 4)})
    (small / "half" / "__0_0.distcp").rename(small / "half.distcp")
    changed(length=(small / "half.distcp").stat().st_size, offset=0, relative_path="half.distcp")(metadata)
    with_metadata(small, metadata)
    with pytest.raises(DataError, match="holds some of 'a' twice and some of it not at all"):
        read(small)


def test_metadata_too_long_to_be_any_is_not_read(small: Path) -> None:
    with (small / ".metadata").open("r+b") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(DataError, match=r"\.metadata: is of more than 64 MB"):
        dcp.read_metadata(str(small))


PLACES = st.floats(0, 1)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["byte", "cut", "insert", "move"]), PLACES, PLACES, st.binary(max_size=9)),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list) -> bytes:
    """The data with some places changed; `at` and `to` are places, 0-1."""
    for kind, at, to, new in changes:
        i, j = int(at * len(data)), int(to * len(data))
        if kind == "byte":
            data = data[:i] + new + data[i + len(new) :]
        elif kind == "cut":
            data = data[:i] + data[min(len(data), i + j // 8) :]
        elif kind == "insert":
            data = data[:i] + new + data[i:]
        else:
            data = data[:i] + data[j : j + 20] + data[i + 20 :]
    return data


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unchanged")
    dcp.write(str(folder), entries())
    return folder


@given(changes=CHANGES)
def test_metadata_with_changed_bytes_is_read_in_bounds_or_refused(
    changes: list, unchanged: Path, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    (folder / "__0_0.distcp").write_bytes((unchanged / "__0_0.distcp").read_bytes())
    (folder / ".metadata").write_bytes(mutated((unchanged / ".metadata").read_bytes(), changes))
    try:
        found = dcp.read_metadata(str(folder))
    except DataError:
        return
    assert all(type(key) is str for key in found)
    read_all(folder, found)


def read_all(folder: Path, metadata: dict) -> None:
    """Read every entry; one that cannot be read is a DataError."""
    for key, kept in metadata.items():
        try:
            if isinstance(kept, dcp.StoredTensor):
                dcp.read_into(str(folder), {key: torch.zeros(kept.shape, device="meta")})
            else:
                read_value(kept)
        except DataError:
            continue


@given(changes=CHANGES)
def test_tensors_with_changed_bytes_are_the_same_or_refused(changes: list, unchanged: Path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("changed")
    (folder / ".metadata").write_bytes((unchanged / ".metadata").read_bytes())
    (folder / "__0_0.distcp").write_bytes(mutated((unchanged / "__0_0.distcp").read_bytes(), changes))
    try:
        found = read(folder)
    except DataError:
        return
    assert all(torch.equal(found[key], entries()[key]) for key in found)


# --- what is a checkpoint ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": 1})], ids=["empty", "text", "dict"])
def test_what_is_no_metadata_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(DataError, match="is no metadata of a checkpoint"):
        dcp.read_metadata(str(tmp_path))


def test_a_folder_without_metadata_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this is no checkpoint of torch"):
        dcp.read_metadata(str(tmp_path))


def test_keys_are_those_of_olmo_core(model: Transformer, tmp_path: Path) -> None:
    optimizer = make_optimizer(model, CONFIG)
    dcp.write(str(tmp_path), dcp.model_entries(model) | dcp.optimizer_entries(model, optimizer))
    keys = dcp.keys(str(tmp_path))
    assert {"model.embeddings.weight", "optim.state.blocks.1.attention.w_q.weight.exp_avg_sq"} <= keys
    assert "optim.param_groups.lm_head.w_out.weight.initial_lr" in keys


def test_a_number_comes_back(small: Path) -> None:
    part = dcp.read_metadata(str(small))["c"]
    assert isinstance(part, Part)
    assert read_value(part) == 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_tensors_of_other_types_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = torch.tensor([[1, 0], [3, -4]]).to(dtype)
    dcp.write(str(tmp_path), {"a": stored, "turned": stored.t(), "none": stored[:0]})
    found = {"a": torch.ones(2, 2), "turned": torch.zeros(2, 2, dtype=dtype), "none": torch.zeros(0, 2)}
    dcp.read_into(str(tmp_path), found)
    assert torch.equal(found["a"], stored.float())
    assert torch.equal(found["turned"], stored.t())


def test_an_optimiser_that_made_no_step_is_written_without_making_one(model: Transformer, tmp_path: Path) -> None:
    optimizer = make_optimizer(model, CONFIG)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    dcp.write(str(tmp_path), dcp.optimizer_entries(model, optimizer))
    assert not optimizer.state
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    dcp.load_optimizer(str(tmp_path), model, optimizer)
    assert not optimizer.state


def test_a_run_may_begin_with_the_moments_of_another(tokens: str, tmp_path: Path) -> None:
    folder = train(CONFIG, tokens=tokens, output=str(tmp_path / "first")).checkpoint
    config = replaced(CONFIG, init_from=folder, init_optimizer=True)
    alone = Processes(rank=0, world_size=1, device=torch.device("cpu"))
    training = Training(config, resolve_stages(config, tokens), alone, state=None, folder=None)
    assert {float(state["step"]) for state in training.optimizer.state.values()} == {float(CONFIG.steps or 0)}
    assert any(state["exp_avg_sq"].any() for state in training.optimizer.state.values())


def test_moments_come_from_a_checkpoint_only(tokens: str, tmp_path: Path) -> None:
    folder = train(CONFIG, tokens=tokens, output=str(tmp_path / "first")).checkpoint
    export_checkpoint(folder, str(tmp_path / "hf"))
    config = replaced(CONFIG, init_from=str(tmp_path / "hf"), init_optimizer=True)
    with pytest.raises(DataError, match="is no checkpoint, so it has no moments"):
        train(config, tokens=tokens, output=str(tmp_path / "second"))


def test_a_key_or_shape_of_another_model_is_named(model: Transformer, tmp_path: Path) -> None:
    dcp.write(str(tmp_path), dcp.model_entries(model))
    with pytest.raises(DataError, match=r"has no 'model\.other': it is of another model"):
        dcp.read_into(str(tmp_path), {"model.other": torch.zeros(2)})
    with pytest.raises(DataError, match=r"'model\.embeddings\.weight' has the shape \[128, 16\], expected \[2\]"):
        dcp.read_into(str(tmp_path), {"model.embeddings.weight": torch.zeros(2)})


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_what_interrupts_writing_is_raised_as_it_is(error, tmp_path, monkeypatch):
    def write_data(self, plan, planner):
        raise error

    monkeypatch.setattr(dcp._Writer, "write_data", write_data)
    with pytest.raises(WriteError if error is OSError else error):
        dcp.write(str(tmp_path / "weights"), {"model.a": torch.zeros(2)})
