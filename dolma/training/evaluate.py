"""How well a model predicts held-out text and answers benchmark items."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
import torch
import torch.nn.functional as F

from dolma.data import streams
from dolma.data.answers import score
from dolma.data.items import Choice, Question
from dolma.data.manifest import NAME as MANIFEST
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizers_library import encode_texts, load_tokenizer
from dolma.printable import printable
from dolma.training import checkpoint as checkpointing
from dolma.training.config import EvalConfig, held_out_length
from dolma.training.data.contents import Contents
from dolma.training.data.loader import IGNORED
from dolma.training.eval_inputs import EvalInputs, HeldOutText
from dolma.training.generate import generate, idle
from dolma.training.initial import load_from_hf
from dolma.training.interop import hf
from dolma.training.model.transformer import Transformer
from dolma.training.parallel import (
    ALONE,
    Processes,
    agree,
    batched,
    by_shares,
    exchanged,
    joined,
    only_forward,
    turns,
)
from dolma.training.state import check_weights, newest

_WINDOWS_PER_PASS = 8
_PROMPTS_PER_PASS = 8
_TOKENS_PER_PASS = 1 << 14  # of choices
_LN2 = math.log(2)


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model predicts some text, all of its tokens, each document by itself.

    `loss` in nats per token; `perplexity` its exponential; `bits_per_byte` of UTF-8, comparable across tokenizers.
    """

    loss: float
    perplexity: float
    bits_per_byte: float
    tokens: int
    bytes: int


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of items answered rightly, 0-1.

    Of ranked choices, by the continuation's log-probability as it is (`raw`), per token and per byte of it; of
    questions, `exact_match` of the generated answer, and where words are compared their mean `f1`.
    `gold_bits_per_byte` is of the right continuations.
    """

    items: int
    raw: float | None = None
    per_token: float | None = None
    per_byte: float | None = None
    gold_bits_per_byte: float | None = None
    exact_match: float | None = None
    f1: float | None = None


def evaluate_text(model: Transformer, text: HeldOutText, *, length: int, processes: Processes = ALONE) -> HeldOut:
    """The loss of every token, documents kept apart, each begun after an end-of-text token.

    `length` is the most of a document that the model sees at a time, in tokens. Each process takes its share.
    """
    sums = []
    for some in turns(batched(text.windows(length), _WINDOWS_PER_PASS), processes):
        if some is None:
            idle(model)
        else:
            sums.append(_sums(model, text, some, length))
    losses, tokens, n_bytes = zip(*itertools.chain(*exchanged(sums, processes)), (0.0, 0, 0), strict=True)
    n_tokens, total = sum(tokens), math.fsum(losses)  # whatever the order: the same for any number of processes
    if not n_tokens:
        raise DataError("has no tokens to evaluate on\n  give shards of documents with text", file=text.name)
    loss = total / n_tokens
    return HeldOut(
        loss=loss,
        perplexity=math.exp(min(loss, 700.0)),
        bits_per_byte=total / _LN2 / max(sum(n_bytes), 1),
        tokens=n_tokens,
        bytes=sum(n_bytes),
    )


def _sums(
    model: Transformer, text: HeldOutText, windows: Sequence[list[np.ndarray]], length: int
) -> tuple[float, int, int]:
    """The loss of all tokens of some windows, the tokens, and the bytes that they stand for."""
    ids, documents = text.side_by_side(windows, length)
    device = model.embeddings.weight.device
    inputs = torch.from_numpy(ids).to(device)
    labels = F.pad(inputs[:, 1:], (0, 1), value=IGNORED)
    valid = (documents[:, 1:] >= 0) & (documents[:, 1:] == documents[:, :-1])
    labels[:, :-1][torch.from_numpy(~valid).to(device)] = IGNORED
    with torch.no_grad():
        ce = model.losses(inputs, labels, documents=torch.from_numpy(documents).to(device)).ce
    return float(ce.double().sum()), int(valid.sum()), int(text.bytes_of_ids[ids[:, 1:][valid]].sum())


# --- benchmark items -------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A continuation after a prompt: what the model sees, and the tokens that it is asked for, the last of those seen
    but one on."""

    seen: tuple[int, ...]
    asked: tuple[int, ...]


