"""Held-out text and benchmark items. Run: pytest tests/training/test_evaluate.py"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dolma.data.items import Choice, Question
from dolma.errors import ConfigError, DataError
from dolma.training.config import EvalConfig, ModelConfig, StageConfig, TrainConfig
from dolma.training.eval_inputs import HeldOutText, bytes_of_ids
from dolma.training.evaluate import Answerer, evaluate_model, evaluate_text
from dolma.training.generate import generate
from dolma.training.interop.export import export_checkpoint
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, log_of, replaced, write_shards

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
MODEL = ModelConfig(d_model=16, layers=2, heads=2, mlp_hidden=32, context_length=64)
TEXTS = ("The whale swam.", "Naïve café — déjà vu.", "x = f(1)\n")


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    """Three documents as shards, with their tokenizer beside them."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    ids = [[*tokenizer.encode(text, add_special_tokens=False).ids, 0] for text in TEXTS]
    folder = write_shards(tmp_path / "tokens", [np.concatenate(ids)], vocabulary=4096, tokenizer=TOKENIZER.read_bytes())
    (tmp_path / "tokens" / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    return folder


@pytest.fixture
def model() -> Transformer:
    found = Transformer(MODEL, vocab_size=4096)
    initialise(found, seed=0)
    return found


def test_every_token_counts_once_after_an_end_of_text(tokens: str, model: Transformer) -> None:
    text = HeldOutText(tokens)
    ids = np.asarray(text.shards.shards[0].ids, dtype=np.int64)
    total = 0.0
    for document in np.split(ids, np.flatnonzero(ids == 0)[:-1] + 1):
        given = torch.from_numpy(np.concatenate([[0], document]))[None]
        with torch.no_grad():
            log_probabilities = torch.log_softmax(model(given)[0, :-1].double(), dim=-1)
        total -= float(log_probabilities.gather(1, given[0, 1:, None]).sum())
    found = evaluate_text(model, text, length=64)
    assert found.tokens == len(ids)
    assert found.loss == pytest.approx(total / len(ids), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(total / len(ids)), rel=1e-4)
    assert found.bytes == sum(len(text.encode()) for text in TEXTS)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / found.bytes, rel=1e-5)


def test_bytes_of_ids_are_those_of_their_text(tokens: str) -> None:
    from dolma.training.data.shards import open_shards

    sizes = bytes_of_ids(tokens, open_shards(tokens))
    vocabulary = json.loads(TOKENIZER.read_bytes())["model"]["vocab"]
    assert sizes[0] == 0
    assert sizes[vocabulary["the"]] == 3
    assert sizes[vocabulary["Ġ"]] == 1


def test_the_log_probability_of_a_continuation(tokens: str, model: Transformer) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=0)
    whole = [0, *answerer.tokenizer.encode("The whale swam", add_special_tokens=False).ids]
    prompt = [0, *answerer.tokenizer.encode("The whale", add_special_tokens=False).ids]
    with torch.no_grad():
        log_probabilities = torch.log_softmax(model(torch.tensor([whole]))[0].double(), dim=-1)
    expected = sum(float(log_probabilities[i - 1, whole[i]]) for i in range(len(prompt), len(whole)))
    found, n_tokens = answerer.log_probability("The whale", " swam")
    assert (found, n_tokens) == (pytest.approx(expected, rel=1e-5), len(whole) - len(prompt))


def test_the_likelier_choice_is_the_answer(model: Transformer) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=0)
    scores = [answerer.log_probability("A", continuation)[0] for continuation in (" b", " whale")]
    likelier = int(scores[1] > scores[0])
    items = [
        Choice(id="1", prompt="A", continuations=(" b", " whale"), gold=likelier),
        Choice(id="2", prompt="A", continuations=(" b", " whale"), gold=1 - likelier),
    ]
    assert answerer.accuracy(items).raw == 0.5


def test_a_generated_answer_is_compared_exactly(model: Transformer) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=None, max_tokens=3)
    question = Question(id="q", prompt="Question: How many?\nAnswer:", answers=(("no such answer",),), metric="squad")
    found = answerer.accuracy([question])
    assert (found.items, found.exact_match, found.f1, found.raw) == (1, 0.0, 0.0, None)


