"""Models of transformers by torch and by ONNX Runtime. Run: `pytest tests/taggers/test_transformer_torch.py`.

Needs `pip install 'dolma[transformers,onnx]' onnx onnxscript` without the extra `fast`; skipped elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma.errors import ConfigError
from dolma.taggers.transformer import Transformer, activated

from .test_transformer import WORDS, tokenizer_json

pytest.importorskip("transformers")
pytest.importorskip("torch")

SMALL = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
TEXTS = ["a good b.", "", "badly " * 30, "[SEP] a x", *(" ".join(WORDS[4 : 5 + i]) for i in range(9))]


def kinds() -> dict[str, tuple[Any, dict[str, Any]]]:
    import transformers

    deberta = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
    return {
        "bert": (transformers.BertConfig, {}),
        "roberta": (transformers.RobertaConfig, {"pad_token_id": 0}),
        "deberta-v2": (transformers.DebertaV2Config, deberta),
    }


@pytest.fixture(scope="module", params=["bert", "roberta", "deberta-v2"])
def folder(request, tmp_path_factory) -> Path:
    """A small model with random weights and three labels, as transformers saves it."""
    import torch
    import transformers

    torch.manual_seed(0)
    kind, more = kinds()[request.param]
    config = kind(**SMALL, **more, id2label={0: "news", 1: "how-to", 2: "spam"})
    path = tmp_path_factory.mktemp("models") / request.param
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    (path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    return path


def of_transformers(folder: Path, texts: list[str]) -> np.ndarray:
    """Probabilities by transformers alone, one text at a time."""
    import torch
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    found = []
    for text in texts:
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=Transformer(path=folder).max_tokens)
        with torch.inference_mode():
            found.append(model(input_ids=given.input_ids, attention_mask=given.attention_mask).logits.numpy()[0])
    return activated(np.array(found, dtype=np.float64), "softmax")


def test_torch_gives_what_transformers_gives(folder):
    plain = [text for text in TEXTS if "[SEP]" not in text]
    assert np.abs(Transformer(path=folder).scores(plain) - of_transformers(folder, plain)).max() < 1e-6


@pytest.mark.parametrize("batch_tokens", [0, 256])
def test_torch_gives_the_same_to_the_bit_in_any_batch(folder, batch_tokens):
    tagger = Transformer(path=folder, windows="mean", batch_tokens=batch_tokens)
    together = tagger.scores(TEXTS)
    assert np.array_equal(np.concatenate([tagger.scores([text]) for text in TEXTS]), together)
    assert np.array_equal(tagger.scores(TEXTS[::-1])[::-1], together)


def test_torch_in_batches_differs_by_a_rounding(folder):
    alone, batched = (Transformer(path=folder, batch_tokens=n).scores(TEXTS) for n in (0, 256))
    assert np.abs(alone - batched).max() < 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_onnx_gives_what_torch_gives(folder, tmp_path):
    export(folder, tmp_path / "model.onnx")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for batch_tokens in (0, 256):
        found = [Transformer(path=path, batch_tokens=batch_tokens).scores(TEXTS) for path in (folder, tmp_path)]
        assert np.abs(found[0] - found[1]).max() < 1e-5


def export(folder: Path, out: Path) -> None:
    """As docs/models.md says."""
    pytest.importorskip("onnxscript")
    import torch
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = ["input_ids", "attention_mask"]
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(
        model,
        kwargs={name: torch.ones(2, 16, dtype=torch.long) for name in names},
        f=str(out),
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(names, sizes),
        dynamo=True,
    )


def test_the_process_keeps_its_threads(folder):
    import torch

    torch.set_num_threads(2)
    Transformer(path=folder).scores(["a"])
    assert torch.get_num_threads() == 2


@pytest.mark.gpu
@pytest.mark.parametrize("batch_tokens", [0, 256])
def test_a_gpu_gives_the_same_in_any_batch_and_nearly_what_a_cpu_gives(folder, batch_tokens):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tagger = Transformer(path=folder, device="cuda", windows="mean", batch_tokens=batch_tokens)
    together = tagger.scores(TEXTS)
    assert np.array_equal(np.concatenate([tagger.scores([text]) for text in TEXTS]), together)
    assert np.abs(Transformer(path=folder, windows="mean").scores(TEXTS) - together).max() < 1e-3


def test_weights_without_a_head_are_refused(folder, tmp_path):
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    model.base_model.save_pretrained(tmp_path)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ConfigError, match=r"lacks \d+ of the model's weights, classifier"):
        Transformer(path=tmp_path)


def test_labels_of_another_model_are_refused(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "a"}, "label2id": {"a": 0}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="cannot be read as the model of"):
        Transformer(path=folder, config=tmp_path / "config.json")


def test_a_kind_that_transformers_does_not_have_is_refused(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "bart-simpson"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="no classifier of the model_type 'bart-simpson'"):
        Transformer(path=folder, config=tmp_path / "config.json")
