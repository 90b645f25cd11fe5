"""A transformer of a few numbers that NumPy computes too. Run: `pytest tests/taggers/test_transformer.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dolma.config import TagConfig, TaggerSpec, make_recipe
from dolma.data.attributes import read_attributes
from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError
from dolma.models.fetch import cached_path
from dolma.models.public import PUBLIC, Public
from dolma.pipeline import prepare, run_node
from dolma.runner.options import RunOptions
from dolma.stages import Running
from dolma.taggers.registry import content_of, make_tagger, tagger_of_process
from dolma.taggers.tag import tag
from dolma.taggers.transformer import Transformer, activated, padded

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, "a", "b", "good", "bad", "##ly", ".", "[", "]", "sep"]
WIDTH, POSITIONS = 8, 16


def tokenizer_json() -> dict[str, Any]:
    """WordPiece as BERT has it, with truncation and padding, which the tagger does itself."""
    sequence = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    cls, sep = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [
            {"id": i, "content": word, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for i, word in enumerate(SPECIAL)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, sequence[0], sep],
            "pair": [cls, sequence[0], sep, sequence[1], sep],
            "special_tokens": {
                name: {"id": name, "ids": [WORDS.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
    }


def weights_of(n_labels: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Embeddings of tokens and positions, one attention head, a linear head on the first token."""
    draw = np.random.default_rng(seed)
    shapes = {
        "tokens": (len(WORDS), WIDTH),
        "positions": (64, WIDTH),
        "query": (WIDTH, WIDTH),
        "key": (WIDTH, WIDTH),
        "value": (WIDTH, WIDTH),
        "head": (WIDTH, n_labels),
    }
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def forward(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Logits of one text by NumPy, in float64: the twin of `onnx_model`."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    hidden = w["tokens"][ids] + w["positions"][: len(ids)]
    attention = (hidden @ w["query"]) @ (hidden @ w["key"]).T / np.sqrt(WIDTH)
    powers = np.exp(attention - attention.max(axis=1, keepdims=True))
    mixed = hidden + powers / powers.sum(axis=1, keepdims=True) @ (hidden @ w["value"])
    return np.tanh(mixed[0]) @ w["head"]


def onnx_model(weights: dict[str, np.ndarray], *, inputs: tuple[str, ...] = (), fixed: bool = False) -> bytes:
    """The same for padded batches, as exporters write them; `inputs` are more than two that it takes."""
    node = helper.make_node
    nodes = [
        node("Gather", ["tokens", "input_ids"], ["embedded"]),
        node("Shape", ["input_ids"], ["length"], start=1, end=2),
        node("Slice", ["positions", "zero", "length", "zero"], ["places"]),
        node("Add", ["embedded", "places"], ["hidden"]),
        node("MatMul", ["hidden", "query"], ["q"]),
        node("MatMul", ["hidden", "key"], ["k"]),
        node("MatMul", ["hidden", "value"], ["v"]),
        node("Transpose", ["k"], ["k_t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k_t"], ["products"]),
        node("Div", ["products", "root"], ["scaled"]),
        node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        node("Sub", ["one", "seen"], ["hidden_from"]),
        node("Mul", ["hidden_from", "lowest"], ["penalty"]),
        node("Unsqueeze", ["penalty", "middle"], ["penalties"]),
        node("Add", ["scaled", "penalties"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v"], ["attended"]),
        node("Add", ["hidden", "attended"], ["mixed"]),
        node("Gather", ["mixed", "first"], ["pooled"], axis=1),
        node("Tanh", ["pooled"], ["activated"]),
        node("MatMul", ["activated", "head"], ["logits"]),
    ]
    constants = weights | {
        "zero": np.array([0]),
        "middle": np.array([1]),
        "first": np.array(0),
        "one": np.float32(1),
        "root": np.sqrt(np.float32(WIDTH)),
        "lowest": np.float32(np.finfo(np.float32).min),
    }
    shape = [1, 8] if fixed else ["batch", "sequence"]
    names = ["input_ids", "attention_mask", *inputs]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights["head"].shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def write_model(folder: Path, n_labels: int, *, inputs: tuple[str, ...] = (), **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx_model(weights_of(n_labels), inputs=inputs))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    facts = {"model_type": "bert", "pad_token_id": 0, "max_position_embeddings": POSITIONS}
    (folder / "config.json").write_text(json.dumps(facts | config))
    return folder


@pytest.fixture
def edu(tmp_path: Path) -> Path:
    """A regression."""
    return write_model(tmp_path / "edu", 1, problem_type="regression", id2label={"0": "LABEL_0"})


@pytest.fixture(scope="module")
def topics(tmp_path_factory) -> Path:
    """One of three labels."""
    labels = {"0": "news", "1": "how-to", "2": "spam"}
    return write_model(tmp_path_factory.mktemp("models") / "topics", 3, id2label=labels)


def values(tagger: Transformer, *texts: str) -> dict[str, list]:
    columns = check_columns(
        tagger(TextBatch.of(texts)), outputs=tagger.outputs, n_docs=len(texts), tagger="transformer"
    )
    return {name: column.to_pylist() for name, column in columns.items()}


def ids_of(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A good b.", ["[CLS]", "a", "good", "b", ".", "[SEP]"]),
        ("badly x", ["[CLS]", "bad", "##ly", "[UNK]", "[SEP]"]),
        ("", ["[CLS]", "[SEP]"]),
        ("a [SEP] b", ["[CLS]", "a", "[", "sep", "]", "b", "[SEP]"]),
        ("a b " * 50, ["[CLS]", *["a", "b"] * 7, "[SEP]"]),
    ],
    ids=["words", "parts of words", "nothing", "special tokens in a text are text", "what is too long is cut"],
)
def test_a_regression_gives_what_numpy_computes(edu, text, words):
    found = values(Transformer(path=edu), text)
    assert found == {"score": [pytest.approx(forward(weights_of(1), ids_of(*words))[0], abs=1e-5)]}


def test_labels_have_probabilities_and_the_best_is_named(topics):
    found = values(Transformer(path=topics), "good", "bad")
    assert list(found) == ["top", "top_score", "news", "how_to", "spam"]
    for i, word in enumerate(("good", "bad")):
        expected = activated(forward(weights_of(3), ids_of("[CLS]", word, "[SEP]"))[None], "softmax")[0]
        assert [found[name][i] for name in ("news", "how_to", "spam")] == pytest.approx(expected, abs=1e-5)
        assert found["top"][i] == ["news", "how-to", "spam"][expected.argmax()]
        assert found["top_score"][i] == pytest.approx(expected.max(), abs=1e-5)


def test_only_the_labels_asked_for_are_outputs(topics):
    assert list(Transformer(path=topics, labels=["how-to"]).outputs) == ["top", "top_score", "how_to"]


@pytest.mark.parametrize(
    ("n_labels", "config", "activation"),
    [
        (1, {"problem_type": "regression"}, "none"),
        (1, {}, "sigmoid"),
        (2, {}, "softmax"),
        (2, {"problem_type": "single_label_classification"}, "softmax"),
        (2, {"problem_type": "multi_label_classification"}, "sigmoid"),
        (2, {"problem_type": "regression"}, "none"),
    ],
)
def test_the_activation_is_that_of_the_problem(tmp_path, n_labels, config, activation):
    labels = {"id2label": {str(i): f"l{i}" for i in range(n_labels)}}
    tagger = Transformer(path=write_model(tmp_path, n_labels, **labels, **config))
    logits = forward(weights_of(n_labels), ids_of("[CLS]", "a", "[SEP]"))[None]
    assert tagger.scores(["a"]) == pytest.approx(activated(logits, activation), abs=1e-5)
    for asked in ("none", "sigmoid", "softmax"):
        found = Transformer(path=tmp_path, activation=asked).scores(["a"])
        assert found == pytest.approx(activated(logits, asked), abs=1e-5)


def test_a_config_without_labels_has_the_two_that_transformers_leaves_out(tmp_path):
    assert list(Transformer(path=write_model(tmp_path, 2)).outputs)[2:] == ["LABEL_0", "LABEL_1"]


def test_activations_do_not_overflow():
    assert activated(np.array([[-1000.0], [1000.0]]), "sigmoid").tolist() == [[0.0], [1.0]]
    assert activated(np.array([[-1000.0, 1000.0]]), "softmax").tolist() == [[0.0, 1.0]]


def test_windows_are_combined_by_tokens_or_by_the_highest(topics):
    text = "a good b bad a"
    parts = [["a", "good"], ["b", "bad"], ["a"]]
    scores = [activated(forward(weights_of(3), ids_of("[CLS]", *part, "[SEP]"))[None], "softmax")[0] for part in parts]
    options = {"path": topics, "max_tokens": 4}
    assert Transformer(windows="first", **options).scores([text])[0] == pytest.approx(scores[0], abs=1e-5)
    mean = np.average(scores, axis=0, weights=[2, 2, 1])
    assert Transformer(windows="mean", **options).scores([text])[0] == pytest.approx(mean, abs=1e-5)
    assert Transformer(windows="max", **options).scores([text])[0] == pytest.approx(np.max(scores, axis=0), abs=1e-5)
    short = [Transformer(windows=windows, **options).scores(["a", ""]) for windows in ("first", "mean", "max")]
    assert np.array_equal(short[0], short[1]) and np.array_equal(short[0], short[2])


def test_token_types_are_given_where_they_are_asked_for(tmp_path, edu):
    typed = write_model(tmp_path / "typed", 1, inputs=("token_type_ids",), problem_type="regression", num_labels=1)
    assert values(Transformer(path=typed), "a b") == values(Transformer(path=edu), "a b")


# --- batches ---------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.lists(st.sampled_from(WORDS[4:]), max_size=40).map(" ".join), min_size=1, max_size=12)


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(texts=TEXTS, seed=st.integers(0, 99), batch_tokens=st.sampled_from([0, 16, 64, 256]))
def test_a_score_is_the_same_to_the_bit_in_any_batch_and_order(topics, texts, seed, batch_tokens):
    tagger = Transformer(path=topics, windows="mean", batch_tokens=batch_tokens)
    together = tagger.scores(texts)
    order = np.random.default_rng(seed).permutation(len(texts))
    assert np.array_equal(tagger.scores([texts[i] for i in order]), together[order])
    assert np.array_equal(np.concatenate([tagger.scores([text]) for text in texts]), together)


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(texts=TEXTS)
def test_batches_change_no_score_by_more_than_a_rounding(topics, texts):
    alone = Transformer(path=topics, windows="max").scores(texts)
    for batch_tokens in (16, 256):
        batched = Transformer(path=topics, windows="max", batch_tokens=batch_tokens).scores(texts)
        assert np.allclose(batched, alone, rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("batch_tokens", [0, 256])
def test_a_gpu_gives_the_same_in_any_batch_and_nearly_what_a_cpu_gives(topics, batch_tokens):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA device")
    texts = [" ".join(WORDS[4 : 5 + i]) * (1 + i % 3) for i in range(9)]
    tagger = Transformer(path=topics, device="cuda", windows="mean", batch_tokens=batch_tokens)
    together = tagger.scores(texts)
    assert np.array_equal(np.concatenate([tagger.scores([text]) for text in texts]), together)
    assert np.abs(Transformer(path=topics, windows="mean").scores(texts) - together).max() < 1e-3


def test_runs_have_one_shape_per_length(topics, monkeypatch):
    tagger = Transformer(path=topics, windows="mean", batch_tokens=64, max_tokens=16)
    shapes = []
    run = tagger._model
    monkeypatch.setattr(tagger, "_model", lambda ids, mask: (shapes.append(ids.shape), run(ids, mask))[1])
    tagger.scores(["a", "a b", "a b " * 20])
    assert shapes == [(4, 16), (4, 16)]


def test_the_longest_window_bounds_the_padding():
    assert [padded(length, longest=514) for length in (1, 33, 129, 513)] == [32, 64, 256, 514]


@pytest.mark.parametrize("options", [{}, {"batch_tokens": 256}], ids=["alone", "in batches"])
def test_workers_write_the_same_bytes(edu, tmp_path, options):
    (tmp_path / "documents").mkdir()
    for name in ("a", "b"):
        lines = [{"id": f"{name}{i}", "text": " ".join(WORDS[4 + i % 7 :] * (i % 5))} for i in range(30)]
        (tmp_path / f"documents/{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = TaggerSpec(use="transformer", name="edu", options={"path": str(edu)} | options)
    written = []
    for workers in (1, 2):
        attributes = tmp_path / f"attributes{workers}"
        dataset = Dataset(documents=(str(tmp_path / "documents/*.jsonl"),), attributes=str(attributes))
        tag(dataset, TagConfig(taggers=[spec]), options=RunOptions(workers=workers))
        files = sorted(attributes.rglob("*.parquet")) or sorted(path for path in attributes.rglob("*.jsonl*"))
        written.append([path.read_bytes() for path in files])
    assert len(written[0]) == 2 and written[0] == written[1]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", ["model.onnx_data", "weights.bin"])
def test_a_recipe_makes_it_by_name_and_knows_its_files(edu, beside):
    path = str(edu / "model.onnx")
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location=beside, size_threshold=200)
    (edu / "other.bin").write_bytes(b"")
    tagger = make_tagger(TaggerSpec(use="transformer", name="edu", options={"path": str(edu)}))
    assert (tagger.name, tagger.one_by_one) == ("edu", True)
    names = [file.split(" ")[0] for file in content_of(tagger)["files"]]
    assert names == ["model.onnx", beside, "config.json", "tokenizer.json"]


def test_weights_may_lie_in_a_folder_called_onnx_or_be_named(edu):
    expected = values(Transformer(path=edu), "a")
    (edu / "onnx").mkdir()
    (edu / "model.onnx").rename(edu / "onnx" / "model.onnx")
    assert values(Transformer(path=edu), "a") == expected
    (edu / "onnx" / "model.onnx").rename(edu / "onnx" / "model_quantized.onnx")
    assert values(Transformer(path=edu / "onnx" / "model_quantized.onnx"), "a") == expected


def test_config_and_tokenizer_may_lie_elsewhere(edu, tmp_path):
    expected = values(Transformer(path=edu), "a")
    for name in ("config", "tokenizer"):
        (edu / f"{name}.json").rename(tmp_path / f"my_{name}.json")
    options = {"config": tmp_path / "my_config.json", "tokenizer": tmp_path / "my_tokenizer.json"}
    assert values(Transformer(path=edu, **options), "a") == expected


def test_a_public_name_brings_all_files(edu, monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    names = ("model.onnx", "config.json", "tokenizer.json")
    urls = tuple(f"hf://owner/edu/{name}" for name in names)
    monkeypatch.setitem(
        PUBLIC, "edu", Public(name="edu", kind="model", urls=urls, licence="none", tagger="transformer")
    )
    with pytest.raises(ConfigError, match="run `dolma fetch edu`"):
        Transformer(path="edu")
    for name, url in zip(names, urls, strict=True):
        cached_path(url).parent.mkdir(parents=True)
        cached_path(url).write_bytes((edu / name).read_bytes())
    assert values(Transformer(path="edu"), "a") == values(Transformer(path=edu), "a")


def test_a_changed_model_in_its_folder_is_read_again(edu):
    spec = TaggerSpec(use="transformer", options={"path": str(edu)})
    before = values(tagger_of_process(spec), "a")
    assert tagger_of_process(spec) is tagger_of_process(spec)
    (edu / "model.onnx").write_bytes(onnx_model(weights_of(1, seed=1)))
    assert values(tagger_of_process(spec), "a") != before


def test_roberta_has_two_positions_less(tmp_path):
    folder = write_model(tmp_path, 2, model_type="roberta", pad_token_id=1)
    assert Transformer(path=folder).max_tokens == POSITIONS - 2


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onxx"}, "transformer: backend='onxx'; did you mean 'onnx'?"),
        ({"backend": "torch"}, "transformer: no model.safetensors at "),
        ({"windows": "frist"}, "transformer: windows='frist'; did you mean 'first'?"),
        ({"activation": "relu"}, "transformer: activation='relu'; valid: none, sigmoid, softmax"),
        ({"device": "gpu"}, "transformer: device='gpu'; valid: cpu, cuda"),
        ({"max_tokens": 17}, "transformer: max_tokens=17; the model takes 3 to 16, 2 of them special ones"),
        ({"max_tokens": 2}, "transformer: max_tokens=2; the model takes 3 to 16, 2 of them special ones"),
        ({"threads": 0}, "transformer: threads=0; expected 1 or more"),
        ({"batch_tokens": -1}, "transformer: batch_tokens=-1; expected 0 or more"),
        ({"labels": ["LABEL_1"]}, "has no label 'LABEL_1'; did you mean 'LABEL_0'?"),
        ({"tokenizer": "none.json"}, "transformer: no such file: none.json"),
        ({"path": "none"}, "transformer: no such file: none\n  give a path that is there, or a URL"),
    ],
)
def test_a_wrong_option_says_what_to_give(edu, options, message):
    with pytest.raises(ConfigError) as raised:
        Transformer(**{"path": edu} | options)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.onnx", "no model.onnx or model.safetensors at .*\n  give a folder with"),
        ("config.json", "no config.json in .*\n  put it there, or name it by the option `config`"),
        ("tokenizer.json", "no tokenizer.json in .*\n  put it there, or name it by the option `tokenizer`"),
    ],
)
def test_a_missing_file_is_named(edu, name, message):
    (edu / name).unlink()
    with pytest.raises(ConfigError, match=message):
        Transformer(path=edu)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"hello", r"ONNX Runtime cannot read .*model\.onnx: Load model .*\n  copy or download it again"),
        ("config.json", b"[", "config.json is no config.json"),
        ("config.json", b'{"id2label": {"1": "a"}}', "labels in id2label are 1; expected 0 to 0"),
        ("config.json", b'{"id2label": {"0": "a", "1": "b"}}', r"gives 1 values, .* has 2 labels \(a, b\)"),
        ("tokenizer.json", b"{}", "tokenizer.json is no tokenizer.json: .*`model`"),
    ],
)
def test_a_file_of_another_kind_is_refused(edu, name, content, message):
    (edu / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Transformer(path=edu)


def test_a_model_that_takes_other_inputs_is_refused(edu):
    (edu / "model.onnx").write_bytes(onnx_model(weights_of(1), inputs=("pixel_values",)))
    with pytest.raises(ConfigError, match="takes input_ids, attention_mask, pixel_values"):
        Transformer(path=edu)


def test_a_model_of_one_size_is_refused(edu):
    (edu / "model.onnx").write_bytes(onnx_model(weights_of(1), fixed=True))
    with pytest.raises(ConfigError, match="takes inputs of one size"):
        Transformer(path=edu)


def test_labels_that_would_be_one_output_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"the label 'a\.b' would be the output 'a_b', which there is already"):
        Transformer(path=write_model(tmp_path, 2, id2label={"0": "a b", "1": "a.b"}))