def test_what_is_generated_is_an_answer_whatever_else_is_asked(model: Transformer) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=0, max_tokens=5)
    questions = []
    for number, text in enumerate(("How many?", "Who was it, and when, and where?", "Why", "x" * 200, "y " * 12)):
        prompt = f"Question: {text}\nAnswer:"
        ids = answerer._encoded(prompt)
        (found,) = generate(model, [ids], max_tokens=5, eos_id=0, temperature=0.0, seeds=[0])
        said = answerer.tokenizer.decode(found)
        questions.append(Question(id=str(number), prompt=prompt, answers=((said,),), metric="squad"))
    assert answerer.accuracy(questions).exact_match == 1.0


@pytest.mark.parametrize("length", [63, 64, 200])
def test_a_choice_as_long_as_the_context_is_named_with_its_item(model: Transformer, length: int) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=0)
    long = Choice(id="q7", prompt="A", continuations=(" b", " whale" * length), gold=0)
    n_tokens = len(answerer.tokenizer.encode(" whale" * length, add_special_tokens=False).ids)
    assert n_tokens >= 64 or length == 63
    if n_tokens < MODEL.context_length:
        assert answerer.accuracy([long]).items == 1
        return
    with pytest.raises(DataError, match=r"of item q7, a choice of [0-9,]+ tokens, ' whale whale"):
        answerer.accuracy([long])


