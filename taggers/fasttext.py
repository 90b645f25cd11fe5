"""Any fastText classifier as a tagger: topic, quality, toxicity, language (Joulin et al. 2016, arXiv:1607.01759).

`path` is a model as the fastText library saves it, `.bin` or `.ftz`, or a URL that `dolma fetch` has fetched. Whole
documents, paragraphs (pieces that end after a newline and are not blank) or sentences are shown to it, each as one
line, in which a newline is a space. Nothing else is done to the text, unless `lower` is true: a model has to see what
it saw in training.

Scores are those of the library to 1e-5, which adds 1e-5 to each probability; cut at 1. Two taggers with one model in
one recipe ask it twice; to have the scores of several labels name them in one.

Cost depends on the model: n-grams of words cost a visit to memory each, words and their characters are kept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocFloat, DocText, Output, Spans, spans_column
from dolma.errors import ConfigError, did_you_mean
from dolma.kernels.fasttext import Classifier
from dolma.kernels.pieces import text_pieces
from dolma.kernels.sentences import sentence_spans
from dolma.kernels.views import Int64, code_points_at
from dolma.models.fasttext import read_model
from dolma.models.fetch import fetched_path
from dolma.printable import printable
from dolma.taggers.catalogue import Need

Level = Literal["document", "paragraph", "sentence"]
Scores = npt.NDArray[np.float64]

_SCORES_AT_ONCE = 1 << 22
_RESERVED = ("id", "error")


class FastText:
    """What a fastText model says of documents, paragraphs or sentences."""

    name = "fasttext"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="model", name="a .bin or .ftz file", get="give the option `path`: a file, or a URL fetched before"),
    )
    outputs: Mapping[str, Output] = {}

    def __init__(
        self,
        *,
        path: str | Path,
        level: Level = "document",
        labels: Sequence[str] = (),
        lower: bool = False,
    ) -> None:
        """Open the model. Without `labels` all that it has are outputs; they are named without "__label__".

        Raises:
            ConfigError: no such model, level or label; or two labels would be one output.
        """
        if level not in get_args(Level):
            raise ConfigError(f"fasttext: level={level!r}; {did_you_mean(str(level), get_args(Level))}")
        file = fetched_path(path)
        self.classifier = classifier_at(file)
        known = self.classifier.model.labels
        for label in labels:
            if label not in known:
                raise ConfigError(
                    f"fasttext: the model at {printable(path)} has no label {label!r}; {did_you_mean(label, known)}"
                )
        self.level, self.lower, self.labels = level, lower, tuple(labels or known)
        self.needs, self.files = (), (str(file),)
        self.outputs = outputs_of(self.labels, level=level)
        self._chosen = [known.index(label) for label in self.labels]

    def __call__(self, batch: TextBatch) -> Columns:
        """Scores of each document; or spans of its paragraphs or sentences, with their scores."""
        if self.level == "document":
            return self._of_documents(batch)
        spans = paragraphs_of(batch) if self.level == "paragraph" else sentences_of(batch)
        text, starts, ends = self._shown(batch, spans.starts, spans.ends)
        scores = scores_of(self.classifier, text, starts, ends, labels=self._chosen)
        return {
            name: spans_column(spans.counts, spans.first_points, spans.last_points, scores[:, k])
            for k, name in enumerate(self.outputs)
        }

    def _of_documents(self, batch: TextBatch) -> Columns:
        text, starts, ends = self._shown(batch, batch.offsets[:-1], batch.offsets[1:])
        best, top_scores, scores = best_of(self.classifier, text, starts, ends, labels=self._chosen)
        labels = self.classifier.model.labels
        top = [labels[k] if score > 0 else None for k, score in zip(best, top_scores, strict=True)]
        return {
            "top": pa.array(top, pa.string()),
            "top_score": pa.array(top_scores),
            **{name: pa.array(scores[:, k]) for k, name in enumerate(list(self.outputs)[2:])},
        }

    def _shown(self, batch: TextBatch, starts: Int64, ends: Int64) -> tuple[npt.NDArray[np.uint8], Int64, Int64]:
        return lowered(batch.utf8, starts, ends) if self.lower else (batch.utf8, starts, ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Parts of documents that a model is shown: bytes of the batch, code points of the document, how many per document.

    All int64; `counts` has shape `(n_docs,)`.
    """

    starts: Int64
    ends: Int64
    first_points: Int64
    last_points: Int64
    counts: Int64


def paragraphs_of(batch: TextBatch) -> Stretches:
    """Pieces that end after a newline, and are not blank."""
    pieces = batch.view(text_pieces)
    found = pieces.of(~pieces.blank)
    return Stretches(
        starts=found.starts,
        ends=found.ends,
        first_points=found.first_points,
        last_points=found.last_points,
        counts=found.per_document(),
    )