class Answerer:
    """A model with its tokenizer, answering items; each process answers its share of them."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: str,
        *,
        eos_id: int | None,
        max_tokens: int = 256,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.eos_id, self.max_tokens, self.processes = model, eos_id, max_tokens, processes
        self.tokenizer = load_tokenizer(tokenizer)
        self._encode = encode_texts(self.tokenizer, allow_special_tokens=True)

    def accuracy(self, items: Sequence[Choice | Question]) -> Accuracy:
        """How many of the items are answered rightly; all of one kind.

        Raises:
            ConfigError: some are choices and some questions.
            DataError: a choice is too long for the model's context.
        """
        choices = [item for item in items if isinstance(item, Choice)]
        questions = [item for item in items if isinstance(item, Question)]
        if choices and questions:
            raise ConfigError(
                f"some items have choices, such as {choices[0].id!r}, and some do not, such as {questions[0].id!r}"
                "\n  give a file of each kind, with a name of its own"
            )
        return self._choices(choices) if choices else self._questions(questions)

    def _choices(self, items: Sequence[Choice]) -> Accuracy:
        rows = [row for item in items for row in self._rows_of(item)]
        scores = iter(self._nats(rows))
        right = np.zeros(3)
        gold_bits = []
        for item in items:
            nats = np.array([next(scores) for _ in item.continuations])
            tokens = np.array([len(row.asked) for row in itertools.islice(rows, len(nats))])
            rows = rows[len(nats) :]
            n_bytes = np.array([max(len(continuation.encode()), 1) for continuation in item.continuations])
            rankings = (nats, nats / tokens, nats / n_bytes)
            right += [int(ranking.argmax()) == item.gold for ranking in rankings]
            gold_bits.append(-nats[item.gold] / _LN2 / n_bytes[item.gold])
        raw, per_token, per_byte = (right / len(items)).tolist()
        return Accuracy(
            items=len(items),
            raw=raw,
            per_token=per_token,
            per_byte=per_byte,
            gold_bits_per_byte=math.fsum(gold_bits) / len(items),
        )

    def _rows_of(self, item: Choice) -> list[_Row]:
        try:
            return [self._row(item.prompt, continuation) for continuation in item.continuations]
        except DataError as error:
            raise DataError(f"of item {item.id}, {error}\n  shorten it, or leave it out") from error

    def _row(self, prompt: str, continuation: str) -> _Row:
        whole, shared = self._encoded(prompt + continuation), self._encoded(prompt)
        n_shared = next((i for i, (a, b) in enumerate(zip(whole, shared, strict=False)) if a != b), len(shared))
        n_shared = max(1, min(n_shared, len(whole) - 1))
        n_asked, context = len(whole) - n_shared, self.model.config.context_length
        if not 0 < n_asked < context:
            raise DataError(
                f"a choice of {n_asked:,} tokens, {continuation[:40]!r}: expected at least one after the prompt, "
                f"and room for one before it in the model's context of {context:,}\n  leave the item out"
            )
        return _Row(tuple(whole[-context:-1]), tuple(whole[-n_asked:]))

    def _nats(self, rows: Sequence[_Row]) -> list[float]:
        """The log-probability of what each row asks for; rows that see the same are computed once, and many together.

        To what is alone in a pass, the others add no more than rounding.
        """
        asking: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(rows):
            asking.setdefault(row.seen, []).append(number)
        found: dict[int, float] = {}
        for passed in turns(_passes(sorted(asking, key=len, reverse=True)), self.processes):
            if passed is None:
                idle(self.model)
            else:
                numbers = [(place, number) for place, seen in enumerate(passed) for number in asking[seen]]
                found.update(zip((n for _, n in numbers), self._pass(rows, passed, numbers), strict=True))
        for theirs in exchanged(found, self.processes):
            found |= theirs
        return [found[number] for number in range(len(rows))]

    def _pass(
        self, rows: Sequence[_Row], passed: Sequence[tuple[int, ...]], numbers: Sequence[tuple[int, int]]
    ) -> list[float]:
        device, longest = self.model.embeddings.weight.device, max(map(len, passed))
        # What is behind a token does not change what it is followed by: the end of a row is filled with anything.
        ids = torch.tensor([[*seen, *[0] * (longest - len(seen))] for seen in passed], device=device)
        ends = [place * longest + len(passed[place]) for place, _ in numbers]
        asked = [rows[number].asked for _, number in numbers]
        at = [end - len(tokens) + i for end, tokens in zip(ends, asked, strict=True) for i in range(len(tokens))]
        labels = torch.tensor([token for tokens in asked for token in tokens], device=device)
        with torch.no_grad():
            nats = self.model.log_probabilities(ids, at=torch.tensor(at, device=device), labels=labels).double().cpu()
        return [float(some.sum()) for some in nats.split([len(tokens) for tokens in asked])]

    def _questions(self, items: Sequence[Question]) -> Accuracy:
        prompts = [self._encoded(item.prompt) for item in items]
        order = sorted(range(len(items)), key=lambda number: len(prompts[number]))  # little padding
        scores: dict[int, tuple[float, float]] = {}
        for some in turns(batched(order, _PROMPTS_PER_PASS), self.processes):
            found = generate(
                self.model,
                [prompts[number] for number in some or ()],
                max_tokens=self.max_tokens,
                eos_id=self.eos_id,
                temperature=0.0,
                seeds=some or (),
                going=partial(agree, processes=self.processes),
            )
            for number, ids in zip(some or (), found, strict=True):
                said = self.tokenizer.decode(ids).split("\nQuestion:")[0]
                one = score(items[number].metric, said, items[number].answers)
                scores[number] = one.exact, one.f1
        exact, f1 = zip(
            *itertools.chain(*(theirs.values() for theirs in exchanged(scores, self.processes))), strict=True
        )
        of_words = all(item.metric in ("squad", "drop") for item in items)
        return Accuracy(
            items=len(items), exact_match=sum(exact) / len(items), f1=math.fsum(f1) / len(items) if of_words else None
        )

    def log_probability(self, prompt: str, continuation: str) -> tuple[float, int]:
        """Nats that the continuation has after the prompt (at most 0), and its tokens.

        The two are encoded together, so that the border is where the tokenizer would put it in running text. The end of
        a prompt is kept where it is too long for the model's context.

        Raises:
            DataError: there is no token before the continuation, or no room for one in the context.
        """
        row = self._row(prompt, continuation)
        return self._nats([row])[0], len(row.asked)

    def _encoded(self, text: str) -> list[int]:
        """The ids of a text, after an end-of-text token, as every document of the training data is."""
        ids = self._encode([text])[0].tolist()
        return [self.eos_id, *ids] if self.eos_id is not None else ids


def _passes(rows: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Rows, the longest first, as many together as fit into a pass side by side."""
    some: list[tuple[int, ...]] = []
    for row in rows:
        if some and len(some[0]) * (len(some) + 1) > _TOKENS_PER_PASS:
            yield some
            some = []
        some.append(row)
    if some:
        yield some


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A model after `step` steps: on each held-out source, and on each task."""

    step: int
    length: int | None = None  # tokens of held-out text that the model saw at a time
    held_out: dict[str, HeldOut]
    tasks: dict[str, Accuracy]
    olmo_tasks: dict[str, dict[str, float]] = {}

    def __str__(self) -> str:
        """The figures in a line."""
        said = [
            f"{printable(name)}: loss {found.loss:.3f}, {found.bits_per_byte:.3f} bits per byte "
            f"of {found.tokens:,} tokens"
            for name, found in self.held_out.items()
        ]
        for name, accuracy in self.tasks.items():
            right = accuracy.exact_match if accuracy.raw is None else accuracy.raw
            said.append(f"{printable(name)}: {right:.1%} of {accuracy.items:,} items")
        for name, scores in self.olmo_tasks.items():
            said.append(f"{printable(name)}: " + ", ".join(f"{kind} {value:.3f}" for kind, value in scores.items()))
        return "evaluation: " + "; ".join(said)


class Evaluator:
    """Evaluates a model, again and again, on what was opened once."""

    def __init__(self, inputs: EvalInputs) -> None:
        self.inputs, self.config = inputs, inputs.config

    def evaluate(
        self, model: Transformer, *, step: int, eos_id: int | None, processes: Processes = ALONE
    ) -> Evaluation:
        """The model as it is now; nothing of it is changed. Each process takes its share."""
        tasks, given = {}, self.inputs
        if given.items:
            assert given.tokenizer is not None
            answerer = Answerer(
                model, given.tokenizer, eos_id=eos_id, max_tokens=self.config.max_tokens, processes=processes
            )
            tasks = {name: answerer.accuracy(items) for name, items in given.items.items()}
        held_out = {
            name: evaluate_text(model, text, length=given.length, processes=processes)
            for name, text in given.texts.items()
        }
        olmo_tasks = self._olmo_tasks(model, eos_id, processes)
        return Evaluation(step=step, length=given.length, held_out=held_out, tasks=tasks, olmo_tasks=olmo_tasks)

    def _olmo_tasks(self, model: Transformer, eos_id: int | None, processes: Processes) -> dict[str, dict[str, float]]:
        if not self.config.olmo_tasks:
            return {}
        from dolma.training.interop.olmo_eval import olmo_scores

        assert self.inputs.tokenizer is not None
        return olmo_scores(
            model,
            self.config.olmo_tasks,
            tokenizer=self.inputs.tokenizer,
            eos_id=eos_id,
            max_items=self.config.max_items,
            processes=processes,
        )


def evaluate_model(
    path: str, config: EvalConfig, *, tokenizer: str | None = None, device: str | None = None
) -> Evaluation:
    """A checkpoint of ours, or a folder of transformers, evaluated on what `config` names.

    `device`: cpu or cuda; None: the latter where there is one. Started by torchrun, each process has a part of the
    model and takes its share of the work; all return the same, which does not depend on their number.

    Raises:
        ConfigError, DataError: as `EvalInputs`; or there is no model at `path`, or no such device.
    """
    with joined(device or ("cuda" if torch.cuda.is_available() else "cpu")) as processes:
        contents = Contents("", together=partial(by_shares, processes=processes))
        path = newest(path)
        if streams.exists(streams.join(path, hf.CONFIG)) and not streams.exists(streams.join(path, MANIFEST)):
            check_weights(path, each=partial(by_shares, processes=processes))
            model, fields = load_from_hf(path, processes)
            beside = streams.join(path, "tokenizer.json")
            tokenizer = tokenizer or (beside if os.path.isfile(beside) else None)
            sha256 = None if tokenizer is None else hashlib.sha256(streams.read_bytes(tokenizer)).hexdigest()
            length, step, eos_id = model.config.context_length, 0, hf.eos_of(fields, model, path)
        else:
            model, state = checkpointing.load_model(path, processes)
            if tokenizer is not None:
                state.check_tokenizer(tokenizer, of=path)
            tokenizer, sha256 = tokenizer or state.tokenizer(), state.tokenizer_sha256
            length = min(held_out_length(state.config), model.config.context_length)
            step, eos_id = state.step, state.eos_id
        context = model.config.context_length
        inputs = EvalInputs(config, length=length, context=context, tokenizer=tokenizer, tokenizer_sha256=sha256)
        inputs.check(contents)
        with only_forward(model, processes):
            return Evaluator(inputs).evaluate(model.eval(), step=step, eos_id=eos_id, processes=processes)