def test_choices_and_questions_are_not_mixed(model: Transformer) -> None:
    items = [
        Choice(id="1", prompt="A", continuations=(" b",), gold=0),
        Question(id="q", prompt="A", answers=(("b",),), metric="squad"),
    ]
    with pytest.raises(ConfigError, match=r"such as '.*', and some do not, such as '.*'\n  give a file of each kind"):
        Answerer(model, str(TOKENIZER), eos_id=0).accuracy(items)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows the model was given at a time."""
    rows: list[int] = []
    hidden = Transformer.hidden

    def counted(self: Transformer, ids: torch.Tensor, **options: Any) -> Any:
        rows.append(len(ids))
        return hidden(self, ids, **options)

    monkeypatch.setattr(Transformer, "hidden", counted)
    return rows


def several_choices(n: int) -> list[Choice]:
    """Items of different lengths, some longer than the context."""
    continuations = (" whale", " a fish that swims in the sea", " no", " naïve café")
    return [
        Choice(id=str(i), prompt="x is " * (7 * i % 40) + "What?", continuations=continuations, gold=i % 4)
        for i in range(n)
    ]


def test_choices_together_are_as_likely_as_alone(model: Transformer, passes: list[int]) -> None:
    answerer = Answerer(model, str(TOKENIZER), eos_id=0)
    items = several_choices(30)
    rows = [answerer._row(item.prompt, continuation) for item in items for continuation in item.continuations]
    found = answerer._nats(rows)
    assert sum(passes) == len({row.seen for row in rows})
    assert len(passes) <= 2
    for row, nats in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*row.seen, row.asked[-1]]]))[0].double()
        alone = torch.log_softmax(logits, dim=-1)[-1 - len(row.asked) : -1]
        assert nats == pytest.approx(float(alone.gather(1, torch.tensor(row.asked)[:, None]).sum()), abs=1e-4)


def test_answers_do_not_depend_on_what_is_asked_together(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    answerer, items = Answerer(model, str(TOKENIZER), eos_id=0), several_choices(30)
    together = answerer.accuracy(items)
    monkeypatch.setattr("dolma.training.evaluate._TOKENS_PER_PASS", 1)
    alone = answerer.accuracy(items)
    assert (together.raw, together.per_token, together.per_byte) == (alone.raw, alone.per_token, alone.per_byte)
    assert together.gold_bits_per_byte == pytest.approx(alone.gold_bits_per_byte, rel=1e-5)


def test_letters_of_an_item_are_computed_once(model: Transformer, passes: list[int]) -> None:
    letters = (" A", " B", " C", " D")
    items = [Choice(id=str(i), prompt=f"Question {i}?\nAnswer:", continuations=letters, gold=0) for i in range(10)]
    Answerer(model, str(TOKENIZER), eos_id=0).accuracy(items)
    assert passes == [10]


@pytest.fixture
def items(tmp_path: Path) -> str:
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"text": "A whale is a", "choices": ["fish", "mammal"], "answer": 1}) + "\n")
    return str(path)


def test_a_run_evaluates_on_its_way_and_nothing_changes_by_it(tokens: str, items: str, tmp_path: Path) -> None:
    shards = write_shards(
        tmp_path / "train",
        [np.random.default_rng(0).integers(0, 4096, 600)],
        vocabulary=4096,
        tokenizer=TOKENIZER.read_bytes(),
    )
    (tmp_path / "train" / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    config = replaced(CONFIG, model=MODEL)
    watched = replaced(config, evaluate=EvalConfig(every=3, sources={"held": tokens}, tasks={"whales": items}))
    train(config, tokens=shards, output=str(tmp_path / "plain"))
    result = train(watched, tokens=shards, output=str(tmp_path / "watched"))
    assert log_of(tmp_path / "plain") == log_of(tmp_path / "watched")
    lines = [json.loads(line) for line in (tmp_path / "watched" / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 8]
    assert set(lines[0]["held_out"]) == {"held"}
    found = evaluate_model(result.checkpoint, EvalConfig(sources={"held": tokens}, tasks={"whales": items}))
    assert found.held_out["held"].loss == pytest.approx(lines[-1]["held_out"]["held"]["loss"], rel=1e-6)
    assert found.tasks["whales"].items == 1
    export_checkpoint(result.checkpoint, str(tmp_path / "hf"))
    again = evaluate_model(str(tmp_path / "hf"), EvalConfig(sources={"held": tokens}, length=16))
    assert again.held_out["held"].loss == pytest.approx(found.held_out["held"].loss, rel=1e-5)


@pytest.mark.parametrize("given", [{"evaluate": {"length": 8}}, {"stages": [{"sequence_length": 8}]}], ids=str)
def test_a_checkpoint_is_evaluated_at_the_length_of_its_run(given: dict, tokens: str, tmp_path: Path) -> None:
    shards = write_shards(
        tmp_path / "train",
        [np.random.default_rng(0).integers(0, 4096, 600)],
        vocabulary=4096,
        tokenizer=TOKENIZER.read_bytes(),
    )
    evaluate = EvalConfig(sources={"held": tokens}, **given.get("evaluate", {}))
    stages = [StageConfig(name="only", **stage) for stage in given.get("stages", ())]
    config = replaced(CONFIG, model=MODEL, steps=1, evaluate=evaluate, stages=stages)
    result = train(config, tokens=shards, output=str(tmp_path / "run"))
    inside = json.loads((tmp_path / "run" / "evaluations.jsonl").read_text())
    found = evaluate_model(result.checkpoint, EvalConfig(sources={"held": tokens}))
    assert found.length == inside["length"] == 8
    assert found.held_out["held"].loss == pytest.approx(inside["held_out"]["held"]["loss"], rel=1e-6)


def test_held_out_text_of_another_tokenizer_is_refused(tokens: str, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "train", [np.ones(600, dtype=np.int64)], vocabulary=4096, tokenizer=b"another")
    config = replaced(CONFIG, model=MODEL, evaluate=EvalConfig(sources={"held": tokens}))
    with pytest.raises(DataError, match="is of another tokenizer than the model"):
        train(config, tokens=shards, output=str(tmp_path / "run"))


def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no manifest: this is no finished checkpoint"):
        evaluate_model(str(tmp_path), EvalConfig())


def test_an_evaluation_is_a_line_for_whoever_watches_the_run(tokens: str, tmp_path: Path) -> None:
    said: list[str] = []
    config = TrainConfig(
        model=MODEL,
        steps=2,
        batch_size=1,
        sequence_length=16,
        threads=1,
        evaluate=EvalConfig(every=1, sources={"held": tokens}),
    )
    train(config, tokens=tokens, output=str(tmp_path / "run"), note=said.append)
    assert len(said) == 2
    figures = r"held: loss \d\.\d{3}, \d\.\d{3} bits per byte of [\d,]+ tokens"
    assert re.fullmatch(f"step 2/2  evaluation: {figures}", said[1])
