"""Toxicity and quality by fastText, as Dolma 1.x has them (`taggers/jigsaw.py` and `taggers/quality.py` of 1.2.1).

The models are not part of this package and nothing is downloaded by itself: `dolma fetch` gets the published ones, and
the option `path` names any other with the same labels. What is done to the text before the model sees it is as there:

- `jigsaw_*`: newlines become spaces. Of sentences, ours are those of `dolma/kernels/sentences.py`, 1.2.1's those of
  BlingFire: they agree on plain prose, and differ on abbreviations and lists.
- `dclm-oh-eli5`: all line separators of Unicode become spaces. The score is that of the label `hq` if it is the more
  probable one, else one less that of `cc`; so two labels whose probabilities do not add up to 1 leave a gap.
- `dolma17-quality`: words are joined by one space; whitespace is White_Space in Unicode.

Scores are as the model gives them, up to 1.001.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocFloat, Output, Spans, spans_column
from dolma.errors import ConfigError
from dolma.kernels.pieces import trimmed_texts
from dolma.models.fetch import fetched_path
from dolma.printable import printable
from dolma.taggers.catalogue import Need
from dolma.taggers.fasttext import classifier_at, output_name, sentences_of

_PUBLISHED = "https://dolma-artifacts.org/fasttext_models/"
_JIGSAW = f"{_PUBLISHED}jigsaw_fasttext_bigrams_20230515/jigsaw_fasttext_bigrams_"
_WHITE_SPACE = re.compile("[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+")


def _published(url: str) -> tuple[Need, ...]:
    return (Need(kind="model", name=url, get=f"run `dolma fetch {url}`, or give the option `path`"),)


class _Classified:
    """What these taggers have in common: a model, by default one that is published."""

    version = 1
    languages = "English"
    needs: tuple[Need, ...]

    def __init__(self, path: str | Path | None = None) -> None:
        """Open the model at `path`, or the published one if it has been fetched.

        Raises:
            ConfigError: there is none, or its labels are others than the tagger's.
        """
        file = fetched_path(self.needs[0].name if path is None else path)
        self.classifier, self.files, self.needs = classifier_at(file), (str(file),), ()
        self._prepare(self.classifier.model.labels, str(file))

    def _prepare(self, labels: tuple[str, ...], file: str) -> None:
        """Declare what will be told.

        Raises:
            ConfigError: the labels are not the tagger's.
        """
        raise NotImplementedError

    def _of_texts(self, texts: list[str]) -> npt.NDArray[np.float64]:
        """The score of each label, 0 where it has none; float64, shape `(n_texts, n_labels)`."""
        encoded = [text.encode() for text in texts]
        text, offsets = np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of(encoded)
        return self.classifier.probabilities(text, offsets[:-1], offsets[1:]).astype(np.float64)


class JigsawHatespeechDocumentV2(_Classified):
    """The probability that a document is hate speech, and that it is not, by a model of Jigsaw's comments."""

    name = "jigsaw_hatespeech_document_v2"
    needs = _published(f"{_JIGSAW}hatespeech_final.bin")
    outputs: Mapping[str, Output] = {}
    per = "document"

    def _prepare(self, labels: tuple[str, ...], file: str) -> None:
        if len(labels) != 2:
            raise ConfigError(f"{self.name}: the model {printable(file)} has {len(labels)} labels, expected 2")
        self.outputs = {f"__label__{output_name(label)}": self._output(label) for label in labels}

    def _output(self, label: str) -> Output:
        return DocFloat(f"probability of {label!r}", range="0-1.001")

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and label; null where the model knows nothing of the text."""
        trimmed = batch.view(trimmed_texts)
        scores = self.classifier.probabilities(batch.utf8, trimmed.starts, trimmed.ends).astype(np.float64)
        return _with_nulls(self.outputs, scores)


class JigsawNsfwDocumentV1(JigsawHatespeechDocumentV2):
    """The probability that a document is obscene, and that it is not, by a model of Jigsaw's comments."""

    name = "jigsaw_nsfw_document_v1"
    needs = _published(f"{_JIGSAW}nsfw_final.bin")


class JigsawHatespeechSentenceV2(JigsawHatespeechDocumentV2):
    """The probability that each sentence is hate speech, and that it is not, by a model of Jigsaw's comments."""

    name = "jigsaw_hatespeech_sentence_v2"

    def _output(self, label: str) -> Output:
        return Spans(f"sentences, with the probability of {label!r}", range="0-1.001")

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans per document and label."""
        found = sentences_of(batch)
        scores = self.classifier.probabilities(batch.utf8, found.starts, found.ends).astype(np.float64)
        return {
            name: spans_column(found.counts, found.first_points, found.last_points, scores[:, k])
            for k, name in enumerate(self.outputs)
        }


class JigsawNsfwSentenceV2(JigsawHatespeechSentenceV2):
    """The probability that each sentence is obscene, and that it is not, by a model of Jigsaw's comments."""

    name = "jigsaw_nsfw_sencence_v2"
    needs = _published(f"{_JIGSAW}nsfw_final.bin")


class DclmOhEli5(_Classified):
    """The probability that a document reads like instructions and explanations, by the model of DCLM-Baseline."""

    name = "dclm_oh_eli5"
    needs = _published(
        "https://huggingface.co/mlfoundations/fasttext-oh-eli5/resolve/main/"
        "openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin"
    )
    outputs: Mapping[str, Output] = {
        "score": DocFloat("probability of high quality; null where the model knows nothing", range="-0.001-1.001")
    }

    def _prepare(self, labels: tuple[str, ...], file: str) -> None:
        if set(labels) != {"hq", "cc"}:
            raise ConfigError(
                f"{self.name}: the model {printable(file)} has the labels {', '.join(labels[:9])}; expected hq, cc"
            )
        self._hq, self._cc = labels.index("hq"), labels.index("cc")

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        scores = self._of_texts([" ".join(text.strip().splitlines()) for text in batch.texts()])
        hq, cc = scores[:, self._hq], scores[:, self._cc]
        return {"score": pa.array(np.where(hq > cc, hq, 1 - cc), mask=(hq == 0) & (cc == 0))}


class Dolma17Quality(_Classified):
    """The probability of every source that the quality model of Dolma 1.7 knows, of documents."""

    name = "dolma17_quality"
    needs = _published(f"{_PUBLISHED}dolma-1_7/cc_wiki_wikiref_sw_pes2o_adult_fakenews_math_books_openhermes.bin")
    outputs: Mapping[str, Output] = {}

    def _prepare(self, labels: tuple[str, ...], file: str) -> None:
        self.outputs = {
            output_name(label): DocFloat(f"probability of {label!r}; null without words", range="0-1.001")
            for label in labels
        }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and label."""
        texts = [_WHITE_SPACE.sub(" ", text) for text in batch.texts()]
        scores = self._of_texts(texts)
        scores[[not text.strip(" ") for text in texts]] = 0
        return _with_nulls(self.outputs, scores)


def _with_nulls(outputs: Mapping[str, Output], scores: npt.NDArray[np.float64]) -> Columns:
    return {name: pa.array(scores[:, k], mask=scores[:, k] == 0) for k, name in enumerate(outputs)}