def sentences_of(batch: TextBatch) -> Stretches:
    """Sentences, as `dolma/kernels/sentences.py` has them."""
    found = batch.view(sentence_spans)
    counts = found.per_document()
    documents = np.repeat(np.arange(len(batch)), counts)
    return Stretches(
        starts=found.text_starts,
        ends=found.text_ends,
        first_points=code_points_at(batch.utf8, batch.offsets, documents, found.text_starts),
        last_points=code_points_at(batch.utf8, batch.offsets, documents, found.text_ends),
        counts=counts,
    )


def classifier_at(path: str | Path) -> Classifier:
    """The model in a local file, read once per process as long as the file stays the same.

    Raises:
        ConfigError: there is none, or it is no fastText classifier.
    """
    if not Path(path).is_file():
        return Classifier(read_model(path))
    status = Path(path).stat()
    return _classifier(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=16)
def _classifier(path: str, _modified: int, _size: int) -> Classifier:
    return Classifier(read_model(path))


def scores_of(
    classifier: Classifier,
    text: npt.NDArray[np.uint8],
    starts: Int64,
    ends: Int64,
    *,
    labels: Sequence[int] | None = None,
) -> Scores:
    """The score of each label, or of some, for each span; 0 to 1, 0 where nothing is known.

    Float64, shape `(n_spans, n_labels)`.
    """
    scores = np.empty((len(starts), len(classifier.model.labels if labels is None else labels)))
    for some in _parts(classifier, len(starts)):
        # Sums of rounded products exceed 1 by as much as 1e-4, and the library adds 1e-5.
        found = classifier.probabilities(text, starts[some], ends[some], labels=labels)
        np.minimum(found, 1, out=scores[some])
    return scores


def best_of(
    classifier: Classifier, text: npt.NDArray[np.uint8], starts: Int64, ends: Int64, *, labels: Sequence[int]
) -> tuple[Int64, Scores, Scores]:
    """The label of the highest score of each span (int64), that score, and those of some labels as in `scores_of`."""
    best, top_scores = np.empty(len(starts), dtype=np.int64), np.empty(len(starts))
    scores = np.empty((len(starts), len(labels)))
    for some in _parts(classifier, len(starts)):
        found = classifier.best(text, starts[some], ends[some], labels=labels)
        best[some], top_scores[some], scores[some] = found
    return best, top_scores, scores


def _parts(classifier: Classifier, n_spans: int) -> Iterator[slice]:
    """Spans for which all scores together are not too many to hold."""
    step = max(1, _SCORES_AT_ONCE // len(classifier.model.labels))
    return (slice(i, i + step) for i in range(0, n_spans, step))


def lowered(text: npt.NDArray[np.uint8], starts: Int64, ends: Int64) -> tuple[npt.NDArray[np.uint8], Int64, Int64]:
    """The spans in lower case, as `str.lower` has it, in a buffer of their own: the buffer, starts and ends."""
    whole = text.tobytes()
    spans = (whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
    small = [span.lower() if span.isascii() else span.decode().lower().encode() for span in spans]
    offsets = offsets_of(small)
    return np.frombuffer(b"".join(small), dtype=np.uint8), offsets[:-1], offsets[1:]


def outputs_of(labels: Sequence[str], *, level: Level) -> dict[str, Output]:
    """What a tagger with these labels declares.

    Raises:
        ConfigError: two labels would be one output.
    """
    taken = {"top", "top_score"} if level == "document" else set()
    outputs: dict[str, Output] = {}
    if level == "document":
        outputs["top"] = DocText("the most probable label; null where the model knows nothing of the text")
        outputs["top_score"] = DocFloat("probability of the most probable label", range="0-1")
    for label in labels:
        name = output_name(label)
        if name in taken:
            raise ConfigError(
                f"fasttext: the label {label!r} would be the output {name!r}, which there is already\n"
                "  leave one of them out: `labels` says which there are to be"
            )
        taken.add(name)
        outputs[name] = (
            DocFloat(f"probability of {label!r}", range="0-1")
            if level == "document"
            else Spans(f"{level}s, with the probability of {label!r}", range="0-1")
        )
    return outputs


def output_name(label: str) -> str:
    """The label as the name of an output: what is no letter, digit or `_` becomes `_`; no output is called `id`.

    >>> output_name("zh-hans"), output_name("1"), output_name("id")
    ('zh_hans', 'label_1', 'id_')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", label)
    if name in _RESERVED:
        return f"{name}_"
    return f"label_{name}" if name[:1].isdigit() or not name else name