def test_a_gpu_that_is_not_there_is_an_error(edu):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="finds no CUDA\n  `pip install onnxruntime-gpu`"):
        Transformer(path=edu, device="cuda")


def test_without_onnxruntime_the_extra_is_named(edu, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'dolma\[onnx\]'"):
        Transformer(path=edu)


def test_without_transformers_the_extra_is_named(edu, monkeypatch):
    (edu / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'dolma\[transformers\]'"):
        Transformer(path=edu, backend="torch")


# --- embeddings ------------------------------------------------------------------------------------------------------


def states(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The last hidden states of a text by NumPy, in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    hidden = w["tokens"][ids] + w["positions"][: len(ids)]
    attention = (hidden @ w["query"]) @ (hidden @ w["key"]).T / np.sqrt(WIDTH)
    powers = np.exp(attention - attention.max(axis=1, keepdims=True))
    return hidden + powers / powers.sum(axis=1, keepdims=True) @ (hidden @ w["value"])


@pytest.fixture(scope="module")
def embedder(tmp_path_factory) -> Path:
    """The model of the other tests without its head."""
    folder = write_model(tmp_path_factory.mktemp("models") / "embedder", 1)
    model = onnx.load(str(folder / "model.onnx"))
    keep = [node for node in model.graph.node if node.output[0] not in ("pooled", "activated", "logits")]
    del model.graph.node[:], model.graph.output[:]
    for node in keep:
        node.output[0] = "last_hidden_state" if node.output[0] == "mixed" else node.output[0]
    model.graph.node.extend(keep)
    shape = ["batch", "sequence", WIDTH]
    model.graph.output.append(helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


@pytest.mark.parametrize("batch_tokens", [0, 64])
@pytest.mark.parametrize("embedding", ["mean", "cls"])
def test_an_embedding_is_the_mean_of_states_or_the_first(embedder, embedding, batch_tokens):
    tagger = Transformer(path=embedder, embedding=embedding, batch_tokens=batch_tokens)
    assert tagger.outputs["vector"].size == WIDTH
    found = values(tagger, "a good b.", "bad", "")["vector"]
    for vector, words in zip(found, (["a", "good", "b", "."], ["bad"], []), strict=True):
        all_states = states(weights_of(1), ids_of("[CLS]", *words, "[SEP]"))
        expected = all_states.mean(axis=0) if embedding == "mean" else all_states[0]
        assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_embeddings_of_windows_are_combined_by_tokens(embedder):
    tagger = Transformer(path=embedder, embedding="mean", windows="mean", max_tokens=4)
    parts = [["a", "good"], ["b", "bad"], ["a"]]
    means = [states(weights_of(1), ids_of("[CLS]", *part, "[SEP]")).mean(axis=0) for part in parts]
    expected = np.average(means, axis=0, weights=[2, 2, 1])
    (found,) = values(tagger, "a good b bad a")["vector"]
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"embedding": "max"}, "transformer: embedding='max'; valid: cls, mean"),
        ({"embedding": "mean", "windows": "max"}, "windows='max' is of scores"),
        ({"embedding": "mean", "labels": ["a"]}, r"labels=\['a'\] is of scores"),
        ({"embedding": "cls", "activation": "none"}, "activation='none' is of scores"),
    ],
)
def test_options_that_do_not_go_with_an_embedding_are_refused(embedder, options, said):
    with pytest.raises(ConfigError, match=said):
        Transformer(path=embedder, **options)


