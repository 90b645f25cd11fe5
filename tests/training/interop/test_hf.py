"""Folders of transformers, both ways. Run: pytest tests/training/interop"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dolma.errors import ConfigError, DataError, OutputExistsError, WriteError
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.initial import fill
from dolma.training.interop import hf
from dolma.training.interop.export import export_checkpoint
from dolma.training.local import local_part
from dolma.training.model.transformer import outline, unfilled
from dolma.training.parallel import spread
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, TINY, log_of, replaced
from tests.training.interop.folders import read
from tests.training.model.variants import VARIANTS, VOCABULARY, given_ids, given_model
from tests.training.test_local import process


def written(variant: str, folder: Path, **options: Any) -> str:
    weights = dict(given_model(variant).named_parameters())
    hf.write_folder(str(folder), weights, VARIANTS[variant], vocab_size=VOCABULARY, eos_id=0, **options)
    return str(folder)


def changed(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_written_and_read_is_the_same(variant: str, tmp_path: Path) -> None:
    model, rows, weights = read(written(variant, tmp_path / "hf"))
    assert rows == VOCABULARY
    assert msgspec.structs.replace(model, init="normal") == msgspec.structs.replace(VARIANTS[variant], init="normal")
    expected = dict(given_model(variant).named_parameters())
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_large_models_are_written_in_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "_BYTES_PER_FILE", 40_000)
    folder = written("olmo2", tmp_path / "hf")
    assert len(list((tmp_path / "hf").glob("model-*.safetensors"))) > 1
    _, _, weights = read(folder)
    expected = dict(given_model("olmo2").named_parameters())
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_weight_that_two_files_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "_BYTES_PER_FILE", 40_000)
    folder = Path(written("olmo2", tmp_path / "hf"))
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    weights = load_file(first)
    name = min(weights)
    save_file(load_file(second) | {name: weights[name] + 1}, second)
    with pytest.raises(DataError, match=rf"two files hold the weight {name}"):
        read(str(folder))


def test_a_vocabulary_cut_on_export_is_not_padded_again(tmp_path: Path) -> None:
    ours = given_model("olmo2")
    weights = dict(ours.named_parameters())
    hf.write_folder(str(tmp_path / "hf"), weights, VARIANTS["olmo2"], vocab_size=100, eos_id=0, trim_vocabulary=True)
    assert json.loads((tmp_path / "hf" / "config.json").read_bytes())["vocab_size"] == 100
    model, rows, found = read(str(tmp_path / "hf"))
    assert (rows, model.vocabulary_multiple) == (100, 1)
    again = unfilled(model, vocab_size=rows)
    again.load_state_dict(found)
    ids = given_ids() % 100
    with torch.no_grad():
        expected = torch.log_softmax(ours(ids)[..., :100], dim=-1)
        assert torch.equal(torch.log_softmax(again(ids), dim=-1), expected)


def test_experts_fused_as_transformers_5_holds_them_are_read() -> None:
    model = VARIANTS["olmoe"]
    expected = dict(given_model("olmoe").named_parameters())
    named = dict(hf.to_hf(expected, model))
    for layer in range(model.layers):
        prefix = f"model.layers.{layer}.mlp.experts."
        parts = {
            part: torch.stack([named.pop(f"{prefix}{expert}.{part}.weight") for expert in range(8)])
            for part in ("gate_proj", "up_proj", "down_proj")
        }
        named[f"{prefix}gate_up_proj"] = torch.cat([parts["gate_proj"], parts["up_proj"]], dim=1)
        named[f"{prefix}down_proj"] = parts["down_proj"]
    found = hf.from_hf(named, model, rows=VOCABULARY)
    assert all(torch.equal(found[name].rows(0, len(expected[name])), expected[name]) for name in expected)


def test_a_setting_that_is_not_honoured_is_refused_with_the_file(tmp_path: Path) -> None:
    folder = Path(written("olmo2", tmp_path / "hf"))
    changed(folder, hidden_act="gelu")
    with pytest.raises(DataError, match=r"config.json: is no model that can be read here: `hidden_act` is 'gelu'"):
        read(str(folder))


def test_weights_of_another_shape_than_the_configuration_says_are_refused(tmp_path: Path) -> None:
    folder = Path(written("olmo2", tmp_path / "hf"))
    changed(folder, intermediate_size=64)
    with pytest.raises(DataError, match=r"gate_proj.weight has the shape \[48, 64\], expected \[64, 64\]"):
        read(str(folder))


@pytest.mark.parametrize("kept", [0, 5, 40, 1000])
def test_weights_that_are_cut_short_are_refused(kept: int, tmp_path: Path) -> None:
    folder = Path(written("olmo2", tmp_path / "hf"))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model\.safetensors: is damaged, or no safetensors: "):
        read(str(folder))


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": "../a.safetensors"}}', "{"])
def test_an_index_that_is_none_is_refused(index: str, tmp_path: Path) -> None:
    folder = Path(written("olmo2", tmp_path / "hf"))
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(DataError, match="is no model that can be read here"):
        read(str(folder))


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("model.layers.0.mlp.gate.weight", torch.zeros(64, 8), r"mlp.gate.weight has the shape \[64, 8\]"),
        (
            "model.layers.0.mlp.experts.3.up_proj.weight",
            torch.zeros(48),
            r"experts.3.up_proj.weight has the shape \[48\]",
        ),
        (
            "model.layers.0.mlp.experts.gate_up_proj",
            torch.zeros(8),
            r"gate_up_proj has the shape \[8\], expected \[8, 96, 64\]",
        ),
        (
            "model.embed_tokens.weight",
            torch.zeros(128, 64, dtype=torch.int8),
            "embed_tokens.weight is of type",
        ),
    ],
)
def test_weights_of_other_shapes_or_types_are_refused(
    name: str, weight: torch.Tensor, message: str, tmp_path: Path
) -> None:
    folder = Path(written("olmoe", tmp_path / "hf"))
    weights = load_file(folder / "model.safetensors") | {name: weight}
    if name.endswith("gate_up_proj"):
        weights["model.layers.0.mlp.experts.down_proj"] = torch.zeros(8)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(DataError, match=message):
        read(str(folder))


def as_transformers_5_holds_experts(folder: Path, model: ModelConfig) -> None:
    """Matrices of all experts in one."""
    assert model.experts is not None
    weights = load_file(folder / "model.safetensors")
    for layer in range(model.layers):
        prefix = f"model.layers.{layer}.mlp.experts."
        gate, up, down = (
            torch.stack([weights.pop(f"{prefix}{expert}.{part}.weight") for expert in range(model.experts.count)])
            for part in ("gate_proj", "up_proj", "down_proj")
        )
        weights |= {f"{prefix}gate_up_proj": torch.cat([gate, up], dim=1), f"{prefix}down_proj": down}
    save_file(weights, folder / "model.safetensors")


class CountedSlice:
    """A slice of safetensors, and how many bytes were read of it."""

    def __init__(self, inner: Any, read: list[int]) -> None:
        self.inner, self.read = inner, read
        self.get_shape, self.get_dtype = inner.get_shape, inner.get_dtype

    def __getitem__(self, index: Any) -> torch.Tensor:
        found = self.inner[index]
        self.read.append(found.nbytes)
        return found


class CountedFile:
    """A file of safetensors, and how many bytes were read of it."""

    def __init__(self, inner: Any, read: list[int]) -> None:
        self.inner, self.read = inner, read
        self.keys = inner.keys

    def __enter__(self) -> CountedFile:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.inner.__exit__(*error)

    def get_slice(self, name: str) -> CountedSlice:
        return CountedSlice(self.inner.get_slice(name), self.read)

    def get_tensor(self, name: str) -> torch.Tensor:
        found = self.inner.get_tensor(name)
        self.read.append(found.nbytes)
        return found


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("variant", ["olmo2", "olmoe"])
def test_a_process_reads_its_rows_and_no_others(
    variant: str, fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(written(variant, tmp_path / "hf"))
    if fused and VARIANTS[variant].experts is None:
        pytest.skip("it has no experts")
    if fused:
        as_transformers_5_holds_experts(folder, VARIANTS[variant])
    read: list[int] = []
    opened = hf.safe_open
    monkeypatch.setattr(hf, "safe_open", lambda *args, **options: CountedFile(opened(*args, **options), read))
    expected = dict(given_model(variant).named_parameters())
    whole = sum(parameter.nbytes for parameter in expected.values())
    of_each: list[dict[str, torch.Tensor]] = []
    for rank in range(3):
        read.clear()
        with process(rank, 3) as processes:
            model = outline(VARIANTS[variant], vocab_size=VOCABULARY)
            spread(model, processes)
            model.to_empty(device="cpu")
            fill(model, TrainConfig(init_from=str(folder)))
            of_each.append({name: local_part(p)[0].detach().clone() for name, p in model.named_parameters()})
        assert 0 < sum(read) <= 0.36 * whole
    for name, parameter in expected.items():
        assert torch.equal(torch.cat([part[name] for part in of_each]), parameter), name


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = Path(written("olmo2", tmp_path / "hf"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="is missing: only safetensors are read"):
        read(str(folder))


def test_a_run_begins_with_weights_of_transformers_or_of_another_run(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "first"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    for name, source in (("from_ours", result.checkpoint), ("from_hf", str(tmp_path / "hf"))):
        train(replaced(CONFIG, init_from=source, steps=2), tokens=tokens, output=str(tmp_path / name))
    ours, theirs = log_of(tmp_path / "from_ours"), log_of(tmp_path / "from_hf")
    assert ours == theirs
    assert ours[0]["loss"] < log_of(tmp_path / "first")[0]["loss"]


def test_weights_of_another_model_are_refused(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "first"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    wider = msgspec.structs.replace(TINY, mlp_hidden=48)
    for source in (result.checkpoint, str(tmp_path / "hf")):
        config = replaced(CONFIG, model=wider, init_from=source)
        with pytest.raises(
            DataError, match=r"`mlp_hidden` is 32 there and 48 in the recipe\n  write `model: {d_model: 16, layers: 2,"
        ):
            train(config, tokens=tokens, output=str(tmp_path / "second"), overwrite=True)


def test_a_run_begins_with_a_vocabulary_that_is_not_padded(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "first"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"), trim_vocabulary=True)
    source = str(tmp_path / "hf")
    with pytest.raises(DataError, match=r"has 64 rows of embedding, the recipe's model 128 for"):
        train(replaced(CONFIG, init_from=source, steps=2), tokens=tokens, output=str(tmp_path / "padded"))
    config = replaced(CONFIG, init_from=source, steps=2, vocabulary_multiple=1)
    train(config, tokens=tokens, output=str(tmp_path / "second"))
    assert log_of(tmp_path / "second")[0]["loss"] < log_of(tmp_path / "first")[0]["loss"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"heads": 4}, "`heads` is 2 there and 4 in the recipe"),
        ({"norm_eps": 1e-3}, "`norm_eps` is 1e-06 there and 0.001 in the recipe"),
        ({"clip_qkv": 1.0}, "`clip_qkv` is None there and 1.0 in the recipe"),
    ],
)
def test_weights_of_a_model_that_computes_otherwise_are_refused(
    other: dict[str, Any], message: str, tokens: str, tmp_path: Path
) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "first"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    for source in (result.checkpoint, str(tmp_path / "hf")):
        config = replaced(CONFIG, model=msgspec.structs.replace(TINY, **other), init_from=source)
        with pytest.raises(DataError, match=message):
            train(config, tokens=tokens, output=str(tmp_path / "second"), overwrite=True)


def test_an_export_does_not_write_over_anything(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    with pytest.raises(OutputExistsError, match="is not empty"):
        export_checkpoint(result.checkpoint, str(tmp_path / "run"))


def test_an_export_of_an_odd_model_says_why_it_cannot_be(tokens: str, tmp_path: Path) -> None:
    odd = msgspec.structs.replace(TINY, norm_position="pre")
    result = train(replaced(CONFIG, model=odd), tokens=tokens, output=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match="cannot be exported: no model class of transformers has"):
        export_checkpoint(result.checkpoint, str(tmp_path / "hf"))


def test_an_export_is_as_readable_as_any_file_and_has_checksums(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    (tmp_path / "any").write_text("")
    modes = {path.name: path.stat().st_mode for path in [*(tmp_path / "hf").iterdir(), tmp_path / "any"]}
    assert set(modes.values()) == {modes["any"]}, modes
    second = train(replaced(CONFIG, init_from=str(tmp_path / "hf")), tokens=tokens, output=str(tmp_path / "second"))
    assert second.warnings == ()


def test_a_damaged_export_is_noticed(tokens: str, tmp_path: Path) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    weights = tmp_path / "hf" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    with pytest.raises(DataError, match="is not the file that was written or downloaded"):
        train(replaced(CONFIG, init_from=str(tmp_path / "hf")), tokens=tokens, output=str(tmp_path / "second"))


def test_an_export_that_fails_leaves_nothing_and_one_that_was_killed_is_no_obstacle(
    tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(hf, "save_file", full)
        with pytest.raises(WriteError, match="make room"):
            export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    assert [path.name for path in tmp_path.iterdir() if "hf" in path.name] == []
    (tmp_path / ".hf.unfinished-export").mkdir()
    (tmp_path / ".hf.unfinished-export" / "model.safetensors").write_text("half")
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    assert [path.name for path in tmp_path.iterdir() if "hf" in path.name] == ["hf"]


@pytest.mark.parametrize(("given", "first"), [([3, 4], 3), (3, 3), (None, None), ([], None)])
def test_the_first_of_several_end_of_text_tokens_is_taken(given: Any, first: int | None) -> None:
    assert hf.eos_of({"eos_token_id": given}, outline(TINY, vocab_size=64), "hf") == first


@pytest.mark.parametrize("given", ["a", [1.5], 1000, -1, {}, True])
def test_an_end_of_text_token_that_is_none_is_refused(given: Any) -> None:
    if given == {}:
        given = {"a": 1}
    with pytest.raises(DataError, match="`eos_token_id` is"):
        hf.eos_of({"eos_token_id": given}, outline(TINY, vocab_size=64), "hf")
