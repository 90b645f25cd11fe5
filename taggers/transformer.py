"""Any transformer with a classification or regression head as a tagger, and embeddings: BERT, RoBERTa and their like.

`path` is a folder as Hugging Face has them, with `model.onnx` or `model.safetensors`, `config.json` and
`tokenizer.json`. FineWeb-Edu's classifier (Penedo et al. 2024, arXiv:2406.17557, section 4) is one: a regression, 0 to
5. How to get a model is in docs/models.md.

A document's tokens are cut into windows of `max_tokens`, of which each gets the special tokens that the tokenizer puts
around a text. `windows: first` shows the model the first of them alone, which is truncation; `mean` and `max` show it
all, and combine the scores of each label: the mean by tokens, or the highest. Special tokens that stand in a text are
encoded as text; transformers reads them as what they name.

Scores are logits after `activation`: `softmax`, `sigmoid` or `none`, unless given what `config.json` says by its
`problem_type`, as transformers' text classification pipeline reads it.

With `embedding: mean` or `cls` the output is a `vector` in the place of scores: the mean of the last hidden states of
all tokens, special ones included (as sentence-transformers has it), or that of the first token, of each window; then
the mean of windows by tokens, with a Euclidean norm of 1. It is made of an ONNX file without a head. `dolma dedupe
--method semantic` compares such vectors.

A score depends on its document alone. On a CPU each window is run by itself at its own length; batches gain nothing
from 128 tokens on, a third of the time at 64, and half of it at 16. With `batch_tokens` set, and on a GPU, windows are
padded to 32, 64, 128 tokens and so on, and each run has as many rows of one length as fit into `batch_tokens`, the last
filled up with copies: so a window is always run in the same shape, whatever is beside it. A model with dynamic
quantization takes its scale from the whole run, so for it `batch_tokens` must stay 0.

Cost: 1.5 to 1.9 ms per token of a base model (12 layers of 768) by ONNX Runtime on one core of a 2-core cloud machine
with other work on it (benchmarks/results/2026-11-26-models.md): 1 s for 512 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocText, DocVector, Output
from dolma.errors import ConfigError, did_you_mean
from dolma.kernels.vectors import normal, squares
from dolma.models.sequence_classifier import (
    EXTRAS,
    Activation,
    Hidden,
    Ids,
    Logits,
    find_files,
    open_encoder,
    open_model,
    read_facts,
)
from dolma.models.tokenizers_library import encode_texts, frame, load_tokenizer
from dolma.taggers.catalogue import Need
from dolma.taggers.fasttext import output_name

Windows = Literal["first", "mean", "max"]
Embedding = Literal["mean", "cls"]
Scores = npt.NDArray[np.float64]
Choice = TypeVar("Choice", bound=str)

MAX_TOKENS = 512
GPU_BATCH_TOKENS = 16_384
SHORTEST = 32
"""Tokens: the least that a window is padded to in a batch."""


class Transformer:
    """What a transformer for sequence classification or regression says of documents, or their embeddings."""

    name = "transformer"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="extra", name=EXTRAS["onnx"], get=f"pip install 'dolma[{EXTRAS['onnx']}]'"),
        Need(
            kind="model",
            name="a folder with model.onnx or model.safetensors, config.json, tokenizer.json",
            get="give the option `path`",
        ),
    )
    outputs: Mapping[str, Output] = {}

    def __init__(
        self,
        *,
        path: str | Path,
        backend: str = "auto",
        config: str | Path | None = None,
        tokenizer: str | Path | None = None,
        labels: Sequence[str] = (),
        activation: Activation | None = None,
        embedding: Embedding | None = None,
        max_tokens: int | None = None,
        windows: Windows = "first",
        batch_tokens: int | None = None,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """Open the model. Without `labels` all that it has are outputs.

        `max_tokens` counts special tokens; 512 unless given, or less if the model takes less. `batch_tokens` is 0 on a
        CPU unless given, 16,384 on a GPU. `threads` are of each worker. `embedding` goes with neither `labels` nor
        `activation`, nor with `windows: max`.

        Raises:
            ConfigError: a file is missing or of another model; or an option has no such value.
            MissingExtraError: what runs the model is not installed.
        """
        files = find_files(path, backend=backend, config=config, tokenizer=tokenizer, owner=self.name)
        facts = read_facts(files.config)
        self._activation = _one_of("activation", activation or facts.activation, get_args(Activation))
        self.windows = _one_of("windows", windows, get_args(Windows))
        self._encoder = load_tokenizer(str(files.tokenizer), key=self.name)
        self._encode = encode_texts(self._encoder, allow_special_tokens=False)
        self._before, self._after = (np.array(ids, dtype=np.int64) for ids in frame(self._encoder))
        self.max_tokens = self._longest(max_tokens, facts.max_tokens)
        self._pad_id = facts.pad_id
        _at_least("threads", threads, 1)
        self.embedding = None if embedding is None else _one_of("embedding", embedding, get_args(Embedding))
        if self.embedding is None:
            self._chosen = _chosen(labels, facts.labels, str(files.config))
            self._model = open_model(files, facts, device=device, threads=threads, owner=self.name)
            self._n_values = len(facts.labels)
        else:
            _refuse_beside_embedding(labels=list(labels), activation=activation, windows=windows)
            hidden, self._n_values = open_encoder(files, device=device, threads=threads, owner=self.name)
            self._model = pooled(hidden, self.embedding)
        default = GPU_BATCH_TOKENS if device == "cuda" else 0
        self.batch_tokens = _at_least("batch_tokens", default if batch_tokens is None else batch_tokens, 0)
        self.one_by_one = self.batch_tokens == 0
        extra = EXTRAS[files.backend]
        self.files, self.needs = files.all(), (Need(kind="extra", name=extra, get=f"pip install 'dolma[{extra}]'"),)
        self.labels = facts.labels
        if self.embedding is None:
            self.outputs = outputs_of(facts.labels, self._chosen, activation=self._activation)
        else:
            what = (
                "mean of the last hidden states" if self.embedding == "mean" else "last hidden state of the first token"
            )
            self.outputs = {"vector": DocVector(f"{what}, with a norm of 1", size=self._n_values)}

    def _longest(self, given: int | None, limit: int | None) -> int:
        """Raises ConfigError: the model takes fewer tokens, or so many leave no room for the text."""
        n_frame = len(self._before) + len(self._after)
        wanted = min(MAX_TOKENS, limit or MAX_TOKENS) if given is None else given
        if wanted <= n_frame or wanted > (limit or wanted):
            upto = "" if limit is None else f" to {limit}"
            raise ConfigError(
                f"{self.name}: max_tokens={wanted}; the model takes {n_frame + 1}{upto}, {n_frame} of them special ones"
                "\n  give a number in between as `max_tokens`"
            )
        return wanted

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and output."""
        found = self.scores(batch.texts())
        if self.embedding is not None:
            return {"vector": vectors_of(found)}
        if len(self.labels) == 1:
            return {"score": pa.array(found[:, 0])}
        best = found.argmax(axis=1)
        return {
            "top": pa.array([self.labels[k] for k in best.tolist()], pa.string()),
            "top_score": pa.array(found[np.arange(len(found)), best]),
            **{output_name(self.labels[k]): pa.array(found[:, k]) for k in self._chosen},
        }

    def scores(self, texts: Sequence[str]) -> Scores:
        """The score of each label for each text, float64, shape `(n_texts, n_labels)`; or its vector."""
        windows = [self._windows(ids.astype(np.int64)) for ids in self._encode(texts)]
        flat = [window for some in windows for window in some]
        scores = self._run(flat).astype(np.float64)
        if self.embedding is None:
            scores = activated(scores, self._activation)
        found = np.empty((len(texts), self._n_values))
        end = 0
        for i, some in enumerate(windows):
            start, end = end, end + len(some)
            n_tokens = [max(1, len(window)) for window in some]
            of_windows = scores[start:end]
            found[i] = (
                of_windows.max(axis=0) if self.windows == "max" else np.average(of_windows, axis=0, weights=n_tokens)
            )
        return found

    def _windows(self, ids: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """The parts of a text that the model sees, without special tokens; at least one, which may be empty."""
        room = self.max_tokens - len(self._before) - len(self._after)
        last = 1 if self.windows == "first" else max(1, len(ids))
        return [ids[start : start + room] for start in range(0, last, room)]

    def _run(self, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """What the model says of each window, shape `(n_windows, n_labels)`, or the width of its states."""
        found = np.empty((len(windows), self._n_values), dtype=np.float32)
        framed = [np.concatenate([self._before, window, self._after]) for window in windows]
        for rows, n_rows, length in self._batches([len(ids) for ids in framed]):
            ids = np.full((n_rows, length), self._pad_id, dtype=np.int64)
            mask = np.zeros((n_rows, length), dtype=np.int64)
            for i in range(n_rows):
                row = framed[rows[min(i, len(rows) - 1)]]
                ids[i, : len(row)], mask[i, : len(row)] = row, 1
            found[rows] = self._model(ids, mask)[: len(rows)]
        return found

    def _batches(self, lengths: Sequence[int]) -> Iterator[tuple[list[int], int, int]]:
        """Which windows are run together, and the shape of the run: rows and tokens, functions of a window's length."""
        if not self.batch_tokens:
            yield from (([i], 1, max(1, length)) for i, length in enumerate(lengths))
            return
        by_length: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            by_length.setdefault(padded(length, longest=self.max_tokens), []).append(i)
        for length, members in sorted(by_length.items()):
            n_rows = max(1, self.batch_tokens // length)
            for start in range(0, len(members), n_rows):
                yield members[start : start + n_rows], n_rows, length


def padded(length: int, *, longest: int) -> int:
    """The length to which a window of `length` tokens is padded in a batch: 32, 64, 128 and so on, `longest` at most.

    >>> [padded(length, longest=512) for length in (2, 32, 33, 300, 512)]
    [32, 32, 64, 512, 512]
    """
    wanted = SHORTEST
    while wanted < length:
        wanted *= 2
    return min(wanted, longest)


def pooled(hidden: Hidden, embedding: Embedding) -> Logits:
    """From ids and mask to a vector for each row, float32 of shape `(n_rows, width)`."""

    def vectors(ids: Ids, mask: Ids) -> npt.NDArray[np.float32]:
        states = hidden(ids, mask)
        if embedding == "cls":
            return states[:, 0]
        n_tokens = mask.sum(axis=1)
        rows = [states[i, : n_tokens[i]].astype(np.float64).sum(axis=0) / n_tokens[i] for i in range(len(states))]
        return np.array(rows, dtype=np.float32)

    return vectors


def vectors_of(found: Scores) -> pa.FixedSizeListArray:
    """Rows with a Euclidean norm of 1, as float32; one of zeros stays so."""
    rows = found.astype(np.float32)
    lengths = squares(rows)
    there = lengths > 0
    rows[there] = normal(rows[there], lengths[there])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _refuse_beside_embedding(**given: object) -> None:
    for option, value in given.items():
        if value and not (option == "windows" and value != "max"):
            raise ConfigError(
                f"transformer: {option}={value!r} is of scores, and `embedding` is given\n"
                f"  leave `{option}` out, or `embedding`"
            )


def activated(logits: Scores, activation: Activation) -> Scores:
    """What becomes of logits, `(n_rows, n_labels)`.

    >>> activated(np.array([[0.0, 0.0]]), "softmax").tolist(), activated(np.array([[0.0]]), "sigmoid").tolist()
    ([[0.5, 0.5]], [[0.5]])
    """
    if activation == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    if activation == "sigmoid":
        # exp of what is below 0 alone does not overflow
        powers = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1, powers) / (1 + powers)
    return logits


def outputs_of(labels: Sequence[str], chosen: Sequence[int], *, activation: Activation) -> dict[str, Output]:
    """What a tagger of these labels declares: `score` for a single one, else the best one and each that was chosen.

    Raises:
        ConfigError: two labels would be one output.
    """
    what, within = ("logit", "") if activation == "none" else ("probability", "0-1")
    if len(labels) == 1:
        return {"score": DocFloat("what the model says" if activation == "none" else what, range=within)}
    outputs: dict[str, Output] = {
        "top": DocText("the label with the highest score"),
        "top_score": DocFloat("the highest score", range=within),
    }
    for k in chosen:
        name = output_name(labels[k])
        if name in outputs:
            raise ConfigError(
                f"transformer: the label {labels[k]!r} would be the output {name!r}, which there is already\n"
                "  leave one of them out: `labels` says which there are to be"
            )
        outputs[name] = DocFloat(f"{what} of {labels[k]!r}", range=within)
    return outputs


def _chosen(labels: Sequence[str], known: Sequence[str], config: str) -> list[int]:
    for label in labels:
        if label not in known:
            raise ConfigError(f"transformer: {config} has no label {label!r}; {did_you_mean(label, known)}")
    return [known.index(label) for label in labels or known]


def _one_of(option: str, given: Choice, valid: Sequence[str]) -> Choice:
    if given not in valid:
        raise ConfigError(f"transformer: {option}={given!r}; {did_you_mean(str(given), valid)}")
    return given


def _at_least(option: str, given: int, least: int) -> int:
    if given < least:
        raise ConfigError(f"transformer: {option}={given}; expected {least} or more")
    return given