def test_a_model_with_a_head_or_for_torch_gives_no_embeddings(edu, embedder, tmp_path):
    with pytest.raises(ConfigError, match=r"gives \(1, 1\) for two tokens, expected \(1, 2, width\)"):
        Transformer(path=edu, embedding="mean")
    folder = write_model(tmp_path / "torch", 1)
    (folder / "model.onnx").rename(folder / "model.safetensors")
    with pytest.raises(ConfigError, match=r"model.safetensors gives no embeddings here: they are made of model.onnx"):
        Transformer(path=folder, embedding="mean")


def test_embeddings_are_found_near_from_end_to_end(embedder, tmp_path):
    (tmp_path / "documents").mkdir()
    texts = ["a good b", "bad bad", "a  good b", "b"]
    lines = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)]
    (tmp_path / "documents/a.jsonl").write_text("".join(lines))
    recipe = {
        "documents": [str(tmp_path / "documents")],
        "output": str(tmp_path / "out"),
        "tag": {
            "taggers": [{"use": "transformer", "name": "e", "options": {"path": str(embedder), "embedding": "mean"}}]
        },
        "dedupe": [{"method": "semantic", "by": "e.vector", "name": "near", "threshold": 0.9}],
        "mix": {"drop": ["near.duplicate"]},
    }
    for _ in range(2):
        list(
            prepare(make_recipe(recipe)).go(
                lambda node, _: run_node(node, Running(options=RunOptions(workers=1))), overwrite=False
            )
        )
    vectors = np.array(read_attributes(str(tmp_path / "out/attributes/e/a.jsonl.parquet"))["vector"].to_pylist())
    near = vectors @ vectors.T >= 0.9
    rows = read_attributes(str(tmp_path / "out/attributes/near/a.jsonl.parquet")).to_pylist()
    assert near[0, 2] and [row["duplicate"] for row in rows] == [False, *(near[i, :i].any() for i in range(1, 4))]
